use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use orch_driver::{
    Capabilities, Driver, Error, ExecSession, ExecSpec, ExitStatus, Fingerprint, FsIsolation, Health, TaskHandle,
    TaskId, TaskSpec, TaskStats,
};
use orch_supervisor::{DriverTasks, Handle, SpawnSpec};

use crate::config::{Config, TaskConfig};
use crate::{NAME, plan};

/// The driver `raw_exec`. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RawExec {
    config: Arc<Config>,
    tasks: DriverTasks,
}

impl RawExec {
    /// The driver over the node's supervisor.
    pub fn new(config: Config, supervisor: Handle) -> Self {
        Self { config: Arc::new(config), tasks: DriverTasks::new(NAME, supervisor) }
    }

    async fn plan(&self, spec: TaskSpec) -> Result<SpawnSpec, Error> {
        let config = Arc::clone(&self.config);
        let planned = tokio::task::spawn_blocking(move || plan::make(spec, &config)).await;
        planned.unwrap_or_else(|error| Err(Error::failed("preparing the task failed", error)))
    }
}

#[async_trait]
impl Driver for RawExec {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { signals: true, exec: true, mounts: false, fs_isolation: FsIsolation::None, logs: true }
    }

    async fn fingerprint(&self) -> Fingerprint {
        if !self.config.enabled {
            let description = "disabled".to_owned();
            return Fingerprint { attributes: BTreeMap::new(), health: Health::Undetected, description };
        }
        Fingerprint {
            attributes: BTreeMap::from([(format!("driver.{NAME}"), "1".to_owned())]),
            health: Health::Healthy,
            description: "Healthy".to_owned(),
        }
    }

    fn validate(&self, config: &BTreeMap<String, serde_json::Value>) -> Result<(), Error> {
        TaskConfig::read(config).map(drop)
    }

    async fn start(&self, spec: TaskSpec) -> Result<TaskHandle, Error> {
        if !self.config.enabled {
            let message = format!("driver {NAME} is not enabled on this node");
            return Err(Error::StartFailed { message, recoverable: false });
        }
        let id = spec.id.clone();
        let planned = self.plan(spec).await?;
        self.tasks.start(id, planned).await
    }

    async fn recover(&self, handle: &TaskHandle) -> Result<(), Error> {
        self.tasks.recover(handle).await
    }

    async fn wait(&self, task: &TaskId) -> Result<ExitStatus, Error> {
        self.tasks.wait(task).await
    }

    async fn stop(&self, task: &TaskId, signal: Option<&str>, timeout: Duration) -> Result<(), Error> {
        self.tasks.stop(task, signal, timeout).await
    }

    async fn signal(&self, task: &TaskId, signal: &str) -> Result<(), Error> {
        self.tasks.signal(task, signal).await
    }

    async fn exec(&self, task: &TaskId, spec: ExecSpec) -> Result<ExecSession, Error> {
        self.tasks.exec(task, spec, Vec::new()).await
    }

    async fn stats(&self, task: &TaskId) -> Result<TaskStats, Error> {
        self.tasks.stats(task).await
    }

    async fn destroy(&self, task: &TaskId) -> Result<(), Error> {
        self.tasks.destroy(task).await
    }

    async fn list(&self) -> Result<Vec<TaskHandle>, Error> {
        self.tasks.list().await
    }

    async fn sweep(&self) -> Result<Vec<String>, Error> {
        self.tasks.sweep().await
    }
}
