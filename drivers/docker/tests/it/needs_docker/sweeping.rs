use std::time::Duration;

use orch_driver::Driver;
use orch_driver_docker::{Config, Gc};

use crate::node::{Node, eventually, shell};
use orch_tests::engine::{IMAGE, shared};

#[tokio::test]
async fn only_containers_of_this_node_are_swept() {
    let node = Node::new(shared());
    let other = Node::new(shared());
    let docker = |args: &[&str]| node.engine.docker(args);
    let exists = |id: &str| node.engine.try_docker(&["inspect", id]).is_ok();
    let gc = Gc {
        image: false,
        dangling_grace: Duration::ZERO,
        dangling_period: Duration::from_millis(200),
        ..Gc::default()
    };
    let driver = node.driver_with(Config { gc: gc.clone(), ..node.config() });
    let kept = driver.start(node.spec(shell("sleep 1000"))).await.unwrap();
    let lost = driver.start(node.spec(shell("sleep 1000"))).await.unwrap();
    let theirs = other.driver();
    let foreign_task = theirs.start(other.spec(shell("sleep 1000"))).await.unwrap();
    let nobodys = docker(&["create", "--label", "com.hashicorp.nomad.alloc_id=x", IMAGE, "sh"]);
    let name = |handle: &orch_driver::TaskHandle| format!("web-{}", handle.id.alloc_id);
    // One that an agent created, and did not live to start.
    let labels = docker(&["inspect", "-f", "{{json .Config.Labels}}", &name(&lost)]);
    let labels: std::collections::BTreeMap<String, String> = serde_json::from_str(&labels).unwrap();
    let labels: Vec<String> = labels
        .iter()
        .map(|(key, value)| format!("--label={key}={}", value.replace("\"run\":0", "\"run\":1")))
        .collect();
    let mut create = vec!["create"];
    create.extend(labels.iter().map(String::as_str));
    create.extend([IMAGE, "sh"]);
    let unstarted = docker(&create);

    let dry = node.driver_with(Config { gc: Gc { dangling_dry_run: true, ..gc.clone() }, ..node.config() });
    let told = dry.sweep().await.unwrap();
    assert!(told.len() == 1 && told[0].contains("would be removed"), "{told:?}");
    drop(dry);
    let removed = driver.sweep().await.unwrap();
    assert_eq!(removed.len(), 1, "{removed:?}");
    assert!(!exists(&unstarted) && exists(&name(&lost)) && exists(&name(&kept)));

    // The next agent recovers one of two.
    drop(driver);
    let driver = node.driver_with(Config { gc, ..node.config() });
    driver.recover(&kept).await.unwrap();
    assert_eq!(driver.sweep().await.unwrap(), [""; 0], "what a list still tells is the agent's to end");
    eventually("the lost container to be removed", async || (!exists(&name(&lost))).then_some(())).await;
    assert!(exists(&name(&kept)) && exists(&name(&foreign_task)) && exists(&nobodys));
    driver.destroy(&kept.id).await.unwrap();
    theirs.destroy(&foreign_task.id).await.unwrap();
    docker(&["rm", &nobodys]);
}
