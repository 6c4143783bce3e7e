//! The steps of tasks: what their machines decide, done by drivers and hooks.

use std::sync::Arc;

use futures::future::BoxFuture;
use orch_driver::{Driver, ExecSpec, TaskId, TaskSpec};
use orch_model::allocation::EventKind;
use orch_model::job::ChangeScript;
use tracing::warn;

use super::hooks::{self, TaskSetup};
use super::machine::AllocEvent;
use super::task::{Action, Event, KillReason, PrepareError};
use super::template_watch::Effects;
use super::{AllocRunner, Done, RunningTask};
use crate::error::chain;

impl AllocRunner {
    pub(super) fn perform(
        &self,
        place: usize,
        action: Action,
        spec: Option<Box<TaskSpec>>,
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
                let setup = self.setup(place, run);
                let abandon = self.shells.get(place).and_then(|shell| shell.abandon.clone()).unwrap_or_default();
                Box::pin(async move {
                    match abandon.run_until_cancelled(hooks::prestart(&setup)).await {
                        Some(Ok(spec)) => Done { spec: Some(Box::new(spec)), ..done(Event::Prepared) },
                        Some(Err(error)) => done(Event::PrepareFailed(error)),
                        None => done(Event::PrepareAbandoned),
                    }
                })
            }
            Action::Start { .. } => Box::pin(async move {
                let Some(spec) = spec else {
                    let message = "the task was not prepared".to_owned();
                    return done(Event::StartFailed { message, recoverable: true });
                };
                done(match driver.start(*spec).await {
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

    pub(super) fn setup(&self, place: usize, run: u32) -> TaskSetup {
        TaskSetup {
            context: Arc::clone(&self.context),
            alloc: Arc::clone(&self.alloc),
            dir: self.dir.clone(),
            place,
            run,
            teller: self.teller(place),
            templates: self.shells.get(place).and_then(|shell| shell.templates.clone()),
        }
    }

    /// Renders the templates of a task again that was found running: what became different is a change.
    pub(super) fn resume_templates(&mut self, place: usize) {
        let Some(run) = self.machine.tasks().get(place).and_then(|member| member.machine.running()) else { return };
        let setup = self.setup(place, run);
        if setup.templates.is_none() {
            return;
        }
        self.io.push(Box::pin(async move {
            let event = hooks::resume(&setup).await.err().map(|error| {
                let text = error.into_text();
                Event::Kill(KillReason::Broken(Box::new(EventKind::Template(text.into()))))
            });
            Done { place, event, ..Done::default() }
        }));
    }

    /// Does what the change of a task's templates brings about; one that does not run finds it when it starts.
    pub(super) fn follow_templates(&mut self, place: usize, effects: Effects) {
        let Effects { restart, signals, scripts } = effects;
        if restart {
            let reason = "Template with change_mode restart re-rendered".to_owned();
            return self.step(AllocEvent::Task(place, Event::Reload { reason }));
        }
        let Some(running) = self.running_at(place) else { return };
        for signal in &signals {
            let reason = "Template re-rendered".to_owned();
            self.step(AllocEvent::Task(place, Event::Signaling { signal: signal.clone(), reason }));
        }
        let setup = self.setup(place, running.id.run);
        self.io.push(Box::pin(async move {
            let RunningTask { id, driver } = &running;
            let mut event = None;
            for signal in signals {
                if let Err(error) = driver.signal(id, &signal).await {
                    let text = format!("Template failed: sending {signal} failed: {}", chain(&error));
                    event = Some(EventKind::Template(text.into()));
                }
            }
            for script in scripts {
                if let Err(text) = run_script(&setup, &running, &script).await {
                    let text: EventKind = EventKind::Template(text.into());
                    if script.fail_on_error {
                        event = Some(text);
                    } else {
                        setup.teller.note(text);
                    }
                }
            }
            let event = event.map(|event| Event::Kill(KillReason::Broken(Box::new(event))));
            Done { place, event, ..Done::default() }
        }));
    }

    /// Runs the scripts that also follow the first rendering, once the task runs for the first time.
    pub(super) fn run_first_scripts(&mut self, place: usize) {
        if self.machine.tasks().get(place).is_none_or(|member| member.machine.state().restarts > 0) {
            return;
        }
        let Some(task) = self.task(place) else { return };
        let scripts = task.templates.iter().filter_map(|template| template.change_script.as_ref());
        let scripts: Vec<_> = scripts.filter(|script| script.run_on_first_render).cloned().collect();
        if !scripts.is_empty() {
            self.follow_templates(place, Effects { scripts, ..Effects::default() });
        }
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

/// Runs the script of a change inside the task, and says what went wrong.
async fn run_script(setup: &TaskSetup, running: &RunningTask, script: &ChangeScript) -> Result<(), String> {
    let ChangeScript { command, args, timeout, fail_on_error: _, run_on_first_render: _ } = script;
    let failed = |why: String| format!("Template failed to run script {command}: {why}");
    let env = hooks::environment(setup).await.map_err(|error| failed(error.into_text()))?;
    let names = crate::interpolate::Names { env, ..Default::default() };
    let command_line = std::iter::once(command).chain(args).map(|text| names.fill(text)).collect();
    let spec = ExecSpec { command: command_line, terminal: None, env: names.env.into_iter().collect() };
    let run = async {
        let mut session = running.driver.exec(&running.id, spec).await?;
        drop(session.stdin);
        // Nobody reads what it writes, but it must not wait for a reader.
        let (mut out, mut err) = (tokio::io::sink(), tokio::io::sink());
        let drain_out = tokio::io::copy(&mut session.stdout, &mut out);
        let drain_err = tokio::io::copy(&mut session.stderr, &mut err);
        let (_, _, code) = tokio::join!(drain_out, drain_err, session.control.wait());
        code
    };
    match tokio::time::timeout(timeout.to_std(), run).await {
        Ok(Ok(0)) => Ok(()),
        Ok(Ok(code)) => Err(failed(format!("it ended with exit code {code}"))),
        Ok(Err(error)) => Err(failed(chain(&error))),
        Err(_late) => Err(failed(format!("it took longer than {timeout}"))),
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
