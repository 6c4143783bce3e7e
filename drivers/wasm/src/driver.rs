use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use orch_driver::{
    Capabilities, Driver, Error, ExitStatus, Fingerprint, FsIsolation, Health, TaskHandle, TaskId, TaskSpec, TaskStats,
};
use orch_supervisor::{CgroupSpec, DriverTasks, Handle, LogSpec, SpawnSpec, TaskKey};
use tracing::warn;

use crate::cache::{Artifact, Cache};
use crate::child::{CHILD, RUN};
use crate::config::{Config, TaskConfig};
use crate::limits;
use crate::plan::{self, Plan, Prepared, refused};
use crate::run_dir::{End, RunDir, Status};

const NAME: &str = "wasm";
/// What a stop sends where no signal is named.
const DEFAULT_SIGNAL: &str = "SIGTERM";
const KILLED_FOR_MEMORY: &str = "killed by the kernel: the process around the program used too much memory";
/// How long a process may take to map its module and open its port.
const BEGINS_WITHIN: Duration = Duration::from_secs(60);

/// Where the driver finds and puts things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The program whose hidden mode [`CHILD`] runs tasks: the agent's own.
    pub exe: PathBuf,
    /// A directory of the driver's own in the agent's data directory. Made when needed; nobody else may write there.
    pub dir: PathBuf,
}

/// The driver `wasm`. Cheap to clone.
#[derive(Debug, Clone)]
pub struct WasmDriver {
    shared: Arc<Shared>,
    tasks: DriverTasks,
    supervisor: Handle,
}

#[derive(Debug)]
struct Shared {
    config: Config,
    place: Place,
    cache: Cache,
    /// The runs that are being started, so that a sweep keeps away from their directories.
    starting: Mutex<BTreeSet<TaskKey>>,
}

/// Takes a run out of `starting` when its start is over, however it went.
#[derive(Debug)]
struct Starting<'a> {
    shared: &'a Shared,
    key: &'a TaskKey,
}

impl Drop for Starting<'_> {
    fn drop(&mut self) {
        self.shared.starting.lock().unwrap_or_else(PoisonError::into_inner).remove(self.key);
    }
}

/// Why a process did not begin with its program.
enum Launch {
    BadArtifact(String),
    Failed(Error),
}

impl WasmDriver {
    /// The driver over the node's supervisor.
    pub fn new(config: Config, supervisor: Handle, place: Place) -> Self {
        let dir = config.cache_dir.clone().unwrap_or_else(|| place.dir.join("cache"));
        let max_bytes = config.cache_max_mib.saturating_mul(1 << 20);
        let cache = Cache::new(dir, place.exe.clone(), max_bytes, config.allow_precompiled);
        let shared = Arc::new(Shared { config, place, cache, starting: Mutex::default() });
        Self { shared, tasks: DriverTasks::new(NAME, supervisor.clone()), supervisor }
    }

    fn run_dir(&self, key: &TaskKey) -> RunDir {
        RunDir::at(self.shared.place.dir.join("run").join(key.as_str()))
    }

    async fn prepare(&self, spec: &TaskSpec) -> Result<Prepared, Error> {
        let (shared, spec) = (Arc::clone(&self.shared), spec.clone());
        let prepared = tokio::task::spawn_blocking(move || plan::prepare(&spec, &shared.config)).await;
        prepared.unwrap_or_else(|error| Err(Error::failed("preparing the task failed", error)))
    }

    /// Starts the process and waits until it begins with its program. On an error nothing is left behind.
    async fn launch(&self, spec: &TaskSpec, key: &TaskKey, plan: &Plan) -> Result<TaskHandle, Launch> {
        let dir = self.run_dir(key);
        let told = dir.make(plan).and_then(|()| dir.listen());
        let mut listener = told.map_err(|error| Launch::Failed(in_run_dir(&dir, error)))?;
        let started = self.tasks.start(spec.id.clone(), spawn_spec(self, spec, key, &dir)).await;
        let mut handle = started.map_err(|error| {
            self.clear(&dir);
            Launch::Failed(error)
        })?;
        let said = tokio::time::timeout(BEGINS_WITHIN, async {
            tokio::select! {
                biased;
                said = listener.status() => said.map(Some),
                _ended = self.supervisor.wait(key) => listener.status_now(),
            }
        });
        let failed = match said.await {
            Ok(Ok(Some(Status::Ready { warnings }))) => {
                for warning in &warnings {
                    warn!(alloc_id = %spec.id.alloc_id, task = spec.id.task, warning, "the host does not confine the task as it should");
                }
                handle.warnings.extend(warnings);
                return Ok(handle);
            }
            Ok(Ok(Some(Status::Failed { message }))) => Launch::Failed(refused(message)),
            Ok(Ok(Some(Status::BadArtifact { message }))) => Launch::BadArtifact(message),
            Ok(Ok(None)) => Launch::Failed(self.silent_end(key).await),
            Ok(Err(error)) => Launch::Failed(in_run_dir(&dir, error)),
            Err(_) => Launch::Failed(Error::StartFailed {
                message: format!("the task's process did not begin with its program within {BEGINS_WITHIN:?}"),
                recoverable: true,
            }),
        };
        // Whatever it did not do any more, it is not to be found again.
        self.tasks.destroy(&spec.id).await.map_err(Launch::Failed)?;
        self.clear(&dir);
        Err(failed)
    }

    async fn silent_end(&self, key: &TaskKey) -> Error {
        let message = match self.supervisor.wait(key).await {
            Ok(status) if status.oom_killed => {
                "the kernel killed the task's process before its program began: raise its memory".to_owned()
            }
            Ok(status) => format!("the task's process ended before its program began: {status:?}"),
            Err(error) => format!("the task's process ended before its program began: {error}"),
        };
        Error::StartFailed { message, recoverable: true }
    }

    fn clear(&self, dir: &RunDir) {
        if let Err(error) = dir.remove() {
            warn!(%error, path = %dir.path().display(), "what a task leaves behind cannot be removed");
        }
    }
}

fn spawn_spec(driver: &WasmDriver, spec: &TaskSpec, key: &TaskKey, dir: &RunDir) -> SpawnSpec {
    let orch_driver::LogSpec { dir: logs, max_files, max_file_bytes, disabled } = spec.logs.clone();
    SpawnSpec {
        key: key.clone(),
        command: driver.shared.place.exe.clone(),
        args: vec![CHILD.to_owned(), RUN.to_owned(), dir.path().display().to_string()],
        // The program's own is in the plan: here it would steer the process, down to its loader.
        env: Vec::new(),
        work_dir: PathBuf::from("/"),
        // It becomes the task's user by itself, when it has mapped and opened what that user may not.
        user: None,
        cgroup: Some(CgroupSpec::Own(limits::group(&spec.limits))),
        logs: LogSpec { dir: logs, task: spec.id.task.clone(), max_files, max_file_bytes, disabled },
        oom_score_adj: None,
        sandbox: None,
    }
}

#[async_trait]
impl Driver for WasmDriver {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { signals: false, exec: false, mounts: true, fs_isolation: FsIsolation::Image, logs: true }
    }

    async fn fingerprint(&self) -> Fingerprint {
        if !self.shared.config.enabled {
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
        if !self.shared.config.enabled {
            return Err(refused(format!("driver {NAME} is not enabled on this node")));
        }
        TaskConfig::read(&spec.config)?;
        let id = spec.id.clone();
        let key = DriverTasks::key(NAME, &id);
        let exists = || refused(format!("task {id} is there already: destroy it first"));
        if !self.shared.starting.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone()) {
            return Err(exists());
        }
        let _starting = Starting { shared: &self.shared, key: &key };
        if self.supervisor.find(&key).await.map_err(|error| failed("looking for a task", error))?.is_some() {
            return Err(exists());
        }
        let Prepared { module, codegen, mut plan, warnings } = self.prepare(&spec).await?;
        let mut again = true;
        let mut handle = loop {
            let Artifact { key: compiled, path, kind } =
                self.shared.cache.artifact(&module, codegen, &spec.progress).await?;
            (plan.artifact, plan.kind) = (path, kind);
            match self.launch(&spec, &key, &plan).await {
                Ok(handle) => break handle,
                Err(Launch::Failed(error)) => return Err(error),
                Err(Launch::BadArtifact(message)) if again => {
                    warn!(task = id.task, message, "a compiled module cannot be used and is made again");
                    self.shared.cache.discard(&compiled).await?;
                    again = false;
                }
                Err(Launch::BadArtifact(message)) => return Err(refused(message)),
            }
        };
        handle.warnings.extend(warnings);
        Ok(handle)
    }

    async fn recover(&self, handle: &TaskHandle) -> Result<(), Error> {
        let answer = self.tasks.recover(handle).await;
        if let Err(Error::UnknownTask(task)) = &answer {
            self.clear(&self.run_dir(&DriverTasks::key(NAME, task)));
        }
        answer
    }

    async fn wait(&self, task: &TaskId) -> Result<ExitStatus, Error> {
        let status = self.tasks.wait(task).await?;
        Ok(explained(status, self.run_dir(&DriverTasks::key(NAME, task)).end()))
    }

    async fn stop(&self, task: &TaskId, signal: Option<&str>, timeout: Duration) -> Result<(), Error> {
        self.tasks.stop(task, Some(signal.unwrap_or(DEFAULT_SIGNAL)), timeout).await
    }

    /// Refused: a Wasm program has no way to be told.
    async fn signal(&self, task: &TaskId, _signal: &str) -> Result<(), Error> {
        let found = self.supervisor.find(&DriverTasks::key(NAME, task)).await;
        match found.map_err(|error| failed("looking for a task", error))? {
            Some(_) => Err(Error::Unsupported { driver: NAME, operation: "signals" }),
            None => Err(Error::UnknownTask(task.clone())),
        }
    }

    async fn stats(&self, task: &TaskId) -> Result<TaskStats, Error> {
        self.tasks.stats(task).await
    }

    async fn destroy(&self, task: &TaskId) -> Result<(), Error> {
        self.tasks.destroy(task).await?;
        self.clear(&self.run_dir(&DriverTasks::key(NAME, task)));
        Ok(())
    }

    async fn list(&self) -> Result<Vec<TaskHandle>, Error> {
        self.tasks.list().await
    }

    async fn sweep(&self) -> Result<Vec<String>, Error> {
        let mut swept = self.tasks.sweep().await?;
        let root = self.shared.place.dir.join("run");
        // Listed before the tasks are: a run that begins in between has its directory, and is not in here.
        let found: Vec<PathBuf> = match std::fs::read_dir(&root) {
            Ok(found) => found.flatten().map(|entry| entry.path()).collect(),
            Err(_) => Vec::new(),
        };
        let known = self.supervisor.list().await.map_err(|error| failed("listing the tasks", error))?;
        for path in found {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let key = TaskKey::new(name);
            let starting = self.shared.starting.lock().unwrap_or_else(PoisonError::into_inner).contains(&key);
            if !starting && known.iter().all(|entry| entry.key != key) {
                self.clear(&RunDir::at(path.clone()));
                swept.push(format!("directory {}", path.display()));
            }
        }
        Ok(swept)
    }
}

fn in_run_dir(dir: &RunDir, error: std::io::Error) -> Error {
    Error::failed(format!("speaking with the task's process in {} failed", dir.path().display()), error)
}

fn failed(doing: &str, error: orch_supervisor::Error) -> Error {
    Error::failed(format!("{doing} failed"), error)
}

/// How a task ended, with what its process left to say about it.
fn explained(status: ExitStatus, end: Option<End>) -> ExitStatus {
    match end {
        Some(End { message, out_of_memory }) => {
            ExitStatus { message, oom_killed: status.oom_killed || out_of_memory, ..status }
        }
        None if status.oom_killed && status.message.is_empty() => {
            ExitStatus { message: KILLED_FOR_MEMORY.to_owned(), ..status }
        }
        None => status,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_says_more_than_its_code() {
        let exited = ExitStatus { code: Some(137), ..ExitStatus::default() };
        let end = End { message: "out of memory".to_owned(), out_of_memory: true };
        let status = explained(exited.clone(), Some(end));
        assert_eq!((status.code, status.oom_killed, status.message.as_str()), (Some(137), true, "out of memory"));
        assert_eq!(explained(exited.clone(), None), exited);
        let killed = ExitStatus { signal: Some(9), oom_killed: true, ..exited };
        let status = explained(killed, None);
        assert_eq!((status.signal, status.oom_killed, status.message.as_str()), (Some(9), true, KILLED_FOR_MEMORY));
    }
}
