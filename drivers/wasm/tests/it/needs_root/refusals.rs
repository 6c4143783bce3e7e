//! What cannot be started, and what is said about it.

use orch_driver::{Driver, Error};
use orch_driver_wasm::Config;
use serde_json::{Value, json};

use crate::guests;
use crate::node::{Node, with_port};

async fn refusal(node: &Node, driver: &dyn Driver, config: Value) -> String {
    let (spec, _) = with_port(node.spec(config.clone()));
    let id = spec.id.clone();
    let answer = driver.start(spec).await;
    let Err(Error::StartFailed { message, recoverable: false }) = answer else { panic!("{config}: {answer:?}") };
    assert!(matches!(driver.wait(&id).await, Err(Error::UnknownTask(_))), "{config} is left behind");
    let runs = std::fs::read_dir(node.own_dir().join("run")).map_or(0, Iterator::count);
    assert_eq!(runs, 0, "{config} leaves a directory behind");
    message
}

#[tokio::test]
async fn what_cannot_be_linked_is_named() {
    let node = Node::new();
    let driver = node.driver().await;
    let imports = r#"(module (import "env" "one" (func)) (import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))
        (import "other" "two" (global i32)) (func (export "_start")))"#;
    let foreign = r#"(component (import "acme:things/stuff@1.0.0" (instance (export "f" (func)))))"#;
    let nothing = r#"(module (memory (export "memory") 1))"#;
    for (config, parts) in [
        (json!({"module": guests::text("imports", imports)}), &["env.one", "other.two", "WASI preview 1"][..]),
        (json!({"module": guests::text("foreign", foreign)}), &["acme:things/stuff@1.0.0", "WASI preview 2"]),
        (json!({"module": guests::text("no-start", nothing)}), &["exports no _start"]),
        (json!({"module": guests::text("empty", "(component)")}), &["exports no wasi:cli/run"]),
        (
            json!({"module": guests::text("served-empty", "(component)"), "port": "http"}),
            &["wasi:http/incoming-handler"],
        ),
        (json!({"module": guests::program(), "port": "http"}), &["port is set, but the module is no component"]),
        (json!({"module": guests::service()}), &["exports no wasi:cli/run; to serve requests set port"]),
    ] {
        let message = refusal(&node, &driver, config.clone()).await;
        for part in parts {
            assert!(message.contains(part), "{part:?} in {message:?} for {config}");
        }
        assert!(!message.contains("proc_exit"), "{message}");
    }
    node.close().await;
}

#[tokio::test]
async fn what_is_no_module_is_told_as_what_it_is() {
    let node = Node::new();
    let driver = node.driver().await;
    let large = r#"(module (memory (export "memory") 1024) (func (export "_start")))"#;
    let invalid = r#"(module (func (export "_start") (result i32)))"#;
    for (module, part) in [
        (guests::text("script", "#!/bin/sh\n"), "neither WebAssembly nor its text form"),
        (guests::text("invalid", invalid), "not valid WebAssembly"),
        (guests::text("large", large), "begins with 64 MiB of memory, but its resources allow 32 MiB"),
        ("/etc/passwd".into(), "outside of the task's directories"),
        ("none.wasm".into(), "was not found in"),
    ] {
        let message = refusal(&node, &driver, json!({"module": module})).await;
        assert!(message.contains(part), "{part:?} in {message:?}");
    }
    let used = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (mut spec, _) = with_port(node.spec(json!({"module": guests::service(), "port": "http"})));
    spec.ports[0].host = used.local_addr().unwrap().port();
    let message = driver.start(spec).await.unwrap_err().to_string();
    assert!(message.contains("cannot listen on 127.0.0.1"), "{message}");
    let off = node.driver_with(Config { enabled: false, ..Config::default() }).await;
    let message = refusal(&node, &off, json!({"module": guests::program()})).await;
    assert!(message.contains("not enabled"), "{message}");
    node.close().await;
}
