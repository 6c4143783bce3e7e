//! The router over handles in memory. But for the typed client's test: no sockets, no clock but the paused one.

#![allow(clippy::unwrap_used, missing_debug_implementations, unreachable_pub, reason = "tests")]

mod fake;
mod fake_node;
mod fake_task;

mod blocking;
mod client;
mod deployments;
mod interactive;
mod malformed;
mod operator;
mod reads;
mod routing;
mod scaling;
mod versions;
mod volumes;
mod writes;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use metrics_exporter_prometheus::PrometheusHandle;
use orch_http::{Agent, AgentInfo, Body, ControlPlane, LocalNode, Request};
use orch_model::allocation::{AllocPort, TaskState};
use orch_model::deployment::GroupRollout;
use orch_model::evaluation::Trigger;
use orch_model::job::{JobType, NetworkResource, Port};
use orch_model::{AllocId, Allocation, Deployment, DeploymentId, EvalId, Evaluation, Job, Nanos, NodeId, Timestamp};
use serde_json::Value;
use tower::ServiceExt as _;
use uuid::Uuid;

use fake::{FakeControl, State};
use fake_node::FakeNode;
use fake_task::FakeTask;

/// The body and head of an answer.
struct Answer {
    status: StatusCode,
    headers: http::HeaderMap,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

fn router(control: Option<Arc<FakeControl>>, local: Option<Arc<FakeNode>>) -> Router {
    router_with_metrics(control, local, None)
}

fn router_with_metrics(
    control: Option<Arc<FakeControl>>,
    local: Option<Arc<FakeNode>>,
    metrics: Option<PrometheusHandle>,
) -> Router {
    let mut info = AgentInfo {
        name: "one".into(),
        region: "global".into(),
        datacenter: "dc1".into(),
        response_headers: vec![(http::HeaderName::from_static("x-extra"), http::HeaderValue::from_static("yes"))],
        ..AgentInfo::default()
    };
    info.admission.drivers = vec!["mock_driver"];
    orch_http::router(Agent {
        control: control.map(|control| control as Arc<dyn ControlPlane>),
        local: local.map(|local| local as Arc<dyn LocalNode>),
        info,
        metrics,
        parse_job: Arc::new(|request| match request.job_hcl.as_str() {
            "job \"web\" {}" => Ok(Job { id: "web".into(), ..Job::default() }),
            _ => Err("1:1: expected a job block".into()),
        }),
    })
}

async fn send(router: &Router, method: Method, uri: &str, body: &str) -> Answer {
    let request: Request = http::Request::builder().method(method).uri(uri).body(Body::from(body.to_owned())).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    Answer { status: parts.status, headers: parts.headers, body }
}

async fn get(router: &Router, uri: &str) -> Answer {
    send(router, Method::GET, uri, "").await
}

async fn put(router: &Router, uri: &str, body: &str) -> Answer {
    send(router, Method::PUT, uri, body).await
}

fn uuid(number: u32) -> Uuid {
    Uuid::from_u128(u128::from(number))
}

fn job(id: &str) -> Job {
    let mut job = orch_model::testing::job(id, 2);
    let port = Port { label: "http".into(), to: 8080, ..Port::default() };
    job.task_groups[0].networks = vec![NetworkResource { dynamic_ports: vec![port], ..NetworkResource::default() }];
    job.submit_time = Timestamp(1_893_456_000_000_000_000);
    job
}

fn alloc(number: u32, job: &Arc<Job>) -> Allocation {
    let port = AllocPort { ask: 0, value: 23456, address: "192.0.2.10".parse().unwrap(), ignore_collision: false };
    Allocation {
        index: number,
        node_id: NodeId::from_uuid(uuid(2)),
        eval_id: EvalId::from_uuid(uuid(1000)),
        ports: [port].into_iter().collect(),
        tasks: Arc::from([TaskState::default()]),
        create_time: Timestamp(1_893_456_000_000_000_000),
        modify_time: Timestamp(1_893_456_000_100_000_000),
        ..orch_model::testing::alloc(u128::from(number), job)
    }
}

fn eval(number: u32, job: &Job) -> Evaluation {
    Evaluation::new(EvalId::from_uuid(uuid(number)), &job.key(), 50, JobType::Service, Trigger::JobRegister)
}

/// A deployment of `job`, which wants two allocations of its one group and has one that is well.
fn deployment(number: u32, job: &Job) -> Deployment {
    let group = GroupRollout {
        auto_revert: true,
        progress_deadline: Nanos::from_secs(600),
        require_progress_by: Timestamp(1_893_456_600_000_000_000),
        desired_total: 2,
        placed: 2,
        healthy: 1,
        ..GroupRollout::default()
    };
    let groups = [("web".to_owned(), group)].into();
    let id = DeploymentId::from_uuid(uuid(number));
    let made = Deployment::new(id, job.version_key(), job.job_modify_index, 50, groups);
    let (create_time, modify_time) = (job.submit_time, Timestamp(job.submit_time.0 + 1));
    Deployment { create_time, modify_time, ..made }
}

/// A job `web` with two allocations on the one node.
fn small_cluster() -> Arc<FakeControl> {
    let mut state = State::default();
    state.put_node(orch_model::testing::node(1).build());
    let job = state.put_job(job("web"));
    state.put_eval(eval(1000, &job));
    state.put_alloc(alloc(1, &job));
    state.put_alloc(alloc(2, &job));
    FakeControl::new(state)
}

/// The client that runs the first of the allocations, with a session with `server`.
fn node_behind(server: Option<SocketAddr>) -> FakeNode {
    let (id, alloc) = (NodeId::from_uuid(uuid(2)), AllocId::from_uuid(uuid(1)));
    FakeNode { id, alloc, healthy: true, task: FakeTask::default(), server }
}

fn small_node() -> Arc<FakeNode> {
    Arc::new(node_behind(None))
}
