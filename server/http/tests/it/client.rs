use std::sync::Arc;

use orch_api::allocation::{AllocRestartRequest, AllocSignalRequest};
use orch_api::client::{Address, DeregisterOptions, LogOptions};
use orch_api::deployment::DeploymentAllocHealthRequest;
use orch_api::job::{JobParseRequest, JobPlanRequest, JobRegisterRequest};
use orch_api::scaling::ScalingRequest;
use orch_api::search::SearchRequest;
use orch_api::{Client, Config, QueryOptions, SchedulerConfiguration};
use orch_model::node::Eligibility;
use tokio::net::TcpListener;

use super::{deployment, job, router, small_cluster, small_node, uuid};

fn scale(group: &str, count: i64) -> ScalingRequest {
    let target = [("Group".to_owned(), group.to_owned())].into();
    ScalingRequest { count: Some(count), target, ..ScalingRequest::default() }
}

async fn client() -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let control = small_cluster();
    control.change(|state| {
        let job = state.jobs.values().next().unwrap()[0].clone();
        state.put_deployment(deployment(500, &job));
    });
    let router = router(Some(control), Some(small_node()));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Client::new(Config { address: Address::Tcp { host: "127.0.0.1".into(), port }, ..Config::default() })
}

#[tokio::test]
async fn the_typed_client_understands_every_read() {
    let client = client().await;
    let plain = QueryOptions::default();
    let (alloc, eval, node) = (uuid(1).to_string(), uuid(1000).to_string(), uuid(2).to_string());
    assert_eq!(client.jobs(&plain).await.unwrap().0[0].id, "web");
    assert_eq!(client.job("web", &plain).await.unwrap().0.id.as_str(), "web");
    assert_eq!(client.job_summary("web", &plain).await.unwrap().0.job_id, "web");
    assert_eq!(client.job_versions("web", true, &plain).await.unwrap().0.versions.len(), 1);
    assert_eq!(client.job_allocations("web", true, &plain).await.unwrap().0.len(), 2);
    assert_eq!(client.job_evaluations("web", &plain).await.unwrap().0.len(), 1);
    assert!(client.job_submission("web", 0, &plain).await.unwrap_err().is_not_found());
    assert_eq!(client.allocations(&plain).await.unwrap().0.len(), 2);
    assert_eq!(client.allocation(&alloc, &plain).await.unwrap().0.job.unwrap().id.as_str(), "web");
    assert_eq!(client.allocation_stats(&alloc, "app").await.unwrap().timestamp, 0);
    assert_eq!(client.evaluations(&plain).await.unwrap().0[0].job_id, "web");
    assert_eq!(client.evaluation_count(&plain).await.unwrap().0.count, 1);
    assert_eq!(client.evaluation(&eval, &plain).await.unwrap().0.triggered_by, "job-register");
    assert_eq!(client.evaluation_allocations(&eval, &plain).await.unwrap().0.len(), 2);
    assert_eq!(client.nodes(&plain).await.unwrap().0[0].name, "node-1");
    assert_eq!(client.node(&node, &plain).await.unwrap().0.name, "node-1");
    assert_eq!(client.node_allocations(&node, &plain).await.unwrap().0.len(), 2);
    assert_eq!(client.node_pools(&plain).await.unwrap().0.len(), 2);
    assert_eq!(client.node_pool("default", &plain).await.unwrap().0.name, "default");
    assert_eq!(client.node_pool_nodes("all", &plain).await.unwrap().0.len(), 1);
    assert_eq!(client.node_pool_jobs("default", &plain).await.unwrap().0.len(), 1);
    assert_eq!(client.namespaces(&plain).await.unwrap().0[0].name, "default");
    assert_eq!(client.namespace("default", &plain).await.unwrap().0.name, "default");
    assert_eq!(client.host_stats("").await.unwrap().uptime, 7);
    assert!(client.node_metadata(&node).await.unwrap().meta.is_empty());
    assert_eq!(client.agent_self().await.unwrap().member.name, "one.global");
    assert_eq!(client.agent_members().await.unwrap().server_region, "global");
    assert!(client.agent_health().await.unwrap().client.unwrap().ok);
    assert_eq!(client.agent_servers().await.unwrap(), ["127.0.0.1:4647"]);
    assert_eq!(client.leader().await.unwrap(), "127.0.0.1:4647");
    assert_eq!(client.peers().await.unwrap().len(), 1);
    assert_eq!(client.regions().await.unwrap(), ["global"]);
    assert!(client.raft_configuration(true).await.unwrap().servers.is_empty());
    assert_eq!(client.scheduler_configuration().await.unwrap().scheduler_config.scheduler_algorithm, "binpack");
    let deployment = uuid(500).to_string();
    assert_eq!(client.deployments(&plain).await.unwrap().0[0].id, deployment);
    assert_eq!(client.deployment(&deployment, &plain).await.unwrap().0.task_groups["web"].desired_total, 2);
    assert!(client.deployment_allocations(&deployment, &plain).await.unwrap().0.is_empty());
    assert_eq!(client.job_deployments("web", false, &plain).await.unwrap().0.len(), 1);
    assert_eq!(client.job_latest_deployment("web", &plain).await.unwrap().0.unwrap().id, deployment);
    assert!(client.job_latest_deployment("none", &plain).await.unwrap().0.is_none());
    assert_eq!(client.job_scale_status("web", &plain).await.unwrap().0.task_groups["web"].placed, 2);
    assert_eq!(client.brake_status().await.unwrap().held[0].name, "node-1");
    let found = client.search(&SearchRequest { prefix: "we".into(), ..SearchRequest::default() }).await.unwrap();
    assert_eq!(found.matches["jobs"], ["web"]);
}

#[tokio::test]
async fn the_typed_client_reads_files_and_logs() {
    let client = client().await;
    let alloc = uuid(1).to_string();
    let file = "alloc/logs/app.stdout.0";
    assert!(client.list_files(&alloc, "/").await.unwrap()[0].is_dir);
    assert_eq!(client.stat_file(&alloc, file).await.unwrap().size, 6);
    assert_eq!(&client.cat_file(&alloc, file).await.unwrap()[..], b"hello\n");
    assert_eq!(&client.read_file_at(&alloc, file, 2, 100).await.unwrap()[..], b"llo\n");
    let mut stream = client.stream_file(&alloc, file, "start", 0, false).await.unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap().offset, 6);
    assert_eq!(stream.next().await.unwrap(), None);
    let log = LogOptions { task: "app".into(), kind: "stdout".into(), ..LogOptions::default() };
    let mut logs = client.logs(&alloc, &log).await.unwrap();
    assert_eq!(&logs.next().await.unwrap().unwrap().data.0[..], b"hello\n");
    let wrong = LogOptions { kind: "both".into(), ..log };
    let error = client.logs(&alloc, &wrong).await.unwrap_err();
    assert_eq!(error.to_string(), "must provide log type (stdout/stderr) (HTTP 400)");
}

#[tokio::test]
async fn the_typed_client_understands_every_write() {
    let client = client().await;
    let (alloc, node) = (uuid(1).to_string(), uuid(2).to_string());
    let submitted = Arc::new(job("new"));
    let request = JobRegisterRequest { job: Some(submitted.clone()), ..JobRegisterRequest::default() };
    assert!(client.register_job(&request).await.unwrap().index > 0);
    let plan = JobPlanRequest { job: Some(submitted.clone()), diff: true, ..JobPlanRequest::default() };
    let planned = client.plan_job("new", &plan).await.unwrap();
    assert!(planned.diff.is_some());
    assert_eq!(planned.failed_tg_allocs["web"].nodes_evaluated, 3);
    assert_eq!(client.validate_job(submitted).await.unwrap().error, "");
    assert!(client.evaluate_job("new", false).await.unwrap().index > 0);
    assert!(client.scale_job("new", &scale("web", 3)).await.unwrap().index > 0);
    assert!(client.revert_job("new", 0, Some(1)).await.unwrap().index > 0);
    assert!(client.set_job_stability("new", 0, true).await.unwrap().index > 0);
    let deployment = uuid(500).to_string();
    assert!(client.promote_deployment(&deployment, &[]).await.unwrap_err().to_string().contains("no canaries"));
    let health = DeploymentAllocHealthRequest {
        deployment_id: deployment.clone(),
        healthy_allocation_ids: vec![alloc.clone()],
        ..DeploymentAllocHealthRequest::default()
    };
    assert!(client.set_allocation_health(&health).await.unwrap().index > 0);
    assert!(client.pause_deployment(&deployment, true).await.unwrap().deployment_modify_index > 0);
    assert_eq!(client.fail_deployment(&deployment).await.unwrap().reverted_job_version, Some(0));
    assert!(client.deregister_job("new", DeregisterOptions::default()).await.unwrap().index > 0);
    let hcl = JobParseRequest { job_hcl: "job \"web\" {}".into(), ..JobParseRequest::default() };
    assert_eq!(client.parse_job(&hcl).await.unwrap().id.as_str(), "web");
    assert!(!client.stop_allocation(&alloc, false).await.unwrap().eval_id.is_empty());
    assert!(!client.reschedule_allocation(&alloc, true).await.unwrap().eval_id.is_empty());
    client.restart_allocation(&alloc, &AllocRestartRequest::default()).await.unwrap();
    let signal = AllocSignalRequest { signal: "SIGHUP".into(), ..AllocSignalRequest::default() };
    client.signal_allocation(&alloc, &signal).await.unwrap();
    client.gc_allocation(&alloc).await.unwrap();
    client.gc_node(&node).await.unwrap();
    assert!(client.set_eligibility(&node, Eligibility::Ineligible).await.unwrap().index > 0);
    assert!(client.evaluate_node(&node).await.unwrap_err().is_not_found());
    assert!(client.purge_node(&node).await.unwrap_err().is_not_found());
    let spread = SchedulerConfiguration { scheduler_algorithm: "spread".into(), ..SchedulerConfiguration::default() };
    assert!(client.set_scheduler_configuration(&spread, None).await.unwrap().updated);
    client.remove_raft_peer("1").await.unwrap();
    assert_eq!(client.transfer_leadership(Some("2")).await.unwrap().err, None);
    client.force_leave("two.global", true).await.unwrap();
    client.system_gc().await.unwrap();
    client.reconcile_summaries().await.unwrap();
    assert_eq!(client.join(&["127.0.0.1:4647".into()]).await.unwrap().num_joined, 1);
    assert!(client.release_brake().await.unwrap().held.is_empty());
}
