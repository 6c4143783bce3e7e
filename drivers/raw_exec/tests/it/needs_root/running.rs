use std::time::Duration;

use orch_driver::{Driver, Error, Health};
use orch_driver_raw_exec::{Config, RawExec};
use orch_host::ProcessId;
use serde_json::json;

use crate::node::{Node, enabled, eventually, first_line, process_of, shell, stdout};

#[tokio::test]
async fn a_stop_leaves_no_daemon_behind() {
    let node = Node::new();
    let driver = node.driver().await;
    // In a session of its own, deaf to what is sent to the task's process group, and not waited for.
    let script = "setsid sh -c 'trap \"\" INT TERM; echo $$; sleep 1000' & exec sleep 1000";
    let spec = node.spec(shell(script));
    let file = stdout(&spec);
    let handle = driver.start(spec).await.unwrap();
    let task = handle.id.clone();
    // A shell may lose a signal that comes while it starts a program.
    let name = format!("/proc/{}/comm", process_of(&handle).pid);
    eventually("the shell to become sleep", || (std::fs::read_to_string(&name).unwrap() == "sleep\n").then_some(()))
        .await;
    let daemon = ProcessId::of(first_line(&file).await.parse().unwrap()).unwrap();
    assert!(daemon.is_running());
    driver.stop(&task, None, Duration::from_secs(10)).await.unwrap();
    assert!(!daemon.is_running());
    assert_eq!(driver.wait(&task).await.unwrap().signal, Some(2), "the default signal is SIGINT");
    node.close().await;
}

#[tokio::test]
async fn a_task_runs_as_the_user_it_names() {
    let node = Node::new();
    let driver = node.driver().await;
    for (user, expected) in
        [(None, "0 0 "), (Some("nobody"), "65534 65534 65534\n"), (Some("12345:54321"), "12345 54321 54321\n")]
    {
        let mut spec = node.spec(shell("echo $(id -u) $(id -g) $(id -G)"));
        spec.user = user.map(str::to_owned);
        let output = node.output(&driver, spec).await;
        assert!(output.starts_with(expected), "{user:?} runs as {output:?}");
    }
    let mut spec = node.spec(shell("true"));
    spec.user = Some("no-such-user".to_owned());
    let error = driver.start(spec).await.unwrap_err();
    assert!(!error.is_recoverable() && error.to_string().contains("no-such-user"), "{error}");
    node.close().await;
}

#[tokio::test]
async fn a_denied_user_runs_nothing_not_even_by_default() {
    let node = Node::new();
    let config = Config { denied_host_uids: "0".parse().unwrap(), ..enabled() };
    let driver = RawExec::new(config, node.connect().await);
    for user in [None, Some("root"), Some("0:7")] {
        let mut spec = node.spec(shell("true"));
        spec.user = user.map(str::to_owned);
        let error = driver.start(spec).await.unwrap_err();
        assert!(error.to_string().contains("user id 0"), "{error}");
    }
    assert_eq!(driver.list().await.unwrap(), []);
    node.close().await;
}

#[tokio::test]
async fn a_node_that_has_not_enabled_it_starts_nothing() {
    let node = Node::new();
    let driver = RawExec::new(Config::default(), node.connect().await);
    let fingerprint = driver.fingerprint().await;
    assert_eq!((fingerprint.health, fingerprint.attributes.len()), (Health::Undetected, 0));
    let refused = driver.start(node.spec(shell("true"))).await;
    assert!(matches!(refused, Err(Error::StartFailed { recoverable: false, .. })), "{refused:?}");
    node.close().await;
}

#[tokio::test]
async fn programs_and_directories_are_found_from_the_tasks_directory() {
    let node = Node::new();
    let driver = node.driver().await;
    let spec = node.spec(json!({"command": "tool", "work_dir": "local/deep"}));
    let deep = spec.dirs.local.join("deep");
    std::fs::create_dir(&deep).unwrap();
    std::fs::copy("/bin/pwd", spec.dirs.local.join("tool")).unwrap();
    assert_eq!(node.output(&driver, spec).await, format!("{}\n", deep.display()));

    let spec = node.spec(json!({"command": "sh", "work_dir": "nowhere"}));
    let error = driver.start(spec).await.unwrap_err();
    assert!(error.to_string().contains("nowhere does not exist"), "{error}");
    node.close().await;
}

#[tokio::test]
async fn denied_variables_do_not_reach_the_task() {
    let node = Node::new();
    let config = Config { denied_envvars: vec!["NODE_*".to_owned()], ..enabled() };
    let driver = RawExec::new(config, node.connect().await);
    let mut value = shell("echo \"$KEPT[$NODE_SECRET][$OWN]\"");
    value["denied_envvars"] = json!(["OWN"]);
    let mut spec = node.spec(value);
    spec.env.extend(["KEPT", "NODE_SECRET", "OWN"].map(|name| (name.to_owned(), name.to_lowercase())));
    assert_eq!(node.output(&driver, spec).await, "kept[][]\n");
    node.close().await;
}
