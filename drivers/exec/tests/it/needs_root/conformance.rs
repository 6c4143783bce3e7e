use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use orch_driver::conformance::{Config, Fixture, Program, check};
use orch_driver::{Driver, TaskSpec};
use serde_json::json;

use crate::node::{EXITS_ON_USR1, Node, config, shell};

struct ExecFixture {
    node: Node,
}

#[async_trait]
impl Fixture for ExecFixture {
    async fn open(&self) -> Arc<dyn Driver> {
        Arc::new(self.node.driver().await)
    }

    fn config(&self, program: &Program) -> Option<Config> {
        Some(config(match program {
            Program::Forever => json!({"command": "sleep", "args": [1_000_000]}),
            Program::Exit(code) => shell(&format!("exit {code}")),
            Program::IgnoresSignals => {
                shell("trap '' HUP INT TERM USR1 USR2; echo ready; while :; do sleep 1000; done")
            }
            Program::ExitsOnUsr1 => shell(EXITS_ON_USR1),
            Program::Prints { stdout, stderr } => shell(&format!("printf '{stdout}'; printf '{stderr}' >&2")),
            Program::ShowsSurroundings => shell("echo \"$ORCH_CHECK\"; pwd"),
            Program::Unstartable => json!({"command": "/no/such/program"}),
        }))
    }

    fn invalid_configs(&self) -> Vec<(Config, &'static str)> {
        [
            (json!({}), "command"),
            (json!({"command": ["sleep"]}), "command"),
            (json!({"command": "sleep", "args": "1"}), "args"),
            (json!({"command": "sleep", "comand": "x"}), "did you mean command"),
            (json!({"command": "sleep", "pid_mode": "shared"}), "pid_mode"),
            (json!({"command": "sleep", "cap_add": ["sys_admin"]}), "cap_add"),
        ]
        .map(|(value, key)| (config(value), key))
        .into()
    }

    fn work_dir(&self, _: &TaskSpec) -> PathBuf {
        "/".into()
    }

    fn local_dir(&self, _: &TaskSpec) -> PathBuf {
        "/local".into()
    }

    fn root(&self) -> PathBuf {
        self.node.root.path().to_owned()
    }
}

#[tokio::test]
async fn exec_keeps_the_contract() {
    // The suite's directories are for everybody, as the agent's are: a task runs as nobody.
    nix::sys::stat::umask(nix::sys::stat::Mode::empty());
    let fixture = ExecFixture { node: Node::new() };
    let report = check(&fixture).await;
    assert_eq!(report.skipped, [""; 0]);
    fixture.node.close().await;
}
