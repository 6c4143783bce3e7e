//! Runs one allocation: performs what its state machine decides, and tells it what came of that.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use orch_driver::{Driver, TaskId, TaskSpec};
use orch_model::allocation::{AllocUpdate, EventKind};
use orch_model::job::{RestartPolicy, Task, TaskGroup};
use orch_model::seed::Seed;
use orch_model::{Allocation, Nanos, Timestamp};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

mod health;
mod hooks;
mod lifecycle;
mod machine;
mod requests;
mod restart;
mod steps;
mod succession;
mod task;
mod template_watch;
#[cfg(test)]
mod tests;
mod users;
mod words;

use self::health::{HealthWatch, Sign};
use self::hooks::Teller;
use self::machine::{AllocEvent, AllocMachine, Member};
use self::restart::RestartTracker;
use self::task::{Action, Event, TaskMachine, Timing};
use self::template_watch::{Effects, TemplateWatch};
use crate::alloc_dir::AllocDir;
use crate::context::Context;
use crate::env::job_kind;
use crate::error::Refusal;
use crate::state::StoredTask;

pub(crate) use self::health::StoredHealth;
pub(crate) use self::hooks::names as hook_names;
pub(crate) use self::steps::destroy;
pub(crate) use self::succession::Predecessor;
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
    /// Start tasks again: the one named, or all that run; with `dead` the allocation as a whole, from its first stage.
    Restart { task: Option<String>, dead: bool, reply: oneshot::Sender<Result<(), Refusal>> },
    /// Send a signal to the task named, or to all that run.
    Signal { task: Option<String>, signal: String, reply: oneshot::Sender<Result<(), Refusal>> },
    /// Which tasks run.
    Running { reply: oneshot::Sender<Vec<RunningTask>> },
    /// Where a command can be run inside the task named.
    Enter { task: String, reply: oneshot::Sender<Result<Entrance, Refusal>> },
    /// Something about one task, from what goes on beside it.
    Task { place: usize, event: Event },
    /// Something about every task.
    Tasks { event: Event },
    /// Templates of a task were rendered anew.
    Changed { place: usize, effects: Effects },
}

/// A task in which a command can be run.
#[derive(Debug)]
pub(crate) struct Entrance {
    pub(crate) task: RunningTask,
    /// The task's environment.
    pub(crate) env: BTreeMap<String, String>,
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
    pub(crate) commands: mpsc::Sender<Box<Command>>,
}

/// Has an event of every task of an allocation noted; lost where its runner has too much to do.
pub(crate) fn note_to_all(runner: &RunnerHandle, kind: EventKind) {
    let note = Command::Tasks { event: Event::Note(kind) };
    let _full_or_ended = runner.commands.try_send(Box::new(note));
}

/// How a runner finds the allocation's tasks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Found {
    /// What was remembered or found of each task, by its place in the group; `None` was never started.
    pub(crate) tasks: Vec<Option<StoredTask>>,
    /// Whether the machine was started anew since.
    pub(crate) rebooted: bool,
    /// The allocation whose data it takes over.
    pub(crate) predecessor: Option<Predecessor>,
}

/// Runs one allocation until all of its tasks have ended, or the agent stops.
#[derive(Debug)]
pub(crate) struct AllocRunner {
    context: Arc<Context>,
    alloc: Arc<Allocation>,
    dir: AllocDir,
    machine: AllocMachine,
    health: Option<HealthWatch>,
    shells: Vec<TaskShell>,
    io: FuturesUnordered<BoxFuture<'static, Done>>,
    wanted: watch::Receiver<Wanted>,
    commands: mpsc::Receiver<Box<Command>>,
    /// For what goes on beside tasks.
    inbox: mpsc::Sender<Box<Command>>,
    predecessor: Option<Predecessor>,
    reports: mpsc::Sender<AllocUpdate>,
    reported: Option<AllocUpdate>,
}

/// What is under way for one task: one step at a time, in order; waiting for its end goes beside.
#[derive(Debug, Default)]
struct TaskShell {
    queue: VecDeque<Action>,
    busy: bool,
    /// What the driver is given; boxed, as it is there for moments only.
    spec: Option<Box<TaskSpec>>,
    /// Ends the preparation that is under way.
    abandon: Option<CancellationToken>,
    /// What renders its templates, if it has any.
    templates: Option<Arc<TemplateWatch>>,
}

/// What came of a step.
#[derive(Debug, Default)]
struct Done {
    place: usize,
    /// Whether it was the task's current step.
    step: bool,
    event: Option<Event>,
    spec: Option<Box<TaskSpec>>,
}

impl TaskShell {
    fn new(task: &Task) -> Self {
        Self { templates: (!task.templates.is_empty()).then(Arc::default), ..Self::default() }
    }
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
            let kind = lifecycle::kind_of(task);
            let seed = Seed::of(alloc.id.as_uuid(), u64::try_from(place).unwrap_or(0));
            let (timing, policy) = terms(&context, &alloc, place);
            let restarts = RestartTracker::new(policy, job_kind(&alloc), kind, now, seed);
            let machine = match stored.next().flatten() {
                Some(stored) => TaskMachine::restore(timing, restarts, stored, found.rebooted),
                None => TaskMachine::new(timing, restarts, now),
            };
            Member { name: task.name.clone(), kind, leader: task.leader, machine }
        });
        let machine = AllocMachine::new(alloc.id, members.collect(), shutdown_delay(&alloc));
        let (wanted, wanted_receiver) = watch::channel(Wanted { alloc: Arc::clone(&alloc), stop: None });
        let (commands, command_receiver) = mpsc::channel(COMMANDS);
        let runner = Self {
            dir: AllocDir::new(&context.config.alloc_dir, alloc.id),
            shells: group.tasks.iter().map(TaskShell::new).collect(),
            io: FuturesUnordered::new(),
            wanted: wanted_receiver,
            commands: command_receiver,
            inbox: commands.clone(),
            predecessor: found.predecessor,
            reports,
            reported: None,
            health: None,
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
        self.watch_health();
        self.follow_wanted();
        if !self.succeed(&detach).await {
            return;
        }
        self.step(AllocEvent::Start);
        loop {
            self.publish().await;
            if self.machine.is_done() && self.io.is_empty() {
                break;
            }
            let deadline = self.deadline().map(|at| self.context.clock.instant(at));
            tokio::select! {
                () = detach.cancelled() => return self.detach().await,
                Ok(()) = self.wanted.changed() => self.follow_wanted(),
                Some(command) = self.commands.recv() => self.obey(*command),
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
        self.shells.iter().filter_map(|shell| shell.abandon.as_ref()).for_each(CancellationToken::cancel);
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
            for (place, member) in self.machine.tasks_mut().iter_mut().enumerate() {
                let (timing, policy) = terms(&self.context, &self.alloc, place);
                member.machine.set_terms(timing, policy);
            }
            self.machine.set_shutdown_delay(shutdown_delay(&self.alloc));
            self.watch_health();
        }
        if let Some(reason) = stop {
            // What ends because it was told to says nothing about its health.
            self.health = None;
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
        for (shell, member) in self.shells.iter().zip(self.machine.tasks()) {
            if member.machine.is_abandoned() {
                shell.abandon.iter().for_each(CancellationToken::cancel);
            }
            if member.machine.is_dead() {
                shell.templates.iter().for_each(|templates| templates.stop());
            }
        }
        self.judge_health(now);
    }

    fn deadline(&self) -> Option<Timestamp> {
        let health = self.health.as_ref().and_then(HealthWatch::deadline);
        self.machine.deadline().into_iter().chain(health).min()
    }

    /// Begins to watch for the allocation's deployment, unless it is watched for that one already.
    fn watch_health(&mut self) {
        if self.wanted.borrow().stop.is_some() {
            self.health = None;
            return;
        }
        let remembered = self.context.state.health(self.alloc.id);
        let watch = HealthWatch::new(&self.alloc, remembered, self.context.clock.now());
        let record = watch.as_ref().map(HealthWatch::record);
        if record != self.health.as_ref().map(HealthWatch::record) {
            self.health = watch;
        }
        if let Some(record) = record.filter(|record| Some(*record) != remembered) {
            self.context.state.put_health(self.alloc.id, &record);
        }
    }

    /// Looks whether the deployment may count on the allocation.
    fn judge_health(&mut self, now: Timestamp) {
        if let Some(health) = &mut self.health
            && health.step(now, self.machine.tasks().iter().filter_map(Sign::of))
        {
            self.context.state.put_health(self.alloc.id, &health.record());
            let signs = self.machine.tasks().iter().map(Sign::of);
            // The failure of one was the reason: nobody else was late.
            let has_failed = signs.clone().any(|sign| sign == Some(Sign::Broken));
            let guilty = signs.enumerate().filter_map(|(place, sign)| Some((place, sign?)));
            let guilty = guilty.filter(|(_, sign)| !has_failed || *sign == Sign::Broken);
            let complaints: Vec<_> =
                guilty.filter_map(|(place, sign)| Some((place, health.complaint(sign)?))).collect();
            for (place, text) in complaints {
                self.machine.step(now, AllocEvent::Task(place, Event::Note(EventKind::AllocUnhealthy(text.into()))));
                self.save(place);
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
            shell.abandon = None;
        }
        let (started, recovered) = match &event {
            Some(Event::Started(_)) => (true, false),
            Some(Event::Recovered) => (false, true),
            Some(_) | None => (false, false),
        };
        if let Some(event) = event {
            if matches!(&event, Event::Exited { status, .. } if status.oom_killed) {
                crate::metrics::task_oom_killed();
            }
            self.step(AllocEvent::Task(place, event));
        }
        if started {
            self.run_first_scripts(place);
        }
        if recovered {
            self.resume_templates(place);
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
        if let Action::Prepare { .. } = action {
            shell.abandon = Some(CancellationToken::new());
        }
        if let Some(future) = self.perform(place, action, spec) {
            self.io.push(future);
        }
    }

    fn save(&self, place: usize) {
        if let Some(member) = self.machine.tasks().get(place) {
            self.context.state.put_task(self.alloc.id, &member.name, &member.machine.stored());
        }
    }

    /// Tells how the allocation is, if that is news.
    async fn publish(&mut self) {
        let update = self.machine.update();
        let health = self.health.as_ref().and_then(HealthWatch::untold);
        if self.reported.as_ref() == Some(&update) && health.is_none() {
            return;
        }
        let restarts = |update: &AllocUpdate| update.tasks.iter().map(|task| u64::from(task.restarts)).sum::<u64>();
        let before = self.reported.as_ref().map_or_else(|| restarts(&update), restarts);
        crate::metrics::tasks_restarted(restarts(&update).saturating_sub(before));
        // The agent reads reports until every runner is gone.
        if self.reports.send(AllocUpdate { health, ..update.clone() }).await.is_ok() {
            self.reported = Some(update);
            self.health.iter_mut().for_each(HealthWatch::note_told);
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

    fn teller(&self, place: usize) -> Teller {
        Teller { runner: self.inbox.clone(), place }
    }

    fn task(&self, place: usize) -> Option<&Task> {
        self.alloc.task_group()?.tasks.get(place)
    }

    fn task_id(&self, place: usize, run: u32) -> TaskId {
        let task = self.task(place).map_or_else(String::new, |task| task.name.clone());
        TaskId { alloc_id: self.alloc.id, task, run }
    }
}

/// What the job says of a task's end and of starting it again.
fn terms(context: &Context, alloc: &Allocation, place: usize) -> (Timing, RestartPolicy) {
    let Some(group) = alloc.task_group() else { return (Timing::default(), RestartPolicy::default()) };
    let Some(task) = group.tasks.get(place) else { return (Timing::default(), RestartPolicy::default()) };
    let longest = Nanos::from(context.config.max_kill_timeout);
    let timing = Timing {
        kill_timeout: task.kill_timeout.clamp(Nanos::ZERO, longest),
        shutdown_delay: task.shutdown_delay,
        no_delay: alloc.transition.no_shutdown_delay,
    };
    (timing, task.restart_policy.clone().or_else(|| group.restart_policy.clone()).unwrap_or_default())
}

/// How long the group waits before its tasks are stopped.
fn shutdown_delay(alloc: &Allocation) -> Nanos {
    let delay = alloc.task_group().and_then(|group| group.shutdown_delay).unwrap_or_default();
    if alloc.transition.no_shutdown_delay { Nanos::ZERO } else { delay }
}
