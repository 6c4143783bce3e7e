//! What people ask of a running allocation: to start tasks again, to send them signals, to say which run.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::machine::AllocEvent;
use super::task::Event;
use super::{AllocRunner, Command, Done, Entrance, RunningTask, hooks};
use crate::error::{Refusal, chain};

impl AllocRunner {
    pub(super) fn obey(&mut self, command: Command) {
        match command {
            Command::Restart { task, dead, reply } => {
                let outcome = self.restart(task.as_deref(), dead);
                // Whoever asked may have gone.
                let _asker_gone = reply.send(outcome);
            }
            Command::Signal { task, signal, reply } => match self.chosen(task.as_deref()) {
                Ok(places) => self.signal(&places, signal, reply),
                Err(refusal) => {
                    let _asker_gone = reply.send(Err(refusal));
                }
            },
            Command::Running { reply } => {
                let _asker_gone = reply.send(self.running());
            }
            Command::Enter { task, reply } => self.enter(&task, reply),
            Command::Task { place, event } => self.step(AllocEvent::Task(place, event)),
            Command::Tasks { event } => {
                for place in 0..self.machine.tasks().len() {
                    self.step(AllocEvent::Task(place, event.clone()));
                }
            }
            Command::Changed { place, effects } => self.follow_templates(place, effects),
        }
    }

    /// Starts the task named again, or all that run; with `dead` the whole allocation, from its first stage.
    fn restart(&mut self, task: Option<&str>, dead: bool) -> Result<(), Refusal> {
        let reason = "User requested task to restart".to_owned();
        if dead && task.is_none() {
            if self.machine.is_ending() {
                return Err(Refusal::NotRunning);
            }
            self.step(AllocEvent::RestartAll { reason });
            return Ok(());
        }
        for place in self.chosen(task)? {
            self.step(AllocEvent::Task(place, Event::Restart { reason: reason.clone() }));
        }
        Ok(())
    }

    /// The places of the tasks meant: one by its name, or all that run.
    fn chosen(&self, task: Option<&str>) -> Result<Vec<usize>, Refusal> {
        let tasks = self.machine.tasks();
        let runs = |place: &usize| tasks.get(*place).is_some_and(|member| member.machine.running().is_some());
        let places: Vec<_> = match task {
            Some(name) => {
                let place = self.machine.position(name).ok_or_else(|| Refusal::UnknownTask(name.to_owned()))?;
                Some(place).filter(runs).into_iter().collect()
            }
            None => (0..tasks.len()).filter(runs).collect(),
        };
        if places.is_empty() { Err(Refusal::NotRunning) } else { Ok(places) }
    }

    fn signal(&mut self, places: &[usize], signal: String, reply: oneshot::Sender<Result<(), Refusal>>) {
        for place in places {
            let reason = "User requested task to be signaled".to_owned();
            self.step(AllocEvent::Task(*place, Event::Signaling { signal: signal.clone(), reason }));
        }
        let mut targets = self.running();
        targets.retain(|running| {
            places.iter().any(|place| self.machine.tasks().get(*place).is_some_and(|m| m.name == running.id.task))
        });
        self.io.push(Box::pin(async move {
            let mut outcome = Ok(());
            for target in targets {
                if let Err(error) = target.driver.signal(&target.id, &signal).await {
                    outcome = Err(Refusal::Driver(chain(&error)));
                }
            }
            let _asker_gone = reply.send(outcome);
            Done { place: usize::MAX, ..Done::default() }
        }));
    }

    /// Finds where a command can be run inside a task.
    fn enter(&mut self, task: &str, reply: oneshot::Sender<Result<Entrance, Refusal>>) {
        let unknown = || Refusal::UnknownTask(task.to_owned());
        let found = self.machine.position(task).ok_or_else(unknown);
        let running = found.and_then(|place| Ok((place, self.running_at(place).ok_or(Refusal::NotRunning)?)));
        let (place, running) = match running {
            Ok(running) => running,
            Err(refusal) => {
                let _asker_gone = reply.send(Err(refusal));
                return;
            }
        };
        let setup = self.setup(place, running.id.run);
        self.io.push(Box::pin(async move {
            let entrance = match hooks::environment(&setup).await {
                Ok(env) => Ok(Entrance { task: running, env }),
                Err(_) => Err(Refusal::NotRunning),
            };
            let _asker_gone = reply.send(entrance);
            Done { place, ..Done::default() }
        }));
    }

    fn running(&self) -> Vec<RunningTask> {
        (0..self.machine.tasks().len()).filter_map(|place| self.running_at(place)).collect()
    }

    /// The task at `place`, if it runs.
    pub(super) fn running_at(&self, place: usize) -> Option<RunningTask> {
        let run = self.machine.tasks().get(place)?.machine.running()?;
        let driver = Arc::clone(hooks::driver(&self.context, self.task(place)?).ok()?);
        Some(RunningTask { id: self.task_id(place, run), driver })
    }
}
