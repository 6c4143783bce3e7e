//! Where images come from, and when they go.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use orch_driver::{Driver, Error};
use orch_driver_docker::{Auth, Config, Gc};
use serde_json::{Value, json};

use crate::node::{Node, eventually};
use orch_tests::engine::{IMAGE, PASSWORD, REGISTRY, USER, shared};

fn image(name: &str) -> Value {
    json!({"image": format!("{REGISTRY}/{name}"), "command": "true", "network_mode": "none"})
}

fn with_auth(mut config: Value, password: &str) -> Value {
    config["auth"] = json!({"username": USER, "password": password});
    config
}

fn message(answer: Result<orch_driver::TaskHandle, Error>) -> (String, bool) {
    match answer {
        Err(Error::StartFailed { message, recoverable }) => (message, recoverable),
        other => panic!("should not start: {other:?}"),
    }
}

#[tokio::test]
async fn images_are_pulled_by_tag_and_digest_with_the_tasks_credentials() {
    let node = Node::new(shared());
    let digest = node.engine.push("by/task:1");
    let driver = node.driver();
    let (words, recoverable) = message(driver.start(node.spec(image("by/task:1"))).await);
    assert!(words.contains("no basic auth credentials") && recoverable, "{words}");
    let (words, _) = message(driver.start(node.spec(with_auth(image("by/task:1"), "wrong"))).await);
    assert!(words.contains("unauthorized") && !words.contains("wrong"), "{words}");
    for name in ["by/task:1".to_owned(), format!("by/task@{digest}")] {
        let (_, status, _) = node.run(&driver, node.spec(with_auth(image(&name), PASSWORD))).await;
        assert!(status.success(), "{name}: {status:?}");
    }
    assert!(node.told.lock().unwrap().contains(&"Downloading image".to_owned()));
    // It is here now: nobody is asked, unless the task insists.
    let (_, status, _) = node.run(&driver, node.spec(image("by/task:1"))).await;
    assert!(status.success(), "{status:?}");
    let mut forced = image("by/task:1");
    forced["force_pull"] = json!(true);
    let (words, _) = message(driver.start(node.spec(forced)).await);
    assert!(words.contains("no basic auth"), "{words}");
    let (words, _) = message(driver.start(node.spec(with_auth(image("by/nobody:1"), PASSWORD))).await);
    assert!(words.contains("by/nobody:1"), "{words}");
}

#[tokio::test]
async fn credentials_come_from_the_nodes_file_or_its_helper() {
    let node = Node::new(shared());
    node.engine.push("by/node:1");
    let write = |name: &str, text: &str| -> PathBuf {
        let path = node.root.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    };
    let helper = write(
        "helper",
        &format!(
            "#!/bin/sh\nread server; [ \"$server\" = {REGISTRY} ] && echo '{{\"Username\":\"{USER}\",\"Secret\":\"{PASSWORD}\"}}'\n"
        ),
    );
    let broken = write("broken", "#!/bin/sh\nexit 4\n");
    // What docker login has written.
    let file = node.engine.dir.join("client/config.json");
    let text = |path: &PathBuf| Some(path.to_str().unwrap().to_owned());
    let forced = || {
        let mut config = image("by/node:1");
        config["force_pull"] = json!(true);
        config
    };
    for auth in [Auth { config: Some(file), helper: None }, Auth { config: None, helper: text(&helper) }] {
        let driver = node.driver_with(Config { auth, ..node.config() });
        let (_, status, _) = node.run(&driver, node.spec(forced())).await;
        assert!(status.success(), "{status:?}");
    }
    let driver = node.driver_with(Config { auth: Auth { config: None, helper: text(&broken) }, ..node.config() });
    let (words, _) = message(driver.start(node.spec(forced())).await);
    assert!(words.contains("broken") && words.contains("exit status: 4"), "{words}");
    let mut soft = forced();
    soft["auth_soft_fail"] = json!(true);
    let (words, _) = message(driver.start(node.spec(soft)).await);
    assert!(words.contains("no basic auth"), "it is tried without credentials: {words}");
}

#[tokio::test]
async fn an_image_is_loaded_from_an_archive_and_removed_after_its_last_task() {
    let node = Node::new(shared());
    let name = format!("orch/loaded-{}:latest", node.identity.node_id);
    // One of its own, so that to remove it is not only to take away a name.
    let made = node.engine.docker(&["create", IMAGE, "sh"]);
    let id = node.engine.docker(&["commit", "--change", "LABEL own=1", &made, &name]);
    node.engine.docker(&["rm", &made]);
    let spec = node.spec(json!({"image": name, "load": "local/image.tar", "command": "true", "network_mode": "none"}));
    let archive = spec.dirs.local.join("image.tar");
    node.engine.docker(&["save", "-o", archive.to_str().unwrap(), &name]);
    node.engine.docker(&["rmi", &name]);

    let gc = Gc { image_delay: Duration::ZERO, ..Gc::default() };
    let driver = node.driver_with(Config { gc, ..node.config() });
    let mut second = node.spec(json!({"image": name, "load": "image.tar", "command": "true", "network_mode": "none"}));
    std::fs::copy(&archive, second.dirs.task.join("image.tar")).unwrap();
    let first = driver.start(spec).await.unwrap().id;
    let other = driver.start(second.clone()).await.unwrap().id;
    driver.destroy(&first).await.unwrap();
    assert!(node.engine.try_docker(&["image", "inspect", &id]).is_ok(), "it is still in use");
    driver.destroy(&other).await.unwrap();
    eventually("the image to be removed", async || {
        node.engine.try_docker(&["image", "inspect", &id]).is_err().then_some(())
    })
    .await;

    for (archive, part) in
        [("local/absent.tar", "No such file"), ("../../../../../etc/passwd", "not in the task's directory")]
    {
        second.config.insert("load".to_owned(), json!(archive));
        let (words, recoverable) = message(driver.start(second.clone()).await);
        assert!(words.contains(part) && !recoverable, "{words}");
    }
}
