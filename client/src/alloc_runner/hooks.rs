//! The steps that make a task ready to start, in order; each may be repeated.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use orch_driver::{Driver, LogSpec, TaskId, TaskLimits, TaskSpec};
use orch_model::job::{LogConfig, Task, TaskGroup};
use orch_model::{Allocation, MebiBytes};

use super::cores::cores_of;
use super::task::PrepareError;
use super::users;
use crate::alloc_dir::AllocDir;
use crate::context::Context;
use crate::env::{self, Source};
use crate::error::chain;
use crate::interpolate::Names;

/// Secrets of a task whose job does not say how large they are, in MiB.
const SECRETS_MIB: u64 = 1;

/// One run of a task that is being prepared.
#[derive(Debug, Clone)]
pub(crate) struct TaskSetup {
    pub(crate) context: Arc<Context>,
    pub(crate) alloc: Arc<Allocation>,
    pub(crate) dir: AllocDir,
    /// The task's place in the group.
    pub(crate) place: usize,
    pub(crate) run: u32,
}

impl TaskSetup {
    fn group(&self) -> Result<&TaskGroup, PrepareError> {
        let missing = || PrepareError::Invalid("the allocation's group is not in its job".to_owned());
        self.alloc.task_group().ok_or_else(missing)
    }

    fn task(&self) -> Result<&Task, PrepareError> {
        let missing = || PrepareError::Invalid("the task is not in its group".to_owned());
        self.group()?.tasks.get(self.place).ok_or_else(missing)
    }

    /// The cores that the task has for itself.
    fn cores(&self) -> Result<Vec<u16>, PrepareError> {
        let few = || PrepareError::Invalid("the allocation has fewer cores than its tasks ask for".to_owned());
        cores_of(self.group()?, &self.alloc.cores, self.place).ok_or_else(few)
    }
}

/// What the steps have made so far.
#[derive(Debug, Default)]
struct Made {
    names: Names,
    config: BTreeMap<String, serde_json::Value>,
    user: Option<String>,
}

/// A step of preparing a task.
#[async_trait]
trait TaskHook: Send + Sync {
    /// The step's name in logs and metrics.
    fn name(&self) -> &'static str;

    /// Does the step; doing it again changes nothing.
    async fn prestart(&self, setup: &TaskSetup, made: &mut Made) -> Result<(), PrepareError>;

    /// Gives back, once the task has ended for good, what should not wait for the allocation's removal.
    async fn stop(&self, dir: &AllocDir, task: &str) -> Result<(), crate::error::Error> {
        let _nothing_to_give_back = (dir, task);
        Ok(())
    }
}

const HOOKS: [&dyn TaskHook; 4] = [&Environment, &AllowedUser, &Directories, &Configuration];

/// Runs all steps.
pub(crate) async fn prestart(setup: &TaskSetup) -> Result<TaskSpec, PrepareError> {
    let mut made = Made::default();
    for hook in HOOKS {
        let outcome = hook.prestart(setup, &mut made).await;
        crate::metrics::task_hook(hook.name(), outcome.is_ok());
        outcome?;
    }
    spec(setup, made)
}

/// Undoes, the last step first, what should not outlive the task.
pub(crate) async fn stop(dir: &AllocDir, alloc: &Allocation, task: &str) {
    for hook in HOOKS.iter().rev() {
        if let Err(error) = hook.stop(dir, task).await {
            let error = chain(&error);
            tracing::warn!(alloc_id = %alloc.id, task, hook = hook.name(), error, "a task left something behind");
        }
    }
}

/// The driver that a task names.
pub(crate) fn driver<'a>(context: &'a Context, task: &Task) -> Result<&'a Arc<dyn Driver>, PrepareError> {
    let unknown = || PrepareError::Invalid(format!("driver {:?} is not on this node", task.driver));
    context.drivers.get(&task.driver).ok_or_else(unknown)
}

/// Makes the task's directories and mounts.
struct Directories;

#[async_trait]
impl TaskHook for Directories {
    fn name(&self) -> &'static str {
        "task_dir"
    }

    async fn prestart(&self, setup: &TaskSetup, made: &mut Made) -> Result<(), PrepareError> {
        let task = setup.task()?;
        let searchable = setup.group()?.tasks.iter().any(|task| !task.user.is_empty());
        let user = made.user.clone();
        let asked = task.resources.as_ref().map_or(0, |resources| resources.secrets_mb);
        let secrets = u64::try_from(asked).ok().filter(|mib| *mib > 0).unwrap_or(SECRETS_MIB);
        let (dir, task) = (setup.dir.clone(), task.name.clone());
        let made = tokio::task::spawn_blocking(move || {
            dir.make_shared(searchable)?;
            dir.make_task(&task, user.as_deref(), secrets)
        });
        match made.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(PrepareError::Setup(chain(&error))),
            Err(error) => Err(PrepareError::Setup(error.to_string())),
        }
    }

    async fn stop(&self, dir: &AllocDir, task: &str) -> Result<(), crate::error::Error> {
        dir.unmount_task(task)
    }
}

/// Makes the environment, and with it the names that the configuration may mention.
struct Environment;

#[async_trait]
impl TaskHook for Environment {
    fn name(&self) -> &'static str {
        "env"
    }

    async fn prestart(&self, setup: &TaskSetup, made: &mut Made) -> Result<(), PrepareError> {
        let context = &setup.context;
        let description = Arc::clone(&context.description.borrow());
        let task = setup.task()?;
        made.names = env::build(&Source {
            alloc: &setup.alloc,
            group: setup.group()?,
            task,
            cores: &setup.cores()?,
            node_id: context.node_id,
            node: &description,
            region: &context.config.region,
            dirs: &setup.dir.task(&task.name),
            isolation: driver(context, task)?.capabilities().fs_isolation,
            host_env: &context.config.host_env,
            denied: &context.config.env_denylist,
        });
        made.user = Some(made.names.fill(&task.user)).filter(|user| !user.is_empty());
        Ok(())
    }
}

/// Refuses a user that tasks of this driver may not run as.
struct AllowedUser;

#[async_trait]
impl TaskHook for AllowedUser {
    fn name(&self) -> &'static str {
        "validate_user"
    }

    async fn prestart(&self, setup: &TaskSetup, made: &mut Made) -> Result<(), PrepareError> {
        let driver = &setup.task()?.driver;
        let Some(user) = made.user.clone() else { return Ok(()) };
        if !users::CHECKED_DRIVERS.contains(&driver.as_str()) {
            return Ok(());
        }
        let refusal = format!("running as {user:?} is not allowed for tasks of the driver {driver:?} on this node");
        match tokio::task::spawn_blocking(move || users::is_denied(&user, users::DENIED)).await {
            Ok(false) => Ok(()),
            Ok(true) => Err(PrepareError::Invalid(refusal)),
            Err(error) => Err(PrepareError::Setup(error.to_string())),
        }
    }
}

/// Fills in the driver's configuration and has the driver check it.
struct Configuration;

#[async_trait]
impl TaskHook for Configuration {
    fn name(&self) -> &'static str {
        "validate"
    }

    async fn prestart(&self, setup: &TaskSetup, made: &mut Made) -> Result<(), PrepareError> {
        let invalid = |error: &dyn std::error::Error| PrepareError::Invalid(chain(error));
        let task = setup.task()?;
        made.config = made.names.fill_config(&task.config).map_err(|error| invalid(&error))?;
        driver(&setup.context, task)?.validate(&made.config).map_err(|error| invalid(&error))
    }
}

fn spec(setup: &TaskSetup, made: Made) -> Result<TaskSpec, PrepareError> {
    let TaskSetup { context: _, alloc, dir, place: _, run } = setup;
    let task = setup.task()?;
    Ok(TaskSpec {
        id: TaskId { alloc_id: alloc.id, task: task.name.clone(), run: *run },
        job_id: alloc.job.id.to_string(),
        group: alloc.group_name().to_owned(),
        config: made.config,
        env: made.names.env,
        user: made.user,
        limits: limits(setup, task)?,
        dirs: dir.task(&task.name),
        logs: log_spec(dir, task.log_config.as_ref()),
        ..TaskSpec::default()
    })
}

/// A task with cores of its own has their whole capacity.
fn limits(setup: &TaskSetup, task: &Task) -> Result<TaskLimits, PrepareError> {
    let ask = task.ask().map_err(|error| PrepareError::Invalid(error.to_string()))?;
    let node = Arc::clone(&setup.context.description.borrow());
    let cores = setup.cores()?;
    // More than is reserved only where the scheduler counted with that.
    let memory_max = setup.alloc.oversubscribed.then(|| ask.memory_max.unwrap_or(node.resources.memory));
    Ok(TaskLimits {
        cpu: if cores.is_empty() { ask.cpu } else { env::cores_capacity(&node, cores.len()) },
        node_cpu: node.resources.cpu,
        memory: ask.memory,
        memory_max: memory_max.filter(|max| *max > ask.memory),
        cpuset_cores: cores,
    })
}

fn log_spec(dir: &AllocDir, config: Option<&LogConfig>) -> LogSpec {
    let default = LogConfig::default();
    let LogConfig { max_files, max_file_size_mb, disabled } = config.unwrap_or(&default);
    let mib = MebiBytes(u64::try_from(*max_file_size_mb).unwrap_or(0).max(1));
    LogSpec {
        dir: dir.logs(),
        max_files: u32::try_from(*max_files).unwrap_or(0).max(1),
        max_file_bytes: mib.0.saturating_mul(1 << 20),
        disabled: *disabled,
    }
}
