use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use orch_driver::Driver;
use orch_driver::conformance::{Command, Config, Fixture, Program, check};
use orch_driver_mock::MockDriver;
use serde_json::json;

struct Mock {
    driver: MockDriver,
    root: tempfile::TempDir,
}

#[async_trait]
impl Fixture for Mock {
    async fn open(&self) -> Arc<dyn Driver> {
        Arc::new(self.driver.clone())
    }

    fn config(&self, program: &Program) -> Option<Config> {
        let config = match program {
            Program::Forever => json!({}),
            Program::Exit(code) => json!({"run_for": "10ms", "exit_code": code}),
            Program::IgnoresSignals => json!({"kill_after": "1h", "stdout_string": "ready\n"}),
            Program::Prints { stdout, stderr } => {
                json!({"run_for": 0, "stdout_string": stdout, "stderr_string": stderr})
            }
            Program::Unstartable => json!({"start_error": "told to fail"}),
            Program::ExitsOnUsr1 | Program::ShowsSurroundings => return None,
        };
        Some(serde_json::from_value(config).unwrap())
    }

    fn invalid_configs(&self) -> Vec<(Config, &'static str)> {
        let wrong = [
            (json!({"run_for": "soon"}), "run_for"),
            (json!({"exit_code": "x"}), "exit_code"),
            (json!({"start_error_recoverable": 3}), "start_error_recoverable"),
            (json!({"stdout_repeat": -1}), "stdout_repeat"),
            (json!({"run_fro": "1s"}), "did you mean run_for"),
        ];
        wrong.map(|(config, key)| (serde_json::from_value(config).unwrap(), key)).into()
    }

    /// What commands do is faked as well.
    fn command(&self, _: &Command) -> Option<Vec<String>> {
        None
    }

    fn root(&self) -> PathBuf {
        self.root.path().to_owned()
    }
}

#[tokio::test(start_paused = true)]
async fn the_mock_driver_keeps_the_contract() {
    let report = check(&Mock { driver: MockDriver::new(), root: tempfile::tempdir().unwrap() }).await;
    let without_processes = [
        "signals_reach_the_task",
        "a_recovered_task_is_signalled_and_tells_its_code",
        "the_task_sees_its_environment_and_directory",
        "commands_are_refused_where_they_cannot_be_run",
        "a_command_reads_writes_and_tells_its_code",
        "a_command_has_the_environment_it_is_given",
        "a_terminal_has_the_size_it_is_given",
        "a_dropped_session_ends_its_command",
        "a_command_cannot_outlive_its_task",
    ];
    assert_eq!(report.skipped, without_processes);
}
