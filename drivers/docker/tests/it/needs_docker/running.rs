//! A server in a container: its ports, files and output, while agents come and go.

use std::time::Duration;

use orch_driver::{Driver, Error, TaskPort};
use orch_driver_docker::{Config, Gc};
use serde_json::json;

use crate::node::{Node, eventually, shell, stdout};
use orch_tests::engine::{IMAGE, shared};

fn ports() -> Vec<TaskPort> {
    vec![TaskPort { label: "http".to_owned(), host_ip: "127.0.0.1".parse().unwrap(), host: 23_456, inside: 80 }]
}

#[tokio::test]
async fn a_server_is_reached_by_its_port_and_serves_its_files() {
    let node = Node::new(shared());
    let driver = node.driver();
    let mut spec = node.spec(json!({
        "image": IMAGE, "command": "httpd", "args": ["-f", "-h", "/local/www"], "ports": ["http"], "init": true,
        "labels": {"team": "a"}, "volumes": ["data:/data"],
    }));
    spec.ports = ports();
    std::fs::create_dir(spec.dirs.local.join("www")).unwrap();
    std::fs::write(spec.dirs.local.join("www/index.html"), "served").unwrap();
    let (dirs, id) = (spec.dirs.clone(), spec.id.clone());
    driver.start(spec).await.unwrap();
    let url = "http://127.0.0.1:23456/";
    let fetch = async || node.engine.in_network(&["/bin/busybox", "wget", "-q", "-O-", url]);
    assert_eq!(eventually("the server", fetch).await, "served");
    assert!(dirs.task.join("data").is_dir(), "a volume that is not there is made in the task's directory");
    // Another agent takes it over, and ends it.
    drop(driver);
    let driver = node.driver();
    let handle = driver.list().await.unwrap().into_iter().find(|handle| handle.id == id).unwrap();
    driver.recover(&handle).await.unwrap();
    assert_eq!(fetch().await.as_deref(), Some("served"));
    driver.stop(&id, None, Duration::from_secs(10)).await.unwrap();
    assert_eq!(driver.wait(&id).await.unwrap().signal, Some(15), "the default signal is SIGTERM");
    assert_eq!(fetch().await, None);
    driver.destroy(&id).await.unwrap();
}

#[tokio::test]
async fn nothing_of_the_output_is_lost_or_repeated_while_agents_come_and_go() {
    let node = Node::new(shared());
    let mut driver = node.driver();
    let lines = 25_000;
    let script = format!("i=0; while [ $i -lt {lines} ]; do echo line $i; i=$((i+1)); done; echo end");
    let mut spec = node.spec(shell(&script));
    // So that the engine has all of it for as long as nobody reads.
    spec.config.insert("logging".to_owned(), json!({"config": {"max-size": "100m"}}));
    spec.logs.max_file_bytes = 100_000;
    let logs = spec.logs.clone();
    let handle = driver.start(spec).await.unwrap();
    let mut agents = 0;
    let mut seen = 0;
    while !stdout(&logs).ends_with("end\n") {
        eventually("more output", async || {
            let text = stdout(&logs);
            (text.len() > seen + 40_000 || text.ends_with("end\n")).then_some(())
        })
        .await;
        seen = stdout(&logs).len();
        drop(driver);
        driver = node.driver();
        driver.recover(&handle).await.unwrap();
        agents += 1;
    }
    assert!(driver.wait(&handle.id).await.unwrap().success());
    let expected: String = (0..lines).map(|line| format!("line {line}\n")).chain(["end\n".to_owned()]).collect();
    let written = stdout(&logs);
    let differs = written.lines().zip(expected.lines()).find(|(left, right)| left != right);
    assert_eq!(differs, None, "after {agents} agents");
    assert_eq!(written.len(), expected.len());
    assert!(agents > 1, "it was over before an agent could be replaced");
    driver.destroy(&handle.id).await.unwrap();
}

#[tokio::test]
async fn volumes_lead_nowhere_but_where_the_node_allows() {
    let node = Node::new(shared());
    let driver = node.driver();
    let outside = tempfile::tempdir().unwrap();
    let spec_with = |volume: &str| {
        let mut config = shell("echo found > /v/file");
        config["volumes"] = json!([volume]);
        node.spec(config)
    };
    let spec = spec_with("local/link:/v");
    std::os::unix::fs::symlink(outside.path(), spec.dirs.local.join("link")).unwrap();
    for spec in [spec.clone(), spec_with(&format!("{}:/v", outside.path().display()))] {
        let refused = driver.start(spec).await.unwrap_err();
        assert!(refused.to_string().contains("volumes { enabled = true }"), "{refused}");
    }
    assert!(!outside.path().join("file").exists());
    let open = node.driver_with(Config { volumes_enabled: true, ..node.config() });
    let (_, status, _) = node.run(&open, spec).await;
    assert!(status.success() && outside.path().join("file").exists(), "{status:?}");
}

#[tokio::test]
async fn a_name_that_is_taken_is_cleared_only_of_what_is_ours() {
    let node = Node::new(shared());
    let driver = node.driver();
    let spec = node.spec(shell("exit 3"));
    let name = format!("web-{}", spec.id.alloc_id);
    let foreign = node.engine.docker(&["create", "--name", &name, IMAGE, "sh"]);
    let mut short = spec.clone();
    short.config.insert("container_exists_attempts".to_owned(), json!(2));
    let refused = driver.start(short).await.unwrap_err();
    assert!(refused.to_string().contains("not this node's") && refused.is_recoverable(), "{refused}");
    assert_eq!(node.engine.docker(&["inspect", "-f", "{{.Id}}", &name]), foreign);
    node.engine.docker(&["rm", &foreign]);
    // What an agent started and could not note any more runs on in the hands of the next.
    let mut forever = spec.clone();
    forever.config = serde_json::from_value(shell("sleep 1000")).unwrap();
    driver.start(forever.clone()).await.unwrap();
    let before = node.engine.docker(&["inspect", "-f", "{{.Id}}", &name]);
    let next = node.driver();
    next.start(forever.clone()).await.unwrap();
    assert_eq!(node.engine.docker(&["inspect", "-f", "{{.Id}}", &name]), before);
    next.destroy(&forever.id).await.unwrap();
}

#[tokio::test]
async fn a_forgotten_container_stays_where_the_node_wants_it() {
    let node = Node::new(shared());
    let gc = Gc { container: false, image: false, ..Gc::default() };
    let driver = node.driver_with(Config { gc, ..node.config() });
    let spec = node.spec(shell("exit 3"));
    let id = spec.id.clone();
    node.run(&driver, spec).await;
    assert_eq!(driver.list().await.unwrap(), []);
    assert!(matches!(driver.destroy(&id).await, Err(Error::UnknownTask(_))));
    let name = format!("forgotten-web-{}.0", id.alloc_id);
    assert_eq!(node.engine.docker(&["inspect", "-f", "{{.State.ExitCode}}", &name]), "3");
    node.engine.docker(&["rm", &name]);
}
