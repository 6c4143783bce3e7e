use orch_driver::Driver;
use orch_host::cgroup::{Hierarchies, Version};

use crate::node::{Node, first_line, shell, stdout};

#[tokio::test]
async fn the_score_for_running_out_of_memory_reaches_the_task() {
    let node = Node::new();
    let driver = node.driver().await;
    let mut config = shell("cat /proc/self/oom_score_adj");
    config["oom_score_adj"] = 321.into();
    assert_eq!(node.output(&driver, node.spec(config)).await, "321\n");
    node.close().await;
}

/// Where the host has no controllers for it, the task runs without limits and the handle says so.
#[tokio::test]
async fn limits_are_set_or_their_absence_is_told() {
    let node = Node::new();
    let driver = node.driver().await;
    // The line comes from the sleeping child, so both are there by then.
    let spec = node.spec(shell("sh -c 'echo ready; exec sleep 1000'; true"));
    let file = stdout(&spec);
    let handle = driver.start(spec).await.unwrap();
    first_line(&file).await;
    let hierarchies = Hierarchies::detect().unwrap();
    let limit = match hierarchies.version() {
        Version::V2 => hierarchies.v2.map(|root| (root, "memory.max")),
        Version::V1 | Version::Hybrid => {
            hierarchies.v1_root("memory").map(|root| (root.to_owned(), "memory.limit_in_bytes"))
        }
        Version::None => None,
    };
    let limited = limit.and_then(|(root, name)| {
        let group = root.join("orch-test").join(&node.mark);
        let groups = std::fs::read_dir(group).ok()?.flatten().filter(|entry| entry.path().is_dir());
        let limits = groups.filter_map(|entry| std::fs::read_to_string(entry.path().join(name)).ok());
        limits.map(|text| text.trim().to_owned()).next()
    });
    match limited {
        Some(bytes) => assert_eq!(bytes, (64u64 << 20).to_string()),
        None => assert_ne!(handle.warnings, [""; 0]),
    }
    let stats = driver.stats(&handle.id).await.unwrap();
    assert_eq!(stats.processes, 2, "the shell and its sleep: {stats:?}");
    assert!(stats.memory_rss > 0 && stats.memory_max_usage >= stats.memory_rss, "{stats:?}");
    assert!(
        stats.cpu_nanos > 0 && stats.cpu_user_nanos + stats.cpu_system_nanos <= stats.cpu_nanos + 1_000_000,
        "{stats:?}"
    );
    driver.destroy(&handle.id).await.unwrap();
    node.close().await;
}

#[tokio::test]
async fn a_task_with_reserved_processors_runs_on_no_other() {
    let node = Node::new();
    let driver = node.driver().await;
    let mut spec = node.spec(shell("grep Cpus_allowed_list /proc/self/status"));
    spec.limits.cpuset_cores = vec![1];
    assert_eq!(node.output(&driver, spec).await, "Cpus_allowed_list:\t1\n");
    node.close().await;
}

#[tokio::test]
async fn time_in_the_kernel_is_told_apart_from_time_in_the_program() {
    let node = Node::new();
    let driver = node.driver().await;
    let work = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; head -c 2000000000 /dev/zero >/dev/null";
    let spec = node.spec(shell(&format!("{work}; echo done; exec sleep 1000")));
    let file = stdout(&spec);
    let handle = driver.start(spec).await.unwrap();
    first_line(&file).await;
    let stats = driver.stats(&handle.id).await.unwrap();
    assert!(stats.cpu_user_nanos > 0 && stats.cpu_system_nanos > 0, "{stats:?}");
    driver.destroy(&handle.id).await.unwrap();
    node.close().await;
}
