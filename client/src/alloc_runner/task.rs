//! One task's life as a state machine without I/O: events in, actions out.
//!
//! ```text
//! Waiting → Preparing → Starting → Running → (exit) → Backoff → Preparing …
//!    (gate)                           ↓ kill, restart     ↘ Dead
//!                                 Delaying → Stopping → Dead | Preparing
//! Restoring → Running | (lost) as an exit
//! ```
//!
//! A task starts, and starts again, only while its gate is open; the allocation opens it.

use orch_driver::{ExitStatus, TaskHandle};
use orch_model::allocation::{EventKind, TaskEvent, TaskRunState, TaskState, Termination};
use orch_model::job::RestartPolicy;
use orch_model::{Nanos, Timestamp};

use super::restart::{Decision, Outcome, RestartTracker};
pub(crate) use super::words::{Action, Event, KillReason, PrepareError, Timing};
use crate::state::StoredTask;

/// How often stopping is tried before the task is given up as it is.
const STOP_TRIES: u32 = 5;
/// How often finding a task again is tried before it counts as lost.
const RECOVER_TRIES: u32 = 5;

/// Where a task is.
#[derive(Debug, Clone, PartialEq)]
enum Phase {
    Waiting,
    Preparing,
    Starting,
    Running,
    Restoring { handle: TaskHandle, tries: u32, retry_at: Option<Timestamp> },
    Backoff { until: Timestamp },
    Delaying { since: Timestamp },
    Stopping(Stopping),
    Dead,
}

/// How far stopping has come: it ends when the driver is done and the exit is known.
#[derive(Debug, Clone, Default, PartialEq)]
struct Stopping {
    stopped: bool,
    exited: bool,
    tries: u32,
    retry_at: Option<Timestamp>,
}

/// What happens once the run that is going on has ended.
#[derive(Debug, Clone, PartialEq)]
enum Next {
    /// As the restart policy says.
    Policy,
    /// It ends for good.
    Dead,
    /// It starts again at once.
    Restart,
}

/// One task's life.
#[derive(Debug, Clone)]
pub(crate) struct TaskMachine {
    timing: Timing,
    restarts: RestartTracker,
    phase: Phase,
    /// Whether it may start.
    open: bool,
    next: Next,
    run: u32,
    handle: Option<TaskHandle>,
    state: TaskState,
    /// Whether the machine was started anew since the task last ran, so that its loss is nobody's fault.
    rebooted: bool,
}

impl TaskMachine {
    /// A task that was never started.
    pub(crate) fn new(timing: Timing, restarts: RestartTracker, now: Timestamp) -> Self {
        let mut task = Self::with(timing, restarts, StoredTask::default(), false);
        task.note(now, EventKind::Received);
        task
    }

    /// A task as the agent left it.
    pub(crate) fn restore(timing: Timing, restarts: RestartTracker, stored: StoredTask, rebooted: bool) -> Self {
        Self::with(timing, restarts, stored, rebooted)
    }

    fn with(timing: Timing, restarts: RestartTracker, stored: StoredTask, rebooted: bool) -> Self {
        let StoredTask { run, handle, state } = stored;
        let phase = if state.state == TaskRunState::Dead { Phase::Dead } else { Phase::Waiting };
        Self { timing, restarts, phase, open: false, next: Next::Policy, run, handle, state, rebooted }
    }

    /// How it is, as it is told to others.
    pub(crate) fn state(&self) -> &TaskState {
        &self.state
    }

    /// How it is, as it is remembered.
    pub(crate) fn stored(&self) -> StoredTask {
        StoredTask { run: self.run, handle: self.handle.clone(), state: self.state.clone() }
    }

    /// Takes over what a newer version of the job says of its end; a delay that is under way becomes as long as that says.
    pub(crate) fn set_terms(&mut self, timing: Timing, restart: RestartPolicy) {
        self.timing = timing;
        self.restarts.set_policy(restart);
    }

    /// The run that the driver knows, if it is running as far as anyone can tell.
    pub(crate) fn running(&self) -> Option<u32> {
        let running = matches!(self.phase, Phase::Running | Phase::Delaying { .. });
        running.then_some(self.run)
    }

    /// The run of which the driver may still hold something.
    pub(crate) fn run(&self) -> u32 {
        self.run
    }

    /// Whether it is being found again, so that nobody can say whether it runs.
    pub(crate) fn is_uncertain(&self) -> bool {
        matches!(self.phase, Phase::Restoring { .. }) || self.phase == Phase::Waiting && self.handle.is_some()
    }

    /// Whether it is to end, though it is still being made ready.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.phase == Phase::Preparing && self.next == Next::Dead
    }

    /// Whether it has ended for good.
    pub(crate) fn is_dead(&self) -> bool {
        self.phase == Phase::Dead
    }

    /// When it wants to hear `Timer`.
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        match &self.phase {
            Phase::Backoff { until } => Some(*until),
            Phase::Delaying { since } => Some(since.plus(self.timing.delay())),
            Phase::Restoring { retry_at, .. } => *retry_at,
            Phase::Stopping(stopping) => stopping.retry_at,
            Phase::Waiting | Phase::Preparing | Phase::Starting | Phase::Running | Phase::Dead => None,
        }
    }

    /// What follows from `event`.
    pub(crate) fn step(&mut self, now: Timestamp, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Restore => self.find_again(&mut actions),
            Event::Open => self.open(now, &mut actions),
            Event::Prepared if self.phase == Phase::Preparing => self.prepared(now, &mut actions),
            Event::PrepareFailed(error) if self.phase == Phase::Preparing => {
                let (event, recoverable) = match error {
                    PrepareError::Invalid(text) => (EventKind::FailedValidation(text.into()), false),
                    PrepareError::Setup(text) => (EventKind::SetupFailure(text.into()), true),
                    PrepareError::Artifacts(text) => (EventKind::FailedArtifactDownload(text.into()), true),
                    PrepareError::Template(text) => (EventKind::Template(text.into()), false),
                };
                self.note(now, event);
                self.ended(now, Outcome::StartError { recoverable }, &mut actions);
            }
            Event::PrepareAbandoned if self.phase == Phase::Preparing => match self.next {
                Next::Dead => self.die_killed(now, &mut actions),
                Next::Policy | Next::Restart => self.phase = Phase::Waiting,
            },
            Event::Started(handle) if self.phase == Phase::Starting => self.started(now, handle, &mut actions),
            Event::StartFailed { message, recoverable } if self.phase == Phase::Starting => {
                self.note(now, EventKind::DriverFailure(message.into()));
                self.ended(now, Outcome::StartError { recoverable }, &mut actions);
            }
            Event::Recovered => self.recovered(now, &mut actions),
            Event::RecoverFailed { gone, message } => self.recover_failed(now, gone, message, &mut actions),
            Event::Exited { run, status } if run == self.run => self.exited(now, status, &mut actions),
            Event::Stopped { run } if run == self.run => self.stop_answered(now, &mut actions),
            Event::StopFailed { run, message } if run == self.run => self.stop_failed(now, &message, &mut actions),
            Event::Timer => self.timer(now, &mut actions),
            Event::Kill(reason) => self.kill(now, reason, &mut actions),
            Event::Restart { reason } => self.restart(now, &reason, &mut actions),
            Event::Reload { reason } => self.reload(now, &reason, &mut actions),
            Event::RestartAll { reason } => self.restart_all(now, &reason, &mut actions),
            Event::Signaling { signal, reason } => {
                self.note(now, EventKind::Signaling { signal: signal.into(), reason: reason.into() });
                actions.push(Action::Save);
            }
            Event::Note(kind) => self.note(now, kind),
            // What came of an action that was overtaken.
            Event::Prepared
            | Event::PrepareFailed(_)
            | Event::PrepareAbandoned
            | Event::Started(_)
            | Event::StartFailed { .. }
            | Event::Exited { .. }
            | Event::Stopped { .. }
            | Event::StopFailed { .. } => {}
        }
        actions
    }

    fn find_again(&mut self, actions: &mut Vec<Action>) {
        if self.phase == Phase::Waiting
            && let Some(handle) = self.handle.clone()
        {
            actions.push(Action::Recover(handle.clone()));
            self.phase = Phase::Restoring { handle, tries: 1, retry_at: None };
        }
    }

    fn open(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        self.open = true;
        self.find_again(actions);
        if self.phase == Phase::Waiting {
            if self.state.restarts == 0 {
                self.note(now, EventKind::BuildingTaskDir);
            }
            self.prepare(actions);
        }
    }

    /// Goes on as far as the gate allows.
    fn prepare(&mut self, actions: &mut Vec<Action>) {
        self.next = Next::Policy;
        if self.open {
            self.phase = Phase::Preparing;
            actions.push(Action::Prepare { run: self.run });
        } else {
            self.phase = Phase::Waiting;
        }
    }

    fn prepared(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        match self.next {
            Next::Dead => self.die_killed(now, actions),
            Next::Policy | Next::Restart if self.open => {
                self.phase = Phase::Starting;
                actions.push(Action::Start { run: self.run });
            }
            Next::Policy | Next::Restart => self.phase = Phase::Waiting,
        }
    }

    fn started(&mut self, now: Timestamp, handle: TaskHandle, actions: &mut Vec<Action>) {
        self.state.started_at = now;
        self.state.state = TaskRunState::Running;
        self.rebooted = false;
        self.note(now, EventKind::Started);
        if !handle.warnings.is_empty() {
            self.note(now, EventKind::Driver(handle.warnings.join("; ").into()));
        }
        self.handle = Some(handle);
        self.phase = Phase::Running;
        actions.extend([Action::Save, Action::Wait { run: self.run }]);
        match self.next {
            Next::Policy => {}
            Next::Dead => self.stop_noted(now, actions),
            Next::Restart => self.stop(actions),
        }
    }

    fn recovered(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        let Phase::Restoring { .. } = self.phase else { return };
        if self.state.state != TaskRunState::Running {
            self.state.state = TaskRunState::Running;
            self.state.started_at = self.handle.as_ref().map_or(now, |handle| handle.started_at);
            self.note(now, EventKind::Started);
        }
        self.phase = Phase::Running;
        actions.extend([Action::Save, Action::Wait { run: self.run }]);
        match self.next {
            Next::Policy => {}
            Next::Dead => self.stop_noted(now, actions),
            Next::Restart => self.stop(actions),
        }
    }

    fn recover_failed(&mut self, now: Timestamp, gone: bool, message: String, actions: &mut Vec<Action>) {
        let Phase::Restoring { tries, retry_at, .. } = &mut self.phase else { return };
        if !gone && *tries < RECOVER_TRIES {
            *tries += 1;
            *retry_at = Some(now.plus(Nanos::from_secs(1)));
            return;
        }
        self.handle = None;
        if self.next == Next::Dead {
            actions.push(Action::Destroy { run: self.run });
            return self.die_killed(now, actions);
        }
        if self.rebooted {
            self.note(now, EventKind::FailedRestoring("The machine was started anew".into()));
            actions.push(Action::Destroy { run: self.run });
            return self.start_again(now, Nanos::ZERO, "", actions);
        }
        self.note(now, EventKind::FailedRestoring(message.into()));
        self.ended(now, Outcome::Exit { success: false }, actions);
    }

    fn exited(&mut self, now: Timestamp, status: ExitStatus, actions: &mut Vec<Action>) {
        let running = matches!(self.phase, Phase::Running | Phase::Delaying { .. });
        let stopping = matches!(&self.phase, Phase::Stopping(stopping) if !stopping.exited);
        if !running && !stopping {
            return;
        }
        let success = status.success();
        let ExitStatus { code, signal, oom_killed, message } = status;
        let end = Termination { exit_code: code, signal, oom_killed, message: message.into() };
        self.note(now, EventKind::Terminated(Box::new(end)));
        if let Phase::Stopping(stopping) = &mut self.phase {
            stopping.exited = true;
            self.stopped_wholly(now, actions);
        } else {
            self.ended(now, Outcome::Exit { success }, actions);
        }
    }

    /// A run is over, and nothing of it is left but what the driver keeps.
    fn ended(&mut self, now: Timestamp, outcome: Outcome, actions: &mut Vec<Action>) {
        self.handle = None;
        actions.push(Action::Destroy { run: self.run });
        match self.next {
            Next::Dead => return self.die_killed(now, actions),
            Next::Restart => return self.start_again(now, Nanos::ZERO, "", actions),
            Next::Policy => {}
        }
        match self.restarts.decide(now, outcome) {
            Decision::Restart { delay, reason } => self.start_again(now, delay, reason, actions),
            Decision::Terminated => self.die(now, actions),
            Decision::NotRestarting { reason } => {
                self.note(now, EventKind::NotRestarting(reason.into()));
                self.state.failed = true;
                self.die(now, actions);
            }
        }
    }

    fn start_again(&mut self, now: Timestamp, delay: Nanos, reason: &str, actions: &mut Vec<Action>) {
        self.note(now, EventKind::Restarting { reason: reason.into(), delay });
        self.state.state = TaskRunState::Pending;
        self.state.restarts += 1;
        self.state.last_restart = now;
        self.run += 1;
        self.next = Next::Policy;
        if delay == Nanos::ZERO {
            self.prepare(actions);
        } else {
            self.phase = Phase::Backoff { until: now.plus(delay) };
        }
        actions.push(Action::Save);
    }

    fn die_killed(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        self.note(now, EventKind::Killed("".into()));
        self.die(now, actions);
    }

    fn die(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        self.handle = None;
        self.phase = Phase::Dead;
        self.state.state = TaskRunState::Dead;
        self.state.finished_at = now;
        actions.push(Action::Save);
    }

    fn kill(&mut self, now: Timestamp, reason: KillReason, actions: &mut Vec<Action>) {
        if self.phase == Phase::Dead || self.next == Next::Dead {
            return;
        }
        let at_once = reason == KillReason::Shutdown;
        match reason {
            KillReason::Requested | KillReason::Shutdown => {}
            KillReason::SiblingFailed { task } => self.note(now, EventKind::SiblingFailed { task: task.into() }),
            KillReason::LeaderDead => self.note(now, EventKind::LeaderDead),
            KillReason::MainDead => self.note(now, EventKind::MainDead),
            KillReason::Broken(event) => {
                self.note(now, *event);
                self.state.failed = true;
            }
        }
        self.next = Next::Dead;
        match &self.phase {
            Phase::Waiting if self.handle.is_some() => self.find_again(actions),
            Phase::Waiting | Phase::Backoff { .. } => self.die_killed(now, actions),
            Phase::Running if !at_once && self.timing.shutdown_delay > Nanos::ZERO => {
                let delay = self.timing.shutdown_delay;
                self.note(now, EventKind::Killing { timeout: self.timing.kill_timeout });
                if self.timing.no_delay {
                    self.note(now, EventKind::SkippingShutdownDelay { delay });
                    self.stop(actions);
                } else {
                    self.note(now, EventKind::WaitingForShutdownDelay { delay });
                    self.phase = Phase::Delaying { since: now };
                    actions.push(Action::Save);
                }
            }
            Phase::Running => self.stop_noted(now, actions),
            // They look at `next` when what they wait for has come.
            Phase::Preparing | Phase::Starting | Phase::Restoring { .. } | Phase::Stopping(_) => {}
            Phase::Delaying { .. } | Phase::Dead => {}
        }
    }

    fn restart(&mut self, now: Timestamp, reason: &str, actions: &mut Vec<Action>) {
        match &self.phase {
            Phase::Running => {
                self.note(now, EventKind::RestartSignaled(reason.into()));
                self.next = Next::Restart;
                self.stop(actions);
            }
            Phase::Backoff { .. } => {
                self.note(now, EventKind::RestartSignaled(reason.into()));
                self.prepare(actions);
                actions.push(Action::Save);
            }
            Phase::Waiting | Phase::Preparing | Phase::Starting | Phase::Restoring { .. } => {}
            Phase::Delaying { .. } | Phase::Stopping(_) | Phase::Dead => {}
        }
    }

    fn reload(&mut self, now: Timestamp, reason: &str, actions: &mut Vec<Action>) {
        match &self.phase {
            Phase::Running => self.restart(now, reason, actions),
            Phase::Preparing | Phase::Starting | Phase::Restoring { .. } if self.next == Next::Policy => {
                self.note(now, EventKind::RestartSignaled(reason.into()));
                self.next = Next::Restart;
            }
            Phase::Preparing | Phase::Starting | Phase::Restoring { .. } => {}
            Phase::Waiting | Phase::Backoff { .. } | Phase::Delaying { .. } | Phase::Stopping(_) | Phase::Dead => {}
        }
    }

    fn restart_all(&mut self, now: Timestamp, reason: &str, actions: &mut Vec<Action>) {
        if self.next == Next::Dead {
            return;
        }
        self.open = false;
        match &self.phase {
            Phase::Running | Phase::Backoff { .. } => self.restart(now, reason, actions),
            Phase::Dead => {
                self.note(now, EventKind::RestartSignaled(reason.into()));
                self.state.failed = false;
                self.state.finished_at = Timestamp::NONE;
                self.start_again(now, Nanos::ZERO, "", actions);
            }
            // Once it runs it is too late to wait for the gate.
            Phase::Starting | Phase::Restoring { .. } => {
                self.note(now, EventKind::RestartSignaled(reason.into()));
                self.next = Next::Restart;
            }
            Phase::Waiting | Phase::Preparing | Phase::Delaying { .. } | Phase::Stopping(_) => {}
        }
    }

    /// Stops a run for good.
    fn stop_noted(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        self.note(now, EventKind::Killing { timeout: self.timing.kill_timeout });
        self.stop(actions);
    }

    fn stop(&mut self, actions: &mut Vec<Action>) {
        self.phase = Phase::Stopping(Stopping { tries: 1, ..Stopping::default() });
        actions.extend([Action::Save, Action::Stop { run: self.run, timeout: self.timing.kill_timeout }]);
    }

    fn stop_answered(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        if let Phase::Stopping(stopping) = &mut self.phase {
            stopping.stopped = true;
            stopping.retry_at = None;
            self.stopped_wholly(now, actions);
        }
    }

    fn stopped_wholly(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        if let Phase::Stopping(stopping) = &self.phase
            && stopping.stopped
            && stopping.exited
        {
            self.ended(now, Outcome::Exit { success: true }, actions);
        }
    }

    fn stop_failed(&mut self, now: Timestamp, message: &str, actions: &mut Vec<Action>) {
        let Phase::Stopping(stopping) = &mut self.phase else { return };
        if stopping.tries < STOP_TRIES {
            let wait = Nanos::from_secs(5 * 4i64.pow(stopping.tries.saturating_sub(1))).min(Nanos::from_secs(120));
            stopping.tries += 1;
            stopping.retry_at = Some(now.plus(wait));
            return;
        }
        self.note(now, EventKind::Killed(message.into()));
        self.state.failed = true;
        actions.push(Action::Destroy { run: self.run });
        self.die(now, actions);
    }

    fn timer(&mut self, now: Timestamp, actions: &mut Vec<Action>) {
        if self.deadline().is_none_or(|deadline| deadline > now) {
            return;
        }
        match &mut self.phase {
            Phase::Backoff { .. } => self.prepare(actions),
            Phase::Delaying { .. } => {
                if self.timing.no_delay {
                    self.note(now, EventKind::SkippingShutdownDelay { delay: self.timing.shutdown_delay });
                }
                self.stop(actions);
            }
            Phase::Restoring { handle, retry_at, .. } => {
                *retry_at = None;
                actions.push(Action::Recover(handle.clone()));
            }
            Phase::Stopping(stopping) => {
                stopping.retry_at = None;
                actions.push(Action::Stop { run: self.run, timeout: Nanos::ZERO });
            }
            Phase::Waiting | Phase::Preparing | Phase::Starting | Phase::Running | Phase::Dead => {}
        }
    }

    fn note(&mut self, time: Timestamp, kind: EventKind) {
        self.state.note(TaskEvent { time, kind });
    }
}
