//! A node of one test: its own supervisor, directories and mark.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use orch_driver::{Driver, LogSpec, TaskDirs, TaskHandle, TaskId, TaskLimits, TaskSpec};
use orch_driver_exec::{Config, Exec};
use orch_host::ProcessId;
use orch_host::limits::OriginalLimits;
use orch_model::{AllocId, MebiBytes, Mhz};
use orch_supervisor::{Handle, Lifetime, Options};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use uuid::Uuid;

/// How long anything may take before a test fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Naps are short because a shell looks for signals between its commands: one that comes just before a nap waits for its end.
pub(crate) const EXITS_ON_USR1: &str = "trap 'exit 7' USR1; echo ready; while :; do sleep 0.05; done";

pub(crate) struct Node {
    pub(crate) root: tempfile::TempDir,
    pub(crate) mark: String,
    /// The connection of the present agent; at most one.
    agent: Mutex<JoinSet<()>>,
}

impl Node {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        // Tasks run as other users too.
        std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        Self { root, mark: Uuid::new_v4().simple().to_string(), agent: Mutex::default() }
    }

    /// Ends the agent that was there, and connects a new one that remembers nothing.
    pub(crate) async fn connect(&self) -> Handle {
        let mut agent = self.agent.lock().await;
        agent.shutdown().await;
        let options = Options {
            socket: self.root.path().join("supervisor.sock"),
            exe: env!("CARGO_BIN_EXE_orch-exec-test-supervisor").into(),
            args: Vec::new(),
            node_mark: self.mark.clone(),
            cgroup_parent: "orch-test".to_owned(),
            lifetime: Lifetime::StopsWithAgent { grace: Duration::from_secs(3), remove_dir: None },
            limits: OriginalLimits::capture(),
        };
        let (handle, service) = Handle::connect(options).await.unwrap();
        agent.spawn(service.run());
        handle
    }

    /// A driver with settings of its own.
    pub(crate) async fn driver_with(&self, config: Config) -> Exec {
        Exec::new(config, self.connect().await)
    }

    pub(crate) async fn driver(&self) -> Exec {
        Exec::new(Config::default(), self.connect().await)
    }

    /// Ends the supervisor with all it holds.
    pub(crate) async fn close(&self) {
        self.connect().await.shutdown(true).await.unwrap();
    }

    pub(crate) fn spec(&self, config: Value) -> TaskSpec {
        let id = TaskId { alloc_id: AllocId::from_uuid(Uuid::new_v4()), task: "web".to_owned(), run: 0 };
        let alloc = self.root.path().join(id.alloc_id.to_string());
        let (task, shared) = (alloc.join("web"), alloc.join("alloc"));
        let (local, secrets, logs) = (task.join("local"), task.join("secrets"), shared.join("logs"));
        for (directory, mode) in [
            (&local, 0o777),
            (&secrets, 0o700),
            (&logs, 0o777),
            (&shared.join("data"), 0o777),
            (&task.join("tmp"), 0o1777),
        ] {
            std::fs::create_dir_all(directory).unwrap();
            std::fs::set_permissions(directory, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        // What the tests try to get out with.
        std::fs::copy(env!("CARGO_BIN_EXE_orch-exec-test-probe"), local.join("probe")).unwrap();
        TaskSpec {
            id,
            job_id: "job".to_owned(),
            group: "group".to_owned(),
            config: serde_json::from_value(config).unwrap(),
            env: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
            limits: TaskLimits { cpu: Mhz(512), node_cpu: Mhz(4000), memory: MebiBytes(64), ..TaskLimits::default() },
            dirs: TaskDirs { shared, task, local, secrets },
            logs: LogSpec { dir: logs, max_files: 2, max_file_bytes: 1 << 20, disabled: false },
            ..TaskSpec::default()
        }
    }

    /// Runs `script` to its end, and returns what it wrote to stdout.
    pub(crate) async fn output(&self, driver: &Exec, spec: TaskSpec) -> String {
        let file = stdout(&spec);
        let handle = driver.start(spec).await.unwrap();
        let status = driver.wait(&handle.id).await.unwrap();
        assert!(status.success(), "{status:?}");
        driver.destroy(&handle.id).await.unwrap();
        std::fs::read_to_string(file).unwrap()
    }
}

/// A `config` that has the probe try `words`.
pub(crate) fn probe(words: &[&str]) -> Value {
    serde_json::json!({"command": "probe", "args": words})
}

/// A `config` that runs `script` in a shell.
pub(crate) fn shell(script: &str) -> Value {
    serde_json::json!({"command": "sh", "args": ["-c", script]})
}

pub(crate) fn config(value: Value) -> orch_driver::conformance::Config {
    serde_json::from_value(value).unwrap()
}

pub(crate) fn stdout(spec: &TaskSpec) -> PathBuf {
    spec.logs.dir.join(format!("{}.stdout.0", spec.id.task))
}

/// The process that the driver's note is about.
pub(crate) fn process_of(handle: &TaskHandle) -> ProcessId {
    let note: Value = serde_json::from_slice(&handle.state).unwrap();
    ProcessId::of(i32::try_from(note["process"]["pid"].as_i64().unwrap()).unwrap()).unwrap()
}

/// Waits until `file` holds a whole line, and returns the first.
pub(crate) async fn first_line(file: &Path) -> String {
    eventually(&format!("a line in {}", file.display()), || {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        text.split_once('\n').map(|(line, _)| line.to_owned())
    })
    .await
}

/// Waits until `look` finds something.
pub(crate) async fn eventually<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < DEADLINE, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
