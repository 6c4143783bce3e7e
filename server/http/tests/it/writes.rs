use http::Method;
use serde_json::{Value, json};

use super::{get, job, put, router, send, small_cluster, uuid};

fn request(id: &str) -> Value {
    let mut job = serde_json::to_value(job(id)).unwrap();
    job["Namespace"] = json!("");
    json!({ "Job": job })
}

#[tokio::test]
async fn a_registered_job_is_answered_with_its_evaluation_and_can_be_read() {
    let router = router(Some(small_cluster()), None);
    let answer = put(&router, "/v1/jobs", &request("new").to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let shown = answer.json();
    let keys: Vec<_> = shown.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        ["EvalCreateIndex", "EvalID", "Index", "JobModifyIndex", "KnownLeader", "LastContact", "NextToken", "Warnings"]
    );
    assert_eq!(answer.header("x-nomad-index"), shown["Index"].to_string());
    assert_eq!(shown["EvalID"].as_str().unwrap().len(), 36);
    let stored = get(&router, "/v1/job/new").await.json();
    assert_eq!((&stored["Namespace"], &stored["Type"]), (&json!("default"), &json!("service")));
}

#[tokio::test]
async fn a_job_whose_names_are_in_another_case_is_the_same_job() {
    let router = router(Some(small_cluster()), None);
    let lower = request("new").to_string().replace("\"Job\"", "\"job\"").replace("\"TaskGroups\"", "\"taskgroups\"");
    let answer = send(&router, Method::POST, "/v1/jobs", &lower).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}

#[tokio::test]
async fn a_job_that_is_wrong_is_refused_with_all_that_is_wrong() {
    let router = router(Some(small_cluster()), None);
    let mut wrong = request("new");
    wrong["Job"]["Priority"] = json!(1000);
    wrong["Job"]["TaskGroups"][0]["Tasks"][0]["Driver"] = json!("none");
    let answer = put(&router, "/v1/jobs", &wrong.to_string()).await;
    assert_eq!(answer.status, 500);
    assert!(answer.header("content-type").starts_with("text/plain"));
    let (head, rest) = answer.body.split_once('\n').unwrap();
    assert!(head.ends_with(" error(s) occurred:"), "{head}");
    assert!(rest.lines().all(|line| line.starts_with("\t* ")), "{rest}");
    assert!(rest.contains("priority") && rest.contains("driver"), "{rest}");
    let validated = put(&router, "/v1/validate/job", &wrong.to_string()).await;
    assert_eq!(validated.status, 200);
    assert_eq!(validated.json()["Error"], json!(answer.body));
    assert_eq!(get(&router, "/v1/job/new").await.status, 404);
}

#[tokio::test]
async fn an_enforced_index_is_compared() {
    let router = router(Some(small_cluster()), None);
    let mut enforced = request("web");
    enforced["EnforceIndex"] = json!(true);
    let answer = put(&router, "/v1/jobs", &enforced.to_string()).await;
    assert_eq!(
        (answer.status.as_u16(), answer.body.as_str()),
        (500, "Enforcing job modify index 0: job already exists")
    );
    enforced["JobModifyIndex"] = json!(7);
    let answer = put(&router, "/v1/jobs", &enforced.to_string()).await;
    assert_eq!(answer.body, "Enforcing job modify index 7: job exists with conflicting job modify index: 2");
    enforced["JobModifyIndex"] = json!(2);
    assert_eq!(put(&router, "/v1/jobs", &enforced.to_string()).await.status, 200);
}

#[tokio::test]
async fn a_plan_tells_the_difference_and_why_something_would_not_fit() {
    let router = router(Some(small_cluster()), None);
    let mut plan = request("web");
    plan["Job"]["TaskGroups"][0]["Count"] = json!(4);
    plan["Diff"] = json!(true);
    let answer = put(&router, "/v1/job/web/plan", &plan.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let shown = answer.json();
    assert_eq!(shown["JobModifyIndex"], 2);
    assert_eq!(shown["Annotations"]["DesiredTGUpdates"]["web"]["Place"], 2);
    assert_eq!(shown["FailedTGAllocs"]["web"]["NodesFiltered"], 3);
    assert_eq!((&shown["Diff"]["Type"], &shown["NextPeriodicLaunch"]), (&json!("Edited"), &json!(null)));
    plan["Diff"] = json!(false);
    assert!(put(&router, "/v1/job/web/plan", &plan.to_string()).await.json()["Diff"].is_null());
}

#[tokio::test]
async fn a_stopped_job_and_its_parts_answer_to_their_writes() {
    let router = router(Some(small_cluster()), None);
    let evaluated = put(&router, "/v1/job/web/evaluate", "").await;
    assert_eq!(evaluated.json()["JobModifyIndex"], 2, "a body is optional");
    let stopped = put(&router, &format!("/v1/allocation/{}/stop", uuid(1)), "").await;
    assert_eq!(stopped.json()["EvalID"].as_str().unwrap().len(), 36);
    let ineligible =
        put(&router, &format!("/v1/node/{}/eligibility", uuid(2)), r#"{"Eligibility":"ineligible"}"#).await;
    assert!(ineligible.json()["NodeModifyIndex"].as_u64().unwrap() > 1);
    let node = get(&router, &format!("/v1/node/{}", uuid(2))).await.json();
    assert_eq!(node["SchedulingEligibility"], "ineligible");
    let purged = send(&router, Method::DELETE, "/v1/job/web?purge=true", "").await;
    assert_eq!(purged.json()["VolumeEvalID"], "");
    assert_eq!(get(&router, "/v1/job/web").await.body, "job not found");
}

#[tokio::test]
async fn the_schedulers_settings_are_replaced_only_at_the_index_they_were_seen_at() {
    let router = router(Some(small_cluster()), None);
    let uri = "/v1/operator/scheduler/configuration";
    assert_eq!(get(&router, uri).await.json()["SchedulerConfig"]["SchedulerAlgorithm"], "binpack");
    let spread = r#"{"SchedulerAlgorithm":"spread"}"#;
    assert_eq!(put(&router, &format!("{uri}?cas=9"), spread).await.json()["Updated"], false);
    assert_eq!(put(&router, &format!("{uri}?cas=0"), spread).await.json()["Updated"], true);
    assert_eq!(get(&router, uri).await.json()["SchedulerConfig"]["SchedulerAlgorithm"], "spread");
    assert_eq!(put(&router, uri, r#"{"SchedulerAlgorithm":"best"}"#).await.status, 400);
}

#[tokio::test]
async fn an_hcl_text_becomes_a_job_or_says_what_is_wrong() {
    let router = router(Some(small_cluster()), None);
    let parsed = put(&router, "/v1/jobs/parse", r#"{"JobHCL":"job \"web\" {}"}"#).await;
    assert_eq!(parsed.json()["ID"], "web");
    let wrong = put(&router, "/v1/jobs/parse", r#"{"JobHCL":"x"}"#).await;
    assert_eq!((wrong.status.as_u16(), wrong.body.as_str()), (400, "Failed to parse job: 1:1: expected a job block"));
    assert_eq!(put(&router, "/v1/jobs/parse", "{}").await.body, "Job spec is empty");
}
