use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use orch_driver::{
    Capabilities, Driver, Error, ExecSession, ExecSpec, ExitStatus, Fingerprint, FsIsolation, Health, TaskHandle,
    TaskId, TaskSpec, TaskStats,
};
use orch_supervisor::{DriverTasks, Handle};

use crate::config::{Config, TaskConfig};
use crate::plan::{self, Planned};
use crate::{NAME, capabilities, filter, host};

/// The driver `exec`. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Exec {
    config: Arc<Config>,
    /// What this host lacks for it.
    lacks: Arc<[String]>,
    supervisor: Handle,
    tasks: DriverTasks,
}

impl Exec {
    /// The driver over the node's supervisor. The program in its options has to run [`orch_supervisor::enter::main`] when asked to.
    pub fn new(config: Config, supervisor: Handle) -> Self {
        let tasks = DriverTasks::new(NAME, supervisor.clone());
        Self { config: Arc::new(config), lacks: host::lacks().into(), supervisor, tasks }
    }

    async fn plan(&self, spec: TaskSpec) -> Result<Planned, Error> {
        let config = Arc::clone(&self.config);
        let planned = tokio::task::spawn_blocking(move || plan::make(spec, &config)).await;
        planned.unwrap_or_else(|error| Err(Error::failed("preparing the task failed", error)))
    }
}

#[async_trait]
impl Driver for Exec {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { signals: true, exec: true, mounts: true, fs_isolation: FsIsolation::Chroot, logs: true }
    }

    async fn fingerprint(&self) -> Fingerprint {
        if !self.lacks.is_empty() {
            let description = self.lacks.join("; ");
            return Fingerprint { attributes: BTreeMap::new(), health: Health::Undetected, description };
        }
        Fingerprint {
            attributes: BTreeMap::from([(format!("driver.{NAME}"), "1".to_owned())]),
            health: Health::Healthy,
            description: "Healthy".to_owned(),
        }
    }

    fn validate(&self, config: &BTreeMap<String, serde_json::Value>) -> Result<(), Error> {
        TaskConfig::read(config, &self.config).map(drop)
    }

    async fn start(&self, spec: TaskSpec) -> Result<TaskHandle, Error> {
        if !self.lacks.is_empty() {
            return Err(Error::StartFailed { message: self.lacks.join("; "), recoverable: false });
        }
        let id = spec.id.clone();
        let Planned { spawn, warnings } = self.plan(spec).await?;
        let mut handle = self.tasks.start(id, spawn).await?;
        handle.warnings.extend(warnings);
        Ok(handle)
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
        // The same filter as the task's, as it follows from what the task may do.
        let key = DriverTasks::key(NAME, task);
        let found =
            self.supervisor.find(&key).await.map_err(|error| Error::failed("looking for a task failed", error))?;
        let entry = found.ok_or_else(|| Error::UnknownTask(task.clone()))?;
        let bounding = entry.place.confinement.map(|(_, privileges)| privileges.bounding);
        let filter = bounding.map(|set| filter::program(capabilities::Capabilities(set))).unwrap_or_default();
        self.tasks.exec(task, spec, filter).await
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
