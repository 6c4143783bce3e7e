use http::Method;
use serde_json::json;

use super::fake::State;
use super::{FakeControl, alloc, eval, get, job, put, router, send, small_cluster, uuid};

#[tokio::test]
async fn an_allocation_shows_its_job_and_what_it_takes_and_leaves_out_what_is_empty() {
    let router = router(Some(small_cluster()), None);
    let answer = get(&router, &format!("/v1/allocation/{}", uuid(1))).await;
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("x-nomad-knownleader"), "true");
    assert_eq!(answer.header("x-nomad-lastcontact"), "0");
    assert_eq!(answer.header("x-extra"), "yes");
    let mut shown = answer.json();
    assert_eq!(shown["Job"]["ID"], "web");
    shown.as_object_mut().unwrap().remove("Job");
    let metrics = shown.as_object_mut().unwrap().remove("Metrics").unwrap();
    assert_eq!(metrics["NodesEvaluated"], 0);
    assert_eq!(
        shown,
        json!({
            "ID": uuid(1), "Namespace": "default", "EvalID": uuid(1000), "Name": "web.web[1]", "NodeID": uuid(2),
            "NodeName": "node-1", "JobID": "web", "TaskGroup": "web",
            "AllocatedResources": {
                "Tasks": { "app": {
                    "Cpu": { "CpuShares": 100, "ReservedCores": null },
                    "Memory": { "MemoryMB": 100, "MemoryMaxMB": 0 }, "Networks": null, "Devices": null,
                } },
                "TaskLifecycles": { "app": null },
                "Shared": {
                    "Networks": [{ "IP": "192.0.2.10", "DynamicPorts": [
                        { "Label": "http", "Value": 23456, "To": 8080, "HostNetwork": "default" }
                    ] }],
                    "DiskMB": 300,
                    "Ports": [{ "Label": "http", "Value": 23456, "To": 8080, "HostIP": "192.0.2.10" }],
                },
            },
            "DesiredStatus": "run", "ClientStatus": "pending", "ClientDescription": "No tasks have started",
            "TaskStates": { "app": {
                "State": "pending", "Failed": false, "Restarts": 0, "LastRestart": null, "StartedAt": null,
                "FinishedAt": null, "Events": null, "Paused": "",
            } },
            "CreateIndex": 4, "ModifyIndex": 4,
            "CreateTime": 1_893_456_000_000_000_000_i64, "ModifyTime": 1_893_456_000_100_000_000_i64,
        })
    );
}

#[tokio::test]
async fn an_evaluation_leaves_out_what_is_empty_and_its_status_stays() {
    let router = router(Some(small_cluster()), None);
    assert_eq!(
        get(&router, &format!("/v1/evaluation/{}", uuid(1000))).await.json(),
        json!({
            "ID": uuid(1000), "Namespace": "default", "Priority": 50, "Type": "service",
            "TriggeredBy": "job-register", "JobID": "web", "Status": "pending", "CreateIndex": 3, "ModifyIndex": 3,
        })
    );
}

#[tokio::test]
async fn lists_show_every_field_of_their_rows() {
    let router = router(Some(small_cluster()), None);
    let jobs = get(&router, "/v1/jobs").await.json();
    let keys: Vec<_> = jobs[0].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            "CreateIndex",
            "Datacenters",
            "ID",
            "JobModifyIndex",
            "JobSummary",
            "ModifyIndex",
            "Multiregion",
            "Name",
            "Namespace",
            "NodePool",
            "ParameterizedJob",
            "ParentID",
            "Periodic",
            "Priority",
            "Status",
            "StatusDescription",
            "Stop",
            "SubmitTime",
            "Type",
        ]
    );
    let nodes = get(&router, "/v1/nodes?resources=true").await.json();
    assert_eq!(nodes[0]["NodeResources"]["Cpu"]["CpuShares"], 4000);
    assert_eq!(nodes[0]["Status"], "ready");
    assert!(get(&router, "/v1/nodes").await.json()[0].get("NodeResources").is_none());
    let allocs = get(&router, "/v1/job/web/allocations").await.json();
    assert_eq!(allocs.as_array().unwrap().len(), 2);
    assert!(allocs[0]["RescheduleTracker"].is_null());
    assert_eq!(get(&router, "/v1/jobs?namespace=none").await.body, "[]");
}

#[tokio::test]
async fn a_nodes_secret_is_never_shown() {
    let router = router(Some(small_cluster()), None);
    let node = get(&router, &format!("/v1/node/{}", uuid(2))).await.json();
    assert_eq!(node["SecretID"], "");
    assert_eq!(node["Name"], "node-1");
    assert_eq!(node["LastDrain"], json!(null));
}

#[tokio::test]
async fn pages_filters_and_prefixes_work_together() {
    let mut state = State::default();
    for (number, id) in (100..).zip(["a", "b", "c", "ab"]) {
        let job = state.put_job(job(id));
        state.put_eval(eval(number, &job));
    }
    let first = state.put_job(job("a"));
    for number in 1..=3 {
        state.put_alloc(alloc(number, &first));
    }
    let router = router(Some(FakeControl::new(state)), None);
    let ids = |answer: &super::Answer| {
        let rows = answer.json();
        rows.as_array().unwrap().iter().map(|row| row["ID"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let page = get(&router, "/v1/jobs?per_page=2").await;
    assert_eq!((ids(&page), page.header("x-nomad-nexttoken")), (vec!["a".into(), "ab".into()], "default.b"));
    let page = get(&router, "/v1/jobs?per_page=2&next_token=default.b").await;
    assert_eq!((ids(&page), page.header("x-nomad-nexttoken")), (vec!["b".into(), "c".into()], ""));
    assert_eq!(ids(&get(&router, "/v1/jobs?prefix=a").await), ["a", "ab"]);
    let filtered =
        get(&router, "/v1/jobs?namespace=*&filter=ID+matches+%22%5Eab%3F%24%22+and+Type+%3D%3D+service").await;
    assert_eq!(ids(&filtered), ["a", "ab"]);
    let allocs = get(&router, "/v1/allocations?per_page=2").await;
    assert_eq!(ids(&allocs).len(), 2);
    assert_eq!(allocs.header("x-nomad-nexttoken"), format!("12.{}", uuid(3)));
    let by_job = get(&router, "/v1/allocations?filter=Job.ID+%3D%3D+a+and+NextAllocation+is+empty").await;
    assert_eq!(ids(&by_job).len(), 3);
    assert_eq!(ids(&get(&router, &format!("/v1/allocations?prefix={}", &uuid(2).to_string()[..35])).await).len(), 3);
    assert_eq!(get(&router, "/v1/evaluations/count?filter=JobID+%3D%3D+a").await.json()["Count"], 1);
}

#[tokio::test]
async fn pretty_answers_are_indented_and_end_with_a_line_end() {
    let router = router(Some(small_cluster()), None);
    assert_eq!(get(&router, "/v1/status/peers?pretty").await.body, "[\n    \"127.0.0.1:4647\"\n]\n");
    assert_eq!(get(&router, "/v1/status/peers?pretty=0").await.body, "[\"127.0.0.1:4647\"]");
}

#[tokio::test]
async fn a_search_finds_the_beginnings_of_ids() {
    let router = router(Some(small_cluster()), None);
    let found = put(&router, "/v1/search", r#"{"Prefix":"we","Context":"all"}"#).await.json();
    assert_eq!(found["Matches"], json!({ "jobs": ["web"] }));
    assert_eq!(found["Truncations"]["allocs"], false);
    let found = put(&router, "/v1/search", r#"{"Prefix":"0000","Context":"nodes"}"#).await.json();
    assert_eq!(found["Matches"]["nodes"], json!([uuid(2)]));
    assert_eq!(put(&router, "/v1/search", r#"{"Context":"cats"}"#).await.status, 400);
}

#[tokio::test]
async fn what_is_known_of_the_cluster_is_told() {
    let router = router(Some(small_cluster()), None);
    assert_eq!(get(&router, "/v1/status/leader").await.json(), json!("127.0.0.1:4647"));
    assert_eq!(get(&router, "/v1/regions").await.json(), json!(["global"]));
    assert_eq!(get(&router, "/v1/namespaces").await.json()[0]["Name"], "default");
    assert_eq!(get(&router, "/v1/namespace/none").await.status, 404);
    assert_eq!(get(&router, "/v1/node/pool/default/nodes").await.json().as_array().unwrap().len(), 1);
    assert_eq!(get(&router, "/v1/node/pool/none/nodes").await.body, "node pool not found");
    let own = get(&router, "/v1/agent/self").await.json();
    assert_eq!((&own["member"]["Name"], &own["stats"]["raft"]["state"]), (&json!("one.global"), &json!("Leader")));
    assert_eq!(get(&router, "/v1/agent/health").await.json(), json!({ "server": { "ok": true, "message": "ok" } }));
    assert_eq!(send(&router, Method::HEAD, "/v1/jobs", "").await.status, 200);
}
