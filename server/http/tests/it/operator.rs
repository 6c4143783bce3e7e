use http::Method;
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::json;

use super::{get, put, router, router_with_metrics, send, small_cluster, small_node, uuid};

#[tokio::test]
async fn the_brake_tells_whom_it_holds_back_and_lets_go() {
    let router = router(Some(small_cluster()), None);
    let shown = get(&router, "/v1/operator/brake").await.json();
    assert_eq!(
        shown,
        json!({
            "Tokens": 0.5, "Capacity": 5.0, "RefillPeriod": 60_000_000_000_i64, "Hold": 300_000_000_000_i64,
            "Held": [{ "ID": "a", "Name": "node-1", "Since": "2030-01-01T00:00:00Z" }],
        })
    );
    assert_eq!(get(&router, "/v1/operator/brake/release").await.status, 405);
    assert!(put(&router, "/v1/operator/brake/release", "").await.json()["Held"].is_null());
}

#[tokio::test]
async fn servers_join_by_their_addresses_and_those_that_do_not_are_told() {
    let router = router(Some(small_cluster()), None);
    let joined = put(&router, "/v1/agent/join?address=127.0.0.1:4647&address=10.0.0.9:4647", "").await;
    assert_eq!(joined.json(), json!({ "num_joined": 1, "error": "10.0.0.9:4647 does not answer", "warning": "" }));
    let none = put(&router, "/v1/agent/join", "").await;
    assert_eq!((none.status.as_u16(), none.body.as_str()), (400, "missing address to join"));
    let client = super::router(None, Some(small_node()));
    let refused = put(&client, "/v1/agent/join?address=127.0.0.1:4647", "").await;
    assert_eq!((refused.status.as_u16(), refused.body.as_str()), (501, "this agent is not a server"));
}

#[tokio::test]
async fn summaries_are_reconciled_on_demand() {
    let router = router(Some(small_cluster()), None);
    assert_eq!(put(&router, "/v1/system/reconcile/summaries", "").await.status, 200);
    assert_eq!(get(&router, "/v1/system/reconcile/summaries").await.status, 405);
}

#[tokio::test]
async fn what_is_said_beside_a_stop_or_an_evaluation_arrives() {
    let control = small_cluster();
    let router = router(Some(control.clone()), None);
    put(&router, "/v1/job/web/evaluate", r#"{"JobID":"web","EvalOptions":{"ForceReschedule":true}}"#).await;
    put(&router, &format!("/v1/allocation/{}/stop?no_shutdown_delay=true&reschedule=true", uuid(1)), "").await;
    send(&router, Method::DELETE, "/v1/job/web?no_shutdown_delay=true", "").await;
    assert_eq!(
        *control.asked.lock().unwrap(),
        ["force_reschedule=true", "no_shutdown_delay=true reschedule=true", "no_shutdown_delay=true"]
    );
}

#[tokio::test]
async fn metrics_are_told_as_json_and_as_prometheus_reads_them() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let router = router_with_metrics(Some(small_cluster()), None, Some(recorder.handle()));
    metrics::with_local_recorder(&recorder, || {
        metrics::gauge!("queue").set(3.0);
        metrics::counter!("hits", "kind" => "x").increment(2);
        metrics::histogram!("took_seconds").record(0.5);
        metrics::histogram!("took_seconds").record(1.5);
    });
    let text = get(&router, "/v1/metrics?format=prometheus").await;
    assert!(text.body.contains("\nqueue 3\n"), "{}", text.body);
    assert_eq!(text.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let shown = get(&router, "/v1/metrics").await.json();
    assert_eq!(shown["Gauges"], json!([{ "Name": "queue", "Value": 3.0, "Labels": {} }]));
    assert_eq!((&shown["Counters"][0]["Name"], &shown["Counters"][0]["Count"]), (&json!("hits"), &json!(2)));
    assert_eq!(shown["Counters"][0]["Labels"], json!({ "kind": "x" }));
    let sample = &shown["Samples"][0];
    assert_eq!((&sample["Name"], &sample["Count"], &sample["Mean"]), (&json!("took_seconds"), &json!(2), &json!(1.0)));
    assert!(shown["Timestamp"].as_str().unwrap().ends_with(" +0000 UTC"), "{shown}");
    assert_eq!(get(&router, "/v1/metrics?format=xml").await.status, 400);
    let silent = get(&super::router(Some(small_cluster()), None), "/v1/metrics").await;
    assert_eq!(silent.status, 501);
    assert!(silent.body.contains("prometheus_metrics = true"), "{}", silent.body);
}
