//! Compiling once.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use futures::future::join_all;
use orch_driver::{Driver, Progress};
use orch_driver_wasm::Config;
use serde_json::json;

use crate::guests;
use crate::node::Node;

fn compiled(node: &Node) -> Vec<(PathBuf, u64)> {
    let files = std::fs::read_dir(node.own_dir().join("cache")).unwrap().map(|entry| entry.unwrap().path());
    let code = files.filter(|path| path.extension().is_some_and(|end| end == "cwasm"));
    code.map(|path| (path.clone(), path.metadata().unwrap().ino())).collect()
}

#[tokio::test]
async fn a_module_is_compiled_once_for_all_tasks_and_agents() {
    let node = Node::new();
    let driver = node.driver().await;
    let told = Arc::new(Mutex::new(0));
    let progress = || {
        let told = Arc::clone(&told);
        Progress::new(move |_| *told.lock().unwrap() += 1)
    };
    let spec = || {
        let mut spec = node.spec(json!({"module": guests::program(), "args": ["exit", "4"]}));
        spec.progress = progress();
        spec
    };
    for ended in join_all((0..8).map(|_| node.run(&driver, spec()))).await {
        assert_eq!(ended.status.code, Some(4));
    }
    let before = compiled(&node);
    assert_eq!((before.len(), *told.lock().unwrap()), (1, 1));
    let restarted = node.driver().await;
    assert_eq!(node.run(&restarted, spec()).await.status.code, Some(4));
    assert_eq!((compiled(&node), *told.lock().unwrap()), (before, 1));
    node.close().await;
}

#[tokio::test]
async fn a_damaged_or_foreign_entry_is_made_again() {
    let node = Node::new();
    let driver = node.driver().await;
    let spec = || node.spec(json!({"module": guests::program(), "args": ["exit", "4"]}));
    assert_eq!(node.run(&driver, spec()).await.status.code, Some(4));
    let [(file, _)] = &compiled(&node)[..] else { panic!("one is compiled") };
    let sound = std::fs::read(file).unwrap();
    let foreign = b"\x7fELF of somebody else".to_vec();
    let mut flipped = sound.clone();
    flipped[sound.len() / 2] ^= 1;
    for (content, restarted) in [(flipped, true), (sound[..sound.len() / 2].to_vec(), false), (foreign, true)] {
        std::fs::write(file, content).unwrap();
        let driver = if restarted { node.driver().await } else { driver.clone() };
        // The first driver's connection went with the restart.
        let driver = if restarted { driver } else { node.driver().await };
        assert_eq!(node.run(&driver, spec()).await.status.code, Some(4));
        assert_eq!(std::fs::read(file).unwrap(), sound);
    }
    // What the agent takes for sound, the engine refuses: the note fits, the code does not.
    let foreign = b"not even code".to_vec();
    let note = json!({"kind": "module", "bytes": foreign.len(), "sha256": sha256(&foreign)});
    std::fs::write(file, foreign).unwrap();
    std::fs::write(file.with_extension("json"), note.to_string()).unwrap();
    let driver = node.driver().await;
    assert_eq!(node.run(&driver, spec()).await.status.code, Some(4));
    assert_eq!(std::fs::read(file).unwrap(), sound);
    node.close().await;
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn machine_code_is_taken_where_the_node_allows_it() {
    let node = Node::new();
    let driver = node.driver().await;
    assert_eq!(
        node.run(&driver, node.spec(json!({"module": guests::program(), "args": ["exit", "4"]}))).await.status.code,
        Some(4)
    );
    let [(file, _)] = &compiled(&node)[..] else { panic!("one is compiled") };
    let spec = || {
        let spec = node.spec(json!({"module": "app.cwasm", "args": ["exit", "4"]}));
        std::fs::copy(file, spec.dirs.local.join("app.cwasm")).unwrap();
        spec
    };
    let message = driver.start(spec()).await.unwrap_err().to_string();
    assert!(message.contains("allow_precompiled"), "{message}");
    let driver = node.driver_with(Config { allow_precompiled: true, ..Config::default() }).await;
    assert_eq!(node.run(&driver, spec()).await.status.code, Some(4));
    node.close().await;
}
