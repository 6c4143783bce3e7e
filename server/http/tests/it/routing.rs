use std::sync::Arc;

use http::Method;
use http_body_util::BodyExt as _;
use orch_http::Body;
use serde_json::json;
use tower::ServiceExt as _;

use super::fake_node::FakeNode;
use super::{get, job, node_behind, put, router, send, small_cluster, small_node, uuid};

#[tokio::test]
async fn an_allocation_of_this_machine_is_answered_here() {
    for router in [router(Some(small_cluster()), Some(small_node())), router(None, Some(small_node()))] {
        let listed = get(&router, &format!("/v1/client/fs/ls/{}", uuid(1))).await;
        assert_eq!(listed.json()[0]["Name"], "alloc");
        assert_eq!(listed.header("access-control-allow-origin"), "*");
        let restarted =
            put(&router, &format!("/v1/client/allocation/{}/restart", uuid(1)), r#"{"TaskName":"app"}"#).await;
        assert_eq!(restarted.json(), json!({ "Index": 0 }));
        assert_eq!(get(&router, "/v1/client/stats").await.json()["Uptime"], 7);
    }
}

#[tokio::test]
async fn a_server_passes_on_what_belongs_to_another_node_with_its_query() {
    let router = router(Some(small_cluster()), None);
    let uri = format!("/v1/client/fs/cat/{}?path=%2Fa%20b", uuid(2));
    assert_eq!(get(&router, &uri).await.body, format!("node {} answers {uri}", uuid(2)));
    let uri = format!("/v1/client/stats?node_id={}", uuid(2));
    assert_eq!(get(&router, &uri).await.body, format!("node {} answers {uri}", uuid(2)));
    let gone = get(&router, &format!("/v1/client/stats?node_id={}", uuid(99))).await;
    assert_eq!((gone.status.as_u16(), gone.body.as_str()), (404, "No path to node"));
    let unknown = get(&router, &format!("/v1/client/fs/ls/{}", uuid(99))).await;
    assert_eq!((unknown.status.as_u16(), unknown.body), (404, format!("Unknown allocation \"{}\"", uuid(99))));
    let nowhere = get(&router, "/v1/client/stats").await;
    assert_eq!((nowhere.status.as_u16(), nowhere.body.as_str()), (400, "No local Node and node_id not provided"));
}

#[tokio::test]
async fn a_client_tunnels_what_is_not_its_own() {
    let router = router(None, Some(small_node()));
    for uri in [
        "/v1/jobs?prefix=a".to_owned(),
        "/v1/status/leader".to_owned(),
        format!("/v1/client/fs/ls/{}", uuid(2)),
        format!("/v1/client/stats?node_id={}", uuid(9)),
    ] {
        assert_eq!(get(&router, &uri).await.body, format!("a server answers {uri}"));
    }
    assert_eq!(get(&router, "/v1/agent/servers").await.json(), json!(["127.0.0.1:4647"]));
}

#[tokio::test]
async fn what_a_server_passed_on_is_never_sent_back() {
    let router = router(None, Some(small_node()));
    let request = http::Request::builder()
        .uri(format!("/v1/client/fs/ls/{}", uuid(2)))
        .header("x-orch-forwarded", "1")
        .body(Body::empty())
        .unwrap();
    assert_eq!(router.oneshot(request).await.unwrap().status(), 404);
}

#[tokio::test]
async fn an_agent_that_is_not_well_says_so_with_its_status() {
    let sick = FakeNode { healthy: false, ..node_behind(None) };
    let router = router(Some(small_cluster()), Some(Arc::new(sick)));
    let answer = get(&router, "/v1/agent/health").await;
    assert_eq!(answer.status, 500);
    assert_eq!(answer.json()["client"], json!({ "ok": false, "message": "no known servers" }));
    assert_eq!(get(&router, "/v1/agent/health?type=server").await.status, 200);
}

#[tokio::test]
async fn files_are_bounded_to_what_may_be_read() {
    let router = router(None, Some(small_node()));
    let fs = |rest: &str| format!("/v1/client/fs/{rest}");
    let alloc = uuid(1);
    let file = "alloc/logs/app.stdout.0";
    let text = get(&router, &fs(&format!("cat/{alloc}?path={file}"))).await;
    assert_eq!((text.body.as_str(), text.header("content-type")), ("hello\n", "text/plain; charset=utf-8"));
    assert_eq!(get(&router, &fs(&format!("readat/{alloc}?path={file}&offset=2"))).await.body, "llo\n");
    for (rest, status, message) in [
        ("ls/xyz".to_owned(), 400, "must provide a valid alloc id"),
        (format!("cat/{alloc}"), 400, "must provide a file name"),
        (format!("readat/{alloc}?path=x"), 400, "must provide an offset"),
        (
            format!("readat/{alloc}?path=x&offset=-1"),
            400,
            "Failed to parse value of \"offset\" (\"-1\") as a number in its range",
        ),
        (format!("stream/{alloc}?path=x&origin=middle"), 400, "origin must be start or end"),
        (format!("logs/{alloc}?type=stdout"), 400, "must provide task name"),
        (format!("logs/{alloc}?task=app&type=both"), 400, "must provide log type (stdout/stderr)"),
        (format!("cat/{alloc}?path=../x"), 400, "Path escapes the alloc directory"),
        (format!("cat/{alloc}?path=app/secrets/x"), 403, "Reading secret file prohibited"),
        (format!("stat/{alloc}?path=none"), 404, "none: no such file or directory"),
        (format!("burn/{alloc}"), 404, ""),
    ] {
        let answer = get(&router, &fs(&rest)).await;
        assert_eq!((answer.status.as_u16(), answer.body.as_str()), (status, message), "{rest}");
    }
    assert_eq!(send(&router, Method::DELETE, &fs(&format!("cat/{alloc}")), "").await.status, 405);
}

#[tokio::test(start_paused = true)]
async fn logs_are_frames_with_a_sign_of_life_for_each_silent_second() {
    let router = router(None, Some(small_node()));
    let logs = format!("/v1/client/fs/logs/{}?task=app&type=stdout", uuid(1));
    let frame = r#"{"Offset":6,"Data":"aGVsbG8K","File":"alloc/logs/app.stdout.0"}"#;
    assert_eq!(get(&router, &logs).await.body, frame);
    assert_eq!(get(&router, &format!("{logs}&plain=true")).await.body, "hello\n");
    assert_eq!(get(&router, &format!("{logs}&follow=true")).await.body, format!("{frame}{{}}{{}}{frame}"));
}

#[tokio::test]
async fn whole_answers_are_compressed_where_that_is_accepted_and_streams_never() {
    let control = small_cluster();
    for number in 0..20 {
        control.change(|state| state.put_job(job(&format!("job-{number}"))));
    }
    let router = router(Some(control), Some(small_node()));
    let ask = async |uri: &str, accepted: &str| {
        let request = http::Request::builder().uri(uri).header("accept-encoding", accepted).body(Body::empty());
        let (parts, body) = router.clone().oneshot(request.unwrap()).await.unwrap().into_parts();
        (parts.headers, body.collect().await.unwrap().to_bytes())
    };
    let plain = get(&router, "/v1/jobs").await;
    assert_eq!((plain.header("content-encoding"), plain.header("vary")), ("", "accept-encoding"));
    let (headers, packed) = ask("/v1/jobs", "gzip").await;
    assert_eq!(headers["content-encoding"], "gzip");
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(headers["x-nomad-index"], plain.header("x-nomad-index"));
    assert!(packed.starts_with(&[0x1f, 0x8b]) && packed.len() * 4 < plain.body.len(), "{}", packed.len());
    assert_eq!(ask("/v1/jobs", "gzip;q=0").await.1, plain.body.as_bytes());
    let logs = format!("/v1/client/fs/logs/{}?task=app&type=stdout", uuid(1));
    for small_or_streamed in ["/v1/status/leader", &logs] {
        let (headers, body) = ask(small_or_streamed, "gzip").await;
        assert!(!headers.contains_key("content-encoding") && !body.starts_with(&[0x1f]), "{small_or_streamed}");
    }
}
