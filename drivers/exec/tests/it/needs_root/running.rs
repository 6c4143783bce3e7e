use std::time::Duration;

use orch_driver::{Driver, Error};
use orch_driver_exec::{Capabilities, Config, Exec};
use orch_host::process::Stat;
use serde_json::json;

use crate::node::{EXITS_ON_USR1, Node, eventually, first_line, process_of, shell, stdout};

#[tokio::test]
async fn signals_have_their_usual_default_actions() {
    let node = Node::new();
    let driver = node.driver().await;
    for (signal, number) in [(None, 2), (Some("SIGTERM"), 15), (Some("SIGQUIT"), 3)] {
        let handle = driver.start(node.spec(json!({"command": "sleep", "args": [1000]}))).await.unwrap();
        driver.stop(&handle.id, signal, Duration::from_secs(20)).await.unwrap();
        let status = driver.wait(&handle.id).await.unwrap();
        assert_eq!((status.signal, status.code), (Some(number), Some(128 + number)));
        driver.destroy(&handle.id).await.unwrap();
    }
    node.close().await;
}

#[tokio::test]
async fn orphans_are_reaped_and_end_with_the_task() {
    let node = Node::new();
    let driver = node.driver().await;
    // The inner shell ends at once, and its child becomes an orphan that ends soon after.
    let script = "sh -c 'sleep 0.05 & exit'; sleep 0.3; set -- /proc/[0-9]*; echo $#; (setsid sleep 1000 &); exit 7";
    let spec = node.spec(shell(script));
    let file = stdout(&spec);
    let handle = driver.start(spec).await.unwrap();
    let status = driver.wait(&handle.id).await.unwrap();
    assert_eq!((status.code, status.signal), (Some(7), None));
    assert_eq!(first_line(&file).await, "2", "the first process, the shell, and no zombie");
    assert_eq!(driver.stats(&handle.id).await.unwrap().processes, 0);
    driver.destroy(&handle.id).await.unwrap();
    node.close().await;
}

#[tokio::test]
async fn what_cannot_be_executed_is_named() {
    let node = Node::new();
    let driver = node.driver().await;
    for (config, part) in [
        (json!({"command": "no-such-program"}), "no-such-program: No such file"),
        (json!({"command": "/etc/passwd"}), "/etc/passwd: Permission denied"),
        (json!({"command": "sh", "work_dir": "/nowhere"}), "/nowhere: No such file"),
    ] {
        let error = driver.start(node.spec(config)).await.unwrap_err();
        let Error::StartFailed { message, recoverable: false } = &error else { panic!("{error:?}") };
        assert!(message.contains(part), "{part:?} in {message:?}");
    }
    assert_eq!(driver.list().await.unwrap(), []);
    node.close().await;
}

#[tokio::test]
async fn a_task_outlives_its_supervisor_and_only_its_code_is_lost() {
    let node = Node::new();
    let driver = node.driver().await;
    let spec = node.spec(shell(EXITS_ON_USR1));
    let file = stdout(&spec);
    let handle = driver.start(spec).await.unwrap();
    first_line(&file).await;
    let process = process_of(&handle);
    let supervisor = Stat::read(process.pid).unwrap().parent;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(supervisor), nix::sys::signal::Signal::SIGKILL).unwrap();
    eventually("the task to be orphaned", || (Stat::read(process.pid).unwrap().parent != supervisor).then_some(()))
        .await;
    driver.signal(&handle.id, "SIGUSR1").await.unwrap();
    let status = driver.wait(&handle.id).await.unwrap();
    assert_eq!((status.code, status.signal), (None, None));
    driver.destroy(&handle.id).await.unwrap();
    node.close().await;
}

#[tokio::test]
async fn a_supervisor_that_is_replaced_still_learns_the_tasks_own_status() {
    let node = Node::new();
    let supervisor = node.connect().await;
    let driver = Exec::new(Config::default(), supervisor.clone());
    let handle = driver.start(node.spec(json!({"command": "sleep", "args": [1000]}))).await.unwrap();
    supervisor.upgrade().await.unwrap();
    driver.stop(&handle.id, Some("SIGTERM"), Duration::from_secs(20)).await.unwrap();
    let status = driver.wait(&handle.id).await.unwrap();
    assert_eq!((status.signal, status.code), (Some(15), Some(143)));
    driver.destroy(&handle.id).await.unwrap();
    node.close().await;
}

#[tokio::test]
async fn without_pivot_root_the_hosts_files_are_covered() {
    let node = Node::new();
    let allow_caps = Config::default().allow_caps - Capabilities::of("sys_chroot").unwrap();
    let driver = node.driver_with(Config { no_pivot_root: true, allow_caps, ..Config::default() }).await;
    for user in ["nobody", "root"] {
        let mut spec = node.spec(shell("pwd; ls -d /local /root /../root; chroot /tmp /bin/true || echo refused"));
        spec.user = Some(user.to_owned());
        assert_eq!(node.output(&driver, spec).await, "/\n/local\nrefused\n");
    }
    node.close().await;
}

#[tokio::test]
async fn the_first_process_has_given_its_memory_back() {
    let node = Node::new();
    let driver = node.driver().await;
    let handle = driver.start(node.spec(json!({"command": "sleep", "args": [1000]}))).await.unwrap();
    let first = process_of(&handle);
    let name = format!("/proc/{}/comm", first.pid);
    eventually("the first process to be what it is", || {
        (std::fs::read_to_string(&name).unwrap() == "orch-init\n").then_some(())
    })
    .await;
    let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", first.pid)).unwrap();
    let private: u64 = rollup
        .lines()
        .filter_map(|line| line.strip_prefix("Private_Dirty:"))
        .filter_map(|rest| rest.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok())
        .sum();
    assert!(private <= 96, "{private} KiB: {rollup}");
    driver.destroy(&handle.id).await.unwrap();
    node.close().await;
}
