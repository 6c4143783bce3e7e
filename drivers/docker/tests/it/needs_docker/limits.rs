//! What a task gets, and what the host refuses.

use orch_driver::Driver;
use orch_model::MebiBytes;
use serde_json::json;

use crate::node::{Node, shell};
use orch_tests::engine::{IMAGE, shared};

#[tokio::test]
async fn a_task_that_takes_too_much_memory_is_told_as_such() {
    let node = Node::new(shared());
    let driver = node.driver();
    // The shell's variable grows until the limit.
    let mut spec = node.spec(shell("x=0123456789; while :; do x=$x$x; done"));
    spec.limits.memory = MebiBytes(16);
    let (_, status, _) = node.run(&driver, spec).await;
    assert!(status.oom_killed, "{status:?}");
    assert_eq!((status.message.as_str(), status.success()), ("OOM Killed", false));
}

#[tokio::test]
async fn limits_hold_and_what_the_host_refuses_is_lowered_with_a_warning() {
    let node = Node::new(shared());
    let driver = node.driver();
    let mut config = shell(
        "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes memory/memory.soft_limit_in_bytes cpu/cpu.shares cpu/cpu.cfs_quota_us pids/pids.max cpuset/cpuset.cpus; \
         cat /proc/sys/net/core/somaxconn; df -k /dev/shm | tail -1 | awk '{print $2}'; ulimit -n; ulimit -c",
    );
    config["cpu_hard_limit"] = json!(true);
    config["pids_limit"] = json!(33);
    config["shm_size"] = json!(1 << 20);
    config["ulimit"] = json!({"nofile": "100:10000000", "core": 0});
    config["oom_score_adj"] = json!(-900);
    config["sysctl"] = json!({"net.core.somaxconn": "77"});
    let mut spec = node.spec(config);
    spec.limits.memory_max = Some(MebiBytes(128));
    spec.limits.cpuset_cores = vec![0];
    let (handle, status, written) = node.run(&driver, spec).await;
    assert!(status.success(), "{status:?}");
    let cores = std::thread::available_parallelism().unwrap().get();
    let quota = (512 * 100_000 * cores / 4_000).to_string();
    let lines: Vec<&str> = written.lines().collect();
    assert_eq!(lines, ["134217728", "67108864", "512", &quota, "33", "0", "77", "1024", "100", "0"]);
    let warnings = handle.warnings.join("\n");
    assert!(warnings.contains("ulimit nofile") && warnings.contains("-900"), "{warnings}");
}

#[tokio::test]
async fn privileges_are_what_was_asked_for() {
    let node = Node::new(shared());
    let driver = node.driver();
    let mut config = shell(
        "grep CapEff /proc/self/status; id -u; hostname; touch /x 2>&1; grep ' /t ' /proc/mounts | cut -d' ' -f3; cat /proc/1/comm",
    );
    config["cap_drop"] = json!(["all"]);
    config["readonly_rootfs"] = json!(true);
    config["hostname"] = json!("inside");
    config["mount"] = json!([{"type": "tmpfs", "target": "/t", "tmpfs_options": {"size": 65536}}]);
    config["init"] = json!(true);
    let mut spec = node.spec(config);
    spec.user = Some("nobody".to_owned());
    let (_, status, written) = node.run(&driver, spec).await;
    let lines: Vec<&str> = written.lines().collect();
    let expected =
        ["CapEff:\t0000000000000000", "65534", "inside", "touch: /x: Read-only file system", "tmpfs", "docker-init"];
    assert_eq!(lines, expected, "{status:?}");
    let refused = driver.start(node.spec(json!({"image": IMAGE, "privileged": true}))).await.unwrap_err();
    assert!(refused.to_string().contains("allow_privileged") && !refused.is_recoverable(), "{refused}");
}
