//! One allocation's life: its tasks together, as a state machine without I/O.

use std::sync::Arc;

use orch_model::allocation::{AllocUpdate, ClientStatus, TaskRunState};
use orch_model::{AllocId, Timestamp};

use super::task::{Action, Event, KillReason, TaskMachine, Timing};

/// What an allocation is told, or what came of an action for one of its tasks.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum AllocEvent {
    /// Its tasks may start.
    Start,
    /// Something about one task.
    Task(usize, Event),
    /// A deadline has come.
    Timer,
    /// All tasks are to end.
    Stop(KillReason),
}

/// An allocation's tasks.
#[derive(Debug)]
pub(crate) struct AllocMachine {
    id: AllocId,
    tasks: Vec<Member>,
    stopping: Option<KillReason>,
}

/// A task and what the group says of it.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) leader: bool,
    pub(crate) machine: TaskMachine,
}

impl AllocMachine {
    /// The tasks in the order of the group.
    pub(crate) fn new(id: AllocId, tasks: Vec<Member>) -> Self {
        Self { id, tasks, stopping: None }
    }

    /// The tasks.
    pub(crate) fn tasks(&self) -> &[Member] {
        &self.tasks
    }

    /// Takes over what a newer version of the job says of the tasks' ends, in the order of the group.
    pub(crate) fn set_timings(&mut self, timings: impl IntoIterator<Item = Timing>) {
        for (member, timing) in self.tasks.iter_mut().zip(timings) {
            member.machine.set_timing(timing);
        }
    }

    /// The place of the task called `name`.
    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        self.tasks.iter().position(|member| member.name == name)
    }

    /// Whether all tasks have ended for good.
    pub(crate) fn is_done(&self) -> bool {
        self.tasks.iter().all(|member| member.machine.is_dead())
    }

    /// When it wants to hear `Timer`.
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        self.tasks.iter().filter_map(|member| member.machine.deadline()).min()
    }

    /// How the allocation is.
    pub(crate) fn update(&self) -> AllocUpdate {
        AllocUpdate {
            id: self.id,
            client_status: self.status(),
            tasks: self.tasks.iter().map(|member| member.machine.state().clone()).collect::<Arc<[_]>>(),
        }
    }

    /// A terminal status is told only once nothing runs any more, since it gives the node's resources away.
    fn status(&self) -> ClientStatus {
        let states = || self.tasks.iter().map(|member| member.machine.state());
        let alive = states().any(|state| state.state != TaskRunState::Dead);
        let begun = states().any(|state| state.state == TaskRunState::Running || !state.started_at.is_none());
        match (alive, states().any(|state| state.failed)) {
            (false, true) => ClientStatus::Failed,
            (false, false) => ClientStatus::Complete,
            (true, _) if states().any(|state| state.state == TaskRunState::Running) => ClientStatus::Running,
            // A task between two runs: an allocation that ran does not become pending again.
            (true, _) if begun => ClientStatus::Running,
            (true, _) => ClientStatus::Pending,
        }
    }

    /// What follows from `event`: actions, each for the task at that place.
    pub(crate) fn step(&mut self, now: Timestamp, event: AllocEvent) -> Vec<(usize, Action)> {
        let mut actions = Vec::new();
        match event {
            AllocEvent::Start => self.tell_all(now, &Event::Begin, &mut actions),
            AllocEvent::Task(place, event) => self.tell(now, place, event, &mut actions),
            AllocEvent::Timer => self.tell_all(now, &Event::Timer, &mut actions),
            AllocEvent::Stop(reason) => {
                self.stopping.get_or_insert(reason);
            }
        }
        self.follow(now, &mut actions);
        actions
    }

    /// Ends what has to end because of how the others are.
    fn follow(&mut self, now: Timestamp, actions: &mut Vec<(usize, Action)>) {
        let failed = self.tasks.iter().find(|member| member.machine.is_dead() && member.machine.state().failed);
        let leader = self.tasks.iter().find(|member| member.leader);
        let leader_dead = leader.is_some_and(|leader| leader.machine.is_dead());
        // A living leader ends first, and the others when it is gone.
        let leader_lives = leader.is_some_and(|leader| !leader.machine.is_dead());
        let reason = if let Some(reason) = &self.stopping {
            reason.clone()
        } else if let Some(failed) = failed {
            KillReason::SiblingFailed { task: failed.name.clone() }
        } else if leader_dead {
            KillReason::LeaderDead
        } else {
            return;
        };
        for place in 0..self.tasks.len() {
            if !leader_lives || self.tasks.get(place).is_some_and(|member| member.leader) {
                self.tell(now, place, Event::Kill(reason.clone()), actions);
            }
        }
        if leader_lives && self.tasks.iter().any(|member| member.leader && member.machine.is_dead()) {
            self.follow(now, actions);
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
