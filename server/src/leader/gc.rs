//! What may be forgotten: a pure function from the state to bounded lists of names.
//!
//! A pass goes through the tables in an order in which each lets more go of the next: allocations, evaluations,
//! deployments, jobs, nodes. It is done in steps that each look at few enough rows to go unnoticed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use orch_model::deployment::Deployment;
use orch_model::evaluation::EvalStatus;
use orch_model::job::{JobStatus, JobType};
use orch_model::node::NodeStatus;
use orch_model::{
    AllocId, Allocation, DeploymentId, EvalId, Evaluation, JobKey, Nanos, Node, NodeId, StateIndex, Timestamp,
};
use orch_state::commands::Reap;
use orch_state::{JobRow, State};
use uuid::Uuid;

use crate::config::GcConfig;

/// How many names one entry holds at most.
const NAMES: usize = 2_000;

/// How many rows one step looks at.
const ROWS: usize = 10_000;

/// Where a pass goes on: behind the row that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Cursor {
    Allocs(Option<AllocId>),
    Evals(Option<EvalId>),
    Deployments(Option<DeploymentId>),
    Jobs(Option<JobKey>),
    Nodes(Option<NodeId>),
}

/// A pass over the state that is under way, or not.
#[derive(Debug)]
pub struct Collector {
    cursor: Option<Cursor>,
    /// Whether age does not matter.
    all: bool,
    /// How many rows a step looks at.
    rows: usize,
}

impl Collector {
    /// A pass that has just begun; with `all`, whatever has ended goes, however young.
    pub const fn begin(all: bool) -> Self {
        Self { cursor: Some(Cursor::Allocs(None)), all, rows: ROWS }
    }

    /// Whether no pass is under way.
    pub const fn is_idle(&self) -> bool {
        self.cursor.is_none()
    }

    /// Goes on with the pass: names what has ended long enough ago among the next rows.
    pub fn step(&mut self, state: &State, config: &GcConfig) -> Reap {
        let mut step = Step::new(state, config, self.all, self.rows);
        while let Some(cursor) = self.cursor.take() {
            self.cursor = step.go_on(cursor);
            if step.is_full() {
                break;
            }
        }
        step.reap
    }
}

/// Names what has ended long enough ago, as much as goes in one entry; with `all`, whatever has ended.
pub fn collect(state: &State, config: &GcConfig, all: bool) -> Reap {
    let mut step = Step::new(state, config, all, usize::MAX);
    let mut cursor = Some(Cursor::Allocs(None));
    while let Some(next) = cursor {
        cursor = step.go_on(next);
        if step.is_full() {
            break;
        }
    }
    step.reap
}

/// Whether a list names nothing.
pub fn is_empty(reap: &Reap) -> bool {
    names(reap) == 0
}

/// How many names a list holds.
pub fn names(reap: &Reap) -> usize {
    let Reap { evals, allocs, jobs, nodes, deployments } = reap;
    evals.len() + allocs.len() + jobs.len() + nodes.len() + deployments.len()
}

struct Step<'a> {
    state: &'a State,
    config: &'a GcConfig,
    all: bool,
    rows: usize,
    looked: usize,
    reap: Reap,
    /// Evaluations of which allocations are still there, by job, as far as anyone asked.
    explained: BTreeMap<JobKey, BTreeSet<EvalId>>,
}

impl<'a> Step<'a> {
    const fn new(state: &'a State, config: &'a GcConfig, all: bool, rows: usize) -> Self {
        let reap = Reap {
            evals: Vec::new(),
            allocs: Vec::new(),
            jobs: Vec::new(),
            nodes: Vec::new(),
            deployments: Vec::new(),
        };
        Self { state, config, all, rows, looked: 0, reap, explained: BTreeMap::new() }
    }

    fn is_full(&self) -> bool {
        self.looked >= self.rows || names(&self.reap) >= NAMES
    }

    /// Goes through one table from `cursor` until the step is full; answers where to go on.
    fn go_on(&mut self, cursor: Cursor) -> Option<Cursor> {
        match cursor {
            Cursor::Allocs(after) => {
                let first = after.unwrap_or_else(|| AllocId::from_uuid(Uuid::nil()));
                let rows = self.state.allocs_between(first, AllocId::from_uuid(Uuid::max()));
                for alloc in rows.filter(|alloc| Some(alloc.id) != after) {
                    self.looked += 1;
                    if self.alloc_may_go(alloc) {
                        self.reap.allocs.push(alloc.id);
                    }
                    if self.is_full() {
                        return Some(Cursor::Allocs(Some(alloc.id)));
                    }
                }
                Some(Cursor::Evals(None))
            }
            Cursor::Evals(after) => {
                let first = after.unwrap_or_else(|| EvalId::from_uuid(Uuid::nil()));
                let rows = self.state.evals_between(first, EvalId::from_uuid(Uuid::max()));
                for eval in rows.filter(|eval| Some(eval.id) != after) {
                    self.looked += 1;
                    if self.eval_may_go(eval) {
                        self.reap.evals.push(eval.id);
                    }
                    if self.is_full() {
                        return Some(Cursor::Evals(Some(eval.id)));
                    }
                }
                Some(Cursor::Deployments(None))
            }
            Cursor::Deployments(after) => {
                let first = after.unwrap_or_else(|| DeploymentId::from_uuid(Uuid::nil()));
                let rows = self.state.deployments_between(first, DeploymentId::from_uuid(Uuid::max()));
                for deployment in rows.filter(|deployment| Some(deployment.id) != after) {
                    self.looked += 1;
                    if self.deployment_may_go(deployment) {
                        self.reap.deployments.push(deployment.id);
                    }
                    if self.is_full() {
                        return Some(Cursor::Deployments(Some(deployment.id)));
                    }
                }
                Some(Cursor::Jobs(None))
            }
            Cursor::Jobs(after) => {
                for row in self.state.jobs() {
                    let key = row.job.key();
                    if after.as_ref().is_some_and(|after| key <= *after) {
                        continue;
                    }
                    self.looked += 1;
                    if self.job_may_go(row, &key) {
                        self.reap.jobs.push(key.clone());
                    }
                    if self.is_full() {
                        return Some(Cursor::Jobs(Some(key)));
                    }
                }
                Some(Cursor::Nodes(None))
            }
            Cursor::Nodes(after) => {
                let first = after.unwrap_or_else(|| NodeId::from_uuid(Uuid::nil()));
                let rows = self.state.nodes_between(first, NodeId::from_uuid(Uuid::max()));
                for node in rows.filter(|node| Some(node.id) != after) {
                    self.looked += 1;
                    if self.node_may_go(node) {
                        self.reap.nodes.push(node.id);
                    }
                    if self.is_full() {
                        return Some(Cursor::Nodes(Some(node.id)));
                    }
                }
                None
            }
        }
    }

    fn is_old(&self, since: Timestamp, limit: Duration) -> bool {
        self.all || self.state.now().since(since) >= Nanos::from(limit)
    }

    /// Whether an allocation has ended long enough ago, and no decision about its job depends on it.
    fn alloc_may_go(&self, alloc: &Allocation) -> bool {
        if !alloc.is_client_terminal() {
            return false;
        }
        let kind = alloc.job.kind();
        let limit = if kind == Some(JobType::Batch) { self.config.batch_evals } else { self.config.evals };
        self.is_old(alloc.modify_time, limit) && self.state.may_forget_alloc(alloc)
    }

    /// Whether an evaluation is over and no allocation that it placed is left to explain.
    fn eval_may_go(&mut self, eval: &Evaluation) -> bool {
        let limit = if eval.kind == JobType::Batch { self.config.batch_evals } else { self.config.evals };
        match eval.status {
            EvalStatus::Pending | EvalStatus::Blocked => false,
            EvalStatus::Canceled | EvalStatus::Failed => self.is_old(eval.modify_time, limit),
            EvalStatus::Complete => {
                let placed = eval.outcome.as_ref().is_some_and(|outcome| !outcome.placed.is_empty());
                self.is_old(eval.modify_time, limit) && !(placed && self.explains(eval))
            }
        }
    }

    /// Whether an allocation that `eval` placed is still there.
    fn explains(&mut self, eval: &Evaluation) -> bool {
        let key = eval.job_key();
        if !self.explained.contains_key(&key) {
            let evals: BTreeSet<_> = self.state.allocs_of_job(&key).map(|alloc| alloc.eval_id).collect();
            self.looked += self.state.allocs_of_job(&key).count();
            self.explained.insert(key.clone(), evals);
        }
        self.explained.get(&key).is_some_and(|evals| evals.contains(&eval.id))
    }

    fn deployment_may_go(&mut self, deployment: &Deployment) -> bool {
        if deployment.is_active() || !self.is_old(deployment.modify_time, self.config.deployments) {
            return false;
        }
        self.looked += self.state.allocs_of_job(deployment.job_key()).count();
        self.state.may_forget_deployment(deployment)
    }

    fn job_may_go(&mut self, row: &JobRow, key: &JobKey) -> bool {
        let ended = row.job.status == JobStatus::Dead && row.live_evals == 0 && row.evaluated;
        if !ended || row.job.create_index == StateIndex(0) || !self.is_old(row.job.submit_time, self.config.jobs) {
            return false;
        }
        // When anything last happened to a job that is dead: so long it is at least.
        let mut last = Timestamp::NONE;
        for alloc in self.state.allocs_of_job(key) {
            self.looked += 1;
            if !alloc.is_client_terminal() {
                return false;
            }
            last = last.max(alloc.modify_time);
        }
        for eval in self.state.evals_of_job(key) {
            self.looked += 1;
            last = last.max(eval.modify_time);
        }
        self.is_old(last, self.config.jobs)
    }

    fn node_may_go(&mut self, node: &Node) -> bool {
        if node.status != NodeStatus::Down || !self.is_old(node.status_updated_at, self.config.nodes) {
            return false;
        }
        let mut allocs = self.state.allocs_of_node(&node.id).inspect(|_| self.looked += 1);
        allocs.all(|alloc| alloc.is_client_terminal())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orch_model::node::Eligibility;
    use orch_state::commands::{DeregisterJob, PutEvals, RegisterJob};
    use orch_state::{Command, Entry, RULES, apply};

    /// A state made entry by entry, each a second after the other.
    #[derive(Default)]
    struct World {
        state: State,
        entries: u64,
    }

    impl World {
        fn apply(&mut self, command: Command) {
            self.entries += 1;
            let stamp = Timestamp(i64::try_from(self.entries).unwrap() * 1_000_000_000);
            apply(&mut self.state, self.entries, &Entry { rules: RULES, stamp, command });
        }

        fn register(&mut self, id: &str) -> EvalId {
            let eval_id = EvalId::from_uuid(Uuid::from_u128(u128::from(self.entries) + 1));
            let command = RegisterJob {
                job: orch_model::testing::job(id, 1),
                eval_id,
                eval_priority: None,
                enforce_index: None,
                submission: None,
            };
            self.apply(Command::RegisterJob(Box::new(command)));
            eval_id
        }

        fn stop(&mut self, id: &str) {
            let eval_id = EvalId::from_uuid(Uuid::from_u128(u128::from(self.entries) + 1));
            let command = DeregisterJob {
                job: JobKey::new(&"default".into(), &id.into()),
                purge: false,
                eval_id,
                eval_priority: None,
                no_shutdown_delay: false,
            };
            self.apply(Command::DeregisterJob(command));
        }

        fn complete_all(&mut self) {
            let open = self.state.evals().filter(|eval| !eval.status.is_terminal());
            let evals = open.map(|eval| Evaluation { status: EvalStatus::Complete, ..(**eval).clone() }).collect();
            self.apply(Command::PutEvals(PutEvals { evals }));
        }

        /// All that a pass of steps of `rows` rows names, and how many steps it took.
        fn pass(&self, rows: usize, config: &GcConfig, all: bool) -> (Reap, usize) {
            let mut collector = Collector { rows, ..Collector::begin(all) };
            let (mut whole, mut steps) = (Reap::default(), 0);
            while !collector.is_idle() {
                let Reap { evals, allocs, jobs, nodes, deployments } = collector.step(&self.state, config);
                whole.evals.extend(evals);
                whole.allocs.extend(allocs);
                whole.jobs.extend(jobs);
                whole.nodes.extend(nodes);
                whole.deployments.extend(deployments);
                steps += 1;
            }
            (whole, steps)
        }
    }

    fn twenty_stopped() -> World {
        let mut world = World::default();
        for number in 0..20 {
            world.register(&format!("job-{number:02}"));
            world.stop(&format!("job-{number:02}"));
        }
        world.complete_all();
        world
    }

    #[test]
    fn a_pass_in_small_steps_names_what_one_large_step_does() {
        let world = twenty_stopped();
        let config = GcConfig { evals: Duration::ZERO, jobs: Duration::ZERO, ..GcConfig::default() };
        let (whole, steps) = world.pass(ROWS, &config, false);
        assert_eq!((whole.jobs.len(), whole.evals.len(), steps), (20, 40, 1));
        let (parts, steps) = world.pass(3, &config, false);
        assert_eq!(parts, whole);
        assert!(steps > 10, "{steps}");
        assert_eq!(collect(&world.state, &config, false), whole);
    }

    #[test]
    fn what_is_young_stays_unless_all_goes() {
        let world = twenty_stopped();
        let config =
            GcConfig { evals: Duration::from_secs(3600), jobs: Duration::from_secs(30), ..GcConfig::default() };
        let (reap, _) = world.pass(ROWS, &config, false);
        assert!(reap.jobs.is_empty() && reap.evals.is_empty(), "{reap:?}: their last evaluations have just ended");
        let (reap, _) = world.pass(ROWS, &config, true);
        assert_eq!((reap.jobs.len(), reap.evals.len()), (20, 40));
    }

    #[test]
    fn what_is_wanted_or_under_way_stays_also_when_all_goes() {
        let mut world = World::default();
        world.register("a");
        let (reap, _) = world.pass(ROWS, &GcConfig::default(), true);
        assert!(is_empty(&reap), "{reap:?}: its evaluation has not ended");
        let node = orch_model::testing::node(1);
        let node_id = node.clone().build().id;
        world.apply(Command::RegisterNode(orch_state::commands::RegisterNode {
            node_id,
            description: std::sync::Arc::new(node.description()),
            server: orch_model::RaftId(1),
            seed: 1,
        }));
        let eligibility = Eligibility::Ineligible;
        world.apply(Command::SetEligibility(orch_state::commands::SetEligibility { node_id, eligibility }));
        let (reap, _) = world.pass(ROWS, &GcConfig::default(), true);
        assert!(reap.nodes.is_empty(), "a node that is there stays");
    }
}
