use std::sync::Arc;
use std::time::Duration;

use http::Method;
use orch_model::allocation::{AllocHealth, ClientStatus, RescheduleEvent};
use orch_model::deployment::DeploymentStatus;
use orch_model::{AllocId, Allocation, Deployment, DeploymentId, EvalId, Nanos, NodeId, StateIndex, Timestamp};
use serde_json::json;

use super::{FakeControl, alloc, deployment, eval, get, job, put, router, send, small_cluster, uuid};

/// The small cluster, whose job is being rolled out: allocation 1 is part of that, allocation 2 is older.
fn rolling() -> Arc<FakeControl> {
    let control = small_cluster();
    control.change(|state| {
        let job = state.jobs.values().next().unwrap()[0].clone();
        state.put_deployment(deployment(500, &job));
        state.put_alloc(Allocation { deployment_id: Some(DeploymentId::from_uuid(uuid(500))), ..alloc(1, &job) });
    });
    control
}

#[tokio::test]
async fn a_deployment_shows_every_field() {
    let router = router(Some(rolling()), None);
    let answer = get(&router, &format!("/v1/deployment/{}", uuid(500))).await;
    assert_eq!(answer.header("x-nomad-index"), "6");
    assert_eq!(
        answer.json(),
        json!({
            "ID": uuid(500), "Namespace": "default", "JobID": "web", "JobVersion": 0, "JobModifyIndex": 2,
            "JobSpecModifyIndex": 2, "JobCreateIndex": 2, "IsMultiregion": false,
            "TaskGroups": { "web": {
                "AutoRevert": true, "AutoPromote": false, "ProgressDeadline": 600_000_000_000_i64,
                "RequireProgressBy": "2030-01-01T00:10:00Z", "Promoted": false, "PlacedCanaries": null,
                "DesiredCanaries": 0, "DesiredTotal": 2, "PlacedAllocs": 2, "HealthyAllocs": 1, "UnhealthyAllocs": 0,
            } },
            "Status": "running", "StatusDescription": "Deployment is running", "EvalPriority": 50,
            "CreateIndex": 6, "ModifyIndex": 6,
            "CreateTime": 1_893_456_000_000_000_000_i64, "ModifyTime": 1_893_456_000_000_000_001_i64,
        })
    );
    for id in ["none".to_owned(), uuid(7).to_string()] {
        let none = get(&router, &format!("/v1/deployment/{id}")).await;
        assert_eq!((none.status.as_u16(), none.body.as_str()), (404, "deployment not found"));
    }
}

#[tokio::test]
async fn deployments_are_listed_by_prefix_filter_page_and_job() {
    let control = rolling();
    control.change(|state| {
        let job = state.jobs.values().next().unwrap()[0].clone();
        state.put_deployment(Deployment { status: DeploymentStatus::Successful, ..deployment(400, &job) });
        let other = state.put_job(job_in("other", "apps"));
        state.put_deployment(deployment(600, &other));
    });
    let router = router(Some(control), None);
    let ids = |answer: &super::Answer| {
        let rows = answer.json();
        rows.as_array().unwrap().iter().map(|row| row["ID"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let [first, second, other] = [500, 400, 600].map(|number| uuid(number).to_string());
    assert_eq!(ids(&get(&router, "/v1/deployments").await), [&*first, &*second], "in the order of their creation");
    assert_eq!(ids(&get(&router, "/v1/deployments?namespace=*").await).len(), 3);
    assert_eq!(ids(&get(&router, "/v1/deployments?namespace=apps").await), [&*other]);
    let page = get(&router, "/v1/deployments?per_page=1").await;
    assert_eq!((ids(&page), page.header("x-nomad-nexttoken")), (vec![first.clone()], &*format!("8.{second}")));
    let rest = get(&router, &format!("/v1/deployments?per_page=1&next_token=8.{second}")).await;
    assert_eq!((ids(&rest), rest.header("x-nomad-nexttoken")), (vec![second.clone()], ""));
    let filtered = get(&router, "/v1/deployments?filter=Status+%3D%3D+successful").await;
    assert_eq!(ids(&filtered), [&*second]);
    assert_eq!(ids(&get(&router, &format!("/v1/deployments?prefix={}", &first[..35])).await), [&*first]);
    assert_eq!(get(&router, "/v1/deployments?prefix=zz").await.status, 400);
    assert_eq!(ids(&get(&router, "/v1/job/web/deployments").await), [&*first, &*second]);
    assert_eq!(get(&router, "/v1/job/web/deployment").await.json()["ID"], second.as_str());
    assert_eq!(get(&router, "/v1/job/none/deployment").await.body, "null");
    let found = put(&router, "/v1/search", &format!(r#"{{"Prefix":"{first}","Context":"deployment"}}"#)).await;
    assert_eq!(found.json()["Matches"], json!({ "deployment": [first] }));
}

fn job_in(id: &str, namespace: &str) -> orch_model::Job {
    orch_model::Job { namespace: namespace.into(), ..job(id) }
}

#[tokio::test]
async fn deployments_of_an_earlier_incarnation_are_shown_only_where_asked_for() {
    let control = rolling();
    control.change(|state| {
        state.jobs.clear();
        state.put_job(job("web"));
    });
    let router = router(Some(control), None);
    assert_eq!(get(&router, "/v1/job/web/deployments").await.body, "[]");
    assert_eq!(get(&router, "/v1/job/web/deployment").await.body, "null");
    assert_eq!(get(&router, "/v1/job/web/deployments?all=true").await.json().as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_deployment_is_paused_resumed_and_failed_until_it_has_ended() {
    let router = router(Some(rolling()), None);
    let id = uuid(500);
    let path = |action: &str| format!("/v1/deployment/{action}/{id}");
    let status = async || get(&router, &format!("/v1/deployment/{id}")).await.json()["Status"].clone();
    let paused = put(&router, &path("pause"), &format!(r#"{{"DeploymentID":"{id}","Pause":true}}"#)).await;
    let shown = paused.json();
    assert_eq!(paused.header("x-nomad-index"), shown["Index"].to_string());
    let keys: Vec<_> = shown.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["DeploymentModifyIndex", "EvalCreateIndex", "EvalID", "Index", "RevertedJobVersion"]);
    assert_eq!((status().await, &shown["RevertedJobVersion"]), (json!("paused"), &json!(null)));
    put(&router, &path("pause"), r#"{"Pause":false}"#).await;
    assert_eq!(status().await, "running");
    let failed = send(&router, Method::POST, &path("fail"), "").await;
    assert_eq!(failed.json()["RevertedJobVersion"], 0);
    assert_eq!(failed.json()["EvalID"].as_str().unwrap().len(), 36);
    let shown = get(&router, &format!("/v1/deployment/{id}")).await.json();
    assert_eq!(shown["StatusDescription"], "Deployment marked as failed - rolling back to job version 0");
    for (action, body, told) in [
        ("fail", "", "can't fail terminal deployment"),
        ("pause", r#"{"Pause":true}"#, "can't pause terminal deployment"),
        ("pause", r#"{"Pause":false}"#, "can't resume terminal deployment"),
        ("promote", r#"{"All":true}"#, "can't promote terminal deployment"),
    ] {
        let refused = put(&router, &path(action), body).await;
        assert_eq!((refused.status.as_u16(), refused.body.as_str()), (400, told));
    }
}

#[tokio::test]
async fn what_cannot_be_done_with_a_deployment_is_told() {
    let router = router(Some(rolling()), None);
    let (id, other, alloc) = (uuid(500), uuid(501), uuid(1));
    let health = |of: &str| format!("{{\"HealthyAllocationIDs\":[{of}],\"UnhealthyAllocationIDs\":[{of}]}}");
    for (action, id, body, status, message) in [
        ("pause", id, String::new(), 400, "Request body is empty".to_owned()),
        (
            "pause",
            id,
            format!(r#"{{"DeploymentID":"{other}"}}"#),
            400,
            "Deployment ID does not match the one in the path".into(),
        ),
        ("pause", other, "{}".into(), 404, "deployment not found".into()),
        ("fail", other, String::new(), 404, "deployment not found".into()),
        ("promote", other, "{}".into(), 404, "deployment not found".into()),
        (
            "promote",
            id,
            r#"{"All":true}"#.into(),
            400,
            "no canaries to promote: no group of the deployment has \"canary\" in its update block".into(),
        ),
        ("promote", id, r#"{"Groups":["x"]}"#.into(), 400, "group \"x\" is not part of the deployment".into()),
        ("unblock", id, "{}".into(), 501, "there are no deployments over several regions to unblock".into()),
        (
            "allocation-health",
            id,
            "{}".into(),
            400,
            "must specify at least one healthy or unhealthy allocation ID".into(),
        ),
        ("allocation-health", id, health("\"x\""), 400, "\"x\" is not the complete ID of an allocation".into()),
        (
            "allocation-health",
            id,
            health(&format!("\"{alloc}\"")),
            400,
            format!("allocation {alloc} cannot be both healthy and unhealthy"),
        ),
        ("burn", id, "{}".into(), 404, String::new()),
    ] {
        let answer = put(&router, &format!("/v1/deployment/{action}/{id}"), &body).await;
        assert_eq!((answer.status.as_u16(), answer.body), (status, message), "{action} {body}");
    }
    assert_eq!(get(&router, &format!("/v1/deployment/fail/{id}")).await.status, 405);
    assert_eq!(put(&router, &format!("/v1/deployment/{id}"), "{}").await.status, 405);
}

#[tokio::test(start_paused = true)]
async fn word_of_an_allocations_health_wakes_who_watches_its_deployment() {
    let router = router(Some(rolling()), None);
    let watched = format!("/v1/deployment/allocations/{}", uuid(500));
    let before = get(&router, &watched).await;
    assert_eq!((before.json().as_array().unwrap().len(), &before.json()[0]["ID"]), (1, &json!(uuid(1))));
    assert!(before.json()[0]["DeploymentStatus"].is_null());
    let waiting = tokio::spawn({
        let (router, uri) = (router.clone(), format!("{watched}?index={}&wait=60s", before.header("x-nomad-index")));
        async move { get(&router, &uri).await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let body = format!(r#"{{"HealthyAllocationIDs":["{}"]}}"#, uuid(1));
    let set = put(&router, &format!("/v1/deployment/allocation-health/{}", uuid(500)), &body).await;
    assert_eq!(set.status, 200, "{}", set.body);
    let after = waiting.await.unwrap().json();
    assert_eq!(
        after[0]["DeploymentStatus"],
        json!({ "Healthy": true, "Timestamp": "1970-01-01T00:00:00.000000007Z", "Canary": false, "ModifyIndex": 8 })
    );
    let none = get(&router, &format!("/v1/deployment/allocations/{}", uuid(9))).await;
    assert_eq!((none.status.as_u16(), none.body.as_str()), (404, "deployment not found"));
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_changes_wakes_who_watches_it() {
    let control = rolling();
    let router = router(Some(control.clone()), None);
    let index = get(&router, "/v1/job/web/deployment").await.header("x-nomad-index").to_owned();
    let waiting = tokio::spawn({
        let (router, uri) = (router.clone(), format!("/v1/job/web/deployment?index={index}&wait=60s"));
        async move { get(&router, &uri).await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(*control.woken.lock().unwrap(), 0);
    put(&router, &format!("/v1/deployment/fail/{}", uuid(500)), "").await;
    assert_eq!(waiting.await.unwrap().json()["Status"], "failed");
}

#[tokio::test]
async fn an_allocation_shows_its_deployment_and_the_attempts_before_it() {
    let control = small_cluster();
    let deployment = Some(DeploymentId::from_uuid(uuid(500)));
    let earlier = RescheduleEvent {
        at: Timestamp(5),
        alloc: AllocId::from_uuid(uuid(3)),
        node: NodeId::from_uuid(uuid(2)),
        delay: Nanos::from_secs(30),
    };
    control.change(|state| {
        let job = state.jobs.values().next().unwrap()[0].clone();
        state.put_alloc(Allocation {
            deployment_id: deployment,
            health: Some(AllocHealth {
                healthy: false,
                at: Timestamp(1_893_456_000_000_000_000),
                index: StateIndex(9),
            }),
            reschedules: Arc::from([earlier]),
            followup_eval: Some(EvalId::from_uuid(uuid(1001))),
            client_status: ClientStatus::Failed,
            ..alloc(1, &job)
        });
        let mut later = eval(1001, &job);
        later.deployment_id = deployment;
        state.put_eval(later);
    });
    let router = router(Some(control), None);
    let shown = get(&router, &format!("/v1/allocation/{}", uuid(1))).await.json();
    assert_eq!((&shown["DeploymentID"], &shown["FollowupEvalID"]), (&json!(uuid(500)), &json!(uuid(1001))));
    assert_eq!(
        shown["DeploymentStatus"],
        json!({ "Healthy": false, "Timestamp": "2030-01-01T00:00:00Z", "Canary": false, "ModifyIndex": 9 })
    );
    let tracker = json!({
        "Events": [{
            "RescheduleTime": 5, "PrevAllocID": uuid(3), "PrevNodeID": uuid(2), "Delay": 30_000_000_000_i64,
        }],
        "LastReschedule": "pending",
    });
    assert_eq!(shown["RescheduleTracker"], tracker);
    let rows = get(&router, &format!("/v1/allocations?prefix={}", uuid(1))).await.json();
    assert_eq!((&rows[0]["RescheduleTracker"], &rows[0]["FollowupEvalID"]), (&tracker, &json!(uuid(1001))));
    assert_eq!(rows[0]["DeploymentStatus"]["Healthy"], false);
    let eval = get(&router, &format!("/v1/evaluation/{}", uuid(1001))).await.json();
    assert_eq!(eval["DeploymentID"], json!(uuid(500)));
}
