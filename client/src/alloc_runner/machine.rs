//! One allocation's life: its tasks together, as a state machine without I/O.
//!
//! Gates open in the order of [`Stage`]. When the allocation has to end, the group's shutdown delay passes first; then the
//! leader ends, then the other tasks, then the sidecars, each after the ones before are gone. Poststop tasks run last.

use std::sync::Arc;

use orch_model::allocation::{AllocUpdate, ClientStatus, TaskRunState};
use orch_model::job::LifecycleKind;
use orch_model::{AllocId, Nanos, Timestamp};

use super::lifecycle::{Stage, is_sidecar};
use super::task::{Action, Event, KillReason, TaskMachine};

/// What an allocation is told, or what came of an action for one of its tasks.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum AllocEvent {
    /// Its tasks may start, or be found again.
    Start,
    /// Something about one task.
    Task(usize, Event),
    /// A deadline has come.
    Timer,
    /// All tasks are to start again from the first stage, those that ended as well.
    RestartAll { reason: String },
    /// All tasks are to end.
    Stop(KillReason),
}

/// An allocation's tasks.
#[derive(Debug)]
pub(crate) struct AllocMachine {
    id: AllocId,
    tasks: Vec<Member>,
    shutdown_delay: Nanos,
    stage: Stage,
    begun: bool,
    stopping: Option<KillReason>,
    ending: Option<Ending>,
    /// Whether poststop tasks are not to run either.
    skips_poststop: bool,
}

/// A task and what the group says of it.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) kind: LifecycleKind,
    pub(crate) leader: bool,
    pub(crate) machine: TaskMachine,
}

/// The end of an allocation before its tasks are told of it.
#[derive(Debug, Clone, Copy)]
struct Ending {
    since: Timestamp,
    /// Whether somebody may still be using what runs.
    waits: bool,
    /// Whether the delay is over.
    released: bool,
}

impl Member {
    fn is_poststop(&self) -> bool {
        self.kind == LifecycleKind::Poststop
    }

    fn has_begun(&self) -> bool {
        let state = self.machine.state();
        state.state == TaskRunState::Running || !state.started_at.is_none()
    }
}

impl AllocMachine {
    /// The tasks in the order of the group, which waits for `shutdown_delay` before they are stopped.
    pub(crate) fn new(id: AllocId, tasks: Vec<Member>, shutdown_delay: Nanos) -> Self {
        Self {
            id,
            tasks,
            shutdown_delay,
            stage: Stage::Init,
            begun: false,
            stopping: None,
            ending: None,
            skips_poststop: false,
        }
    }

    /// The tasks.
    pub(crate) fn tasks(&self) -> &[Member] {
        &self.tasks
    }

    /// The tasks, to take over what a newer version of the job says of them.
    pub(crate) fn tasks_mut(&mut self) -> &mut [Member] {
        &mut self.tasks
    }

    /// Takes over how long the group waits; a delay that is under way becomes as long as that.
    pub(crate) fn set_shutdown_delay(&mut self, delay: Nanos) {
        self.shutdown_delay = delay;
    }

    /// The place of the task called `name`.
    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        self.tasks.iter().position(|member| member.name == name)
    }

    /// Whether all tasks have ended for good.
    pub(crate) fn is_done(&self) -> bool {
        self.tasks.iter().all(|member| member.machine.is_dead())
    }

    /// Whether its tasks are ending, or have been told to, for whatever reason.
    pub(crate) fn is_ending(&self) -> bool {
        self.stage == Stage::Poststop || self.reason().is_some()
    }

    /// When it wants to hear `Timer`.
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        let delay = self.ending.filter(|ending| !ending.released).map(|ending| ending.since.plus(self.shutdown_delay));
        self.tasks.iter().filter_map(|member| member.machine.deadline()).chain(delay).min()
    }

    /// How the allocation is; of its health nothing is said.
    pub(crate) fn update(&self) -> AllocUpdate {
        AllocUpdate {
            id: self.id,
            client_status: self.status(),
            tasks: self.tasks.iter().map(|member| member.machine.state().clone()).collect::<Arc<[_]>>(),
            health: None,
        }
    }

    /// A terminal status is told only once nothing runs any more, since it gives the node's resources away.
    fn status(&self) -> ClientStatus {
        let failed = self.tasks.iter().any(|member| member.machine.state().failed);
        match (self.is_done(), failed) {
            (true, true) => ClientStatus::Failed,
            (true, false) => ClientStatus::Complete,
            // A task between two runs: an allocation that ran does not become pending again.
            (false, _) if self.tasks.iter().any(Member::has_begun) => ClientStatus::Running,
            (false, _) => ClientStatus::Pending,
        }
    }

    /// What follows from `event`: actions, each for the task at that place.
    pub(crate) fn step(&mut self, now: Timestamp, event: AllocEvent) -> Vec<(usize, Action)> {
        let mut actions = Vec::new();
        match event {
            AllocEvent::Start => {
                self.begun = true;
                self.tell_all(now, &Event::Restore, &mut actions);
                if self.reason().is_none() {
                    self.enter(Stage::Prestart, now, &mut actions);
                }
            }
            AllocEvent::Task(place, event) => self.tell(now, place, event, &mut actions),
            AllocEvent::Timer => self.tell_all(now, &Event::Timer, &mut actions),
            AllocEvent::RestartAll { reason } => self.restart_all(now, &reason, &mut actions),
            AllocEvent::Stop(reason) => {
                // Nothing is cleaned up after what never began.
                let unbegun = !self.begun && !self.tasks.iter().any(Member::has_begun);
                self.skips_poststop |= unbegun || reason == KillReason::Shutdown;
                self.stopping.get_or_insert(reason);
            }
        }
        self.follow(now, &mut actions);
        actions
    }

    fn restart_all(&mut self, now: Timestamp, reason: &str, actions: &mut Vec<(usize, Action)>) {
        if self.is_ending() {
            return;
        }
        self.stage = Stage::Init;
        for place in 0..self.tasks.len() {
            if self.tasks.get(place).is_some_and(|member| !member.is_poststop()) {
                self.tell(now, place, Event::RestartAll { reason: reason.to_owned() }, actions);
            }
        }
    }

    /// Starts and ends what has to because of how the others are.
    fn follow(&mut self, now: Timestamp, actions: &mut Vec<(usize, Action)>) {
        loop {
            let living = self.living();
            let reason = self.reason();
            self.advance(reason.is_some(), now, actions);
            if let Some(reason) = reason
                && self.may_kill(now, &reason)
            {
                self.kill_next(now, &reason, actions);
            }
            if self.living() == living {
                return;
            }
        }
    }

    fn living(&self) -> usize {
        self.tasks.iter().filter(|member| !member.machine.is_dead()).count()
    }

    /// Goes through the stages; an allocation that is ending goes to the last one only.
    fn advance(&mut self, ending: bool, now: Timestamp, actions: &mut Vec<(usize, Action)>) {
        if !self.begun && !ending {
            return;
        }
        loop {
            let view: Vec<_> = self.tasks.iter().map(|member| (member.kind, member.machine.state())).collect();
            let next = self.stage.next(&view);
            if next == self.stage || ending && next != Stage::Poststop {
                return;
            }
            self.enter(next, now, actions);
        }
    }

    fn enter(&mut self, stage: Stage, now: Timestamp, actions: &mut Vec<(usize, Action)>) {
        self.stage = stage;
        for place in 0..self.tasks.len() {
            let opened = self
                .tasks
                .get(place)
                .is_some_and(|member| stage.opens(member.kind) && !(member.is_poststop() && self.skips_poststop));
            if opened {
                self.tell(now, place, Event::Open, actions);
            }
        }
    }

    /// Why what still runs has to end; a failure counts before everything but the servers' word.
    fn reason(&self) -> Option<KillReason> {
        if let Some(reason) = &self.stopping {
            return Some(reason.clone());
        }
        let others = || self.tasks.iter().filter(|member| !member.is_poststop());
        if let Some(failed) = others().find(|member| member.machine.is_dead() && member.machine.state().failed) {
            return Some(KillReason::SiblingFailed { task: failed.name.clone() });
        }
        if others().any(|member| member.leader && member.machine.is_dead()) {
            return Some(KillReason::LeaderDead);
        }
        let mut living = others().filter(|member| !member.machine.is_dead()).peekable();
        let only_sidecars = living.peek().is_some() && living.all(|member| is_sidecar(member.kind));
        only_sidecars.then_some(KillReason::MainDead)
    }

    /// Whether the group's shutdown delay has passed since the end began. Where nothing runs there is nothing to wait for.
    fn may_kill(&mut self, now: Timestamp, reason: &KillReason) -> bool {
        let serves = |member: &Member| !member.is_poststop() && member.machine.running().is_some();
        let waits = *reason != KillReason::Shutdown && self.tasks.iter().any(serves);
        let ending = self.ending.get_or_insert(Ending { since: now, waits, released: false });
        ending.released |= !ending.waits || ending.since.plus(self.shutdown_delay) <= now;
        ending.released
    }

    /// Tells those to end whose turn it is.
    fn kill_next(&mut self, now: Timestamp, reason: &KillReason, actions: &mut Vec<(usize, Action)>) {
        let turns = self.tasks.iter().map(|member| self.turn(member)).collect::<Vec<_>>();
        let Some(current) = turns.iter().flatten().min() else { return };
        for (place, turn) in turns.iter().enumerate() {
            if turn.as_ref() == Some(current) {
                self.tell(now, place, Event::Kill(reason.clone()), actions);
            }
        }
    }

    /// When a task that lives is told to end; `None` if it is not.
    fn turn(&self, member: &Member) -> Option<u8> {
        if member.machine.is_dead() {
            return None;
        }
        match member.kind {
            LifecycleKind::Poststop => self.skips_poststop.then_some(3),
            LifecycleKind::Main | LifecycleKind::Prestart { .. } | LifecycleKind::Poststart { .. } if member.leader => {
                Some(0)
            }
            LifecycleKind::Prestart { sidecar: true } | LifecycleKind::Poststart { sidecar: true } => Some(2),
            LifecycleKind::Main | LifecycleKind::Prestart { .. } | LifecycleKind::Poststart { .. } => Some(1),
        }
    }

    fn tell_all(&mut self, now: Timestamp, event: &Event, actions: &mut Vec<(usize, Action)>) {
        for place in 0..self.tasks.len() {
            self.tell(now, place, event.clone(), actions);
        }
    }

    fn tell(&mut self, now: Timestamp, place: usize, event: Event, actions: &mut Vec<(usize, Action)>) {
        if let Some(member) = self.tasks.get_mut(place) {
            actions.extend(member.machine.step(now, event).into_iter().map(|action| (place, action)));
        }
    }
}
