use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use orch_driver::Driver;
use orch_driver::conformance::{Config, Fixture, Program, check};
use serde_json::json;

use crate::node::{EXITS_ON_USR1, Node, config, shell};

struct RawExecFixture {
    node: Node,
    /// A file that may be executed, and cannot be.
    hopeless: PathBuf,
}

impl RawExecFixture {
    fn new() -> Self {
        let node = Node::new();
        let hopeless = node.root.path().join("hopeless");
        std::fs::write(&hopeless, "#!/no/such/interpreter\n").unwrap();
        std::fs::set_permissions(&hopeless, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self { node, hopeless }
    }
}

#[async_trait]
impl Fixture for RawExecFixture {
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
            Program::Unstartable => json!({"command": self.hopeless}),
        }))
    }

    fn invalid_configs(&self) -> Vec<(Config, &'static str)> {
        [
            (json!({}), "command"),
            (json!({"command": ["sleep"]}), "command"),
            (json!({"command": "sleep", "args": "1"}), "args"),
            (json!({"command": "sleep", "comand": "x"}), "did you mean command"),
            (json!({"command": "sleep", "oom_score_adj": 5000}), "oom_score_adj"),
        ]
        .map(|(value, key)| (config(value), key))
        .into()
    }

    fn root(&self) -> PathBuf {
        self.node.root.path().to_owned()
    }
}

#[tokio::test]
async fn raw_exec_keeps_the_contract() {
    let fixture = RawExecFixture::new();
    let report = check(&fixture).await;
    assert_eq!(report.skipped, [""; 0]);
    fixture.node.close().await;
}
