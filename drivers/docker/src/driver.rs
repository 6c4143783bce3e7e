use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bollard::Docker;
use bollard::errors::Error as EngineError;
use bollard::models::{ContainerInspectResponse, ContainerSummary, ContainerSummaryStateEnum};
use bollard::query_parameters::{
    InspectContainerOptions, KillContainerOptions, ListContainersOptions, RenameContainerOptions, StatsOptions,
};
use futures::StreamExt;
use orch_driver::{
    Capabilities, Driver, Error, ExecSession, ExecSpec, ExitStatus, Fingerprint, FsIsolation, Health, TaskHandle,
    TaskId, TaskSpec, TaskStats,
};
use orch_host::signals;
use orch_model::{Nanos, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

use crate::config::Config;
use crate::engine::{self, Engine};
use crate::images::Images;
use crate::launch::{by_force, launch};
use crate::plan::{self, Host, Note, OWNER, note_of};
use crate::table::Table;
use crate::task::Task;
use crate::task_config::TaskConfig;
use crate::{NodeIdentity, exec, fingerprint, prepare, stats, time};

const NAME: &str = "docker";
/// What a stop sends where neither it nor the image names a signal.
const DEFAULT_SIGNAL: &str = "SIGTERM";
const KILL: &str = "SIGKILL";
/// Earlier engines take the address in a place that later ones have given up.
const MAC_ADDRESS_SINCE: (u32, u32) = (1, 44);
/// How long a container that was killed may take to end.
const ENDS_WITHIN: Duration = Duration::from_secs(60);
/// What the name of a container begins with that was forgotten and not removed.
const KEPT: &str = "forgotten-";

/// The driver `docker`. Cheap to clone; clones share their tasks.
#[derive(Debug, Clone)]
pub struct DockerDriver(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Arc<Config>,
    identity: NodeIdentity,
    engine: Arc<Engine>,
    images: Images,
    tasks: Table,
    /// Whether the engine has ever answered.
    seen: AtomicBool,
    sweeper: OnceLock<AbortOnDropHandle<()>>,
}

/// What a handle says besides what everyone can read.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    container: String,
    image: String,
    note: Note,
}

impl DockerDriver {
    /// The driver over the engine that `config` names, which is first asked for anything when something is needed.
    pub fn new(config: Config, identity: NodeIdentity) -> Self {
        let engine = Arc::new(Engine::new(&config));
        let config = Arc::new(config);
        let images = Images::new(Arc::clone(&engine), Arc::clone(&config));
        let (tasks, seen, sweeper) = (Table::default(), AtomicBool::new(false), OnceLock::new());
        Self(Arc::new(Inner { config, identity, engine, images, tasks, seen, sweeper }))
    }
}

impl Inner {
    fn docker(&self, doing: &str) -> Result<Docker, Error> {
        self.engine.client().map_err(|error| engine::failed(doing, &error))
    }

    /// A task that is watched, or that the engine still has from before.
    async fn known(&self, id: &TaskId) -> Result<Arc<Task>, Error> {
        if let Some(task) = self.tasks.find(id) {
            return Ok(task);
        }
        let containers = self.containers(Some(id)).await?;
        let found = containers.into_iter().find(|found| found.note.id == *id && !found.is_unstarted());
        let found = found.ok_or_else(|| Error::UnknownTask(id.clone()))?;
        let Found { id: container, image, note, created, .. } = found;
        Ok(self.watch(container, image, note, created))
    }

    fn watch(&self, container: String, image: String, note: Note, started_at: Timestamp) -> Arc<Task> {
        let id = note.id.clone();
        let in_use = self.images.acquire(image.clone(), &id);
        let task = Task::watch(&self.engine, container, image, in_use, note, started_at);
        self.tasks.insert(id, task)
    }

    /// The containers that carry this node's mark, but for those that were forgotten.
    async fn containers(&self, of: Option<&TaskId>) -> Result<Vec<Found>, Error> {
        let mut labels = vec![format!("{OWNER}={}", self.identity.node_id)];
        labels.extend(of.map(|id| format!("com.hashicorp.nomad.alloc_id={}", id.alloc_id)));
        let filters = HashMap::from([("label".to_owned(), labels)]);
        let options = ListContainersOptions { all: true, filters: Some(filters), ..ListContainersOptions::default() };
        let listed = self.docker("listing containers")?.list_containers(Some(options)).await;
        let listed = listed.map_err(|error| engine::failed("listing containers", &error))?;
        Ok(listed.into_iter().filter_map(|container| Found::of(container, &self.identity.node_id)).collect())
    }

    async fn kill(&self, task: &Task, signal: &str) -> Result<(), Error> {
        let options = KillContainerOptions { signal: signal.to_owned() };
        match self.docker("signalling a container")?.kill_container(&task.container, Some(options)).await {
            Ok(()) => Ok(()),
            Err(error) if engine::is_missing(&error) || engine::is_conflict(&error) => Ok(()),
            Err(error) => Err(engine::failed(format_args!("signalling task {}", task.note.id), &error)),
        }
    }

    /// Kills what has not ended, and waits for its end.
    async fn end(&self, task: &Task) -> Result<(), Error> {
        if task.status().is_none() {
            self.kill(task, KILL).await?;
        }
        match tokio::time::timeout(ENDS_WITHIN, task.ended()).await {
            Ok(_status) => Ok(()),
            Err(_late) => Err(Error::Failed {
                message: format!("task {} did not end within {} s of SIGKILL", task.note.id, ENDS_WITHIN.as_secs()),
                source: None,
            }),
        }
    }

    /// What a container of this node says that no task is: it was created and never started, or nobody watches it.
    async fn dangling(&self, all: bool) -> Result<Vec<Found>, Error> {
        let oldest = now().since(Timestamp(Nanos::from(self.config.gc.dangling_grace).0));
        let mut found = self.containers(None).await?;
        found.retain(|container| {
            let candidate = all || container.is_unstarted();
            candidate && container.created.0 <= oldest.0 && !self.tasks.holds(&container.note.id)
        });
        Ok(found)
    }

    /// Removes what is dangling, and says what it was.
    async fn clear_dangling(&self, all: bool) -> Result<Vec<String>, Error> {
        let mut removed = Vec::new();
        for Found { id, name, note, .. } in self.dangling(all).await? {
            if self.config.gc.dangling_dry_run {
                removed.push(format!("container {name} of task {}, which would be removed", note.id));
                continue;
            }
            match self.docker("removing a container")?.remove_container(&id, Some(by_force())).await {
                Ok(()) => removed.push(format!("container {name} of task {}", note.id)),
                Err(error) if engine::is_missing(&error) || engine::is_conflict(&error) => {}
                Err(error) => return Err(engine::failed(format_args!("removing container {name}"), &error)),
            }
        }
        Ok(removed)
    }

    fn handle(&self, task: &Task, warnings: Vec<String>) -> Result<TaskHandle, Error> {
        handle(task.container.clone(), task.image().to_owned(), task.note.clone(), task.started_at, warnings)
    }

    /// What is known of the image, the engine and the host, put together and started.
    async fn launch(&self, spec: TaskSpec) -> Result<TaskHandle, Error> {
        let mut task = TaskConfig::read(&spec.config)?;
        let reserved = self.tasks.reserve(&spec.id)?;
        let config = Arc::clone(&self.config);
        let identity = self.identity.clone();
        let cores = std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(1));
        let prepared = spawn_blocking(move || {
            let refused = |message| Error::StartFailed { message, recoverable: false };
            prepare::profiles(&mut task, &spec, &config).map_err(refused)?;
            let plan = plan::container(&spec, &task, Host { config: &config, identity: &identity, cores })?;
            prepare::stays_inside(&plan.inside, &spec.dirs).map_err(refused)?;
            Ok::<_, Error>((spec, task, plan))
        });
        let (spec, task, plan) =
            prepared.await.unwrap_or_else(|error| Err(Error::failed("preparing the task failed", error)))?;
        let engine = self.engine.client();
        let docker =
            engine.map_err(|error| Error::StartFailed { message: engine::words(&error), recoverable: true })?;
        if task.network.mac_address.is_some() {
            engine::require_api(&docker, MAC_ADDRESS_SINCE, "mac_address").await?;
        }
        let in_use = self.images.ensure(&spec, &task).await?;
        let attempts = task.container_exists_attempts.unwrap_or(self.config.container_exists_attempts);
        let launched = launch(&docker, &spec.id, &self.identity.node_id, plan, attempts).await?;
        let container = Known::of(&launched.container, &self.identity.node_id).ok_or_else(|| Error::Failed {
            message: format!("the container of task {} does not say what it is", spec.id),
            source: None,
        })?;
        let Known { container, image, note, started_at } = container;
        let watched = Task::watch(&self.engine, container, image, in_use, note, started_at);
        let handle = self.handle(&watched, launched.warnings)?;
        reserved.fill(watched);
        Ok(handle)
    }
}

/// A container that the engine lists, and its note.
struct Found {
    id: String,
    name: String,
    image: String,
    note: Note,
    created: Timestamp,
    state: Option<ContainerSummaryStateEnum>,
}

impl Found {
    fn of(listed: ContainerSummary, node_id: &str) -> Option<Self> {
        let note = note_of(listed.labels.as_ref(), node_id)?;
        let name = listed.names?.into_iter().next()?.trim_start_matches('/').to_owned();
        let created = Timestamp(listed.created.unwrap_or(0).saturating_mul(1_000_000_000));
        let found = Self {
            id: listed.id?,
            image: listed.image_id.unwrap_or_default(),
            name,
            note,
            created,
            state: listed.state,
        };
        (!found.name.starts_with(KEPT)).then_some(found)
    }

    fn is_unstarted(&self) -> bool {
        self.state == Some(ContainerSummaryStateEnum::CREATED)
    }
}

/// A container that was looked at, and its note.
struct Known {
    container: String,
    image: String,
    note: Note,
    started_at: Timestamp,
}

impl Known {
    fn of(container: &ContainerInspectResponse, node_id: &str) -> Option<Self> {
        let note = note_of(container.config.as_ref()?.labels.as_ref(), node_id)?;
        let started_at = time::parse(container.state.as_ref()?.started_at.as_deref()?)?;
        Some(Self { container: container.id.clone()?, image: container.image.clone()?, note, started_at })
    }
}

fn handle(
    container: String,
    image: String,
    note: Note,
    started_at: Timestamp,
    warnings: Vec<String>,
) -> Result<TaskHandle, Error> {
    let id = note.id.clone();
    let state = serde_json::to_vec(&State { container, image, note })
        .map_err(|error| Error::failed(format!("the note of task {id} cannot be written"), error))?;
    Ok(TaskHandle { id, driver: NAME.to_owned(), started_at, state, warnings })
}

fn now() -> Timestamp {
    Timestamp(Nanos::from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()).0)
}

fn signal_name(name: &str) -> Result<String, Error> {
    let number = signals::number(name).ok_or_else(|| Error::Failed {
        message: format!("there is no signal {name:?}: write a name such as SIGTERM"),
        source: None,
    })?;
    Ok(number.to_string())
}

#[async_trait]
impl Driver for DockerDriver {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { signals: true, exec: true, mounts: true, fs_isolation: FsIsolation::Image, logs: true }
    }

    async fn fingerprint(&self) -> Fingerprint {
        let Inner { engine, config, seen, .. } = &*self.0;
        let taken = fingerprint::take(engine, config, seen.load(Ordering::Relaxed)).await;
        if taken.health == Health::Healthy {
            seen.store(true, Ordering::Relaxed);
        }
        taken
    }

    fn validate(&self, config: &BTreeMap<String, serde_json::Value>) -> Result<(), Error> {
        TaskConfig::read(config).map(drop)
    }

    async fn start(&self, spec: TaskSpec) -> Result<TaskHandle, Error> {
        Box::pin(self.0.launch(spec)).await
    }

    async fn recover(&self, handle: &TaskHandle) -> Result<(), Error> {
        if self.0.tasks.find(&handle.id).is_some() {
            return Ok(());
        }
        let State { container, image, note } = serde_json::from_slice(&handle.state)
            .map_err(|error| Error::failed(format!("the stored note of task {} cannot be read", handle.id), error))?;
        let unknown = || Error::UnknownTask(handle.id.clone());
        if note.id != handle.id {
            return Err(unknown());
        }
        let found = match self.0.engine.client() {
            Ok(docker) => docker.inspect_container(&container, None::<InspectContainerOptions>).await,
            Err(error) => Err(error),
        };
        match found {
            Ok(found) => {
                let known = Known::of(&found, &self.0.identity.node_id).filter(|known| known.note.id == handle.id);
                let Known { container, image, note, started_at } = known.ok_or_else(unknown)?;
                self.0.watch(container, image, note, started_at);
                Ok(())
            }
            Err(error) if engine::is_missing(&error) => Err(unknown()),
            // The task may well run: it is waited for until the engine says what became of it.
            Err(error) => {
                let error = engine::words(&error);
                warn!(alloc_id = %handle.id.alloc_id, task = handle.id.task, error, "the engine does not say whether a task runs");
                self.0.watch(container, image, note, handle.started_at);
                Ok(())
            }
        }
    }

    async fn wait(&self, task: &TaskId) -> Result<ExitStatus, Error> {
        Ok(self.0.known(task).await?.ended().await)
    }

    async fn stop(&self, task: &TaskId, signal: Option<&str>, timeout: Duration) -> Result<(), Error> {
        let named = signal.map(signal_name).transpose()?;
        let task = self.0.known(task).await?;
        if task.status().is_some() {
            return Ok(());
        }
        let signal = match named {
            Some(signal) => signal,
            None => self.0.stop_signal(&task).await?,
        };
        self.0.kill(&task, &signal).await?;
        if tokio::time::timeout(timeout, task.ended()).await.is_err() {
            self.0.end(&task).await?;
        }
        Ok(())
    }

    async fn signal(&self, task: &TaskId, signal: &str) -> Result<(), Error> {
        let task = self.0.known(task).await?;
        let signal = signal_name(signal)?;
        if task.status().is_some() {
            return Err(Error::Failed { message: format!("task {} has ended", task.note.id), source: None });
        }
        self.0.kill(&task, &signal).await
    }

    async fn exec(&self, task: &TaskId, spec: ExecSpec) -> Result<ExecSession, Error> {
        let task = self.0.known(task).await?;
        if task.status().is_some() {
            return Err(Error::Failed { message: format!("task {} has ended", task.note.id), source: None });
        }
        exec::run(self.0.docker("running a command in the container")?, &task.container, spec).await
    }

    async fn stats(&self, task: &TaskId) -> Result<TaskStats, Error> {
        let task = self.0.known(task).await?;
        let docker = self.0.docker("measuring a container")?;
        let options = StatsOptions { stream: false, one_shot: true };
        let measured = Box::pin(docker.stats(&task.container, Some(options))).next().await;
        let failed = |error: EngineError| engine::failed(format_args!("measuring task {}", task.note.id), &error);
        Ok(measured.transpose().map_err(failed)?.map(stats::of).unwrap_or_default())
    }

    async fn destroy(&self, id: &TaskId) -> Result<(), Error> {
        let task = self.0.known(id).await?;
        self.0.end(&task).await?;
        let docker = self.0.docker("removing a container")?;
        let removed = if self.0.config.gc.container {
            docker.remove_container(&task.container, Some(by_force())).await
        } else {
            let name = format!("{KEPT}{}.{}", plan::name(id), id.run);
            docker.rename_container(&task.container, RenameContainerOptions { name }).await
        };
        match removed {
            Ok(()) => {}
            Err(error) if engine::is_missing(&error) || engine::is_conflict(&error) => {}
            Err(error) => return Err(engine::failed(format_args!("removing the container of task {id}"), &error)),
        }
        self.0.tasks.remove(id);
        Ok(())
    }

    async fn list(&self) -> Result<Vec<TaskHandle>, Error> {
        let found = self.0.containers(None).await?;
        let started = found.into_iter().filter(|container| !container.is_unstarted());
        started
            .map(|container| match self.0.tasks.find(&container.note.id) {
                Some(task) => self.0.handle(&task, Vec::new()),
                None => handle(container.id, container.image, container.note, container.created, Vec::new()),
            })
            .collect()
    }

    async fn sweep(&self) -> Result<Vec<String>, Error> {
        if !self.0.config.gc.dangling {
            return Ok(Vec::new());
        }
        let removed = self.0.clear_dangling(false).await?;
        // From now on whatever is to be recovered has been: what nobody watches is nobody's.
        self.0.sweeper.get_or_init(|| {
            let (inner, period) = (Arc::downgrade(&self.0), self.0.config.gc.dangling_period);
            AbortOnDropHandle::new(tokio::spawn(sweep_each(inner, period)))
        });
        Ok(removed)
    }
}

async fn sweep_each(inner: std::sync::Weak<Inner>, period: Duration) {
    loop {
        tokio::time::sleep(period).await;
        let Some(inner) = inner.upgrade() else { return };
        match inner.clear_dangling(true).await {
            Ok(removed) => removed.into_iter().for_each(|what| warn!(driver = NAME, what, "removed a leftover")),
            Err(error) => warn!(driver = NAME, %error, "dangling containers cannot be removed"),
        }
    }
}

impl Inner {
    /// The signal that the task's image wants to be stopped by.
    async fn stop_signal(&self, task: &Task) -> Result<String, Error> {
        let docker = self.docker("looking at a container")?;
        let found = docker.inspect_container(&task.container, None::<InspectContainerOptions>).await;
        match found {
            Ok(found) => {
                let wanted = found.config.and_then(|config| config.stop_signal).filter(|signal| !signal.is_empty());
                Ok(wanted.unwrap_or_else(|| DEFAULT_SIGNAL.to_owned()))
            }
            Err(error) if engine::is_missing(&error) => Ok(DEFAULT_SIGNAL.to_owned()),
            Err(error) => Err(engine::failed(format_args!("looking at task {}", task.note.id), &error)),
        }
    }
}
