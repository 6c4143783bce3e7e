//! A state with its log, the states before it, and plans that are under way.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use orch_model::allocation::{AllocUpdate, TaskState};
use orch_model::evaluation::{Evaluation, Trigger};
use orch_model::ids::{PlanId, RaftId};
use orch_model::job::JobType;
use orch_model::node::NodeVolume;
use orch_model::plan::{Plan, PlanResult};
use orch_model::seed::Seed;
use orch_model::volume::{AccessMode, VolumeCapability, VolumeState};
use orch_model::{
    AllocId, EvalId, HostVolume, HostVolumeId, JobKey, MebiBytes, Mhz, NodeId, StateIndex, Timestamp, testing,
};
use orch_scheduler::{Decision, Memo, Overlay, Request, schedule};
use orch_state::commands::*;
use orch_state::{Applied, Command, Entry, RULES, Reply, Scope, State, Table, apply, invariants};
use uuid::Uuid;

use crate::steps::{Step, volume_name};

/// How many earlier states plans are made from.
const REMEMBERED: usize = 8;

#[derive(Default)]
pub(crate) struct World {
    pub(crate) state: State,
    pub(crate) log: Vec<Entry>,
    earlier: VecDeque<State>,
    under_way: Vec<Plan>,
    /// How large nodes have become: they only grow, so that no node is full but by a commit.
    grown: u32,
    ids: u64,
    now: i64,
    /// Whether time stands still.
    is_frozen: bool,
    /// Plans that placed something, with the placements that were made.
    placed: BTreeMap<PlanId, BTreeSet<AllocId>>,
}

fn pick<T>(items: Vec<T>, at: usize) -> Option<T> {
    let count = items.len();
    items.into_iter().nth(at.checked_rem(count)?)
}

pub(crate) fn node_id(number: u32) -> NodeId {
    testing::node(number).build().id
}

impl World {
    pub(crate) fn apply(&mut self, command: Command) -> Applied {
        self.now += if self.is_frozen { 0 } else { 1_000_000_000 };
        let entry = Entry { rules: RULES, stamp: Timestamp(self.now), command };
        let before = self.state.clone();
        let scopes = self.scopes();
        let index = self.log.len() as u64 + 1;
        let applied = apply(&mut self.state, index, &entry);
        self.log.push(entry);
        let breaches = invariants::check(&self.state);
        assert!(breaches.is_empty(), "{breaches:#?}");
        assert_eq!(applied.index, StateIndex(index));
        self.check_scopes(&before, scopes, &applied);
        self.earlier.push_back(before);
        if self.earlier.len() > REMEMBERED {
            self.earlier.pop_front();
        }
        applied
    }

    /// Whoever waits for something hears of its change: its scope is among those written, and its index moves.
    fn check_scopes(&self, before: &State, mut scopes: Vec<Scope>, applied: &Applied) {
        scopes.extend(self.scopes());
        for scope in scopes {
            let (old, new) = (before.scope_index(&scope), self.state.scope_index(&scope));
            assert!(old <= new, "{scope:?} went back from {old} to {new}");
            // What comes or goes is itself told; what a query for things below it is answered does not change by that.
            let is_there = exists(before, &scope) && exists(&self.state, &scope);
            assert!(
                old == new || !is_there || applied.changes.scopes.contains(&scope),
                "{scope:?} went from {old} to {new} and nobody is told"
            );
        }
        for scope in &applied.changes.scopes {
            assert_eq!(self.state.scope_index(scope), applied.index, "{scope:?} was written");
        }
    }

    /// Whatever a query could wait for now.
    pub(crate) fn scopes(&self) -> Vec<Scope> {
        let mut scopes: Vec<_> = Table::ALL.into_iter().map(Scope::Table).collect();
        for table in [Table::HostVolumes, Table::VolumeClaims] {
            scopes.extend(["default", "other"].map(|namespace| Scope::Namespace(table, namespace.into())));
        }
        for table in [Table::Jobs, Table::Evals, Table::Allocs, Table::Deployments] {
            scopes.extend(["default", "other"].map(|namespace| Scope::Namespace(table, namespace.into())));
            scopes.extend(self.state.jobs().map(|row| Scope::Job(table, row.job.key())));
        }
        for table in [Table::Nodes, Table::Allocs] {
            scopes.extend(self.state.nodes().map(|node| Scope::Node(table, node.id)));
        }
        scopes.extend(self.state.evals().map(|eval| Scope::Eval(eval.id)));
        scopes.extend(self.state.allocs().map(|alloc| Scope::Alloc(alloc.id)));
        scopes.extend(self.state.host_volumes().map(|volume| Scope::HostVolume(volume.id)));
        scopes.extend(self.state.deployments().map(|deployment| Scope::Deployment(deployment.id)));
        scopes
    }

    fn uuid(&mut self) -> Uuid {
        self.ids += 1;
        Seed::new(self.ids).uuid()
    }

    fn seed(&mut self) -> u64 {
        self.uuid().as_u64_pair().0
    }

    fn eval_id(&mut self) -> EvalId {
        EvalId::from_uuid(self.uuid())
    }

    fn job_at(&self, at: usize) -> Option<JobKey> {
        pick(self.state.jobs().map(|row| row.job.key()).collect(), at)
    }

    fn node_at(&self, at: usize) -> Option<NodeId> {
        pick(self.state.nodes().map(|node| node.id).collect(), at)
    }

    fn alloc_at(&self, at: usize) -> Option<(AllocId, NodeId)> {
        pick(self.state.allocs().map(|alloc| (alloc.id, alloc.node_id)).collect(), at)
    }

    pub(crate) fn perform(&mut self, step: &Step) {
        let command = match step {
            Step::Node { number, grows } => {
                self.grown += u32::from(*grows);
                Some(self.register_node(*number))
            }
            Step::Silence { at, status, old } => self.silence(*at, *status, *old),
            Step::PurgeNode { at } => {
                let seed = self.seed();
                self.node_at(*at).map(|node_id| Command::PurgeNode(PurgeNode { node_id, seed }))
            }
            Step::EvaluateNode { at } => {
                let seed = self.seed();
                self.node_at(*at).map(|node_id| Command::EvaluateNode(EvaluateNode { node_id, seed }))
            }
            Step::Eligibility { at, eligibility } => {
                let set = |node_id| Command::SetEligibility(SetEligibility { node_id, eligibility: *eligibility });
                self.node_at(*at).map(set)
            }
            Step::Register(spec) => {
                let eval_id = self.eval_id();
                let submission = Some(orch_state::Submission { source: format!("{spec:?}"), ..Default::default() });
                let job = spec.job();
                let command = RegisterJob { job, eval_id, eval_priority: None, enforce_index: None, submission };
                Some(Command::RegisterJob(Box::new(command)))
            }
            Step::Deregister { at, purge } => {
                let (eval_id, purge) = (self.eval_id(), *purge);
                self.job_at(*at).map(|job| {
                    Command::DeregisterJob(DeregisterJob {
                        job,
                        purge,
                        eval_id,
                        eval_priority: None,
                        no_shutdown_delay: purge,
                    })
                })
            }
            Step::StopAlloc { at } => {
                let eval_id = self.eval_id();
                self.alloc_at(*at)
                    .map(|(alloc_id, _)| Command::StopAlloc(StopAlloc { alloc_id, no_shutdown_delay: false, eval_id }))
            }
            Step::Report { at, status, health } => {
                let seed = self.seed();
                self.alloc_at(*at).map(|(id, node)| {
                    let task = TaskState { restarts: u32::try_from(*at % 3).unwrap(), ..TaskState::default() };
                    let update = AllocUpdate { id, client_status: *status, tasks: Arc::from([task]), health: *health };
                    Command::UpdateAllocs(UpdateAllocs { updates: vec![(node, update)], seed })
                })
            }
            Step::Plan { at, age } => {
                self.plan(*at, *age);
                None
            }
            Step::Deliver { at, count, keep } => self.deliver(*at, *count, *keep),
            Step::Repeat { at } => {
                let entries = self.log.iter().map(|entry| entry.command.clone()).collect();
                pick(entries, *at).filter(is_repeatable)
            }
            Step::Deployment { at, change } => {
                let eval_id = self.eval_id();
                let active = self.state.deployments().filter(|deployment| deployment.is_active());
                pick(active.map(|deployment| deployment.id).collect(), *at)
                    .map(|id| Command::ChangeDeployment(ChangeDeployment { id, change: change.clone(), eval_id }))
            }
            Step::Scale { at, count } => {
                let eval_id = self.eval_id();
                self.job_at(*at).map(|key| {
                    let (group, message, meta) = ("web".into(), String::new(), BTreeMap::default());
                    let count = Some(*count);
                    let error = false;
                    Command::ScaleJob(ScaleJob {
                        key,
                        group,
                        count,
                        message,
                        error,
                        meta,
                        eval_id,
                        enforce_index: None,
                    })
                })
            }
            Step::Revert { at, back } => {
                let eval_id = self.eval_id();
                self.job_at(*at).map(|key| {
                    let to_version = self.state.job(&key).map_or(0, |job| job.version.saturating_sub(*back));
                    Command::RevertJob(RevertJob { key, to_version, enforce_prior: None, eval_id })
                })
            }
            Step::Reschedule => {
                let allocs = self.state.allocs().map(|alloc| alloc.id).collect();
                let evals_seed = self.seed();
                let trigger = Trigger::DeploymentWatcher;
                Some(Command::RescheduleAllocs(RescheduleAllocs { allocs, evals_seed, trigger }))
            }
            Step::Volume { node, name, single_writer } => Some(self.volume(*node, *name, *single_writer)),
            Step::DeleteVolume { at, step } => pick(self.state.host_volumes().map(|volume| volume.id).collect(), *at)
                .map(|id| Command::DeleteHostVolume(DeleteHostVolume { id, step: *step })),
            Step::DeleteClaim { at } => pick(self.state.volume_claims().map(|claim| claim.id).collect(), *at)
                .map(|id| Command::DeleteVolumeClaim(DeleteVolumeClaim { id })),
            Step::Reap => Some(self.reap()),
            Step::Arbitrary(command) => Some(self.aimed((**command).clone())),
        };
        if let Some(command) = command {
            let plans = if let Command::ApplyPlans(apply) = &command { apply.plans.clone() } else { Vec::new() };
            let before = self.state.clone();
            let applied = self.apply(command);
            self.check_placed_once(&before, &plans, &applied);
        }
    }

    fn register_node(&mut self, number: u32) -> Command {
        let builder = testing::node(number).size(1500 + 500 * number + self.grown, 8192);
        let builder = if number == 2 { builder.host_volume("srv", true) } else { builder };
        let mut description = builder.description();
        if !self.grown.is_multiple_of(3) {
            for volume in self.state.host_volumes_of_node(&node_id(number)) {
                let listed = NodeVolume { path: volume.host_path.clone(), read_only: false, id: Some(volume.id) };
                description.host_volumes.entry(volume.name.clone()).or_insert(listed);
            }
        }
        let description = Arc::new(description);
        let seed = self.seed();
        Command::RegisterNode(RegisterNode { node_id: node_id(number), description, server: RaftId(1), seed })
    }

    /// A volume of a node: asked for, or made, if it was asked for before.
    fn volume(&mut self, node: u32, name: u8, single_writer: bool) -> Command {
        let name = volume_name(name);
        let known = self.state.host_volumes_of_node(&node_id(node)).find(|volume| volume.name == name).cloned();
        let volume = match known {
            Some(known) => HostVolume { state: VolumeState::Ready, ..(*known).clone() },
            None => {
                let access =
                    if single_writer { AccessMode::SingleNodeSingleWriter } else { AccessMode::SingleNodeWriter };
                let reading = VolumeCapability { access: AccessMode::SingleNodeReaderOnly, ..Default::default() };
                HostVolume {
                    id: HostVolumeId::from_uuid(self.uuid()),
                    node_id: node_id(node),
                    state: VolumeState::Pending,
                    capabilities: vec![VolumeCapability { access, ..Default::default() }, reading],
                    ..testing::host_volume(0, &name)
                }
            }
        };
        Command::PutHostVolume(Box::new(PutHostVolume { volume }))
    }

    fn silence(&mut self, at: usize, status: orch_model::node::NodeStatus, old: bool) -> Option<Command> {
        let node_id = self.node_at(at)?;
        let epoch = self.state.node(&node_id)?.session.epoch.saturating_sub(u64::from(old));
        let transition = NodeTransition { node_id, epoch, status, description: "silent".into() };
        let seed = self.seed();
        Some(Command::NodeTransitions(NodeTransitions { transitions: vec![transition], seed }))
    }

    fn reap(&self) -> Command {
        Command::Reap(Reap {
            evals: self.state.evals().map(|eval| eval.id).collect(),
            allocs: self.state.allocs().map(|alloc| alloc.id).collect(),
            jobs: self.state.jobs().map(|row| row.job.key()).collect(),
            nodes: self.state.nodes().map(|node| node.id).collect(),
            deployments: self.state.deployments().map(|deployment| deployment.id).collect(),
        })
    }

    /// Aims plans at what there is, else most would be stale before anyone looks at them. And a node that claims to have
    /// less than before may rightly hold more than it has, which is tested apart.
    fn aimed(&self, mut command: Command) -> Command {
        let old = |id: &NodeId| {
            self.state.node(id).map(|node| (node.described.resources.clone(), node.described.reserved.clone()))
        };
        match &mut command {
            Command::RegisterNode(RegisterNode { node_id, description, .. })
            | Command::DescribeNode(DescribeNode { node_id, description, .. }) => {
                let description = Arc::make_mut(description);
                match old(node_id) {
                    Some((resources, reserved)) => {
                        description.resources = resources;
                        description.reserved = reserved;
                    }
                    None => {
                        description.resources.cpu = description.resources.cpu.min(Mhz(1500));
                        description.resources.memory = description.resources.memory.min(MebiBytes(8192));
                    }
                }
            }
            Command::ApplyPlans(apply) => {
                for plan in &mut apply.plans {
                    if let Some(row) = self.state.job_row(&plan.job.job) {
                        plan.job = row.job.version_key();
                        plan.placed_index = row.placed_index;
                        if let Some(deployment) = &mut plan.deployment {
                            deployment.job = plan.job.clone();
                        }
                    }
                }
            }
            _ => {}
        }
        command
    }

    /// Has the scheduler look at an evaluation with a state of `age` entries ago.
    fn plan(&mut self, at: usize, age: usize) {
        let state = self.earlier.iter().rev().nth(age).unwrap_or(&self.state).clone();
        let evals: Vec<_> = state.evals().filter(|eval| !eval.status.is_terminal()).cloned().collect();
        let Some(eval) = pick(evals, at) else { return };
        let decision = decide(&state, &eval, state.last_index().0);
        self.under_way.push(decision.plan);
    }

    fn deliver(&mut self, at: usize, count: usize, keep: bool) -> Option<Command> {
        let mut plans = Vec::new();
        for _ in 0..count {
            let place = at.checked_rem(self.under_way.len())?;
            plans.push(self.under_way[place].clone());
            if !keep {
                self.under_way.remove(place);
            }
        }
        Some(Command::ApplyPlans(ApplyPlans { plans }))
    }

    /// However often and late a plan is delivered, each of its placements is made at most once.
    fn check_placed_once(&mut self, before: &State, plans: &[Plan], applied: &Applied) {
        let Reply::Plans(results) = &applied.reply else { return };
        let mut fresh: BTreeSet<PlanId> = BTreeSet::new();
        for (plan, result) in plans.iter().zip(results) {
            let new: BTreeSet<AllocId> = plan
                .placements
                .iter()
                .map(|placement| placement.alloc_id)
                .filter(|id| before.alloc(id).is_none() && self.state.alloc(id).is_some())
                .collect();
            if matches!(result, PlanResult::Stale { .. }) || new.is_empty() || !fresh.insert(plan.id) {
                continue;
            }
            let known = self.placed.entry(plan.id).or_default();
            assert!(known.is_disjoint(&new), "plan {} placed {new:?} a second time", plan.id);
            known.extend(new);
        }
    }

    /// Schedules and commits every job, then looks again with nothing changed.
    pub(crate) fn look_twice_at_every_job(&mut self) {
        self.is_frozen = true;
        let jobs: Vec<_> = self.state.jobs().map(|row| row.job.key()).collect();
        for job in jobs {
            let mut eval = self.new_eval(&job);
            let decision = decide(&self.state, &eval, 1);
            let applied = self.apply(Command::ApplyPlans(ApplyPlans { plans: vec![decision.plan] }));
            let Reply::Plans(results) = &applied.reply else { panic!("{:?}", applied.reply) };
            let [PlanResult::Committed { refused, .. }] = &results[..] else { panic!("{job}: {results:?}") };
            assert_eq!(refused, &[], "{job}: everything fits the state that it was planned on");
            eval = self.new_eval(&job);
            let again = decide(&self.state, &eval, 1);
            assert!(again.plan.is_empty(), "{job} is looked at again and changed: {:#?}", again.plan);
        }
    }

    fn new_eval(&mut self, job: &JobKey) -> Evaluation {
        let kind = self.state.job(job).and_then(|job| job.kind()).unwrap_or(JobType::Service);
        let eval = Evaluation::new(self.eval_id(), job, 50, kind, Trigger::JobRegister);
        self.apply(Command::PutEvals(PutEvals { evals: vec![eval.clone()] }));
        eval
    }
}

fn decide(state: &State, eval: &Evaluation, attempt: u64) -> Decision {
    let seed = Seed::of(eval.id.as_uuid(), attempt);
    let overlay = Overlay::default();
    let now = state.now();
    schedule(Request { state, overlay: &overlay, eval, now, seed, memo: &mut Memo::new() })
}

/// A node that registers or describes itself as it once was may have shrunk.
fn is_repeatable(command: &Command) -> bool {
    !matches!(command, Command::RegisterNode(_) | Command::DescribeNode(_))
}

fn exists(state: &State, scope: &Scope) -> bool {
    match scope {
        Scope::Table(_) | Scope::Namespace(..) => true,
        Scope::Job(_, key) => state.job(key).is_some(),
        Scope::Node(_, id) => state.node(id).is_some(),
        Scope::Eval(id) => state.eval(id).is_some(),
        Scope::Alloc(id) => state.alloc(id).is_some(),
        Scope::HostVolume(id) => state.host_volume(id).is_some(),
        Scope::Deployment(id) => state.deployment(id).is_some(),
    }
}
