use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use orch_driver::{
    Capabilities, Driver, Error, ExecSession, ExecSpec, ExitStatus, Fingerprint, FsIsolation, Health, TaskHandle,
    TaskId, TaskMount, TaskSpec, TaskStats,
};
use orch_model::{Nanos, Timestamp};
use tokio_util::task::AbortOnDropHandle;

use crate::config::Config;
use crate::output::Writer;
use crate::signal;
use crate::task::Task;

const NAME: &str = "mock_driver";

/// The driver `mock_driver`.
///
/// Clones share their tasks, as two agents one after the other share the processes of a host. A new value knows none of them: to
/// [`recover`](Driver::recover) from it is to find that they are gone.
#[derive(Debug, Clone, Default)]
pub struct MockDriver {
    tasks: Arc<Mutex<BTreeMap<TaskId, Place>>>,
    fs_isolation: FsIsolation,
}

/// What stands in the table under a task's id.
#[derive(Debug)]
enum Place {
    /// It is being started.
    Starting,
    /// It was started.
    Started {
        task: Arc<Task>,
        /// What of the host it was given.
        mounts: Vec<TaskMount>,
        /// What writes repeated output.
        writers: Vec<AbortOnDropHandle<()>>,
    },
}

impl MockDriver {
    /// A driver without tasks.
    pub fn new() -> Self {
        Self::default()
    }

    /// A driver without tasks that claims to keep their files apart in this way. One that does can mount.
    pub fn isolated(fs_isolation: FsIsolation) -> Self {
        Self { fs_isolation, ..Self::default() }
    }

    /// What of the host a task was given; nothing for one that is not known.
    pub fn mounts(&self, id: &TaskId) -> Vec<TaskMount> {
        match self.lock().get(id) {
            Some(Place::Started { mounts, .. }) => mounts.clone(),
            Some(Place::Starting) | None => Vec::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<TaskId, Place>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn task(&self, id: &TaskId) -> Result<Arc<Task>, Error> {
        match self.lock().get(id) {
            Some(Place::Started { task, .. }) => Ok(Arc::clone(task)),
            Some(Place::Starting) | None => Err(Error::UnknownTask(id.clone())),
        }
    }

    /// Holds the place of `id` until it is filled, or given back on drop.
    fn reserve(&self, id: &TaskId) -> Result<Reserved<'_>, Error> {
        let mut tasks = self.lock();
        if tasks.contains_key(id) {
            let message = format!("task {id} was started already");
            return Err(Error::StartFailed { message, recoverable: false });
        }
        tasks.insert(id.clone(), Place::Starting);
        Ok(Reserved { driver: self, id: id.clone() })
    }

    /// Waits until `id` has ended and writes nothing more.
    async fn finish(&self, id: &TaskId, task: &Task) {
        task.ended().await;
        let writers = match self.lock().get_mut(id) {
            Some(Place::Started { writers, .. }) => std::mem::take(writers),
            Some(Place::Starting) | None => Vec::new(),
        };
        for writer in writers {
            // It ends with the task; that it panicked would be no reason not to stop.
            let _panicked = writer.await;
        }
    }
}

/// A place in the table that is given back unless it was filled.
struct Reserved<'d> {
    driver: &'d MockDriver,
    id: TaskId,
}

impl Reserved<'_> {
    fn fill(self, task: Arc<Task>, mounts: Vec<TaskMount>, writers: Vec<AbortOnDropHandle<()>>) {
        self.driver.lock().insert(self.id.clone(), Place::Started { task, mounts, writers });
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        let mut tasks = self.driver.lock();
        if matches!(tasks.get(&self.id), Some(Place::Starting)) {
            tasks.remove(&self.id);
        }
    }
}

#[async_trait]
impl Driver for MockDriver {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        let mounts = match self.fs_isolation {
            FsIsolation::None => false,
            FsIsolation::Chroot | FsIsolation::Image => true,
        };
        Capabilities { signals: true, exec: true, mounts, fs_isolation: self.fs_isolation, logs: true }
    }

    async fn fingerprint(&self) -> Fingerprint {
        Fingerprint {
            attributes: BTreeMap::from([(format!("driver.{NAME}"), "1".to_owned())]),
            health: Health::Healthy,
            description: "Healthy".to_owned(),
        }
    }

    fn validate(&self, config: &BTreeMap<String, serde_json::Value>) -> Result<(), Error> {
        Config::read(config).map(drop)
    }

    async fn start(&self, spec: TaskSpec) -> Result<TaskHandle, Error> {
        let config = Config::read(&spec.config)?;
        let reserved = self.reserve(&spec.id)?;
        tokio::time::sleep(config.start.block_for).await;
        if let Some(message) = &config.start.error {
            let message = message.clone();
            return Err(Error::StartFailed { message, recoverable: config.start.recoverable });
        }
        let streams = [("stdout", &config.stdout), ("stderr", &config.stderr)];
        let writers: Vec<Writer> = streams
            .into_iter()
            .filter_map(|(stream, output)| Writer::new(&spec.logs, &spec.id.task, stream, output))
            .collect();
        for writer in &writers {
            writer.write().await?;
        }
        let task = Arc::new(Task::new(now(), config));
        let handle = task.handle(&spec.id, NAME);
        let writers = writers.into_iter().filter_map(|writer| writer.repeat(Arc::clone(&task))).collect();
        reserved.fill(task, spec.mounts, writers);
        Ok(handle)
    }

    async fn recover(&self, handle: &TaskHandle) -> Result<(), Error> {
        self.task(&handle.id).map(drop)
    }

    async fn wait(&self, task: &TaskId) -> Result<ExitStatus, Error> {
        Ok(self.task(task)?.ended().await)
    }

    async fn stop(&self, id: &TaskId, signal: Option<&str>, timeout: Duration) -> Result<(), Error> {
        let task = self.task(id)?;
        let signal = signal.map_or(Ok(signal::INTERRUPT), signal::number)?;
        task.stop(signal, timeout);
        self.finish(id, &task).await;
        Ok(())
    }

    async fn signal(&self, id: &TaskId, signal: &str) -> Result<(), Error> {
        let task = self.task(id)?;
        let signal = signal::number(signal)?;
        if let Some(message) = &task.signal_error {
            return Err(Error::Failed { message: message.clone(), source: None });
        }
        if signal == signal::KILL {
            task.kill();
        }
        Ok(())
    }

    async fn exec(&self, id: &TaskId, spec: ExecSpec) -> Result<ExecSession, Error> {
        let task = self.task(id)?;
        if task.has_ended() {
            return Err(Error::UnknownTask(id.clone()));
        }
        Ok(task.command.as_deref().cloned().unwrap_or_default().start(task, &spec))
    }

    async fn stats(&self, id: &TaskId) -> Result<TaskStats, Error> {
        let running = !self.task(id)?.has_ended();
        Ok(TaskStats { processes: u32::from(running), ..TaskStats::default() })
    }

    async fn destroy(&self, id: &TaskId) -> Result<(), Error> {
        let task = self.task(id)?;
        task.kill();
        self.finish(id, &task).await;
        self.lock().remove(id);
        Ok(())
    }

    async fn list(&self) -> Result<Vec<TaskHandle>, Error> {
        let tasks = self.lock();
        let started = tasks.iter().filter_map(|(id, place)| match place {
            Place::Starting => None,
            Place::Started { task, .. } => Some(task.handle(id, NAME)),
        });
        Ok(started.collect())
    }
}

fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(Nanos::from(since_epoch).0)
}
