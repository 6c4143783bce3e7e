//! A node of one test: its own supervisor, directories and mark.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use orch_driver::{Driver, ExitStatus, LogSpec, TaskDirs, TaskId, TaskLimits, TaskPort, TaskSpec};
use orch_driver_wasm::{Config, Place, WasmDriver};
use orch_host::limits::OriginalLimits;
use orch_model::{AllocId, MebiBytes, Mhz};
use orch_supervisor::{Handle, Lifetime, Options};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::guests;

/// How long anything may take before a test fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

const EXE: &str = env!("CARGO_BIN_EXE_orch-wasm-test-agent");

pub(crate) struct Node {
    pub(crate) root: tempfile::TempDir,
    mark: String,
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
    async fn connect(&self) -> Handle {
        let mut agent = self.agent.lock().await;
        agent.shutdown().await;
        let options = Options {
            socket: self.root.path().join("supervisor.sock"),
            exe: EXE.into(),
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

    pub(crate) async fn driver(&self) -> WasmDriver {
        self.driver_with(Config { module_dirs: vec![guests::dir()], ..Config::default() }).await
    }

    pub(crate) async fn driver_with(&self, config: Config) -> WasmDriver {
        WasmDriver::new(config, self.connect().await, Place { exe: EXE.into(), dir: self.own_dir() })
    }

    /// Where the driver keeps its things.
    pub(crate) fn own_dir(&self) -> PathBuf {
        self.root.path().join("wasm")
    }

    /// Ends the supervisor with all it holds.
    pub(crate) async fn close(&self) {
        self.connect().await.shutdown(true).await.unwrap();
    }

    pub(crate) fn spec(&self, config: Value) -> TaskSpec {
        let id = TaskId { alloc_id: AllocId::from_uuid(Uuid::new_v4()), task: "web".to_owned(), run: 0 };
        let alloc = self.root.path().join(id.alloc_id.to_string());
        let task = alloc.join("web");
        let (local, secrets) = (task.join("local"), task.join("secrets"));
        let (shared, logs) = (alloc.join("alloc"), alloc.join("alloc/logs"));
        for directory in [&local, &secrets, &logs] {
            std::fs::create_dir_all(directory).unwrap();
        }
        TaskSpec {
            id,
            job_id: "job".to_owned(),
            group: "group".to_owned(),
            config: serde_json::from_value(config).unwrap(),
            env: BTreeMap::from([("GREETING".to_owned(), "hello".to_owned())]),
            limits: TaskLimits { cpu: Mhz(512), node_cpu: Mhz(4000), memory: MebiBytes(32), ..TaskLimits::default() },
            dirs: TaskDirs { task, local, secrets, shared },
            logs: LogSpec { dir: logs, max_files: 2, max_file_bytes: 1 << 20, disabled: false },
            ..TaskSpec::default()
        }
    }

    /// Runs a task to its end.
    pub(crate) async fn run(&self, driver: &WasmDriver, spec: TaskSpec) -> Ended {
        let (stdout, stderr) = (log(&spec, "stdout"), log(&spec, "stderr"));
        let handle = driver.start(spec).await.unwrap();
        let status = tokio::time::timeout(DEADLINE, driver.wait(&handle.id)).await.unwrap().unwrap();
        driver.destroy(&handle.id).await.unwrap();
        let read = |file: &Path| std::fs::read_to_string(file).unwrap_or_default();
        Ended { status, stdout: read(&stdout), stderr: read(&stderr) }
    }
}

pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

pub(crate) fn log(spec: &TaskSpec, stream: &str) -> PathBuf {
    spec.logs.dir.join(format!("{}.{stream}.0", spec.id.task))
}

/// `spec` with a port "http" that nobody listens on at the moment.
pub(crate) fn with_port(mut spec: TaskSpec) -> (TaskSpec, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let host_ip = [127, 0, 0, 1].into();
    spec.ports.push(TaskPort { label: "http".to_owned(), host_ip, host: port, inside: port });
    (spec, format!("http://127.0.0.1:{port}"))
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
