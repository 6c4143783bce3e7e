//! A node of one test: its own directories and id, over a shared engine.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use orch_driver::conformance::Config as TaskConfig;
use orch_driver::{Driver, ExitStatus, LogSpec, Progress, TaskDirs, TaskHandle, TaskId, TaskLimits, TaskSpec};
use orch_driver_docker::{Config, DockerDriver, Gc, NodeIdentity};
use orch_model::{AllocId, MebiBytes, Mhz};
use serde_json::{Value, json};
use uuid::Uuid;

use orch_tests::engine::{DEADLINE, Engine, IMAGE};

pub(crate) struct Node<'e> {
    pub(crate) engine: &'e Engine,
    pub(crate) root: tempfile::TempDir,
    pub(crate) identity: NodeIdentity,
    pub(crate) told: Arc<Mutex<Vec<String>>>,
}

impl<'e> Node<'e> {
    pub(crate) fn new(engine: &'e Engine) -> Self {
        let identity = NodeIdentity { node_id: Uuid::new_v4().to_string(), node_name: "test".to_owned() };
        Self { engine, root: tempfile::tempdir().unwrap(), identity, told: Arc::default() }
    }

    /// The settings of most tests. Images are shared by tests: they stay.
    pub(crate) fn config(&self) -> Config {
        let gc = Gc { image: false, ..Gc::default() };
        Config { endpoint: self.engine.endpoint(), gc, ..Config::default() }
    }

    /// A driver that knows nothing of those before it.
    pub(crate) fn driver(&self) -> DockerDriver {
        self.driver_with(self.config())
    }

    pub(crate) fn driver_with(&self, config: Config) -> DockerDriver {
        DockerDriver::new(config, self.identity.clone())
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
        let told = Arc::clone(&self.told);
        TaskSpec {
            id,
            job_id: "job".to_owned(),
            group: "group".to_owned(),
            config: serde_json::from_value(config).unwrap(),
            env: BTreeMap::from([("GREETING".to_owned(), "hello".to_owned())]),
            limits: TaskLimits { cpu: Mhz(512), node_cpu: Mhz(4000), memory: MebiBytes(64), ..TaskLimits::default() },
            dirs: TaskDirs { task, local, secrets, shared },
            logs: LogSpec { dir: logs, max_files: 20, max_file_bytes: 1 << 20, disabled: false },
            progress: Progress::new(move |text| told.lock().unwrap().push(text)),
            ..TaskSpec::default()
        }
    }

    /// Runs a task to its end; how it ended, and what it wrote to stdout.
    pub(crate) async fn run(&self, driver: &DockerDriver, spec: TaskSpec) -> (TaskHandle, ExitStatus, String) {
        let logs = spec.logs.clone();
        let handle = driver.start(spec).await.unwrap();
        let status = driver.wait(&handle.id).await.unwrap();
        driver.destroy(&handle.id).await.unwrap();
        (handle, status, stdout(&logs))
    }
}

/// A `config` that runs `script` in a shell, without a network.
pub(crate) fn shell(script: &str) -> Value {
    json!({"image": IMAGE, "command": "sh", "args": ["-c", script], "network_mode": "none"})
}

pub(crate) fn config(value: Value) -> TaskConfig {
    serde_json::from_value(value).unwrap()
}

/// All of stdout that was kept, in its order.
pub(crate) fn stdout(logs: &LogSpec) -> String {
    let indexes = orch_host::logs::indexes(&logs.dir, "web", orch_host::logs::Stream::Stdout).unwrap();
    let file = |index: u64| -> PathBuf { logs.dir.join(format!("web.stdout.{index}")) };
    indexes.into_iter().map(|index| std::fs::read_to_string(file(index)).unwrap()).collect()
}

/// Waits until `look` finds something.
pub(crate) async fn eventually<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(began.elapsed() < DEADLINE, "waited in vain for {what}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}
