//! Programs from their beginning to their end.

use std::time::Duration;

use orch_driver::Driver;
use serde_json::json;

use crate::guests;
use crate::node::Node;

#[tokio::test]
async fn modules_and_components_see_their_arguments_and_variables_and_no_others() {
    let node = Node::new();
    let driver = node.driver().await;
    for module in [guests::program(), guests::component()] {
        let name = module.file_name().unwrap().to_str().unwrap().to_owned();
        let ended = node.run(&driver, node.spec(json!({"module": module, "args": ["show", "a b"]}))).await;
        assert!(ended.status.success(), "{:?} {}", ended.status, ended.stderr);
        assert_eq!(ended.stdout, format!("arg {name}\narg show\narg a b\nenv GREETING=hello\n"));
    }
    node.close().await;
}

#[tokio::test]
async fn a_text_file_is_a_module_too() {
    let node = Node::new();
    let driver = node.driver().await;
    let spec = node.spec(json!({"module": "exit.wat"}));
    let text = r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1) (func (export "_start") (call $exit (i32.const 3))))"#;
    std::fs::write(spec.dirs.local.join("exit.wat"), text).unwrap();
    let ended = node.run(&driver, spec).await;
    assert_eq!((ended.status.code, ended.status.message.as_str()), (Some(3), ""));
    node.close().await;
}

#[tokio::test]
async fn a_trap_is_told_with_the_place_where_it_happened() {
    let node = Node::new();
    let driver = node.driver().await;
    let text = r#"(module (memory (export "memory") 1)
        (func $innermost unreachable) (func $outer (call $innermost)) (func (export "_start") (call $outer)))"#;
    for (module, frames) in [(guests::text("trap", text), &["innermost", "outer"][..]), (guests::component(), &[])] {
        let ended = node.run(&driver, node.spec(json!({"module": module, "args": ["trap"]}))).await;
        assert_eq!(ended.status.code, Some(134), "{:?}", ended.status);
        assert!(!ended.status.oom_killed);
        let message = &ended.status.message;
        assert!(message.starts_with("trap: wasm trap: wasm `unreachable` instruction executed"), "{message}");
        assert!(message.contains("wasm backtrace:"), "{message}");
        for frame in frames {
            assert!(message.contains(frame), "{frame} in {message}");
        }
        assert!(ended.stderr.contains("wasm backtrace:"), "{}", ended.stderr);
    }
    node.close().await;
}

#[tokio::test]
async fn who_wants_too_much_memory_is_told_as_killed_for_it() {
    let node = Node::new();
    let driver = node.driver().await;
    for module in [guests::program(), guests::component()] {
        let ended = node.run(&driver, node.spec(json!({"module": module, "args": ["hog"]}))).await;
        assert!(ended.status.oom_killed, "{:?} {}", ended.status, ended.stderr);
        assert_eq!(ended.status.code, Some(137));
        assert!(
            ended.status.message.contains("out of memory: the program wanted more than the 32 MiB"),
            "{:?}",
            ended.status
        );
    }
    node.close().await;
}

#[tokio::test]
async fn time_and_fuel_end_a_program_that_does_not() {
    let node = Node::new();
    let driver = node.driver().await;
    let module = guests::program();
    for (config, code, part) in [
        (json!({"module": module, "args": ["spin"], "timeout": "50ms"}), 124, "timeout of 50ms"),
        (json!({"module": module, "args": ["forever"], "timeout": "50ms"}), 124, "timeout of 50ms"),
        (json!({"module": module, "args": ["spin"], "fuel": 1_000_000}), 134, "used up its fuel"),
    ] {
        let ended = node.run(&driver, node.spec(config.clone())).await;
        assert_eq!(ended.status.code, Some(code), "{config} {:?}", ended.status);
        assert!(ended.status.message.contains(part), "{config} {:?}", ended.status);
    }
    let enough = json!({"module": module, "args": ["exit", "5"], "fuel": 100_000_000, "timeout": "20s"});
    assert_eq!(node.run(&driver, node.spec(enough)).await.status.code, Some(5));
    node.close().await;
}

#[tokio::test]
async fn a_stop_ends_a_program_at_once_and_a_restarted_agent_knows_why_one_ended() {
    let node = Node::new();
    let driver = node.driver().await;
    let handle = driver.start(node.spec(json!({"module": guests::program(), "args": ["forever"]}))).await.unwrap();
    driver.stop(&handle.id, None, Duration::from_secs(20)).await.unwrap();
    assert_eq!(driver.wait(&handle.id).await.unwrap().signal, Some(15));
    let hog = driver.start(node.spec(json!({"module": guests::program(), "args": ["hog"]}))).await.unwrap();
    let before = driver.wait(&hog.id).await.unwrap();
    let driver = node.driver().await;
    driver.recover(&hog).await.unwrap();
    assert_eq!(driver.wait(&hog.id).await.unwrap(), before);
    for handle in [handle, hog] {
        driver.destroy(&handle.id).await.unwrap();
    }
    assert_eq!(std::fs::read_dir(node.own_dir().join("run")).unwrap().count(), 0);
    node.close().await;
}
