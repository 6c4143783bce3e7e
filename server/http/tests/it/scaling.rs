use std::time::Duration;

use http::Method;
use orch_model::Allocation;
use orch_model::allocation::{AllocHealth, ClientStatus, DesiredStatus};
use orch_model::{StateIndex, Timestamp};
use serde_json::json;

use super::{alloc, get, put, router, send, small_cluster};

#[tokio::test]
async fn the_scale_of_a_job_tells_how_its_groups_are_and_what_scalers_did() {
    let control = small_cluster();
    control.change(|state| {
        let web = state.jobs.values().next().unwrap()[0].clone();
        let health = |healthy| Some(AllocHealth { healthy, at: Timestamp(1), index: StateIndex(1) });
        let running = |number, healthy| Allocation {
            client_status: ClientStatus::Running,
            health: health(healthy),
            ..alloc(number, &web)
        };
        state.put_alloc(running(3, true));
        state.put_alloc(running(4, false));
        state.put_alloc(Allocation { desired: DesiredStatus::Stop, ..running(5, true) });
    });
    let router = router(Some(control), None);
    let body = r#"{"Target":{"Group":"web"},"Count":3,"Message":"more","Meta":{"load":[1,"x"]}}"#;
    let scaled = put(&router, "/v1/job/web/scale", body).await;
    assert_eq!(scaled.status, 200, "{}", scaled.body);
    let eval_id = scaled.json()["EvalID"].clone();
    assert_eq!(eval_id.as_str().unwrap().len(), 36);
    let noted = put(&router, "/v1/job/web/scale", r#"{"Target":{"Group":"web"},"Message":"no","Error":true}"#).await;
    assert_eq!((noted.status.as_u16(), &noted.json()["EvalID"]), (200, &json!("")));
    assert_eq!(
        get(&router, "/v1/job/web/scale").await.json(),
        json!({
            "JobID": "web", "Namespace": "default", "JobCreateIndex": 2, "JobModifyIndex": 9, "JobStopped": false,
            "TaskGroups": { "web": {
                "Desired": 3, "Placed": 4, "Running": 2, "Healthy": 1, "Unhealthy": 1,
                "Events": [
                    {
                        "Time": 7, "Count": null, "PreviousCount": 3, "Message": "no", "Error": true, "Meta": null,
                        "EvalID": null, "CreateIndex": 9,
                    },
                    {
                        "Time": 7, "Count": 3, "PreviousCount": 2, "Message": "more", "Error": false,
                        "Meta": { "load": [1, "x"] }, "EvalID": eval_id, "CreateIndex": 9,
                    },
                ],
            } },
        })
    );
    assert_eq!(get(&router, "/v1/job/none/scale").await.body, "job not found");
}

#[tokio::test]
async fn a_count_that_may_not_be_is_refused_with_the_reason() {
    let control = small_cluster();
    let router = router(Some(control.clone()), None);
    let index = 2;
    for (body, status, message) in [
        (String::new(), 400, "Request body is empty".to_owned()),
        (r#"{"Count":2}"#.into(), 400, "missing task group name for scaling action: set Target.Group".into()),
        (
            r#"{"Count":2,"Target":{"Group":"web","Job":"other"}}"#.into(),
            400,
            "job ID in the target does not match the one in the path".into(),
        ),
        (
            r#"{"Count":2,"Target":{"Group":"web","Namespace":"other"}}"#.into(),
            400,
            "namespace in the target does not match the one of the request".into(),
        ),
        (
            r#"{"Count":2,"Target":{"Group":"db"}}"#.into(),
            400,
            "task group \"db\" specified for scaling does not exist in job".into(),
        ),
        (r#"{"Count":-1,"Target":{"Group":"web"}}"#.into(), 400, "scaling action count can't be negative".into()),
        (
            r#"{"Count":2,"Target":{"Group":"web"},"EnforceIndex":true,"JobModifyIndex":1}"#.into(),
            500,
            format!("Enforcing job modify index 1: job exists with conflicting job modify index: {index}"),
        ),
    ] {
        let refused = put(&router, "/v1/job/web/scale", &body).await;
        assert_eq!((refused.status.as_u16(), refused.body), (status, message), "{body}");
    }
    assert_eq!(
        put(&router, "/v1/job/none/scale", r#"{"Count":2,"Target":{"Group":"web"}}"#).await.body,
        "job not found"
    );
    assert_eq!(send(&router, Method::DELETE, "/v1/job/web/scale", "").await.status, 405);
}

#[tokio::test]
async fn scaling_is_no_way_round_what_registering_refuses() {
    let router = router(Some(small_cluster()), None);
    let body = format!(r#"{{"Count":{},"Target":{{"Group":"web"}}}}"#, 1_000_000);
    let refused = put(&router, "/v1/job/web/scale", &body).await;
    assert_eq!(refused.status, 400);
    assert!(refused.body.contains("1000000") && refused.body.contains("50000"), "{}", refused.body);
}

#[tokio::test(start_paused = true)]
async fn who_watches_the_scale_of_a_job_is_woken_by_its_allocations() {
    let control = small_cluster();
    let router = router(Some(control.clone()), None);
    let index = get(&router, "/v1/job/web/scale").await.header("x-nomad-index").to_owned();
    let waiting = tokio::spawn({
        let (router, uri) = (router.clone(), format!("/v1/job/web/scale?index={index}&wait=60s"));
        async move { get(&router, &uri).await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    control.change(|state| {
        let web = state.jobs.values().next().unwrap()[0].clone();
        state.put_alloc(Allocation { client_status: ClientStatus::Running, ..alloc(1, &web) });
    });
    assert_eq!(waiting.await.unwrap().json()["TaskGroups"]["web"]["Running"], 1);
}
