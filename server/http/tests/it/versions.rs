use std::sync::Arc;

use serde_json::json;

use super::{FakeControl, get, job, put, router, small_cluster};

/// A cluster whose job `web` has the versions 0, with two instances, and 1, with five.
fn two_versions() -> Arc<FakeControl> {
    let control = small_cluster();
    control.change(|state| {
        let mut newer = job("web");
        newer.task_groups[0].count = 5;
        state.put_job(newer);
    });
    control
}

#[tokio::test]
async fn versions_are_shown_newest_first_and_what_each_changed_where_asked_for() {
    let router = router(Some(two_versions()), None);
    let plain = get(&router, "/v1/job/web/versions").await.json();
    let versions: Vec<_> = plain["Versions"].as_array().unwrap().iter().map(|job| job["Version"].clone()).collect();
    assert_eq!((versions, &plain["Diffs"]), (vec![json!(1), json!(0)], &json!(null)));
    let diffs = get(&router, "/v1/job/web/versions?diffs=true").await.json();
    assert_eq!(diffs["Diffs"].as_array().unwrap().len(), 1);
    let fields = &diffs["Diffs"][0]["TaskGroups"][0]["Fields"];
    let count = fields.as_array().unwrap().iter().find(|field| field["Name"] == "Count").unwrap();
    assert_eq!((&count["Old"], &count["New"]), (&json!("2"), &json!("5")));
    let against = get(&router, "/v1/job/web/versions?diffs=true&diff_version=1").await.json();
    assert_eq!(against["Diffs"].as_array().unwrap().len(), 2);
    let missing = get(&router, "/v1/job/web/versions?diffs=true&diff_version=7").await;
    assert_eq!((missing.status.as_u16(), missing.body.as_str()), (404, "version 7 not found"));
}

#[tokio::test]
async fn a_job_goes_back_to_a_version_as_a_new_one() {
    let router = router(Some(two_versions()), None);
    let reverted =
        put(&router, "/v1/job/web/revert", r#"{"JobID":"web","JobVersion":0,"EnforcePriorVersion":1}"#).await;
    let shown = reverted.json();
    assert_eq!(reverted.header("x-nomad-index"), shown["Index"].to_string());
    assert_eq!((shown["EvalID"].as_str().unwrap().len(), &shown["Warnings"]), (36, &json!("")));
    let stored = get(&router, "/v1/job/web").await.json();
    assert_eq!((&stored["Version"], &stored["TaskGroups"][0]["Count"]), (&json!(2), &json!(2)));
    for (uri, body, status, message) in [
        ("/v1/job/web/revert", r#"{"JobVersion":2}"#, 400, "can't revert to current version"),
        ("/v1/job/web/revert", r#"{"JobVersion":9}"#, 404, "job at version 9 not found"),
        (
            "/v1/job/web/revert",
            r#"{"JobVersion":0,"EnforcePriorVersion":1}"#,
            500,
            "Current job has version 2; enforcing version 1",
        ),
        ("/v1/job/web/revert", r#"{"JobID":"other"}"#, 400, "Job ID does not match the one in the path"),
        ("/v1/job/web/revert", "", 400, "Request body is empty"),
        ("/v1/job/none/revert", r#"{"JobVersion":0}"#, 404, "job not found"),
    ] {
        let refused = put(&router, uri, body).await;
        assert_eq!((refused.status.as_u16(), refused.body.as_str()), (status, message), "{body}");
    }
    assert_eq!(get(&router, "/v1/job/web/revert").await.status, 405);
}

#[tokio::test]
async fn a_version_is_marked_as_one_to_go_back_to() {
    let control = two_versions();
    let router = router(Some(control.clone()), None);
    let marked = put(&router, "/v1/job/web/stable", r#"{"JobID":"web","JobVersion":0,"Stable":true}"#).await;
    assert_eq!(marked.json(), json!({ "Index": 6 }));
    assert_eq!(marked.header("x-nomad-index"), "6");
    assert_eq!(*control.asked.lock().unwrap(), ["stable=true"]);
    assert_eq!(put(&router, "/v1/job/web/stable", r#"{"JobVersion":9}"#).await.status, 404);
    assert_eq!(put(&router, "/v1/job/web/stable", r#"{"JobID":"other"}"#).await.status, 400);
}
