//! The steps of tasks: what their machines decide, done by drivers and hooks.

use std::sync::Arc;

use futures::future::BoxFuture;
use orch_driver::{Driver, TaskId, TaskSpec};
use tracing::warn;

use super::hooks::{self, TaskSetup};
use super::task::{Action, Event, PrepareError};
use super::{AllocRunner, Done};
use crate::error::chain;

impl AllocRunner {
    pub(super) fn perform(
        &self,
        place: usize,
        action: Action,
        spec: Option<TaskSpec>,
    ) -> Option<BoxFuture<'static, Done>> {
        let task = self.task(place)?;
        let done = move |event| Done { place, step: true, event: Some(event), spec: None };
        let driver = match hooks::driver(&self.context, task) {
            Ok(driver) => Arc::clone(driver),
            Err(error) => {
                let event = without_driver(&action, error);
                return Some(Box::pin(async move { Done { place, step: true, event, spec: None } }));
            }
        };
        Some(match action {
            Action::Prepare { run } => {
                let setup = TaskSetup {
                    context: Arc::clone(&self.context),
                    alloc: Arc::clone(&self.alloc),
                    dir: self.dir.clone(),
                    place,
                    run,
                };
                Box::pin(async move {
                    match hooks::prestart(&setup).await {
                        Ok(spec) => Done { spec: Some(spec), ..done(Event::Prepared) },
                        Err(error) => done(Event::PrepareFailed(error)),
                    }
                })
            }
            Action::Start { .. } => Box::pin(async move {
                let Some(spec) = spec else {
                    let message = "the task was not prepared".to_owned();
                    return done(Event::StartFailed { message, recoverable: true });
                };
                done(match driver.start(spec).await {
                    Ok(handle) => Event::Started(handle),
                    Err(error) => {
                        let recoverable = error.is_recoverable();
                        Event::StartFailed { message: chain(&error), recoverable }
                    }
                })
            }),
            Action::Recover(handle) => Box::pin(async move {
                done(match driver.recover(&handle).await {
                    Ok(()) => Event::Recovered,
                    Err(error) => {
                        let gone = matches!(error, orch_driver::Error::UnknownTask(_));
                        Event::RecoverFailed { gone, message: chain(&error) }
                    }
                })
            }),
            Action::Stop { run, timeout } => {
                let id = self.task_id(place, run);
                let signal = Some(task.kill_signal.clone()).filter(|signal| !signal.is_empty());
                Box::pin(async move {
                    done(match driver.stop(&id, signal.as_deref(), timeout.to_std()).await {
                        Ok(()) | Err(orch_driver::Error::UnknownTask(_)) => Event::Stopped { run },
                        Err(error) => Event::StopFailed { run, message: chain(&error) },
                    })
                })
            }
            Action::Destroy { run } => {
                let id = self.task_id(place, run);
                Box::pin(async move {
                    destroy(driver.as_ref(), &id).await;
                    Done { place, step: true, ..Done::default() }
                })
            }
            Action::Wait { .. } | Action::Save => return None,
        })
    }

    /// A task whose end is unknown to its driver has ended nobody knows how.
    pub(super) fn wait(&mut self, place: usize, run: u32) {
        let Some(task) = self.task(place) else { return };
        let Ok(driver) = hooks::driver(&self.context, task).map(Arc::clone) else { return };
        let id = self.task_id(place, run);
        self.io.push(Box::pin(async move {
            let status = driver.wait(&id).await.unwrap_or_else(|error| orch_driver::ExitStatus {
                message: chain(&error),
                ..orch_driver::ExitStatus::default()
            });
            Done { place, event: Some(Event::Exited { run, status }), ..Done::default() }
        }));
    }
}

/// Has a driver forget a run; that it knows nothing of it is as good.
pub(crate) async fn destroy(driver: &dyn Driver, id: &TaskId) {
    match driver.destroy(id).await {
        Ok(()) | Err(orch_driver::Error::UnknownTask(_)) => {}
        Err(error) => {
            let error = chain(&error);
            warn!(alloc_id = %id.alloc_id, task = id.task, error, "a driver could not clean up after a task");
        }
    }
}

/// What a step comes to where the driver is missing.
fn without_driver(action: &Action, error: PrepareError) -> Option<Event> {
    Some(match action {
        Action::Recover(_) => Event::RecoverFailed { gone: true, message: "its driver is not on this node".to_owned() },
        Action::Stop { run, .. } => Event::Stopped { run: *run },
        Action::Prepare { .. } | Action::Start { .. } => Event::PrepareFailed(error),
        Action::Wait { .. } | Action::Destroy { .. } | Action::Save => return None,
    })
}
