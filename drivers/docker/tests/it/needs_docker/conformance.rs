use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use orch_driver::conformance::{Config, Fixture, Program, check};
use orch_driver::{Driver, TaskSpec};
use serde_json::json;

use crate::node::{Node, config, shell};
use orch_tests::engine::{IMAGE, shared};

struct DockerFixture(Node<'static>);

#[async_trait]
impl Fixture for DockerFixture {
    async fn open(&self) -> Arc<dyn Driver> {
        Arc::new(self.0.driver())
    }

    fn config(&self, program: &Program) -> Option<Config> {
        // The first process of a container takes only the signals that it has asked for.
        let value = match program {
            Program::Forever => shell("trap 'exit 143' TERM; while :; do sleep 0.05; done"),
            Program::Exit(code) => shell(&format!("exit {code}")),
            Program::IgnoresSignals => {
                shell("trap '' HUP INT TERM USR1 USR2; echo ready; while :; do sleep 1000; done")
            }
            Program::ExitsOnUsr1 => shell("trap 'exit 7' USR1; echo ready; while :; do sleep 0.05; done"),
            Program::Prints { stdout, stderr } => shell(&format!("printf '{stdout}'; printf '{stderr}' >&2")),
            Program::ShowsSurroundings => {
                let mut value = shell("echo \"$ORCH_CHECK\"; pwd");
                value["work_dir"] = json!("/local");
                value
            }
            Program::Unstartable => json!({"image": IMAGE, "command": "/no/such/program", "network_mode": "none"}),
        };
        Some(config(value))
    }

    fn invalid_configs(&self) -> Vec<(Config, &'static str)> {
        [
            (json!({}), "image"),
            (json!({"image": IMAGE, "args": "1"}), "args"),
            (json!({"image": IMAGE, "comand": "x"}), "did you mean command"),
            (json!({"image": IMAGE, "mount": [{"type": "bind", "target": "/x"}]}), "mount[0].source"),
        ]
        .map(|(value, key)| (config(value), key))
        .into()
    }

    fn root(&self) -> PathBuf {
        self.0.root.path().to_owned()
    }

    fn env(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    fn work_dir(&self, spec: &TaskSpec) -> PathBuf {
        self.local_dir(spec)
    }

    fn local_dir(&self, _spec: &TaskSpec) -> PathBuf {
        PathBuf::from("/local")
    }
}

#[tokio::test]
async fn docker_keeps_the_contract() {
    let fixture = DockerFixture(Node::new(shared()));
    let report = check(&fixture).await;
    assert_eq!(report.skipped, [""; 0]);
    let label = format!("label=io.orch.node_id={}", fixture.0.identity.node_id);
    assert_eq!(fixture.0.engine.docker(&["ps", "-aq", "--filter", &label]), "", "containers are left");
}
