//! The trait that every driver implements.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;

use crate::capabilities::Capabilities;
use crate::error::Error;
use crate::exec::{ExecSession, ExecSpec};
use crate::handle::{ExitStatus, TaskHandle, TaskStats};
use crate::spec::{TaskId, TaskSpec};

/// Runs tasks of one kind on this machine.
///
/// Checked for every driver by `orch_driver::conformance`:
/// - `start` returns when the workload exists, not when it ends, and leaves nothing behind if it fails;
/// - one run is started once, and the runs of one task do not touch each other;
/// - a handle outlives the agent: `recover` finds the same workload again, or says it is gone;
/// - `stop` may be called twice, and once it returns nothing of the task is running;
/// - `wait` answers every caller with the same status, also after the task ended, until `destroy`.
#[async_trait]
pub trait Driver: Send + Sync + std::fmt::Debug {
    /// The driver's name in job files.
    fn name(&self) -> &'static str;

    /// What the driver supports.
    fn capabilities(&self) -> Capabilities;

    /// Whether the driver works here, and facts about it for the node's attributes. Returns within a second.
    async fn fingerprint(&self) -> Fingerprint;

    /// Checks a task's `config` without starting anything.
    fn validate(&self, config: &BTreeMap<String, serde_json::Value>) -> Result<(), Error>;

    /// Starts a task; returns once it runs.
    async fn start(&self, spec: TaskSpec) -> Result<TaskHandle, Error>;

    /// Finds a task again that was started before the agent restarted.
    ///
    /// [`Error::UnknownTask`] says that it is gone for good and nothing of it is left running.
    async fn recover(&self, handle: &TaskHandle) -> Result<(), Error>;

    /// Waits until the task ends.
    async fn wait(&self, task: &TaskId) -> Result<ExitStatus, Error>;

    /// Ends the task: sends `signal`, and after `timeout` kills whatever is left of it. Returns once nothing runs.
    async fn stop(&self, task: &TaskId, signal: Option<&str>, timeout: Duration) -> Result<(), Error>;

    /// Sends a signal by name, such as `SIGHUP`.
    async fn signal(&self, task: &TaskId, signal: &str) -> Result<(), Error>;

    /// Runs a command inside a task that runs; for drivers whose [`Capabilities::exec`] says so.
    async fn exec(&self, task: &TaskId, spec: ExecSpec) -> Result<ExecSession, Error> {
        let _unused = (task, spec);
        Err(Error::Unsupported { driver: self.name(), operation: "commands inside tasks" })
    }

    /// How much the task uses now.
    async fn stats(&self, task: &TaskId) -> Result<TaskStats, Error>;

    /// Forgets a task that ended and gives back what it held; ends it first if it still runs.
    async fn destroy(&self, task: &TaskId) -> Result<(), Error>;

    /// Every task of this node that this driver still holds something of, whoever started it: those that run, and those that ended and
    /// were not destroyed.
    ///
    /// A second copy of every handle, for adoption and for the sweep of orphans.
    async fn list(&self) -> Result<Vec<TaskHandle>, Error>;

    /// Ends and removes what carries this node's mark and belongs to no task that [`list`](Self::list) tells; returns what it was, in words
    /// for a log.
    ///
    /// Called when everything that is to be recovered has been, and a server has told what should run: never before, never offline.
    async fn sweep(&self) -> Result<Vec<String>, Error> {
        Ok(Vec::new())
    }
}

/// Whether a driver works here, and facts about it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fingerprint {
    /// Node attributes, such as `driver.raw_exec` → `1`.
    pub attributes: BTreeMap<String, String>,
    /// Whether it works.
    pub health: Health,
    /// Why, in a few words.
    pub description: String,
}

/// Whether a driver works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Health {
    /// What it needs is not here.
    #[default]
    Undetected,
    /// It is here but does not work now.
    Unhealthy,
    /// It works.
    Healthy,
}
