//! From a plan to a container that runs: names that are taken, and limits that the host refuses.

use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error as EngineError;
use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::{
    CreateContainerOptions, InspectContainerOptions, RemoveContainerOptions, RenameContainerOptions,
    StartContainerOptions,
};
use orch_driver::{Error, TaskId};
use tokio::time::sleep;
use tracing::{info, warn};

use crate::clamp::{Allowed, clamp};
use crate::engine;
use crate::plan::{Plan, note_of};

/// How long to wait before trying a name again that was taken.
const PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How many limits a host may refuse one after the other.
const CLAMPS: usize = 17;

/// A container that runs, or ran.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) container: ContainerInspectResponse,
    pub(crate) warnings: Vec<String>,
}

/// Creates and starts the container of `plan`; leaves nothing behind if that fails.
///
/// One of the same run that already runs is taken over: an agent may have died before it could note that it had started it.
pub(crate) async fn launch(
    docker: &Docker,
    id: &TaskId,
    node_id: &str,
    mut plan: Plan,
    attempts: u32,
) -> Result<Launched, Error> {
    let mut warnings = Vec::new();
    for _ in 0..=CLAMPS {
        let name = match create(docker, id, node_id, &plan, attempts).await? {
            Created::New(container) => container,
            Created::Running(container) => return Ok(Launched { container: *container, warnings }),
        };
        let guard = Unstarted { docker, name: Some(name.clone()) };
        match docker.start_container(&name, None::<StartContainerOptions>).await {
            Ok(()) => {
                let container = docker.inspect_container(&name, None::<InspectContainerOptions>).await;
                let container = container.map_err(|error| not_started("looking at the container", &error))?;
                guard.keep();
                return Ok(Launched { container, warnings });
            }
            Err(error) => {
                guard.remove().await;
                let Some(warning) = clamp(&engine::words(&error), &mut plan.body, Allowed::here()) else {
                    return Err(not_started("starting the container", &error));
                };
                warn!(alloc_id = %id.alloc_id, task = id.task, warning, "the host does not allow everything that the task should get");
                warnings.push(warning);
            }
        }
    }
    let message = format!("the host refuses too much of what the task should get: {}", warnings.join("; "));
    Err(Error::StartFailed { message, recoverable: false })
}

enum Created {
    New(String),
    Running(Box<ContainerInspectResponse>),
}

async fn create(docker: &Docker, id: &TaskId, node_id: &str, plan: &Plan, attempts: u32) -> Result<Created, Error> {
    let mut pause = PAUSE;
    let mut attempt = 1;
    loop {
        let options = CreateContainerOptions { name: Some(plan.name.clone()), platform: plan.platform.clone() };
        match docker.create_container(Some(options), plan.body.clone()).await {
            Ok(created) => return Ok(Created::New(created.id)),
            Err(error) if engine::is_conflict(&error) && attempt < attempts => {
                if let Some(running) = clear(docker, id, node_id, &plan.name).await? {
                    return Ok(Created::Running(Box::new(running)));
                }
            }
            Err(error) => return Err(not_started("creating the container", &error)),
        }
        if attempt > 1 {
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        attempt += 1;
    }
}

/// Makes room for a container called `name`. Returns the one that has the name, if that is the same run and runs.
async fn clear(
    docker: &Docker,
    id: &TaskId,
    node_id: &str,
    name: &str,
) -> Result<Option<ContainerInspectResponse>, Error> {
    let found = match docker.inspect_container(name, None::<InspectContainerOptions>).await {
        Ok(found) => found,
        Err(error) if engine::is_missing(&error) => return Ok(None),
        Err(error) => return Err(not_started("looking at the container whose name is taken", &error)),
    };
    let note = note_of(found.config.as_ref().and_then(|config| config.labels.as_ref()), node_id);
    let running = found.state.as_ref().and_then(|state| state.running) == Some(true);
    let Some(note) = note else {
        let message = format!("the name {name} is taken by a container that is not this node's");
        return Err(Error::StartFailed { message, recoverable: true });
    };
    let outcome = if note.id.run != id.run {
        // An earlier run which is still asked about.
        let options = RenameContainerOptions { name: format!("{name}.{}", note.id.run) };
        docker.rename_container(name, options).await
    } else if running {
        return Ok(Some(found));
    } else {
        info!(alloc_id = %id.alloc_id, task = id.task, "removing what an earlier attempt left");
        docker.remove_container(name, Some(by_force())).await
    };
    match outcome {
        Ok(()) => Ok(None),
        // Somebody else was faster.
        Err(error) if engine::is_missing(&error) || engine::is_conflict(&error) => Ok(None),
        Err(error) => Err(not_started("clearing the container's name", &error)),
    }
}

/// Removes even what runs, with the volumes that have no name.
pub(crate) fn by_force() -> RemoveContainerOptions {
    RemoveContainerOptions { force: true, v: true, ..RemoveContainerOptions::default() }
}

/// A container that was created, and is removed unless it could be started.
struct Unstarted<'d> {
    docker: &'d Docker,
    name: Option<String>,
}

impl Unstarted<'_> {
    fn keep(mut self) {
        self.name = None;
    }

    async fn remove(mut self) {
        if let Some(name) = self.name.take() {
            remove(self.docker.clone(), name).await;
        }
    }
}

impl Drop for Unstarted<'_> {
    /// Who starts a task may give up in the middle of it.
    fn drop(&mut self) {
        if let (Some(name), Ok(runtime)) = (self.name.take(), tokio::runtime::Handle::try_current()) {
            drop(runtime.spawn(remove(self.docker.clone(), name)));
        }
    }
}

async fn remove(docker: Docker, name: String) {
    match docker.remove_container(&name, Some(by_force())).await {
        Ok(()) => {}
        Err(error) if engine::is_missing(&error) => {}
        Err(error) => warn!(name, error = engine::words(&error), "a container that did not start could not be removed"),
    }
}

/// What the engine calls a bad request fails the same way again; so does a program that is not there.
fn not_started(doing: &str, error: &EngineError) -> Error {
    let words = engine::words(error);
    let hopeless = ["no such file or directory", "executable file not found", "permission denied", "not a directory"];
    let recoverable = engine::status(error) != Some(400) && !hopeless.iter().any(|part| words.contains(part));
    Error::StartFailed { message: format!("{doing} failed: {words}"), recoverable }
}
