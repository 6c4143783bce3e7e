use std::time::Duration;

use orch_driver::Driver;
use orch_driver_exec::Config;
use serde_json::json;

use crate::node::{Node, first_line, probe, shell, stdout};

#[tokio::test]
async fn a_task_that_takes_too_much_memory_is_killed_and_told_as_such() {
    let node = Node::new();
    let driver = node.driver().await;
    let handle = driver.start(node.spec(probe(&["memory", "512"]))).await.unwrap();
    let status = driver.wait(&handle.id).await.unwrap();
    assert!(status.oom_killed, "{status:?}");
    assert_eq!((status.signal, status.code), (Some(9), Some(137)), "the task's own end, not that of the first process");
    driver.destroy(&handle.id).await.unwrap();
    node.close().await;
}

#[tokio::test]
async fn a_fork_bomb_is_stopped_by_the_tasks_limit_or_that_of_the_node() {
    let node = Node::new();
    let driver = node.driver().await;
    let mut own = probe(&["forks", "1000"]);
    own["pids_limit"] = json!(50);
    // The first process of the namespace and the probe itself are among them.
    assert_eq!(node.output(&driver, node.spec(own)).await, "allowed: 48\n");
    let driver = node.driver_with(Config { pids_limit: Some(20), ..Config::default() }).await;
    assert_eq!(node.output(&driver, node.spec(probe(&["forks", "1000"]))).await, "allowed: 18\n");
    node.close().await;
}

#[tokio::test]
async fn a_running_task_is_measured_whole() {
    let node = Node::new();
    let driver = node.driver().await;
    let work = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done";
    let spec = node.spec(shell(&format!("{work}; sh -c 'echo ready; exec sleep 1000'; true")));
    let file = stdout(&spec);
    let handle = driver.start(spec).await.unwrap();
    first_line(&file).await;
    let stats = driver.stats(&handle.id).await.unwrap();
    assert_eq!(stats.processes, 3, "the first process, the shell and its sleep: {stats:?}");
    assert!(stats.cpu_nanos > 0 && stats.memory_rss > 0, "{stats:?}");
    driver.stop(&handle.id, None, Duration::from_secs(10)).await.unwrap();
    driver.destroy(&handle.id).await.unwrap();
    node.close().await;
}

#[tokio::test]
async fn shares_of_the_processor_are_set() {
    let node = Node::new();
    let driver = node.driver().await;
    let spec = node.spec(shell("echo ready; exec sleep 1000"));
    let file = stdout(&spec);
    let handle = driver.start(spec).await.unwrap();
    first_line(&file).await;
    let hierarchies = orch_host::cgroup::Hierarchies::detect().unwrap();
    let root = hierarchies.v1_root("cpu").map(|root| (root, "cpu.shares", "512"));
    let (root, name, expected) = root.or_else(|| Some((hierarchies.v2.as_deref()?, "cpu.weight", "59"))).unwrap();
    let groups = std::fs::read_dir(root.join("orch-test").join(&node.mark)).unwrap().flatten();
    let shares: Vec<String> =
        groups.filter_map(|group| std::fs::read_to_string(group.path().join(name)).ok()).collect();
    assert_eq!(shares.first().map(|text| text.trim()), Some(expected));
    driver.destroy(&handle.id).await.unwrap();
    node.close().await;
}
