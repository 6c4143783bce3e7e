//! What each command changes and answers, on states that other commands made.

use std::sync::Arc;

use orch_model::allocation::{AllocPort, AllocUpdate, ClientStatus, TaskRunState, TaskState};
use orch_model::evaluation::{EvalStatus, Evaluation, Trigger};
use orch_model::ids::{PlanId, RaftId};
use orch_model::job::JobType;
use orch_model::node::{NodeDescription, NodeStatus};
use orch_model::plan::{Placement, Plan, PlanResult};
use orch_model::units::Usage;
use orch_model::{
    AllocId, Allocation, Deployment, DeploymentId, EvalId, Job, JobKey, MebiBytes, Mhz, NodeId, StateIndex, Timestamp,
    testing,
};
use uuid::Uuid;

use super::*;
use crate::{Applied, Entry, RULES, State, apply, invariants};

mod allocs;
mod deployments;
mod digest;
mod jobs;
mod nodes;
mod plans;
mod reap;
mod versions;
mod volumes;
mod whole;

/// A state, and the log that makes it.
#[derive(Default)]
struct Log {
    state: State,
    index: u64,
    /// The leader's clock, in seconds.
    now: i64,
}

impl Log {
    fn apply(&mut self, command: Command) -> Applied {
        self.index += 1;
        self.now += 1;
        let entry = Entry { rules: RULES, stamp: Timestamp(self.now * 1_000_000_000), command };
        let applied = apply(&mut self.state, self.index, &entry);
        assert_eq!(invariants::check(&self.state), Vec::<String>::new(), "after entry {}", self.index);
        applied
    }

    /// With nodes 1 to `count`, of 4000 MHz each.
    fn with_nodes(count: u32) -> Self {
        let mut log = Self::default();
        for number in 1..=count {
            log.register_node(number);
        }
        log
    }

    fn register_node(&mut self, number: u32) -> u64 {
        let reply = self.apply(register_node(number, testing::node(number).description())).reply;
        let Reply::Session { epoch } = reply else { panic!("{reply:?}") };
        epoch
    }

    fn register(&mut self, job: Job, eval: u128) -> Applied {
        self.apply(register(job, eval))
    }

    fn silence(&mut self, number: u32, epoch: u64, status: NodeStatus) -> Vec<EvalId> {
        let transition = NodeTransition { node_id: node_id(number), epoch, status, description: "silent".into() };
        let seed = u64::from(number) * 1000 + epoch;
        evals_of(self.apply(Command::NodeTransitions(NodeTransitions { transitions: vec![transition], seed })))
    }

    /// Commits placements of one allocation each as `(allocation, node)`, of 1000 MHz, for the job's current version.
    fn place(&mut self, job: &str, plan: u128, placements: &[(u128, u32)]) -> PlanResult {
        let mut made = self.plan(job, plan);
        made.placements = (0..).zip(placements).map(|(index, (id, node))| placement(*id, index, *node)).collect();
        self.commit(made)
    }

    /// An empty plan that has seen everything.
    fn plan(&self, job: &str, id: u128) -> Plan {
        let row = self.state.job_row(&key(job)).unwrap();
        Plan::new(PlanId::from_uuid(Uuid::from_u128(id)), eval_id(900), row.job.version_key(), row.placed_index)
    }

    fn commit(&mut self, plan: Plan) -> PlanResult {
        self.commit_all(vec![plan]).remove(0)
    }

    fn commit_all(&mut self, plans: Vec<Plan>) -> Vec<PlanResult> {
        let reply = self.apply(Command::ApplyPlans(ApplyPlans { plans })).reply;
        let Reply::Plans(results) = reply else { panic!("{reply:?}") };
        results
    }

    fn report(&mut self, alloc: u128, status: ClientStatus) -> Vec<EvalId> {
        let node = self.alloc(alloc).node_id;
        evals_of(self.apply(report(alloc, node, status)))
    }

    fn reports(&mut self, alloc: u128, client_status: ClientStatus, healthy: bool) -> Applied {
        let node = self.alloc(alloc).node_id;
        let mut command = report(alloc, node, client_status);
        if let Command::UpdateAllocs(command) = &mut command {
            command.updates[0].1.health = Some(healthy);
        }
        self.apply(command)
    }

    fn deployment(&self, id: u128) -> &Arc<Deployment> {
        self.state.deployment(&deployment_id(id)).unwrap()
    }

    fn alloc(&self, id: u128) -> &Arc<Allocation> {
        self.state.alloc(&alloc_id(id)).unwrap()
    }

    fn eval(&self, id: EvalId) -> &Arc<Evaluation> {
        self.state.eval(&id).unwrap()
    }

    fn row(&self, job: &str) -> &crate::JobRow {
        self.state.job_row(&key(job)).unwrap()
    }

    /// Ends an evaluation as a scheduler that had nothing to do.
    fn complete(&mut self, eval: EvalId) {
        let mut done = (**self.eval(eval)).clone();
        done.status = EvalStatus::Complete;
        self.apply(Command::PutEvals(PutEvals { evals: vec![done] }));
    }
}

fn key(job: &str) -> JobKey {
    JobKey::new(&"default".into(), &job.into())
}

fn node_id(number: u32) -> NodeId {
    testing::node(number).build().id
}

fn alloc_id(id: u128) -> AllocId {
    AllocId::from_uuid(Uuid::from_u128(id))
}

fn deployment_id(id: u128) -> DeploymentId {
    DeploymentId::from_uuid(Uuid::from_u128(id))
}

fn eval_id(id: u128) -> EvalId {
    EvalId::from_uuid(Uuid::from_u128(id))
}

fn register(job: Job, eval: u128) -> Command {
    Command::RegisterJob(Box::new(RegisterJob {
        job,
        eval_id: eval_id(eval),
        eval_priority: None,
        enforce_index: None,
        submission: None,
    }))
}

fn deregister(job: &str, purge: bool, eval: u128) -> Command {
    Command::DeregisterJob(DeregisterJob {
        job: key(job),
        purge,
        eval_id: eval_id(eval),
        eval_priority: None,
        no_shutdown_delay: false,
    })
}

fn register_node(number: u32, description: NodeDescription) -> Command {
    let description = Arc::new(description);
    Command::RegisterNode(RegisterNode { node_id: node_id(number), description, server: RaftId(1), seed: 7 })
}

fn report(alloc: u128, node_id: NodeId, client_status: ClientStatus) -> Command {
    let state = if client_status.is_terminal() { TaskRunState::Dead } else { TaskRunState::Running };
    let tasks = Arc::from([TaskState { state, ..TaskState::default() }]);
    let update = AllocUpdate { id: alloc_id(alloc), client_status, tasks, health: None };
    Command::UpdateAllocs(UpdateAllocs { updates: vec![(node_id, update)], seed: u64::try_from(alloc).unwrap() })
}

fn placement(id: u128, index: u32, node: u32) -> Placement {
    Placement {
        alloc_id: alloc_id(id),
        group: 0,
        index,
        node_id: node_id(node),
        usage: Usage { cpu: Mhz(1000), memory: MebiBytes(100), disk: MebiBytes(10) },
        ports: smallvec::SmallVec::new(),
        cores: smallvec::SmallVec::new(),
        previous: None,
        deployment: None,
        reschedules: Arc::default(),
        oversubscribed: false,
        scores: Arc::default(),
    }
}

fn port(node: u32, value: u16) -> AllocPort {
    let address = testing::node(node).description().resources.networks[0].addresses[0].address.parse().unwrap();
    AllocPort { ask: 0, value, address, ignore_collision: false }
}

fn evals_of(applied: Applied) -> Vec<EvalId> {
    let Reply::Evals { eval_ids } = applied.reply else { panic!("{:?}", applied.reply) };
    eval_ids
}

fn rejected(applied: &Applied) -> Option<RejectionKind> {
    match &applied.reply {
        Reply::Rejected(rejection) => Some(rejection.kind),
        Reply::Done
        | Reply::Job { .. }
        | Reply::Evals { .. }
        | Reply::Session { .. }
        | Reply::Deployment { .. }
        | Reply::Plans(_) => None,
    }
}

fn refused(result: &PlanResult) -> Vec<(u32, orch_model::plan::Misfit)> {
    match result {
        PlanResult::Committed { refused, .. } => {
            refused.iter().map(|refusal| (refusal.placement, refusal.reason)).collect()
        }
        PlanResult::Stale { .. } => panic!("the plan is stale"),
    }
}

fn is_stale(result: &PlanResult) -> bool {
    match result {
        PlanResult::Stale { .. } => true,
        PlanResult::Committed { .. } => false,
    }
}

fn pending_eval(id: u128, job: &str) -> Evaluation {
    Evaluation::new(eval_id(id), &key(job), 50, JobType::Service, Trigger::JobRegister)
}
