//! Model clients: they start what they are told to, stop what they are not, and report until they are heard.

use std::collections::BTreeMap;
use std::sync::Arc;

use orch_model::allocation::{AllocUpdate, ClientStatus, TaskRunState, TaskState};
use orch_model::{AllocId, Allocation, DeploymentId, NodeId, Timestamp};
use orch_state::State;

/// A client and what really runs on its machine.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) number: u32,
    pub(crate) node_id: NodeId,
    /// Whether the machine is on.
    pub(crate) is_up: bool,
    /// Whether it is gone for good.
    pub(crate) is_gone: bool,
    /// Whether its messages get through.
    pub(crate) is_cut_off: bool,
    /// The server that it has a session with, and the session's epoch.
    pub(crate) session: Option<(usize, u64)>,
    /// Whether it is opening a session.
    pub(crate) is_opening: bool,
    pub(crate) runs: BTreeMap<AllocId, Run>,
    /// What was not acknowledged yet.
    pub(crate) unacked: BTreeMap<AllocId, AllocUpdate>,
    /// For whom it says, or has said, whether an allocation is well.
    watches: BTreeMap<AllocId, Watch>,
    next_run: u64,
}

/// A verdict about an allocation, given once per deployment.
#[derive(Debug, Clone, Copy)]
struct Watch {
    deployment: DeploymentId,
    is_given: bool,
}

/// What became of an allocation on its machine.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) number: u64,
    pub(crate) status: ClientStatus,
    started_at: Timestamp,
}

/// What a client is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Intent {
    Started(u64),
    Stopped(u64),
    /// It goes on as part of a deployment, which wants to know whether it is well.
    Joined(u64, DeploymentId),
}

impl Client {
    pub(crate) fn new(number: u32, node_id: NodeId) -> Self {
        Self {
            number,
            node_id,
            is_up: true,
            is_gone: false,
            is_cut_off: false,
            session: None,
            is_opening: false,
            runs: BTreeMap::new(),
            unacked: BTreeMap::new(),
            watches: BTreeMap::new(),
            next_run: 0,
        }
    }

    /// Whether it can talk with servers.
    pub(crate) fn is_reachable(&self) -> bool {
        self.is_up && !self.is_cut_off
    }

    /// The machine goes off: what ran is gone, what was not acknowledged is read back from disk later.
    pub(crate) fn crash(&mut self) {
        self.is_up = false;
        self.session = None;
        self.is_opening = false;
        self.runs.retain(|_, run| run.status.is_terminal());
        self.unacked.retain(|_, update| update.client_status.is_terminal());
        self.watches.retain(|id, _| self.runs.contains_key(id));
    }

    /// Takes over what servers want; answers what will be done, each a while from now.
    pub(crate) fn obey(&mut self, state: &State) -> Vec<(AllocId, Intent)> {
        let mut intents = Vec::new();
        let mut wanted = BTreeMap::new();
        let node_id = self.node_id;
        for alloc in state.allocs_of_node(&node_id) {
            wanted.insert(alloc.id, ());
            let run = self.runs.get(&alloc.id);
            if alloc.is_terminal() {
                match run {
                    Some(run) if !run.status.is_terminal() => intents.push((alloc.id, Intent::Stopped(run.number))),
                    Some(run) if !alloc.is_client_terminal() => {
                        let status = run.status;
                        self.say(alloc.id, status, Timestamp::NONE, Timestamp::NONE, None);
                    }
                    Some(_) => {}
                    None if !alloc.is_client_terminal() => {
                        self.say(alloc.id, ClientStatus::Complete, Timestamp::NONE, Timestamp::NONE, None);
                    }
                    None => {}
                }
            } else if let Some(run) = run {
                let run = run.clone();
                if run.status == ClientStatus::Running
                    && let Some(deployment) = self.watch(alloc)
                {
                    intents.push((alloc.id, Intent::Joined(run.number, deployment)));
                }
            } else if !self.predecessor_runs(state, alloc.previous) {
                self.next_run += 1;
                self.watch(alloc);
                let run = Run { number: self.next_run, status: ClientStatus::Pending, started_at: Timestamp::NONE };
                self.runs.insert(alloc.id, run);
                intents.push((alloc.id, Intent::Started(self.next_run)));
            }
        }
        for (id, run) in &self.runs {
            if !wanted.contains_key(id) && !run.status.is_terminal() {
                intents.push((*id, Intent::Stopped(run.number)));
            }
        }
        self.runs.retain(|id, run| wanted.contains_key(id) || !run.status.is_terminal());
        self.unacked.retain(|id, _| wanted.contains_key(id));
        self.watches.retain(|id, _| self.runs.contains_key(id));
        intents
    }

    /// Begins to watch whether an allocation is well, if a deployment wants to know that and was not told; says which.
    fn watch(&mut self, alloc: &Allocation) -> Option<DeploymentId> {
        let deployment = alloc.deployment_id.filter(|_| alloc.health.is_none())?;
        if self.watches.get(&alloc.id).is_some_and(|watch| watch.deployment == deployment) {
            return None;
        }
        self.watches.insert(alloc.id, Watch { deployment, is_given: false });
        Some(deployment)
    }

    /// The deployment that waits to be told whether an allocation is well.
    pub(crate) fn watched(&self, id: &AllocId) -> Option<DeploymentId> {
        self.watches.get(id).filter(|watch| !watch.is_given).map(|watch| watch.deployment)
    }

    /// An allocation of a deployment turned out well, or not; says whether that is news.
    pub(crate) fn judged(&mut self, id: AllocId, number: u64, of: DeploymentId, healthy: bool) -> bool {
        let Some(run) = self.runs.get(&id).filter(|run| run.number == number).cloned() else { return false };
        if run.status != ClientStatus::Running || self.watched(&id) != Some(of) {
            return false;
        }
        self.watches.insert(id, Watch { deployment: of, is_given: true });
        self.say(id, run.status, run.started_at, Timestamp::NONE, Some(healthy));
        true
    }

    /// Whether an allocation still runs here whose resources its successor has taken over.
    fn predecessor_runs(&self, state: &State, previous: Option<AllocId>) -> bool {
        let Some(previous) = previous else { return false };
        let handed_over = state.alloc(&previous).is_some_and(|alloc| alloc.handed_over);
        handed_over && self.runs.get(&previous).is_some_and(|run| !run.status.is_terminal())
    }

    /// A run has come to `status`, unless it is another run by now; says whether it has.
    pub(crate) fn moved(&mut self, id: AllocId, number: u64, status: ClientStatus, now: Timestamp) -> bool {
        let Some(run) = self.runs.get_mut(&id).filter(|run| run.number == number) else { return false };
        if run.status == status || run.status.is_terminal() {
            return false;
        }
        run.status = status;
        if status == ClientStatus::Running {
            run.started_at = now;
        }
        let (started, finished) = (run.started_at, if status.is_terminal() { now } else { Timestamp::NONE });
        // What fails before it was found well never was.
        let health = self.watched(&id).filter(|_| status == ClientStatus::Failed).map(|deployment| {
            self.watches.insert(id, Watch { deployment, is_given: true });
            false
        });
        self.say(id, status, started, finished, health);
        true
    }

    fn say(
        &mut self,
        id: AllocId,
        client_status: ClientStatus,
        started_at: Timestamp,
        finished_at: Timestamp,
        health: Option<bool>,
    ) {
        let unacked = self.unacked.get(&id);
        if health.is_none() && unacked.is_some_and(|update| update.client_status == client_status) {
            return;
        }
        let health = health.or(unacked.and_then(|update| update.health));
        let state = if client_status.is_terminal() { TaskRunState::Dead } else { TaskRunState::Running };
        let failed = client_status == ClientStatus::Failed;
        let task = TaskState { state, failed, started_at, finished_at, ..TaskState::default() };
        self.unacked.insert(id, AllocUpdate { id, client_status, tasks: Arc::from([task]), health });
    }

    /// After a reconnect everything is said once more, as servers may have supposed otherwise meanwhile.
    pub(crate) fn say_everything(&mut self) {
        let runs: Vec<_> = self.runs.iter().map(|(id, run)| (*id, run.status, run.started_at)).collect();
        for (id, status, started_at) in runs {
            if status == ClientStatus::Running {
                self.say(id, status, started_at, Timestamp::NONE, None);
            }
        }
    }

    /// An update was stored; a newer one of the same allocation still has to be.
    pub(crate) fn acked(&mut self, updates: &[AllocUpdate]) {
        for update in updates {
            if self.unacked.get(&update.id) == Some(update) {
                self.unacked.remove(&update.id);
            }
        }
    }
}
