//! The supervisor dies, alone or with the agent.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use orch_driver::{Driver, Error, TaskHandle};
use orch_host::process::Stat;

use crate::node::{EXITS_ON_USR1, Node, eventually, first_line, process_of, shell, stdout};

/// A task that ends with code 7 on SIGUSR1, and what runs it.
async fn run(node: &Node, driver: &impl Driver) -> TaskHandle {
    let spec = node.spec(shell(EXITS_ON_USR1));
    let file = stdout(&spec);
    let handle = driver.start(spec).await.unwrap();
    first_line(&file).await;
    handle
}

/// Kills the parent of the task's process, and waits until the task has another.
async fn kill_supervisor(handle: &TaskHandle) {
    let pid = process_of(handle).pid;
    let supervisor = Stat::read(pid).unwrap().parent;
    kill(Pid::from_raw(supervisor), Signal::SIGKILL).unwrap();
    eventually("the task to be orphaned", || (Stat::read(pid).unwrap().parent != supervisor).then_some(())).await;
}

#[tokio::test]
async fn a_task_outlives_its_supervisor_and_only_its_code_is_lost() {
    let node = Node::new();
    let driver = node.driver().await;
    let handle = run(&node, &driver).await;
    let process = process_of(&handle);
    kill_supervisor(&handle).await;
    assert!(process.is_running());
    driver.signal(&handle.id, "SIGUSR1").await.unwrap();
    let status = driver.wait(&handle.id).await.unwrap();
    assert_eq!((status.code, status.signal), (None, None));
    assert_eq!(status.message, "exit status is not known: the supervisor was lost while the task ran");
    driver.destroy(&handle.id).await.unwrap();
    node.close().await;
}

#[tokio::test]
async fn a_task_is_taken_over_from_its_handle_when_agent_and_supervisor_died() {
    let node = Node::new();
    let driver = node.driver().await;
    let handle = run(&node, &driver).await;
    let process = process_of(&handle);
    node.disconnect().await;
    kill_supervisor(&handle).await;

    let driver = node.driver().await;
    assert_eq!(driver.list().await.unwrap(), []);
    driver.recover(&handle).await.unwrap();
    assert!(process.is_running());
    driver.stop(&handle.id, Some("SIGTERM"), Duration::from_secs(10)).await.unwrap();
    assert!(!process.is_running());
    driver.destroy(&handle.id).await.unwrap();
    node.close().await;
}

#[tokio::test]
async fn a_task_that_died_with_agent_and_supervisor_is_gone() {
    let node = Node::new();
    let driver = node.driver().await;
    let handle = run(&node, &driver).await;
    let process = process_of(&handle);
    node.disconnect().await;
    kill_supervisor(&handle).await;
    kill(Pid::from_raw(process.pid), Signal::SIGKILL).unwrap();
    eventually("the task to end", || (!process.is_running()).then_some(())).await;

    let driver = node.driver().await;
    let gone = driver.recover(&handle).await;
    assert!(matches!(&gone, Err(Error::UnknownTask(id)) if *id == handle.id), "{gone:?}");
    assert_eq!(driver.list().await.unwrap(), []);
    node.close().await;
}
