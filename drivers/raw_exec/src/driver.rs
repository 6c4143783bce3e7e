use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use orch_driver::{
    Capabilities, Driver, Error, ExitStatus, Fingerprint, FsIsolation, Health, TaskHandle, TaskId, TaskSpec, TaskStats,
};
use orch_host::signals;
use orch_model::{Nanos, Timestamp};
use orch_supervisor::{Handle, SpawnSpec, StartError, Started, TaskEntry};
use tracing::warn;

use crate::config::{Config, TaskConfig};
use crate::{key, plan};

const NAME: &str = "raw_exec";
/// What a stop sends where no signal is named.
const DEFAULT_SIGNAL: &str = "SIGINT";
const EXIT_UNKNOWN: &str = "exit status is not known: the supervisor was lost while the task ran";

/// The driver `raw_exec`. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RawExec {
    config: Arc<Config>,
    supervisor: Handle,
}

impl RawExec {
    /// The driver over the node's supervisor.
    pub fn new(config: Config, supervisor: Handle) -> Self {
        Self { config: Arc::new(config), supervisor }
    }

    async fn plan(&self, spec: TaskSpec) -> Result<SpawnSpec, Error> {
        let config = Arc::clone(&self.config);
        let planned = tokio::task::spawn_blocking(move || plan::make(spec, &config)).await;
        planned.unwrap_or_else(|error| Err(Error::failed("preparing the task failed", error)))
    }

    /// Starts what was planned. A supervisor lost on the way leaves it open whether the task runs, which only a second start under the
    /// same key settles.
    async fn spawn(&self, spec: SpawnSpec) -> Result<Started, StartError> {
        match self.supervisor.start(spec.clone()).await {
            Err(StartError::Lost) => self.supervisor.start(spec).await,
            answer => answer,
        }
    }
}

#[async_trait]
impl Driver for RawExec {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { signals: true, exec: false, mounts: false, fs_isolation: FsIsolation::None, logs: true }
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
        let Started { process: _, warnings, entry } = self.spawn(planned).await.map_err(|error| not_started(&error))?;
        let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        for warning in &warnings {
            warn!(alloc_id = %id.alloc_id, task = id.task, warning, "the host does not allow everything that the task should get");
        }
        handle(id, &entry, warnings)
    }

    async fn recover(&self, handle: &TaskHandle) -> Result<(), Error> {
        let unknown = || Error::UnknownTask(handle.id.clone());
        let key = key::of(&handle.id);
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

    async fn wait(&self, task: &TaskId) -> Result<ExitStatus, Error> {
        let status = self.supervisor.wait(&key::of(task)).await;
        status.map(exit_status).map_err(|error| about(task, "waiting for", error))
    }

    async fn stop(&self, task: &TaskId, signal: Option<&str>, timeout: Duration) -> Result<(), Error> {
        let signal = signal_number(signal.unwrap_or(DEFAULT_SIGNAL))?;
        let key = key::of(task);
        match self.supervisor.signal(&key, signal).await {
            Ok(()) | Err(orch_supervisor::Error::NotRunning(_)) => {}
            Err(error) => return Err(about(task, "signalling", error)),
        }
        if let Ok(Err(error)) = tokio::time::timeout(timeout, self.supervisor.wait(&key)).await {
            return Err(about(task, "waiting for", error));
        }
        // Also when it ended in time: it may have left others behind.
        self.supervisor.kill(&key).await.map_err(|error| about(task, "killing", error))?;
        self.supervisor.wait(&key).await.map(drop).map_err(|error| about(task, "waiting for", error))
    }

    async fn signal(&self, task: &TaskId, signal: &str) -> Result<(), Error> {
        let signal = signal_number(signal)?;
        let sent = self.supervisor.signal(&key::of(task), signal).await;
        sent.map_err(|error| about(task, "signalling", error))
    }

    async fn stats(&self, task: &TaskId) -> Result<TaskStats, Error> {
        let stats = self.supervisor.stats(&key::of(task)).await.map_err(|error| about(task, "measuring", error))?;
        Ok(task_stats(&stats))
    }

    async fn destroy(&self, task: &TaskId) -> Result<(), Error> {
        let forgotten = self.supervisor.forget(&key::of(task)).await;
        if forgotten.map_err(|error| about(task, "forgetting", error))? {
            Ok(())
        } else {
            Err(Error::UnknownTask(task.clone()))
        }
    }

    async fn list(&self) -> Result<Vec<TaskHandle>, Error> {
        let entries = self.supervisor.list().await.map_err(|error| failed("listing the tasks", error))?;
        let ours = entries.iter().filter_map(|entry| Some((key::id_of(entry)?, entry)));
        ours.map(|(id, entry)| handle(id, entry, Vec::new())).collect()
    }

    async fn sweep(&self) -> Result<Vec<String>, Error> {
        let groups = self.supervisor.sweep().await.map_err(|error| failed("sweeping control groups", error))?;
        Ok(groups.into_iter().map(|name| format!("control group {name}")).collect())
    }
}

fn handle(id: TaskId, entry: &TaskEntry, warnings: Vec<String>) -> Result<TaskHandle, Error> {
    let state = serde_json::to_vec(entry)
        .map_err(|error| Error::failed(format!("the note of task {id} cannot be written"), error))?;
    let started_at = Timestamp::NONE.plus(Nanos::from(Duration::from_millis(entry.started_at_ms)));
    Ok(TaskHandle { id, driver: NAME.to_owned(), started_at, state, warnings })
}

fn not_started(error: &StartError) -> Error {
    Error::StartFailed { message: chain(error), recoverable: error.is_recoverable() }
}

fn about(task: &TaskId, doing: &str, error: orch_supervisor::Error) -> Error {
    match error {
        orch_supervisor::Error::UnknownTask(_) => Error::UnknownTask(task.clone()),
        error => failed(&format!("{doing} task {task}"), error),
    }
}

fn failed(doing: &str, error: orch_supervisor::Error) -> Error {
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

fn exit_status(status: orch_supervisor::ExitStatus) -> ExitStatus {
    let orch_supervisor::ExitStatus { code, signal, oom_killed, unknown } = status;
    let message = if unknown { EXIT_UNKNOWN } else { "" };
    ExitStatus { code: code.or(signal.map(|signal| 128 + signal)), signal, oom_killed, message: message.to_owned() }
}

fn task_stats(stats: &orch_supervisor::TaskStats) -> TaskStats {
    let orch_supervisor::TaskStats { usage, log_bytes_dropped } = stats;
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
        let killed = orch_supervisor::ExitStatus { signal: Some(9), ..orch_supervisor::ExitStatus::default() };
        let status = exit_status(killed);
        assert_eq!((status.code, status.signal, status.message.as_str()), (Some(137), Some(9), ""));
    }

    #[test]
    fn an_end_that_nobody_saw_is_told_as_such() {
        let status = exit_status(orch_supervisor::ExitStatus::UNKNOWN);
        assert_eq!((status.code, status.signal), (None, None));
        assert_eq!(status.message, EXIT_UNKNOWN);
        assert!(!status.success());
    }
}
