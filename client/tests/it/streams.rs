//! Logs, signals and requests through the agent's handle and its session.

use axum::Router;
use axum::routing::get;
use futures::StreamExt;
use orch_http::local::{LogKind, LogRequest, Origin, Position, RestartTarget};
use orch_http::{Body, Kind, LocalNode};
use orch_model::allocation::ClientStatus;
use serde_json::json;

use crate::node::{Machine, alloc, alloc_id, job};
use crate::server::Server;

#[tokio::test]
async fn a_log_is_followed_until_its_task_ends() {
    let (server, machine) = (Server::start().await, Machine::new());
    let node = machine.start(&server).await;
    let mut talking = job("web", &[json!({"stdout_string": "hello\n", "run_for": "300ms"})]);
    talking.r#type = "batch".into();
    server.put(alloc(1, &talking)).await;
    server.wait_status(alloc_id(1), ClientStatus::Running).await;
    let from = Position { origin: Origin::Start, offset: 0 };
    let request = LogRequest { task: "app".into(), kind: LogKind::Stdout, from, follow: true };
    let frames: Vec<_> = node.handle.logs(alloc_id(1), request).await.unwrap().collect().await;
    let text: Vec<u8> = frames.into_iter().flat_map(|frame| frame.unwrap().data.0).collect();
    assert_eq!(String::from_utf8(text).unwrap(), "hello\n");
    server.wait_status(alloc_id(1), ClientStatus::Complete).await;
    node.stop().await;
}

#[tokio::test]
async fn tasks_are_restarted_signalled_and_measured_by_hand() {
    let (server, machine) = (Server::start().await, Machine::new());
    let node = machine.start(&server).await;
    server.put(alloc(1, &job("web", &[json!({})]))).await;
    server.wait_status(alloc_id(1), ClientStatus::Running).await;
    let handle = &node.handle;
    handle.signal(alloc_id(1), Some("app"), "SIGHUP").await.unwrap();
    let usage = handle.alloc_stats(alloc_id(1), None).await.unwrap();
    assert_eq!(usage.tasks.len(), 1);
    handle.restart(alloc_id(1), RestartTarget::Running).await.unwrap();
    server.wait("a restart", |known| known.last(alloc_id(1)).is_some_and(|update| update.tasks[0].restarts == 1)).await;
    let host = handle.host_stats().await.unwrap();
    assert!(host.memory.total > 0 && !host.cpu.is_empty());

    assert_eq!(handle.signal(alloc_id(1), Some("none"), "SIGHUP").await.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(handle.signal(alloc_id(1), None, "SIGNONE").await.unwrap_err().kind(), Kind::Invalid);
    assert_eq!(handle.list(alloc_id(9), "/").await.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(handle.gc_alloc(alloc_id(1)).await.unwrap_err().kind(), Kind::Conflict);
    node.stop().await;
}

#[tokio::test]
async fn a_finished_allocation_gives_up_its_directory_when_asked() {
    let (server, machine) = (Server::start().await, Machine::new());
    let node = machine.start(&server).await;
    let mut quick = job("quick", &[json!({"run_for": "1ms"})]);
    quick.r#type = "batch".into();
    server.put(alloc(1, &quick)).await;
    server.wait_status(alloc_id(1), ClientStatus::Complete).await;
    machine.wait("the end of the runner", async || node.handle.gc_alloc(alloc_id(1)).await.is_ok()).await;
    machine.wait("no directory", async || !machine.alloc_dir(alloc_id(1)).exists()).await;
    assert!(!node.handle.has_alloc(alloc_id(1)));
    node.stop().await;
    // It is not taken for new work afterwards.
    let node = machine.start(&server).await;
    server.wait("a second session", |known| known.hellos.len() == 2).await;
    assert!(machine.tasks().await.is_empty());
    node.stop().await;
}

#[tokio::test]
async fn http_flows_both_ways_over_the_session() {
    let (server, machine) = (Server::start().await, Machine::new());
    let node = machine.start(&server).await;
    node.handle.set_router(Router::new().route("/v1/agent/health", get(|| async { "well" })));
    assert!(node.handle.wait_connected().await);
    let request = http::Request::get("/v1/status/leader").header("host", "x").body(Body::empty()).unwrap();
    let answer = node.handle.tunnel(request).await.unwrap();
    let body = axum::body::to_bytes(answer.into_body(), 1024).await.unwrap();
    assert_eq!(body, "the leader");
    assert_eq!(server.ask_client("/v1/agent/health").await, "well");
    node.stop().await;
}
