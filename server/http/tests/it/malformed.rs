use http::Method;

use super::{get, job, put, router, send, small_cluster};

#[tokio::test]
async fn malformed_queries_and_bodies_are_refused_with_the_reason() {
    let router = router(Some(small_cluster()), None);
    for (uri, message) in [
        ("/v1/jobs?wait=x", "Invalid wait time"),
        ("/v1/jobs?index=-1", "Invalid index"),
        ("/v1/jobs?per_page=x", "Invalid per_page: expected a number from 0 to 2147483647"),
        (
            "/v1/evaluations?filter=ID+%3D%3D+a&status=blocked",
            "Filter expression cannot be used with other filter parameters",
        ),
        ("/v1/allocations?prefix=zz", "\"zz\" is not the beginning of an id: expected hexadecimal digits and dashes"),
        ("/v1/job/web/submission", "Failed to parse value of \"version\": a version is required"),
    ] {
        let answer = get(&router, uri).await;
        assert_eq!((answer.status.as_u16(), answer.body.as_str()), (400, message), "{uri}");
        assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    }
    for (body, message) in [
        ("", "Request body is empty"),
        ("{}", "Job must be specified"),
        ("{", "the request's body is not JSON: EOF while parsing an object at line 1 column 1"),
        (
            r#"{"Job":{"Priority":"high"}}"#,
            "cannot read the request's body: Job.Priority: invalid type: string \"high\", expected i64",
        ),
        (
            r#"{"Job":{"TaskGroups":{}}}"#,
            "cannot read the request's body: Job.TaskGroups: invalid type: map, expected a sequence",
        ),
    ] {
        let answer = put(&router, "/v1/jobs", body).await;
        assert_eq!((answer.status.as_u16(), answer.body.as_str()), (400, message), "{body}");
    }
    let huge = format!("{{\"Job\":\"{}\"}}", "x".repeat(17 * 1024 * 1024));
    let answer = put(&router, "/v1/jobs", &huge).await;
    assert_eq!((answer.status.as_u16(), answer.body.contains("longer than")), (400, true), "{}", answer.body);
    let nested = "[".repeat(100_000);
    assert_eq!(put(&router, "/v1/jobs", &nested).await.status, 400);
}

#[tokio::test]
async fn a_filter_that_cannot_be_read_or_looked_up_is_told() {
    let router = router(Some(small_cluster()), None);
    let unread = get(&router, "/v1/jobs?filter=ID+%3D").await;
    assert_eq!(unread.status, 400);
    assert!(unread.body.starts_with("failed to create result paginator: failed to read filter expression: "));
    let unknown = get(&router, "/v1/jobs?filter=Nmae+%3D%3D+x").await;
    assert_eq!(unknown.body, "error finding value in datum: /Nmae: there is no field \"Nmae\"");
}

#[tokio::test]
async fn unknown_paths_and_methods_are_told_apart() {
    let router = router(Some(small_cluster()), None);
    for uri in ["/", "/v1", "/v1/", "/v1/nothing", "/v2/jobs", "/v1/node/x/y/z", "/v1/client/allocation/x/y"] {
        let answer = get(&router, uri).await;
        assert_eq!((answer.status.as_u16(), answer.body.as_str()), (404, ""), "{uri}");
    }
    for (method, uri) in [
        (Method::DELETE, "/v1/jobs"),
        (Method::PUT, "/v1/nodes"),
        (Method::GET, "/v1/system/gc"),
        (Method::PATCH, "/v1/jobs"),
        (Method::GET, "/v1/node/00000000-0000-0000-0000-000000000002/purge"),
    ] {
        let answer = send(&router, method, uri, "").await;
        assert_eq!((answer.status.as_u16(), answer.body.as_str()), (405, "Invalid method"), "{uri}");
    }
    for (uri, message) in [
        ("/v1/job/none", "job not found"),
        ("/v1/allocation/none", "alloc not found"),
        ("/v1/evaluation/00000000-0000-0000-0000-00000000ffff", "eval not found"),
        ("/v1/node/none", "node not found"),
    ] {
        let answer = get(&router, uri).await;
        assert_eq!((answer.status.as_u16(), answer.body.as_str()), (404, message), "{uri}");
    }
    let other = get(&router, "/v1/jobs?region=mars").await;
    assert_eq!((other.status.as_u16(), other.body.as_str()), (500, "No path to region"));
    let metrics = get(&router, "/v1/metrics?format=prometheus").await;
    assert_eq!((metrics.status.as_u16(), metrics.body.as_str()), (415, "Prometheus is not enabled"));
}

#[tokio::test]
async fn job_ids_may_hold_slashes_escapes_and_any_letters() {
    let control = small_cluster();
    for id in ["web/dispatch-1", "100%", "größe", "a?b#c", "web/periodic/summary2"] {
        control.change(|state| state.put_job(job(id)));
    }
    let router = router(Some(control), None);
    for (uri, id) in [
        ("/v1/job/web/dispatch-1", "web/dispatch-1"),
        ("/v1/job/web%2Fdispatch-1", "web/dispatch-1"),
        ("/v1/job/100%25", "100%"),
        ("/v1/job/gr%C3%B6%C3%9Fe", "größe"),
        ("/v1/job/a%3Fb%23c", "a?b#c"),
        ("/v1/job/web%2Fperiodic%2Fsummary2", "web/periodic/summary2"),
    ] {
        assert_eq!(get(&router, uri).await.json()["ID"], id, "{uri}");
        let summary = get(&router, &format!("{uri}/summary")).await;
        assert_eq!(summary.json()["JobID"], id, "{uri}");
    }
    assert_eq!(get(&router, "/v1/job/%FF").await.status, 400);
    assert_eq!(get(&router, "/v1/job/").await.body, "Missing job ID");
    let web = format!("{{\"Job\":{}}}", serde_json::to_string(&job("web")).unwrap());
    assert_eq!(put(&router, "/v1/job/other", &web).await.body, "Job ID does not match the one in the path");
}
