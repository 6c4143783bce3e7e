//! The leader's parts as its shell runs them: real broker, blocked list, detector and scheduler, no task or channel.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use orch_model::evaluation::{EvalStatus, Evaluation, Trigger};
use orch_model::job::JobType;
use orch_model::node::NodeStatus;
use orch_model::plan::{Plan, PlanResult};
use orch_model::seed::Seed;
use orch_model::{DeploymentId, EvalId, Nanos, Timestamp};
use orch_scheduler::{Memo, Overlay, Request, give_up, schedule};
use orch_server::leader::blocked::Blocked;
use orch_server::leader::broker::{Broker, Failure, Lease};
use orch_server::leader::deployments::{self, Action, Event, Watcher, observe};
use orch_server::leader::detector::{Detector, Verdict, Watched};
use orch_state::commands::{NodeTransition, NodeTransitions, PutEvals};
use orch_state::{Changes, Command, State};

use crate::invariants::rolling_limits;

/// How many evaluations are under way at a time.
const IN_FLIGHT: usize = 4;

/// What only the leader has; a new leader begins with a new one.
#[derive(Debug)]
pub(crate) struct Leader {
    pub(crate) term: u64,
    pub(crate) broker: Broker,
    pub(crate) blocked: Blocked,
    pub(crate) detector: Detector,
    pub(crate) watcher: Watcher,
    pub(crate) workers: BTreeMap<u64, Worker>,
    /// Changes that were published and not taken yet.
    pub(crate) changes: VecDeque<Changes>,
    /// Whether the detector waits for its last verdicts to be stored.
    pub(crate) is_judging: bool,
    /// Deployments about which something changed since the watcher was told how they stand.
    dirty: BTreeSet<DeploymentId>,
    overlay: Overlay,
    memo: Memo,
    next_token: u64,
}

/// One evaluation being processed.
#[derive(Debug)]
pub(crate) struct Worker {
    lease: Lease,
    round: u32,
    fruitless: u32,
}

/// What a worker does next.
#[derive(Debug)]
pub(crate) enum Step {
    /// Its plan is on its way to the log.
    Submit(Box<Plan>),
    /// It gives its evaluation up, which is to be stored.
    Store(Command),
    /// It has nothing left to do.
    Done,
}

/// The times that the leader's parts know.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    pub(crate) instant: Instant,
    pub(crate) wall: Timestamp,
}

impl Now {
    /// An entry is never stamped with an earlier time than one before.
    pub(crate) fn for_watcher(self, state: &State) -> deployments::Now {
        deployments::Now { at: self.instant, time: self.wall.max(state.now()) }
    }
}

impl Leader {
    /// A leader that has just won and rebuilds its parts from the state.
    pub(crate) fn new(term: u64, detector: Detector, state: &State, now: Now) -> Self {
        let mut leader = Self {
            term,
            broker: Broker::default(),
            blocked: Blocked::default(),
            detector,
            watcher: Watcher::default(),
            workers: BTreeMap::new(),
            changes: VecDeque::new(),
            is_judging: false,
            dirty: BTreeSet::new(),
            overlay: Overlay::default(),
            memo: Memo::new(),
            next_token: term << 32,
        };
        leader.rebuild(state, now);
        leader
    }

    /// Offers everything that has not ended, as a new leader does and one that fell behind the changes.
    pub(crate) fn rebuild(&mut self, state: &State, now: Now) {
        self.changes.clear();
        for eval in state.evals().filter(|eval| !eval.status.is_terminal()) {
            self.broker.offer(Arc::clone(eval), now.wall);
        }
        self.dirty.extend(state.deployments().filter(|found| found.is_active()).map(|found| found.id));
        self.dirty.extend(self.watcher.ids());
    }

    pub(crate) fn take_changes(&mut self, now: Now) {
        while let Some(change) = self.changes.pop_front() {
            self.dirty.extend(change.deployments.iter().map(|deployment| deployment.id));
            self.dirty.extend(&change.deployment_allocs);
            for eval in &change.evals {
                self.blocked.forget(&eval.job_key(), &eval.id);
                let offered = if eval.status == EvalStatus::Blocked {
                    self.blocked.block(Arc::clone(eval))
                } else {
                    Some(Arc::clone(eval))
                };
                if let Some(eval) = offered {
                    self.broker.offer(eval, now.wall);
                }
            }
            for class in change.freed.values() {
                for eval in self.blocked.unblock(*class, change.last_index) {
                    self.broker.offer(eval, now.wall);
                }
            }
        }
    }

    /// Leases what is ready to workers; answers the new ones.
    pub(crate) fn hand_out(&mut self, state: &State, now: Now) -> Vec<u64> {
        let mut started = Vec::new();
        if state.meta().scheduler.pause_eval_broker {
            return started;
        }
        while self.workers.len() < IN_FLIGHT
            && let Some(lease) = self.broker.lease(self.next_token, now.instant)
        {
            self.workers.insert(self.next_token, Worker { lease, round: 0, fruitless: 0 });
            started.push(self.next_token);
            self.next_token += 1;
        }
        started
    }

    /// Has a worker schedule, or give up.
    pub(crate) fn work(&mut self, token: u64, state: &State, now: Now) -> Step {
        let Some(worker) = self.workers.get_mut(&token) else { return Step::Done };
        let lease = &worker.lease;
        worker.round += 1;
        let seed = lease.seed(worker.round);
        let limit = if lease.eval.kind == JobType::Batch { 2 } else { 5 };
        if worker.fruitless >= limit {
            let evals = give_up(&lease.eval, state.last_index(), seed).to_vec();
            return Step::Store(Command::PutEvals(PutEvals { evals }));
        }
        let Some(eval) = state.eval(&lease.eval.id).filter(|eval| !eval.status.is_terminal()) else {
            return Step::Done;
        };
        let now = now.wall.max(state.now());
        let memo = &mut self.memo;
        let decision = schedule(Request { state, overlay: &self.overlay, eval, now, seed, memo });
        rolling_limits::check(state, &decision.plan);
        self.overlay.add(orch_scheduler::Lease(token), &decision.plan);
        Step::Submit(Box::new(decision.plan))
    }

    /// Takes a plan's result; answers whether the worker goes on.
    pub(crate) fn planned(&mut self, token: u64, result: &PlanResult, placements: usize) -> bool {
        self.overlay.remove(orch_scheduler::Lease(token));
        let Some(worker) = self.workers.get_mut(&token) else { return false };
        match result {
            PlanResult::Committed { refused, .. } if refused.is_empty() => return false,
            PlanResult::Committed { refused, .. } if refused.len() < placements => worker.fruitless = 0,
            PlanResult::Committed { .. } | PlanResult::Stale { .. } => worker.fruitless += 1,
        }
        true
    }

    /// Takes note that a worker is done, or failed; answers what is to be stored about it.
    pub(crate) fn finished(&mut self, token: u64, failed: bool, now: Now) -> Option<Command> {
        self.overlay.remove(orch_scheduler::Lease(token));
        let worker = self.workers.remove(&token)?;
        let id = worker.lease.eval.id;
        if !failed {
            self.broker.done(&id, token);
            return None;
        }
        match self.broker.failed(&id, token, now.instant) {
            Failure::Again => None,
            Failure::GivenUp(eval) => Some(write_off(&[eval], now.wall)),
        }
    }

    /// What is due; answers what is to be stored.
    pub(crate) fn tick(&mut self, now: Now) -> Vec<Command> {
        let mut commands = Vec::new();
        let given_up = self.broker.tick(now.instant, now.wall);
        if !given_up.is_empty() {
            commands.push(write_off(&given_up, now.wall));
        }
        let superseded = self.broker.take_superseded();
        if !superseded.is_empty() {
            commands.push(Command::PutEvals(PutEvals { evals: superseded }));
        }
        commands
    }

    pub(crate) fn retry_conflicts(&mut self, now: Now) {
        self.blocked.retry_conflicts().into_iter().for_each(|eval| self.broker.offer(eval, now.wall));
    }

    /// Tells the watcher how deployments stand of which something changed, and the time; answers what it asks for.
    pub(crate) fn watch(&mut self, state: &State, now: Now) -> Vec<Action> {
        let mut asked = Vec::new();
        for id in std::mem::take(&mut self.dirty) {
            asked.extend(self.look(id, state, now));
        }
        asked.extend(self.watcher.step(now.for_watcher(state), Event::Tick));
        asked
    }

    /// Tells the watcher what came of something that it asked for.
    pub(crate) fn answered(&mut self, id: DeploymentId, done: bool, state: &State, now: Now) -> Vec<Action> {
        self.dirty.remove(&id);
        let mut asked = self.look(id, state, now);
        asked.extend(self.watcher.step(now.for_watcher(state), Event::Answered { id, done }));
        asked
    }

    fn look(&mut self, id: DeploymentId, state: &State, now: Now) -> Vec<Action> {
        let event = match state.deployment(&id) {
            Some(deployment) => Event::Stands(observe(state, deployment)),
            None => Event::Gone(id),
        };
        self.watcher.step(now.for_watcher(state), event)
    }

    /// Judges which nodes are gone.
    pub(crate) fn judge(&mut self, state: &State, now: Now, seed: u64) -> Option<Command> {
        let watched = |node: &Arc<orch_model::Node>| Watched {
            node_id: node.id,
            server: node.session.server,
            epoch: node.session.epoch,
            status: node.status,
        };
        let nodes: Vec<_> = state.nodes().filter(|node| node.status != NodeStatus::Down).map(watched).collect();
        let verdicts = self.detector.judge(&nodes, now.instant);
        let transition =
            |Verdict { node_id, epoch, status, reason }| NodeTransition { node_id, epoch, status, description: reason };
        let transitions: Vec<_> = verdicts.into_iter().map(transition).collect();
        (!transitions.is_empty()).then_some(Command::NodeTransitions(NodeTransitions { transitions, seed }))
    }

    /// Whether nothing is under way or waits for its time.
    pub(crate) fn is_idle(&self) -> bool {
        self.broker.counts() == (0, 0, 0, 0)
            && self.workers.is_empty()
            && self.changes.is_empty()
            && !self.is_judging
            && self.dirty.is_empty()
            && self.watcher.counts() == (0, 0)
    }
}

fn write_off(evals: &[Arc<Evaluation>], now: Timestamp) -> Command {
    let mut written = Vec::new();
    for eval in evals {
        let mut seed = Seed::of(eval.id.as_uuid(), u64::MAX);
        let pause = i64::try_from(60 + seed.below(300)).unwrap();
        let id = EvalId::from_uuid(seed.uuid());
        let mut next = Evaluation::new(id, &eval.job_key(), eval.priority, eval.kind, Trigger::FailedFollowUp);
        next.previous = Some(eval.id);
        next.wait_until = now.plus(Nanos::from_secs(pause));
        let mut failed = (**eval).clone();
        failed.status = EvalStatus::Failed;
        failed.status_description = "evaluation reached delivery limit (3)".into();
        failed.next = Some(next.id);
        written.extend([failed, next]);
    }
    Command::PutEvals(PutEvals { evals: written })
}
