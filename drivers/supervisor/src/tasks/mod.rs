//! What drivers over the supervisor have in common: everything of `orch_driver::Driver` but how a task is started.

mod key;
mod limits;
mod users;

use std::time::Duration;

use orch_driver::{Error, ExecSession, ExecSpec, ExitStatus, TaskHandle, TaskId, TaskStats};
use orch_host::signals;
use orch_model::{Nanos, Timestamp};
use tracing::warn;

pub use limits::limits_of;
pub use users::{Denied, IdRanges, InvalidIdRange, UserError, resolve as resolve_user};

use crate::client::Handle;
use crate::error::StartError;
use crate::spec::{self, SpawnSpec, Started, TaskEntry, TaskKey};

/// What a stop sends where no signal is named.
const DEFAULT_SIGNAL: &str = "SIGINT";
const EXIT_UNKNOWN: &str = "exit status is not known: the supervisor was lost while the task ran";

/// The tasks of one driver among those of the supervisor. Cheap to clone.
///
/// Its methods are those of `orch_driver::Driver` with the same contracts.
#[derive(Debug, Clone)]
pub struct DriverTasks {
    driver: &'static str,
    supervisor: Handle,
}

impl DriverTasks {
    /// Those of `driver`, whose name begins the key of each.
    pub fn new(driver: &'static str, supervisor: Handle) -> Self {
        Self { driver, supervisor }
    }

    /// What names a run of `driver` towards the supervisor.
    pub fn key(driver: &str, id: &TaskId) -> TaskKey {
        key::of(driver, id)
    }

    /// Starts what was planned for `id`, under [`Self::key`].
    pub async fn start(&self, id: TaskId, planned: SpawnSpec) -> Result<TaskHandle, Error> {
        let Started { process: _, warnings, entry } = self.spawn(planned).await.map_err(|error| not_started(&error))?;
        let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        for warning in &warnings {
            warn!(alloc_id = %id.alloc_id, task = id.task, warning, "the host does not allow everything that the task should get");
        }
        handle_of(self.driver, id, &entry, warnings)
    }

    /// A supervisor lost on the way leaves it open whether the task runs, which only a second start under the same key settles.
    async fn spawn(&self, spec: SpawnSpec) -> Result<Started, StartError> {
        match self.supervisor.start(spec.clone()).await {
            Err(StartError::Lost) => self.supervisor.start(spec).await,
            answer => answer,
        }
    }

    /// Finds a task again, or takes it over.
    pub async fn recover(&self, handle: &TaskHandle) -> Result<(), Error> {
        let unknown = || Error::UnknownTask(handle.id.clone());
        let key = self.key_of(&handle.id);
        if self.supervisor.find(&key).await.map_err(|error| failed("looking for a task", error))?.is_some() {
            return Ok(());
        }
        // The supervisor was lost together with the agent: what runs is taken over, what does not is cleared away.
        let entry: TaskEntry = serde_json::from_slice(&handle.state)
            .map_err(|error| Error::failed(format!("the stored note of task {} cannot be read", handle.id), error))?;
        if entry.key != key {
            return Err(unknown());
        }
        if self.supervisor.adopt(entry).await.map_err(|error| failed("taking over a task", error))? {
            return Ok(());
        }
        self.supervisor.forget(&key).await.map_err(|error| failed("clearing away a task that is gone", error))?;
        Err(unknown())
    }

    /// Waits until the task ends.
    pub async fn wait(&self, task: &TaskId) -> Result<ExitStatus, Error> {
        let status = self.supervisor.wait(&self.key_of(task)).await;
        status.map(exit_status).map_err(|error| about(task, "waiting for", error))
    }

    /// Signals the task, and kills what is left of it after `timeout`.
    pub async fn stop(&self, task: &TaskId, signal: Option<&str>, timeout: Duration) -> Result<(), Error> {
        let signal = signal_number(signal.unwrap_or(DEFAULT_SIGNAL))?;
        let key = self.key_of(task);
        match self.supervisor.signal(&key, signal).await {
            Ok(()) | Err(crate::Error::NotRunning(_)) => {}
            Err(error) => return Err(about(task, "signalling", error)),
        }
        if let Ok(Err(error)) = tokio::time::timeout(timeout, self.supervisor.wait(&key)).await {
            return Err(about(task, "waiting for", error));
        }
        // Also when it ended in time: it may have left others behind.
        self.supervisor.kill(&key).await.map_err(|error| about(task, "killing", error))?;
        self.supervisor.wait(&key).await.map(drop).map_err(|error| about(task, "waiting for", error))
    }

    /// Sends a signal by name.
    pub async fn signal(&self, task: &TaskId, signal: &str) -> Result<(), Error> {
        let signal = signal_number(signal)?;
        let sent = self.supervisor.signal(&self.key_of(task), signal).await;
        sent.map_err(|error| about(task, "signalling", error))
    }

    /// Runs a command inside of a task; every system call of it passes `filter` where the task has a sandbox.
    pub async fn exec(&self, task: &TaskId, spec: ExecSpec, filter: Vec<u64>) -> Result<ExecSession, Error> {
        let found =
            self.supervisor.find(&self.key_of(task)).await.map_err(|error| failed("looking for a task", error))?;
        let entry = found.ok_or_else(|| Error::UnknownTask(task.clone()))?;
        let refused = |message: String| Err(Error::Failed { message, source: None });
        if entry.exit.is_some() {
            return refused(format!("task {task} has ended, so that no command can be run in it"));
        }
        if spec.command.is_empty() {
            return refused("there is no command to run".to_owned());
        }
        self.supervisor.enter(&entry, spec, filter).await
    }

    /// How much the task uses now.
    pub async fn stats(&self, task: &TaskId) -> Result<TaskStats, Error> {
        let stats = self.supervisor.stats(&self.key_of(task)).await.map_err(|error| about(task, "measuring", error))?;
        Ok(task_stats(&stats))
    }

    /// Forgets a task; ends it first.
    pub async fn destroy(&self, task: &TaskId) -> Result<(), Error> {
        let forgotten = self.supervisor.forget(&self.key_of(task)).await;
        if forgotten.map_err(|error| about(task, "forgetting", error))? {
            Ok(())
        } else {
            Err(Error::UnknownTask(task.clone()))
        }
    }

    /// Every task of the driver.
    pub async fn list(&self) -> Result<Vec<TaskHandle>, Error> {
        let entries = self.supervisor.list().await.map_err(|error| failed("listing the tasks", error))?;
        let ours = entries.iter().filter_map(|entry| Some((key::id_of(self.driver, entry)?, entry)));
        ours.map(|(id, entry)| handle_of(self.driver, id, entry, Vec::new())).collect()
    }

    /// Removes the control groups that belong to no task, of whichever driver; tells which.
    pub async fn sweep(&self) -> Result<Vec<String>, Error> {
        let groups = self.supervisor.sweep().await.map_err(|error| failed("sweeping control groups", error))?;
        Ok(groups.into_iter().map(|name| format!("control group {name}")).collect())
    }

    fn key_of(&self, task: &TaskId) -> TaskKey {
        key::of(self.driver, task)
    }
}

fn handle_of(driver: &str, id: TaskId, entry: &TaskEntry, warnings: Vec<String>) -> Result<TaskHandle, Error> {
    let state = serde_json::to_vec(entry)
        .map_err(|error| Error::failed(format!("the note of task {id} cannot be written"), error))?;
    let started_at = Timestamp::NONE.plus(Nanos::from(Duration::from_millis(entry.started_at_ms)));
    Ok(TaskHandle { id, driver: driver.to_owned(), started_at, state, warnings })
}

fn not_started(error: &StartError) -> Error {
    Error::StartFailed { message: chain(error), recoverable: error.is_recoverable() }
}

fn about(task: &TaskId, doing: &str, error: crate::Error) -> Error {
    match error {
        crate::Error::UnknownTask(_) => Error::UnknownTask(task.clone()),
        error => failed(&format!("{doing} task {task}"), error),
    }
}

fn failed(doing: &str, error: crate::Error) -> Error {
    Error::failed(format!("{doing} failed"), error)
}

fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |cause| cause.source())
        .fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

fn signal_number(name: &str) -> Result<i32, Error> {
    signals::number(name).ok_or_else(|| Error::Failed {
        message: format!("there is no signal {name:?}: write a name such as SIGTERM"),
        source: None,
    })
}

fn exit_status(status: spec::ExitStatus) -> ExitStatus {
    let spec::ExitStatus { code, signal, oom_killed, unknown } = status;
    let message = if unknown { EXIT_UNKNOWN } else { "" };
    ExitStatus { code: code.or(signal.map(|signal| 128 + signal)), signal, oom_killed, message: message.to_owned() }
}

fn task_stats(stats: &spec::TaskStats) -> TaskStats {
    let spec::TaskStats { usage, log_bytes_dropped } = stats;
    let memory_usage = usage.memory.unwrap_or(0);
    TaskStats {
        cpu_nanos: usage.cpu_ns.unwrap_or(0),
        cpu_user_nanos: usage.cpu_user_ns.unwrap_or(0),
        cpu_system_nanos: usage.cpu_system_ns.unwrap_or(0),
        throttled_periods: usage.throttled_periods.unwrap_or(0),
        throttled_nanos: usage.throttled_ns.unwrap_or(0),
        memory_rss: usage.memory_anonymous.unwrap_or(memory_usage),
        memory_cache: usage.memory_cache.unwrap_or(0),
        memory_mapped_file: usage.memory_mapped.unwrap_or(0),
        memory_swap: usage.memory_swap.unwrap_or(0),
        memory_usage,
        memory_max_usage: usage.memory_peak.unwrap_or(memory_usage),
        memory_kernel_usage: usage.memory_kernel.unwrap_or(0),
        memory_kernel_max_usage: usage.memory_kernel_peak.unwrap_or(0),
        io_read_bytes: usage.io_read_bytes.unwrap_or(0),
        io_write_bytes: usage.io_write_bytes.unwrap_or(0),
        log_bytes_dropped: *log_bytes_dropped,
        processes: u32::try_from(usage.processes.unwrap_or(0)).unwrap_or(u32::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_by_a_signal_has_the_code_that_a_shell_gives_it() {
        let killed = spec::ExitStatus { signal: Some(9), ..spec::ExitStatus::default() };
        let status = exit_status(killed);
        assert_eq!((status.code, status.signal, status.message.as_str()), (Some(137), Some(9), ""));
    }

    #[test]
    fn an_end_that_nobody_saw_is_told_as_such() {
        let status = exit_status(spec::ExitStatus::UNKNOWN);
        assert_eq!((status.code, status.signal), (None, None));
        assert_eq!(status.message, EXIT_UNKNOWN);
        assert!(!status.success());
    }
}
