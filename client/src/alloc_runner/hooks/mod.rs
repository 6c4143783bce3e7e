//! The steps that make a task ready to start, in order; each may be repeated.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use orch_driver::{Driver, TaskMount, TaskSpec};
use orch_model::Allocation;
use orch_model::allocation::EventKind;
use orch_model::job::{Task, TaskGroup};
use tokio::sync::mpsc;
use tokio::time::Instant;

mod artifacts;
mod spec;
mod templates;
mod volumes;

use self::artifacts::Artifacts;
use self::templates::Templates;
use self::volumes::Volumes;
use super::task::{Event, PrepareError};
use super::template_watch::TemplateWatch;
use super::{Command, users};
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
    pub(crate) teller: Teller,
    /// What renders the task's templates, if it has any.
    pub(crate) templates: Option<Arc<TemplateWatch>>,
}

/// Tells the runner what happens to one of its tasks meanwhile.
#[derive(Debug, Clone)]
pub(crate) struct Teller {
    pub(crate) runner: mpsc::Sender<Box<Command>>,
    /// The task's place in the group.
    pub(crate) place: usize,
}

impl Teller {
    /// Has an event noted. It is lost where the runner has too much to do: later ones say more.
    pub(crate) fn note(&self, kind: EventKind) {
        let note = Command::Task { place: self.place, event: Event::Note(kind) };
        let _full_or_ended = self.runner.try_send(Box::new(note));
    }

    /// Has the runner obey; nothing happens where it has ended.
    pub(crate) async fn ask(&self, command: Command) {
        let _ended = self.runner.send(Box::new(command)).await;
    }
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
        self.group()?.cores_of(self.place, &self.alloc.cores).ok_or_else(few)
    }
}

/// What the steps have made so far.
#[derive(Debug, Default)]
struct Made {
    names: Names,
    config: BTreeMap<String, serde_json::Value>,
    user: Option<String>,
    mounts: Vec<TaskMount>,
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

const HOOKS: [&dyn TaskHook; 7] =
    [&Environment, &AllowedUser, &Directories, &Volumes, &Artifacts, &Templates, &Configuration];

/// The names of all steps, for metrics.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    HOOKS.iter().map(|hook| hook.name())
}

/// Runs all steps.
pub(crate) async fn prestart(setup: &TaskSetup) -> Result<TaskSpec, PrepareError> {
    let mut made = Made::default();
    for hook in HOOKS {
        let began = Instant::now();
        let outcome = hook.prestart(setup, &mut made).await;
        crate::metrics::task_hook(hook.name(), outcome.is_ok(), began.elapsed());
        outcome?;
    }
    spec::make(setup, made)
}

/// The environment of a task that runs, without doing any step again.
pub(crate) async fn environment(setup: &TaskSetup) -> Result<BTreeMap<String, String>, PrepareError> {
    let mut made = Made::default();
    Environment.prestart(setup, &mut made).await?;
    if let Some(templates) = &setup.templates {
        made.names.env.extend(templates.env());
    }
    Ok(made.names.env)
}

/// Has the templates of a task rendered that was found running after the agent restarted.
pub(crate) async fn resume(setup: &TaskSetup) -> Result<(), PrepareError> {
    let mut made = Made::default();
    Environment.prestart(setup, &mut made).await?;
    templates::resume(setup, &made)
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
        if !setup.context.config.user_checked_drivers.contains(driver) {
            return Ok(());
        }
        let denied = setup.context.config.user_denylist.clone();
        let refusal = format!("running as {user:?} is not allowed for tasks of the driver {driver:?} on this node");
        match tokio::task::spawn_blocking(move || users::is_denied(&user, denied.iter().map(String::as_str))).await {
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
