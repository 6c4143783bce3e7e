//! Allocations from their first word to the last.

use orch_model::allocation::{ClientStatus, DesiredStatus, TaskRunState};
use orch_model::{Job, StateIndex};
use serde_json::json;

use crate::node::{Machine, alloc, alloc_id, job};
use crate::server::Server;

fn event_types(server: &Server, number: u128, task: usize) -> Vec<&'static str> {
    let known = server.known();
    let update = known.last(alloc_id(number)).unwrap();
    update.tasks[task].events.iter().map(|event| event.kind.type_name()).collect()
}

#[tokio::test]
async fn an_allocation_runs_is_reported_and_ends_when_it_is_to_stop() {
    let (server, machine) = (Server::start().await, Machine::new());
    let node = machine.start(&server).await;
    server.put(alloc(1, &job("web", &[json!({})]))).await;
    server.wait_status(alloc_id(1), ClientStatus::Running).await;
    assert_eq!(event_types(&server, 1, 0), ["Received", "Task Setup", "Started"]);
    assert_eq!(machine.tasks().await.len(), 1);
    assert!(machine.alloc_dir(alloc_id(1)).join("app/secrets").is_dir());
    let has_driver = server.known().description.has_driver("mock_driver");
    assert!(has_driver, "{:?}", server.known().description.drivers);

    server.modify(alloc_id(1), |alloc| alloc.desired = DesiredStatus::Stop).await;
    server.wait_status(alloc_id(1), ClientStatus::Complete).await;
    let expected = ["Received", "Task Setup", "Started", "Killing", "Terminated", "Killed"];
    assert_eq!(event_types(&server, 1, 0), expected);
    machine.wait("an empty driver", async || machine.tasks().await.is_empty()).await;
    node.stop().await;
}

#[tokio::test]
async fn an_allocation_that_the_servers_forgot_leaves_nothing_behind() {
    let (server, machine) = (Server::start().await, Machine::new());
    let node = machine.start(&server).await;
    server.put(alloc(1, &job("web", &[json!({})]))).await;
    server.wait_status(alloc_id(1), ClientStatus::Running).await;
    server.remove(alloc_id(1)).await;
    machine
        .wait("an empty node", async || machine.tasks().await.is_empty() && !machine.alloc_dir(alloc_id(1)).exists())
        .await;
    node.stop().await;
    let node = machine.start(&server).await;
    server.wait("a second session", |known| known.hellos.len() == 2).await;
    assert!(machine.tasks().await.is_empty());
    node.stop().await;
}

#[tokio::test]
async fn a_task_that_fails_is_started_again_and_then_takes_its_sibling_along() {
    let (server, machine) = (Server::start().await, Machine::new());
    let node = machine.start(&server).await;
    let failing = json!({"run_for": "1ms", "exit_code": 3});
    server.put(alloc(1, &job("web", &[failing, json!({})]))).await;
    server.wait_status(alloc_id(1), ClientStatus::Failed).await;
    let update = server.known().last(alloc_id(1)).unwrap().clone();
    assert_eq!((update.tasks[0].restarts, update.tasks[0].failed), (1, true));
    assert!(!update.tasks[1].failed && update.tasks[1].state == TaskRunState::Dead);
    assert!(event_types(&server, 1, 1).contains(&"Sibling Task Failed"));
    node.stop().await;
}

#[tokio::test]
async fn a_task_whose_configuration_is_wrong_says_so_and_fails() {
    let (server, machine) = (Server::start().await, Machine::new());
    let node = machine.start(&server).await;
    server.put(alloc(1, &job("web", &[json!({"stdout_string": "${nobody.knows}"})]))).await;
    server.wait_status(alloc_id(1), ClientStatus::Failed).await;
    let message = server.known().last(alloc_id(1)).unwrap().tasks[0].events[2].kind.message();
    assert!(message.contains("unknown variable ${nobody.knows}"), "{message}");
    node.stop().await;
}

#[tokio::test]
async fn a_successor_starts_once_the_allocation_that_it_takes_over_from_has_ended() {
    let (server, machine) = (Server::start().await, Machine::new());
    let node = machine.start(&server).await;
    let job: Job = job("web", &[json!({})]);
    server.put(alloc(1, &job)).await;
    server.wait_status(alloc_id(1), ClientStatus::Running).await;
    let newer = Job { version: 1, job_modify_index: StateIndex(9), ..job };
    server
        .modify(alloc_id(1), |old| {
            old.desired = DesiredStatus::Stop;
            old.handed_over = true;
        })
        .await;
    let mut successor = alloc(2, &newer);
    successor.previous = Some(alloc_id(1));
    server.put(successor).await;
    server.wait_status(alloc_id(2), ClientStatus::Running).await;
    let [ended, next] = [1, 2].map(|number| server.known().last(alloc_id(number)).unwrap().clone());
    assert_eq!(ended.client_status, ClientStatus::Complete);
    assert!(ended.tasks[0].finished_at <= next.tasks[0].started_at);
    node.stop().await;
}
