//! Allocations that take over what an earlier one left.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::response::IntoResponse;
use futures::TryStreamExt;
use orch_http::{Kind, LocalNode};
use orch_model::Allocation;
use orch_model::allocation::{ClientStatus, DesiredStatus};
use orch_model::job::{EphemeralDisk, Job};
use serde_json::json;

use crate::node::{Machine, alloc, alloc_id, job};
use crate::server::Server;

fn keeping(sticky: bool, migrate: bool) -> Job {
    let mut job = job("db", &[json!({})]);
    job.task_groups[0].ephemeral_disk = Some(EphemeralDisk { sticky, migrate, ..EphemeralDisk::default() });
    job
}

fn successor(job: &Job) -> Allocation {
    Allocation { previous: Some(alloc_id(1)), ..alloc(2, job) }
}

async fn run_and_write(server: &Server, machine: &Machine, job: &Job) {
    server.put(alloc(1, job)).await;
    server.wait_status(alloc_id(1), ClientStatus::Running).await;
    let dir = machine.alloc_dir(alloc_id(1));
    std::fs::write(dir.join("alloc/data/rows"), "shared").unwrap();
    std::fs::write(dir.join("app/local/rows"), "own").unwrap();
    std::fs::write(dir.join("app/secrets/key"), "secret").unwrap();
}

async fn stop(server: &Server) {
    server.modify(alloc_id(1), |alloc| alloc.desired = DesiredStatus::Stop).await;
    server.wait_status(alloc_id(1), ClientStatus::Complete).await;
}

/// What the successor found: the shared data, its own, and whether the secret came along.
fn found(machine: &Machine) -> (String, String, bool) {
    let dir = machine.alloc_dir(alloc_id(2));
    let read = |path: &str| std::fs::read_to_string(dir.join(path)).unwrap_or_default();
    (read("alloc/data/rows"), read("app/local/rows"), dir.join("app/secrets/key").exists())
}

#[tokio::test]
async fn a_sticky_disk_moves_to_the_successor_on_the_same_node_and_another_does_not() {
    for (sticky, shared, own) in [(true, "shared", "own"), (false, "", "")] {
        let (server, machine) = (Server::start().await, Machine::new());
        let node = machine.start(&server).await;
        let job = keeping(sticky, false);
        run_and_write(&server, &machine, &job).await;
        stop(&server).await;
        server.put(successor(&job)).await;
        server.wait_status(alloc_id(2), ClientStatus::Running).await;
        assert_eq!(found(&machine), (shared.to_owned(), own.to_owned(), false));
        node.stop().await;
    }
}

#[tokio::test]
async fn a_migrating_disk_comes_from_another_node_once_the_earlier_allocation_has_ended() {
    let (far_server, far) = (Server::start().await, Machine::new());
    let far_node = far.start(&far_server).await;
    let job = keeping(true, true);
    run_and_write(&far_server, &far, &job).await;
    let early = far_node.handle.snapshot(alloc_id(1)).await.err().unwrap();
    assert_eq!(early.kind(), Kind::Conflict);
    stop(&far_server).await;
    far.wait("a node at rest", async || far_node.handle.snapshot(alloc_id(1)).await.is_ok()).await;
    let archive: Vec<u8> = far_node
        .handle
        .snapshot(alloc_id(1))
        .await
        .unwrap()
        .try_fold(Vec::new(), async |mut all, piece| {
            all.extend_from_slice(&piece);
            Ok(all)
        })
        .await
        .unwrap();
    far_node.stop().await;

    // The server at first says that the earlier one has not ended.
    let asked = Arc::new(AtomicU32::new(0));
    let answer = move |uri: axum::http::Uri| {
        let (archive, asked) = (archive.clone(), Arc::clone(&asked));
        async move {
            assert_eq!(uri.path(), format!("/v1/client/allocation/{}/snapshot", alloc_id(1)));
            match asked.fetch_add(1, Ordering::Relaxed) {
                0 => (axum::http::StatusCode::CONFLICT, "it still runs").into_response(),
                _ => archive.into_response(),
            }
        }
    };
    let (server, machine) = (Server::with(Router::new().fallback(answer)).await, Machine::new());
    let node = machine.start(&server).await;
    server.put(successor(&job)).await;
    server.wait_status(alloc_id(2), ClientStatus::Running).await;
    assert_eq!(found(&machine), ("shared".to_owned(), "own".to_owned(), false));
    let update = server.known().last(alloc_id(2)).unwrap().clone();
    let told = update.tasks[0].events.iter().any(|event| event.kind.message().starts_with("Migrated the data"));
    assert!(told, "{update:#?}");
    node.stop().await;
}

#[tokio::test]
async fn data_that_is_gone_is_told_and_the_allocation_starts_without_it() {
    let (server, machine) = (Server::start().await, Machine::new());
    let node = machine.start(&server).await;
    server.put(successor(&keeping(false, true))).await;
    server.wait_status(alloc_id(2), ClientStatus::Running).await;
    let update = server.known().last(alloc_id(2)).unwrap().clone();
    let told = update.tasks[0].events.iter().any(|event| event.kind.message().contains("was not migrated: 404"));
    assert!(told, "{update:#?}");
    node.stop().await;
}
