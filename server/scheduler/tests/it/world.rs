//! A cluster in memory: commands applied to the real state, evaluations processed, plans committed.

use std::sync::Arc;

use orch_model::allocation::{AllocUpdate, ClientStatus, TaskState};
use orch_model::evaluation::{EvalStatus, Evaluation};
use orch_model::ids::RaftId;
use orch_model::node::{NodeDescription, NodeStatus};
use orch_model::plan::PlanResult;
use orch_model::seed::Seed;
use orch_model::time::Nanos;
use orch_model::{Allocation, EvalId, Job, JobKey, NodeId, Timestamp};
use orch_scheduler::rank::oracle;
use orch_scheduler::{Decision, Memo, Overlay, Request, schedule};
use orch_state::commands::{
    ApplyPlans, DeregisterJob, NodeTransition, NodeTransitions, RegisterJob, RegisterNode, StopAlloc, UpdateAllocs,
};
use orch_state::{Applied, Command, Entry, RULES, Reply, State, apply, invariants};
use uuid::Uuid;

pub(crate) struct World {
    pub(crate) state: State,
    pub(crate) now: Timestamp,
    pub(crate) memo: Memo,
    pub(crate) overlay: Overlay,
    ids: Seed,
    log: u64,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            state: State::default(),
            now: Timestamp(1_000_000_000),
            memo: Memo::new(),
            overlay: Overlay::default(),
            ids: Seed::new(1),
            log: 0,
        }
    }

    pub(crate) fn apply(&mut self, command: Command) -> Applied {
        self.log += 1;
        let applied = apply(&mut self.state, self.log, &Entry { rules: RULES, stamp: self.now, command });
        let breaches = invariants::check(&self.state);
        assert!(breaches.is_empty(), "{breaches:#?}");
        applied
    }

    fn seed(&mut self) -> u64 {
        self.ids.next_u64()
    }

    fn eval_id(&mut self) -> EvalId {
        EvalId::from_uuid(self.ids.uuid())
    }

    pub(crate) fn register_node(&mut self, number: u32, description: NodeDescription) {
        let seed = self.seed();
        self.apply(Command::RegisterNode(RegisterNode {
            node_id: node_id(number),
            description: Arc::new(description),
            server: RaftId(1),
            seed,
        }));
    }

    pub(crate) fn return_node(&mut self, number: u32) {
        let description = (*self.state.node(&node_id(number)).unwrap().described).clone();
        self.register_node(number, description);
    }

    pub(crate) fn silence_node(&mut self, number: u32, status: NodeStatus) {
        let epoch = self.state.node(&node_id(number)).unwrap().session.epoch;
        let seed = self.seed();
        let transition = NodeTransition { node_id: node_id(number), epoch, status, description: String::new() };
        self.apply(Command::NodeTransitions(NodeTransitions { transitions: vec![transition], seed }));
    }

    pub(crate) fn register(&mut self, job: Job) {
        let eval_id = self.eval_id();
        self.apply(Command::RegisterJob(Box::new(RegisterJob {
            job,
            eval_id,
            eval_priority: None,
            enforce_index: None,
            submission: None,
        })));
    }

    pub(crate) fn deregister(&mut self, job: &JobKey, purge: bool) {
        let eval_id = self.eval_id();
        self.apply(Command::DeregisterJob(DeregisterJob { job: job.clone(), purge, eval_id, eval_priority: None }));
    }

    pub(crate) fn stop_alloc(&mut self, alloc: &Allocation) {
        let eval_id = self.eval_id();
        self.apply(Command::StopAlloc(StopAlloc { alloc_id: alloc.id, no_shutdown_delay: false, eval_id }));
    }

    pub(crate) fn report(&mut self, alloc: &Allocation, status: ClientStatus) {
        let mut task = TaskState { started_at: self.now, ..TaskState::default() };
        if status.is_terminal() {
            task.finished_at = self.now;
        }
        let update = AllocUpdate { id: alloc.id, client_status: status, tasks: Arc::from([task]) };
        let seed = self.seed();
        self.apply(Command::UpdateAllocs(UpdateAllocs { updates: vec![(alloc.node_id, update)], seed }));
    }

    /// What clients do by themselves: start what is wanted, end what is not.
    pub(crate) fn clients_obey(&mut self) {
        let allocs: Vec<_> = self.state.allocs().cloned().collect();
        for alloc in allocs {
            let reachable = self.state.node(&alloc.node_id).is_some_and(|node| node.status == NodeStatus::Ready);
            if reachable && alloc.desired.is_stop() && !alloc.is_client_terminal() {
                self.report(&alloc, ClientStatus::Complete);
            } else if reachable && alloc.client_status == ClientStatus::Pending {
                self.report(&alloc, ClientStatus::Running);
            }
        }
    }

    pub(crate) fn wait(&mut self, time: Nanos) {
        self.now = self.now.plus(time);
    }

    /// The evaluations that may run now, blocked ones apart, oldest first.
    pub(crate) fn pending(&self) -> Vec<Arc<Evaluation>> {
        let due = |eval: &&Arc<Evaluation>| eval.status == EvalStatus::Pending && eval.wait_until <= self.now;
        let mut evals: Vec<_> = self.state.evals().filter(due).cloned().collect();
        evals.sort_by_key(|eval| (eval.create_index, eval.id));
        evals
    }

    pub(crate) fn blocked(&self) -> Vec<Arc<Evaluation>> {
        self.state.evals().filter(|eval| eval.status == EvalStatus::Blocked).cloned().collect()
    }

    pub(crate) fn seed_of(&self, eval: &Evaluation) -> Seed {
        Seed::of(eval.id.as_uuid(), 0)
    }

    pub(crate) fn decide(&mut self, eval: &Evaluation) -> Decision {
        self.decide_with(eval, self.seed_of(eval), &mut Memo::new())
    }

    pub(crate) fn decide_with(&self, eval: &Evaluation, seed: Seed, memo: &mut Memo) -> Decision {
        schedule(Request { state: &self.state, overlay: &self.overlay, eval, now: self.now, seed, memo })
    }

    /// Decides about an evaluation in every way that must agree, and commits the plan, of which nothing may be refused.
    pub(crate) fn process(&mut self, eval: &Evaluation) -> Decision {
        let seed = self.seed_of(eval);
        let fresh = self.decide(eval);
        let mut memo = std::mem::take(&mut self.memo);
        let decision = self.decide_with(eval, seed, &mut memo);
        self.memo = memo;
        assert_eq!(decision, fresh, "a memo changes nothing");
        oracle::check(&self.state, &self.overlay, seed, &decision.plan).unwrap();
        let whole = decision.plan.clone();
        let applied = self.apply(Command::ApplyPlans(ApplyPlans { plans: vec![whole] }));
        let Reply::Plans(results) = &applied.reply else { panic!("{:?}", applied.reply) };
        match &results[..] {
            [PlanResult::Committed { refused, .. }] => assert_eq!(refused, &[], "the plan fits what it was made from"),
            other => panic!("{other:?}"),
        }
        let stored = self.state.eval(&eval.id).unwrap();
        assert_eq!(stored.status, decision.eval.status);
        decision
    }

    /// Processes evaluations until none is left that may run.
    pub(crate) fn settle(&mut self) -> Vec<(Arc<Evaluation>, Decision)> {
        let mut processed = Vec::new();
        while let Some(eval) = self.pending().first().cloned() {
            let decision = self.process(&eval);
            processed.push((eval, decision));
            assert!(processed.len() < 1000, "evaluations do not come to an end");
        }
        processed
    }

    /// The names of a job's allocations that should run and have not ended, sorted.
    pub(crate) fn live_names(&self, job: &JobKey) -> Vec<String> {
        let mut names: Vec<_> =
            self.state.allocs_of_job(job).filter(|alloc| !alloc.is_terminal()).map(|alloc| alloc.name()).collect();
        names.sort();
        names
    }

    /// The newest allocation of that name.
    pub(crate) fn named(&self, name: &str) -> Arc<Allocation> {
        let named = self.state.allocs().filter(|alloc| name == format!("{}[{}]", alloc.group_name(), alloc.index));
        let found = named.max_by_key(|alloc| (alloc.create_index, alloc.id));
        found.cloned().unwrap_or_else(|| panic!("there is no allocation {name}"))
    }
}

pub(crate) fn node_id(number: u32) -> NodeId {
    NodeId::from_uuid(Uuid::from_u128(u128::from(number) + 1))
}
