use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use orch_driver::conformance::{Config, Fixture, Program, check};
use orch_driver::{Driver, TaskSpec};
use serde_json::json;

use crate::guests;
use crate::node::Node;

struct WasmFixture {
    node: Node,
    module: PathBuf,
    hopeless: PathBuf,
}

#[async_trait]
impl Fixture for WasmFixture {
    async fn open(&self) -> Arc<dyn Driver> {
        Arc::new(self.node.driver().await)
    }

    fn config(&self, program: &Program) -> Option<Config> {
        let run = |args: &[&str]| Some(json!({"module": self.module, "args": args}));
        let value = match program {
            Program::Forever => run(&["forever"]),
            Program::Exit(code) => run(&["exit", &code.to_string()]),
            // WASI has no signals: what comes ends the process.
            Program::IgnoresSignals | Program::ExitsOnUsr1 => None,
            Program::Prints { stdout, stderr } => run(&["print", stdout, stderr]),
            Program::ShowsSurroundings => run(&["surroundings"]),
            Program::Unstartable => Some(json!({"module": self.hopeless})),
        };
        value.map(|value| serde_json::from_value(value).unwrap())
    }

    fn invalid_configs(&self) -> Vec<(Config, &'static str)> {
        [
            (json!({}), "module"),
            (json!({"module": ["a.wasm"]}), "module"),
            (json!({"module": "a.wasm", "modul": "x"}), "did you mean module"),
            (json!({"module": "a.wasm", "allowed_hosts": ["a b"]}), "allowed_hosts"),
            (json!({"module": "a.wasm", "port": "http", "timeout": "soon"}), "timeout"),
        ]
        .map(|(value, key)| (serde_json::from_value(value).unwrap(), key))
        .into()
    }

    fn root(&self) -> PathBuf {
        self.node.root.path().to_owned()
    }

    fn work_dir(&self, _spec: &TaskSpec) -> PathBuf {
        "/".into()
    }
}

#[tokio::test]
async fn wasm_keeps_the_contract() {
    let hopeless = guests::text("hopeless", "#!/bin/sh\n");
    let fixture = WasmFixture { node: Node::new(), module: guests::program(), hopeless };
    let report = check(&fixture).await;
    let skipped = [
        "stop_kills_what_ignores_its_signal",
        "two_stops_at_once_both_end",
        "destroy_ends_a_running_task",
        "a_recovered_task_is_signalled_and_tells_its_code",
    ];
    assert_eq!(report.skipped, skipped);
    fixture.node.close().await;
}
