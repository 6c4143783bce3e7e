//! Runs one allocation: performs what its state machine decides, and tells it what came of that.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use orch_driver::{Driver, TaskId, TaskSpec};
use orch_model::allocation::AllocUpdate;
use orch_model::job::{Task, TaskGroup};
use orch_model::seed::Seed;
use orch_model::{Allocation, Nanos, Timestamp};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

mod hooks;
mod machine;
mod restart;
mod task;
#[cfg(test)]
mod tests;

use self::hooks::TaskSetup;
use self::machine::{AllocEvent, AllocMachine, Member};
use self::restart::RestartTracker;
use self::task::{Action, Event, PrepareError, TaskMachine, Timing};
use crate::alloc_dir::AllocDir;
use crate::context::Context;
use crate::env::job_kind;
use crate::error::{Refusal, chain};
use crate::state::StoredTask;

pub(crate) use self::task::KillReason;

/// How long steps that were begun may take when the agent stops, before they are left to its next start.
const DETACH_WITHIN: Duration = Duration::from_secs(2);
/// How many requests by hand may wait for one allocation; whoever comes later waits to get in.
const COMMANDS: usize = 8;

/// What the agent wants of a runner; the newest counts.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) alloc: Arc<Allocation>,
    pub(crate) stop: Option<KillReason>,
}

/// What somebody asks of a running allocation.
#[derive(Debug)]
pub(crate) enum Command {
    /// Start tasks again: the one named, or all that run; with `dead` those that ended, too.
    Restart { task: Option<String>, dead: bool, reply: oneshot::Sender<Result<(), Refusal>> },
    /// Send a signal to the task named, or to all that run.
    Signal { task: Option<String>, signal: String, reply: oneshot::Sender<Result<(), Refusal>> },
    /// Which tasks run.
    Running { reply: oneshot::Sender<Vec<RunningTask>> },
}

/// A task that runs.
#[derive(Debug)]
pub(crate) struct RunningTask {
    pub(crate) id: TaskId,
    pub(crate) driver: Arc<dyn Driver>,
}

/// A way to a runner.
#[derive(Debug, Clone)]
pub(crate) struct RunnerHandle {
    pub(crate) wanted: Arc<watch::Sender<Wanted>>,
    pub(crate) commands: mpsc::Sender<Command>,
}

/// How a runner finds the allocation's tasks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Found {
    /// What was remembered or found of each task, by its place in the group; `None` was never started.
    pub(crate) tasks: Vec<Option<StoredTask>>,
    /// Whether the machine was started anew since.
    pub(crate) rebooted: bool,
}

/// Runs one allocation until all of its tasks have ended, or the agent stops.
#[derive(Debug)]
pub(crate) struct AllocRunner {
    context: Arc<Context>,
    alloc: Arc<Allocation>,
    dir: AllocDir,
    machine: AllocMachine,
    shells: Vec<TaskShell>,
    io: FuturesUnordered<BoxFuture<'static, Done>>,
    wanted: watch::Receiver<Wanted>,
    commands: mpsc::Receiver<Command>,
    reports: mpsc::Sender<AllocUpdate>,
    reported: Option<AllocUpdate>,
}

/// What is under way for one task: one step at a time, in order; waiting for its end goes beside.
#[derive(Debug, Default)]
struct TaskShell {
    queue: VecDeque<Action>,
    busy: bool,
    spec: Option<TaskSpec>,
}

/// What came of a step.
#[derive(Debug, Default)]
struct Done {
    place: usize,
    /// Whether it was the task's current step.
    step: bool,
    event: Option<Event>,
    spec: Option<TaskSpec>,
}

impl AllocRunner {
    /// A runner for `alloc`, whose tasks are as `found` says. Nothing happens before [`Self::run`].
    ///
    /// `reports` takes what is to be told; a runner waits when it is full, and everything newer is told at once then.
    pub(crate) fn new(
        context: Arc<Context>,
        alloc: Arc<Allocation>,
        found: Found,
        reports: mpsc::Sender<AllocUpdate>,
    ) -> (Self, RunnerHandle) {
        let default = TaskGroup::default();
        let group = alloc.task_group().unwrap_or(&default);
        let now = context.clock.now();
        let mut stored = found.tasks.into_iter();
        let members = group.tasks.iter().enumerate().map(|(place, task)| {
            let policy = task.restart_policy.clone().or_else(|| group.restart_policy.clone()).unwrap_or_default();
            let seed = Seed::of(alloc.id.as_uuid(), u64::try_from(place).unwrap_or(0));
            let restarts = RestartTracker::new(policy, job_kind(&alloc), now, seed);
            let timing = timing(&context, &alloc, place);
            let machine = match stored.next().flatten() {
                Some(stored) => TaskMachine::restore(timing, restarts, stored, found.rebooted),
                None => TaskMachine::new(timing, restarts, now),
            };
            Member { name: task.name.clone(), leader: task.leader, machine }
        });
        let machine = AllocMachine::new(alloc.id, members.collect());
        let (wanted, wanted_receiver) = watch::channel(Wanted { alloc: Arc::clone(&alloc), stop: None });
        let (commands, command_receiver) = mpsc::channel(COMMANDS);
        let runner = Self {
            dir: AllocDir::new(&context.config.alloc_dir, alloc.id),
            shells: group.tasks.iter().map(|_| TaskShell::default()).collect(),
            io: FuturesUnordered::new(),
            wanted: wanted_receiver,
            commands: command_receiver,
            reports,
            reported: None,
            context,
            alloc,
            machine,
        };
        (runner, RunnerHandle { wanted: Arc::new(wanted), commands })
    }

    /// Runs until all tasks have ended for good, or `detach` leaves them to the agent's next start.
    #[tracing::instrument(name = "alloc.run", skip_all, fields(alloc_id = %self.alloc.id))]
    pub(crate) async fn run(mut self, detach: CancellationToken) {
        self.forget_earlier_runs();
        self.follow_wanted();
        self.step(AllocEvent::Start);
        loop {
            self.publish().await;
            if self.machine.is_done() && self.io.is_empty() {
                break;
            }
            let deadline = self.machine.deadline().map(|at| self.context.clock.instant(at));
            tokio::select! {
                () = detach.cancelled() => return self.detach().await,
                Ok(()) = self.wanted.changed() => self.follow_wanted(),
                Some(command) = self.commands.recv() => self.obey(command),
                Some(done) = self.io.next(), if !self.io.is_empty() => self.take(done),
                () = tokio::time::sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    self.step(AllocEvent::Timer);
                }
            }
        }
        for member in self.machine.tasks() {
            hooks::stop(&self.dir, &self.alloc, &member.name).await;
        }
    }

    /// Lets steps that were begun come to their end, so that nothing is started that nobody remembers.
    async fn detach(&mut self) {
        let end = Instant::now() + DETACH_WITHIN;
        while self.shells.iter().any(|shell| shell.busy) {
            match tokio::time::timeout_at(end, self.io.next()).await {
                Ok(Some(done)) => self.take(done),
                Ok(None) | Err(_) => break,
            }
        }
    }

    fn follow_wanted(&mut self) {
        let Wanted { alloc, stop } = self.wanted.borrow_and_update().clone();
        if !Arc::ptr_eq(&alloc, &self.alloc) {
            self.alloc = alloc;
            let places = 0..self.machine.tasks().len();
            let timings: Vec<_> = places.map(|place| timing(&self.context, &self.alloc, place)).collect();
            self.machine.set_timings(timings);
        }
        if let Some(reason) = stop {
            self.step(AllocEvent::Stop(reason));
        }
    }

    fn step(&mut self, event: AllocEvent) {
        let now = self.context.clock.now();
        for (place, action) in self.machine.step(now, event) {
            match action {
                Action::Save => self.save(place),
                Action::Wait { run } => self.wait(place, run),
                Action::Prepare { .. }
                | Action::Start { .. }
                | Action::Recover(_)
                | Action::Stop { .. }
                | Action::Destroy { .. } => {
                    if let Some(shell) = self.shells.get_mut(place) {
                        shell.queue.push_back(action);
                    }
                    self.pump(place);
                }
            }
        }
    }

    fn take(&mut self, done: Done) {
        let Done { place, step, event, spec } = done;
        if let Some(shell) = self.shells.get_mut(place)
            && step
        {
            shell.busy = false;
            shell.spec = spec;
        }
        if let Some(event) = event {
            if matches!(&event, Event::Exited { status, .. } if status.oom_killed) {
                crate::metrics::task_oom_killed();
            }
            self.step(AllocEvent::Task(place, event));
        }
        self.pump(place);
    }

    /// Begins the task's next step, if none is under way.
    fn pump(&mut self, place: usize) {
        let Some(shell) = self.shells.get_mut(place) else { return };
        if shell.busy {
            return;
        }
        let Some(action) = shell.queue.pop_front() else { return };
        shell.busy = true;
        let spec = shell.spec.take();
        if let Some(future) = self.perform(place, action, spec) {
            self.io.push(future);
        }
    }

    fn perform(&self, place: usize, action: Action, spec: Option<TaskSpec>) -> Option<BoxFuture<'static, Done>> {
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
    fn wait(&mut self, place: usize, run: u32) {
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

    fn save(&self, place: usize) {
        if let Some(member) = self.machine.tasks().get(place) {
            self.context.state.put_task(self.alloc.id, &member.name, &member.machine.stored());
        }
    }

    /// Tells how the allocation is, if that is news.
    async fn publish(&mut self) {
        let update = self.machine.update();
        if self.reported.as_ref() == Some(&update) {
            return;
        }
        let restarts = |update: &AllocUpdate| update.tasks.iter().map(|task| u64::from(task.restarts)).sum::<u64>();
        let before = self.reported.as_ref().map_or_else(|| restarts(&update), restarts);
        crate::metrics::tasks_restarted(restarts(&update).saturating_sub(before));
        // The agent reads reports until every runner is gone.
        if self.reports.send(update.clone()).await.is_ok() {
            self.reported = Some(update);
        }
    }

    /// Drivers may keep something of tasks that ended just before the agent did.
    fn forget_earlier_runs(&mut self) {
        for place in 0..self.shells.len() {
            let Some(member) = self.machine.tasks().get(place) else { continue };
            let stored = member.machine.stored();
            if member.machine.is_dead() && !stored.state.started_at.is_none() {
                let run = member.machine.run();
                if let Some(shell) = self.shells.get_mut(place) {
                    shell.queue.push_back(Action::Destroy { run });
                }
                self.pump(place);
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Restart { task, dead, reply } => {
                let outcome = self.chosen(task.as_deref(), dead);
                if let Ok(places) = &outcome {
                    for place in places {
                        let reason = "User requested task to restart".to_owned();
                        self.step(AllocEvent::Task(*place, Event::Restart { reason, dead }));
                    }
                }
                // Whoever asked may have gone.
                let _asker_gone = reply.send(outcome.map(drop));
            }
            Command::Signal { task, signal, reply } => match self.chosen(task.as_deref(), false) {
                Ok(places) => self.signal(&places, signal, reply),
                Err(refusal) => {
                    let _asker_gone = reply.send(Err(refusal));
                }
            },
            Command::Running { reply } => {
                let _asker_gone = reply.send(self.running());
            }
        }
    }

    /// The places of the tasks meant: one by its name, or all that run.
    fn chosen(&self, task: Option<&str>, dead: bool) -> Result<Vec<usize>, Refusal> {
        let running = |place: &usize| {
            self.machine.tasks().get(*place).is_some_and(|member| dead || member.machine.running().is_some())
        };
        match task {
            Some(name) => {
                let place = self.machine.position(name).ok_or_else(|| Refusal::UnknownTask(name.to_owned()))?;
                if running(&place) { Ok(vec![place]) } else { Err(Refusal::NotRunning) }
            }
            None => {
                let places: Vec<_> = (0..self.machine.tasks().len()).filter(running).collect();
                if places.is_empty() { Err(Refusal::NotRunning) } else { Ok(places) }
            }
        }
    }

    fn signal(&mut self, places: &[usize], signal: String, reply: oneshot::Sender<Result<(), Refusal>>) {
        let mut targets = Vec::new();
        for place in places {
            let reason = "User requested task to be signaled".to_owned();
            self.step(AllocEvent::Task(*place, Event::Signaling { signal: signal.clone(), reason }));
        }
        targets.extend(self.running().into_iter().filter(|running| {
            places.iter().any(|place| self.machine.tasks().get(*place).is_some_and(|m| m.name == running.id.task))
        }));
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

    fn running(&self) -> Vec<RunningTask> {
        let members = self.machine.tasks().iter().enumerate();
        let running = members.filter_map(|(place, member)| {
            let run = member.machine.running()?;
            let driver = Arc::clone(hooks::driver(&self.context, self.task(place)?).ok()?);
            Some(RunningTask { id: self.task_id(place, run), driver })
        });
        running.collect()
    }

    fn task(&self, place: usize) -> Option<&Task> {
        self.alloc.task_group()?.tasks.get(place)
    }

    fn task_id(&self, place: usize, run: u32) -> TaskId {
        let task = self.task(place).map_or_else(String::new, |task| task.name.clone());
        TaskId { alloc_id: self.alloc.id, task, run }
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

fn timing(context: &Context, alloc: &Allocation, place: usize) -> Timing {
    let Some(group) = alloc.task_group() else { return Timing::default() };
    let Some(task) = group.tasks.get(place) else { return Timing::default() };
    let longest = Nanos::from(context.config.max_kill_timeout);
    let delay = if alloc.transition.no_shutdown_delay {
        Nanos::ZERO
    } else {
        Timestamp(0).plus(task.shutdown_delay).plus(group.shutdown_delay.unwrap_or_default()).since(Timestamp(0))
    };
    Timing { kill_timeout: task.kill_timeout.clamp(Nanos::ZERO, longest), shutdown_delay: delay }
}
