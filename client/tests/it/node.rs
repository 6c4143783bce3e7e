//! A client agent for tests, with the mock driver, which outlives it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use orch_client::{Client, Config, Handle, Transport};
use orch_driver::{Driver, TaskHandle};
use orch_driver_mock::MockDriver;
use orch_model::job::{RestartPolicy, Task};
use orch_model::{AllocId, Allocation, Job, Nanos};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// What of a node stays when its agent goes.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) driver: MockDriver,
}

/// A running agent.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) handle: Handle,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Machine {
    pub(crate) fn new() -> Self {
        Self::with(MockDriver::new())
    }

    pub(crate) fn with(driver: MockDriver) -> Self {
        Self { dir: tempfile::tempdir().unwrap(), driver }
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    pub(crate) fn alloc_dir(&self, id: AllocId) -> PathBuf {
        self.dir.path().join("alloc").join(id.to_string())
    }

    pub(crate) fn config(&self, servers: &[String]) -> Config {
        let mut config = Config::new(self.state_dir(), self.dir.path().join("alloc"));
        config.servers = servers.to_vec();
        config.network_address = Some("127.0.0.1".parse().unwrap());
        config.dev = true;
        config
    }

    pub(crate) async fn start(&self, server: &crate::server::Server) -> Node {
        self.start_with(self.config(&[server.address.to_string()])).await
    }

    pub(crate) async fn start_with(&self, config: Config) -> Node {
        let driver: Arc<dyn Driver> = Arc::new(self.driver.clone());
        let drivers = BTreeMap::from([("mock_driver".to_owned(), driver)]);
        let (handle, service) = Client::start(config, drivers, Transport::plain()).await.unwrap();
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(service.run(shutdown.clone()));
        Node { handle, shutdown, task }
    }

    /// What the driver holds.
    pub(crate) async fn tasks(&self) -> Vec<TaskHandle> {
        self.driver.list().await.unwrap()
    }

    /// Waits until `reached`, looking again and again.
    pub(crate) async fn wait(&self, what: &str, reached: impl AsyncFn() -> bool) {
        let wait = async {
            while !reached().await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(crate::server::DEADLINE, wait).await.is_err() {
            panic!("{what} was not reached; the driver has {:#?}", self.tasks().await);
        }
    }
}

impl Drop for Machine {
    /// Secrets of tasks that still ran are mounted.
    fn drop(&mut self) {
        orch_host::mounts::unmount_below(self.dir.path()).unwrap();
    }
}

impl Node {
    /// Stops the agent as the system does; its tasks go on.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }

    /// Ends the agent without a word, as a kill does.
    pub(crate) async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

/// A job of one group with one mock task per configuration.
pub(crate) fn job(id: &str, configs: &[serde_json::Value]) -> Job {
    let mut job = orch_model::testing::job(id, 1);
    let group = &mut job.task_groups[0];
    group.restart_policy = Some(RestartPolicy {
        attempts: Some(1),
        interval: Some(Nanos::from_secs(60)),
        delay: Some(Nanos::from_millis(1)),
        mode: "fail".into(),
        ..RestartPolicy::default()
    });
    let template = group.tasks[0].clone();
    let task = |(number, config): (usize, &serde_json::Value)| Task {
        name: if number == 0 { "app".into() } else { format!("app{number}") },
        config: serde_json::from_value(config.clone()).unwrap(),
        kill_timeout: Nanos::from_secs(1),
        ..template.clone()
    };
    group.tasks = configs.iter().enumerate().map(task).collect();
    job
}

/// The id of allocation `number`.
pub(crate) fn alloc_id(number: u128) -> AllocId {
    AllocId::from_uuid(Uuid::from_u128(number))
}

/// Allocation `number` of `job`'s first group.
pub(crate) fn alloc(number: u128, job: &Job) -> Allocation {
    orch_model::testing::alloc(number, &Arc::new(job.clone()))
}
