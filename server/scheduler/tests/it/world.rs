//! A cluster in memory: commands applied to the real state, evaluations processed, plans committed.

use std::sync::Arc;

use orch_model::allocation::{AllocUpdate, ClientStatus, StopReason, TaskState};
use orch_model::evaluation::{EvalStatus, Evaluation, Trigger};
use orch_model::ids::RaftId;
use orch_model::job::{JobType, TaskGroup, UpdateStrategy};
use orch_model::node::{NodeDescription, NodeStatus, NodeVolume};
use orch_model::plan::{Plan, PlanResult};
use orch_model::seed::Seed;
use orch_model::testing::host_volume;
use orch_model::time::Nanos;
use orch_model::volume::{AccessMode, VolumeCapability, VolumeState};
use orch_model::{AllocId, Allocation, EvalId, HostVolume, HostVolumeId, Job, JobKey, NodeId, Timestamp};
use orch_scheduler::rank::oracle;
use orch_scheduler::{Decision, Memo, Overlay, Request, schedule};
use orch_state::commands::{
    ApplyPlans, ChangeDeployment, DeploymentChange, DeregisterJob, NodeTransition, NodeTransitions, PutEvals,
    PutHostVolume, RegisterJob, RegisterNode, RescheduleAllocs, StopAlloc, UpdateAllocs,
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

    /// A dynamic volume of a node that can be used in the modes whose names end so.
    pub(crate) fn make_volume(&mut self, name: &str, number: u32, modes: &[&str]) {
        let capability = |mode: &&str| {
            let access = AccessMode::ALL.into_iter().find(|access| access.as_str().ends_with(mode)).unwrap();
            VolumeCapability { access, ..VolumeCapability::default() }
        };
        let volume = HostVolume {
            id: HostVolumeId::from_uuid(self.ids.uuid()),
            node_id: node_id(number),
            capabilities: modes.iter().map(capability).collect(),
            ..host_volume(0, name)
        };
        for state in [VolumeState::Pending, VolumeState::Ready] {
            let volume = HostVolume { state, ..volume.clone() };
            let made = self.apply(Command::PutHostVolume(Box::new(PutHostVolume { volume })));
            assert_eq!(made.reply, Reply::Done);
        }
        let node = self.state.node(&node_id(number)).unwrap().clone();
        let mut description = (*node.described).clone();
        let listed = NodeVolume { path: volume.host_path.clone(), read_only: false, id: Some(volume.id) };
        description.host_volumes.insert(name.into(), listed);
        self.register_node(number, description);
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
        self.apply(Command::DeregisterJob(DeregisterJob {
            job: job.clone(),
            purge,
            eval_id,
            eval_priority: None,
            no_shutdown_delay: false,
        }));
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
        let update = AllocUpdate { id: alloc.id, client_status: status, tasks: Arc::from([task]), health: None };
        let seed = self.seed();
        self.apply(Command::UpdateAllocs(UpdateAllocs { updates: vec![(alloc.node_id, update)], seed }));
    }

    /// What a client found out about a running allocation.
    pub(crate) fn report_health(&mut self, alloc: &Allocation, healthy: bool) {
        let alloc = Arc::clone(self.state.alloc(&alloc.id).unwrap());
        let update = AllocUpdate {
            id: alloc.id,
            client_status: alloc.client_status,
            tasks: Arc::clone(&alloc.tasks),
            health: Some(healthy),
        };
        let seed = self.seed();
        self.apply(Command::UpdateAllocs(UpdateAllocs { updates: vec![(alloc.node_id, update)], seed }));
    }

    /// The evaluation that follows a change in a deployment.
    pub(crate) fn watch(&mut self, job: &JobKey) {
        let id = self.eval_id();
        let eval = Evaluation::new(id, job, 50, JobType::Service, Trigger::DeploymentWatcher);
        self.apply(Command::PutEvals(PutEvals { evals: vec![eval] }));
    }

    /// Allows failed allocations to be placed again.
    pub(crate) fn mark_for_reschedule(&mut self, allocs: Vec<AllocId>) {
        let evals_seed = self.seed();
        self.apply(Command::RescheduleAllocs(RescheduleAllocs {
            allocs,
            evals_seed,
            trigger: Trigger::DeploymentWatcher,
        }));
    }

    /// Changes the job's active deployment.
    pub(crate) fn change_deployment(&mut self, job: &JobKey, change: DeploymentChange) {
        let eval_id = self.eval_id();
        let id = self.state.active_deployment(job).unwrap().id;
        self.apply(Command::ChangeDeployment(ChangeDeployment { id, change, eval_id }));
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
        self.check_steps(eval, &decision.plan);
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

    /// Whether an allocation serves as far as anyone knows.
    fn serves(&self, alloc: &Allocation) -> bool {
        let in_contact = self.state.node(&alloc.node_id).is_some_and(|node| match node.status {
            NodeStatus::Ready | NodeStatus::Initializing => true,
            NodeStatus::Down | NodeStatus::Disconnected => false,
        });
        let is_proven = alloc.deployment_id.is_none() || alloc.is_healthy();
        in_contact && !alloc.is_terminal() && alloc.client_status == ClientStatus::Running && is_proven
    }

    /// Checks that a plan leaves so many serving as the group's `max_parallel` promises, by what it replaces itself.
    fn check_steps(&self, eval: &Evaluation, plan: &Plan) {
        let Some(job) = self.state.job(&eval.job_key()) else { return };
        let stepwise = |group: &&TaskGroup| group.update.as_ref().is_some_and(UpdateStrategy::is_rolling);
        for group in job.task_groups.iter().filter(stepwise).filter(|_| job.kind() == Some(JobType::Service)) {
            let reason_of =
                |alloc: &Allocation| plan.stops.iter().find(|stop| stop.alloc_id == alloc.id).map(|stop| stop.reason);
            let key = eval.job_key();
            let allocs = self.state.allocs_of_job(&key);
            let serving: Vec<_> = allocs
                .filter(|alloc| alloc.job.create_index == job.create_index && alloc.group_name() == group.name)
                .filter(|alloc| self.serves(alloc))
                .map(|alloc| reason_of(alloc))
                .filter(|reason| !matches!(reason, Some(StopReason::NotNeeded | StopReason::Reconnected)))
                .collect();
            let replaced = serving.iter().filter(|reason| **reason == Some(StopReason::Updated)).count();
            let max_parallel = usize::try_from(group.update.as_ref().unwrap().max_parallel()).unwrap();
            let promised = usize::try_from(group.count).unwrap().saturating_sub(max_parallel);
            assert!(
                replaced == 0 || serving.len() - replaced >= promised,
                "{replaced} of {} serving were replaced, and {promised} should stay: {plan:#?}",
                serving.len()
            );
        }
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
