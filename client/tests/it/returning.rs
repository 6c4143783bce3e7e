//! Agents that go and come back, and what they find.

use std::sync::Arc;
use std::time::Duration;

use orch_driver::{Driver, TaskId, TaskSpec};
use orch_model::allocation::{ClientStatus, DesiredStatus};
use orch_model::document;
use orch_wal::{Journal, JournalOptions, RealDisk};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::node::{Machine, alloc, alloc_id, job};
use crate::server::Server;

async fn running(server: &Server, machine: &Machine) -> crate::node::Node {
    let node = machine.start(server).await;
    server.put(alloc(1, &job("web", &[json!({})]))).await;
    server.wait_status(alloc_id(1), ClientStatus::Running).await;
    node
}

#[tokio::test]
async fn an_agent_that_returns_takes_its_tasks_up_again() {
    let (server, machine) = (Server::start().await, Machine::new());
    running(&server, &machine).await.stop().await;
    server.wait("a farewell", |known| known.restarting == 1).await;
    let before = server.known().last(alloc_id(1)).unwrap().clone();
    assert_eq!(machine.tasks().await.len(), 1, "tasks outlive the agent");

    let said = server.known().said.len();
    let node = machine.start(&server).await;
    server.wait("a word about the allocation", |known| known.said.len() > said).await;
    let after = server.known().last(alloc_id(1)).unwrap().clone();
    assert_eq!(after, before);
    let hellos: Vec<u64> = server.known().hellos.iter().map(|hello| hello.boot).collect();
    assert_eq!(hellos, [1, 2]);
    server.modify(alloc_id(1), |alloc| alloc.desired = DesiredStatus::Stop).await;
    server.wait_status(alloc_id(1), ClientStatus::Complete).await;
    node.stop().await;
}

#[tokio::test]
async fn an_agent_that_was_killed_takes_its_tasks_up_again() {
    let (server, machine) = (Server::start().await, Machine::new());
    running(&server, &machine).await.kill().await;
    let said = server.known().said.len();
    let node = machine.start(&server).await;
    server.wait("a word about the allocation", |known| known.said.len() > said).await;
    assert_eq!(server.known().last(alloc_id(1)).unwrap().tasks[0].restarts, 0);
    assert_eq!(machine.tasks().await.len(), 1);
    node.stop().await;
}

#[tokio::test]
async fn work_that_was_replaced_meanwhile_is_stopped_and_never_reported_running() {
    let (server, machine) = (Server::start().await, Machine::new());
    running(&server, &machine).await.kill().await;
    server
        .modify(alloc_id(1), |alloc| {
            alloc.desired = DesiredStatus::Stop;
            alloc.client_status = ClientStatus::Lost;
        })
        .await;
    let said = server.known().said.len();
    let node = machine.start(&server).await;
    server
        .wait("an end", |known| known.said.len() > said && known.status(alloc_id(1)) == Some(ClientStatus::Complete))
        .await;
    let statuses: Vec<_> = server.known().said[said..].iter().map(|update| update.client_status).collect();
    assert!(statuses.iter().all(|status| *status == ClientStatus::Complete), "{statuses:?}");
    machine.wait("an empty driver", async || machine.tasks().await.is_empty()).await;
    node.stop().await;
}

#[tokio::test]
async fn damaged_local_state_never_prevents_a_start_and_nothing_runs_twice() {
    for place in [0, 40, 300, 2000] {
        let (server, machine) = (Server::start().await, Machine::new());
        running(&server, &machine).await.kill().await;
        let path = machine.state_dir().join("state");
        let mut bytes = std::fs::read(&path).unwrap();
        for byte in bytes.iter_mut().skip(place).take(24) {
            *byte ^= 0x5a;
        }
        std::fs::write(&path, bytes).unwrap();
        let said = server.known().said.len();
        let node = machine.start(&server).await;
        server.wait("a word about the allocation", |known| known.said.len() > said).await;
        server.wait_status(alloc_id(1), ClientStatus::Running).await;
        let tasks = machine.tasks().await;
        assert_eq!(tasks.len(), 1, "damage at {place}: {tasks:?}");
        node.stop().await;
    }
}

#[tokio::test]
async fn a_task_that_is_gone_is_started_again() {
    let (server, machine) = (Server::start().await, Machine::new());
    running(&server, &machine).await.kill().await;
    let handle = machine.tasks().await.remove(0);
    machine.driver.destroy(&handle.id).await.unwrap();
    let node = machine.start(&server).await;
    server.wait("a restart", |known| known.last(alloc_id(1)).is_some_and(|update| update.tasks[0].restarts == 1)).await;
    server.wait_status(alloc_id(1), ClientStatus::Running).await;
    let update = server.known().last(alloc_id(1)).unwrap().clone();
    assert!(update.tasks[0].events.iter().any(|event| event.kind.type_name() == "Failed Restoring Task"));
    node.stop().await;
}

/// Starts a task that no allocation knows.
async fn orphan(machine: &Machine) {
    let id = TaskId { alloc_id: alloc_id(77), task: "app".into(), run: 0 };
    let spec = TaskSpec { id, job_id: "gone".into(), group: "web".into(), ..TaskSpec::default() };
    machine.driver.start(spec).await.unwrap();
    std::fs::create_dir_all(machine.alloc_dir(alloc_id(77)).join("app/local")).unwrap();
}

#[tokio::test]
async fn what_belongs_to_nobody_is_swept_after_the_first_inventory_and_not_before() {
    let (server, machine) = (Server::start().await, Machine::new());
    running(&server, &machine).await.stop().await;
    orphan(&machine).await;
    // Without a server the allocation goes on, and nothing is swept.
    let offline = machine.start_with(machine.config(&[])).await;
    let known = |node: &crate::node::Node| {
        use orch_http::LocalNode;
        node.handle.has_alloc(alloc_id(1))
    };
    machine.wait("the allocation", async || known(&offline)).await;
    offline.stop().await;
    assert_eq!(machine.tasks().await.len(), 2);
    assert!(machine.alloc_dir(alloc_id(77)).exists());

    let node = machine.start(&server).await;
    machine.wait("one task", async || machine.tasks().await.len() == 1).await;
    machine.wait("one directory", async || !machine.alloc_dir(alloc_id(77)).exists()).await;
    assert!(machine.alloc_dir(alloc_id(1)).exists());
    node.stop().await;
}

/// The part of the agent's own note that says in which boot of the machine it ran.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Meta {
    format: u32,
    cluster_id: String,
    seen_index: u64,
    boots: u64,
    boot_id: String,
}

fn pretend_reboot(machine: &Machine) {
    let disk = Arc::new(RealDisk::open(machine.state_dir()).unwrap());
    let (journal, _) = Journal::open(disk, JournalOptions::new("state")).unwrap();
    let meta: Meta = document::decode(&journal.get(b"meta").unwrap().unwrap()).unwrap();
    let meta = Meta { boot_id: "an earlier one".into(), ..meta };
    journal.put(b"meta", &document::encode(&meta).unwrap()).unwrap();
}

#[tokio::test]
async fn after_a_reboot_services_wait_for_a_server_and_then_start_without_one() {
    let (server, machine) = (Server::start().await, Machine::new());
    let node = running(&server, &machine).await;
    let mut batch = job("batch", &[json!({})]);
    batch.r#type = "batch".into();
    server.put(alloc(2, &batch)).await;
    server.wait_status(alloc_id(2), ClientStatus::Running).await;
    node.stop().await;
    for handle in machine.tasks().await {
        machine.driver.destroy(&handle.id).await.unwrap();
    }
    pretend_reboot(&machine);
    let mut config = machine.config(&[]);
    config.offline_restart_delay = Duration::from_millis(20);
    let offline = machine.start_with(config).await;
    machine.wait("the service", async || !machine.tasks().await.is_empty()).await;
    let ids: Vec<_> = machine.tasks().await.into_iter().map(|handle| handle.id.alloc_id).collect();
    assert_eq!(ids, [alloc_id(1)], "batch work waits for a server");
    offline.stop().await;
}

#[tokio::test]
async fn a_development_agent_can_stop_all_of_its_tasks() {
    let (server, machine) = (Server::start().await, Machine::new());
    let node = running(&server, &machine).await;
    assert!(node.handle.stop_all_tasks(Duration::from_secs(10)).await);
    assert!(machine.tasks().await.is_empty());
    node.stop().await;
}
