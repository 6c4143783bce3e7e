//! What a job wants against what there is: one pure function from a job, its allocations, its deployment and the status
//! of their nodes to what should be placed, stopped and changed.
//!
//! Per group, each name (`web[3]`) is a slot that is held by one allocation or vacant; `slots` says by whom, `group` how
//! many are wanted and what becomes of each, `rollout` how fast a new version takes over, `reschedule` when a failed one
//! is placed again. Where nodes are is not its concern: whether a placement finds room is seen later.

use std::collections::BTreeMap;
use std::sync::Arc;

use orch_model::allocation::{ClientStatus, RescheduleEvent, StopReason};
use orch_model::deployment::{Deployment, GroupRollout};
use orch_model::evaluation::DesiredUpdates;
use orch_model::node::NodeStatus;
use orch_model::plan::{DeploymentUpdate, Stop};
use orch_model::{AllocId, Allocation, EvalId, Job, NodeId, Timestamp};
use smallvec::SmallVec;

mod group;
mod reschedule;
mod rollout;
mod slots;
mod survivor;
mod versions;

#[cfg(test)]
mod tests;

pub use reschedule::{WINDOW, due as reschedule_due};

pub(crate) use rollout::answers;

use group::Group;
use rollout::Rollout;
use versions::{Member, Versions};

/// What the reconciler looks at.
pub struct Situation<'s, 'a> {
    /// The current version of the job; `None` if there is none.
    pub job: Option<&'a Job>,
    /// Every allocation of the job's key, of all its incarnations, in the order of their ids.
    pub allocs: &'a [&'a Arc<Allocation>],
    /// The job's active deployment, else its latest.
    pub deployment: Option<&'a Deployment>,
    /// The status of a node; `None` if it is gone.
    pub node_status: &'s dyn Fn(&NodeId) -> Option<NodeStatus>,
    /// When an evaluation will run that waits for its time; `None` if it does not wait.
    pub waits_until: &'s dyn Fn(&EvalId) -> Option<Timestamp>,
    /// The evaluation that is processed.
    pub eval_id: EvalId,
    /// The time.
    pub now: Timestamp,
}

impl std::fmt::Debug for Situation<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut f = f.debug_struct("Situation");
        f.field("job", &self.job).field("allocs", &self.allocs).field("deployment", &self.deployment);
        f.field("eval_id", &self.eval_id).finish_non_exhaustive()
    }
}

impl Situation<'_, '_> {
    /// Whether nothing can be heard of a node any more.
    pub(crate) fn is_gone(&self, node: &NodeId) -> bool {
        match (self.node_status)(node) {
            None | Some(NodeStatus::Down) => true,
            Some(NodeStatus::Initializing | NodeStatus::Ready | NodeStatus::Disconnected) => false,
        }
    }
}

/// What should be done, per group of the job and for what belongs to none.
#[derive(Debug, Default)]
pub struct Reconciled<'a> {
    /// For each group of the job, in its order; empty if the job is gone or stopped.
    pub groups: Vec<GroupDecisions<'a>>,
    /// Allocations to stop whatever else is decided.
    pub stops: Vec<Stop>,
    /// The groups of a deployment that starts once one of them gets a placement or an update in place; empty if none
    /// is due. Counts and times are unset.
    pub rollouts: BTreeMap<String, GroupRollout>,
    /// What becomes of deployments that stand.
    pub deployment_updates: Vec<DeploymentUpdate>,
    /// What is counted for groups that the job does not have (any more).
    pub removed: BTreeMap<String, DesiredUpdates>,
}

/// What should be done about one group.
#[derive(Debug, Default)]
pub struct GroupDecisions<'a> {
    /// New allocations: those that take the place of one that went first, then the lowest free names, then those whose
    /// predecessor stops for them.
    pub placements: Vec<Wanted<'a>>,
    /// Allocations that take on the job's version if their node is still feasible, those that do not answer first.
    pub in_place: Vec<&'a Arc<Allocation>>,
    /// How many of `in_place` may be down: those that do not answer, and those replaced because their node is feasible
    /// no longer.
    pub budget: usize,
    /// Live allocations that hold a place on their node until a placement's success stops them, those that stay included.
    pub occupants: Vec<&'a Arc<Allocation>>,
    /// When failed allocations become due for replacement, those apart that an evaluation waits for.
    pub later: Vec<(Timestamp, AllocId)>,
    /// How many are left, placed, stopped and so on.
    pub updates: DesiredUpdates,
}

/// An allocation to be placed.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// Which instance.
    pub index: u32,
    /// The allocation that it replaces.
    pub previous: Option<&'a Arc<Allocation>>,
    /// Why the replaced one is stopped once the replacement has a node; `None` leaves it as it is.
    pub stop_previous: Option<StopReason>,
    /// Nodes on which it failed before.
    pub penalised: SmallVec<[NodeId; 2]>,
    /// The failures that led to it, for the placement to carry.
    pub reschedules: Arc<[RescheduleEvent]>,
}

impl<'a> Wanted<'a> {
    pub(crate) fn fresh(index: u32) -> Self {
        Self { index, previous: None, stop_previous: None, penalised: SmallVec::new(), reschedules: Arc::default() }
    }

    /// In the place of `previous`, which stops for it.
    pub(crate) fn instead_of(previous: &'a Arc<Allocation>, reason: StopReason) -> Self {
        Self { previous: Some(previous), stop_previous: Some(reason), ..Self::fresh(previous.index) }
    }
}

/// Compares what a job wants with what there is.
pub fn reconcile<'a>(situation: &Situation<'_, 'a>) -> Reconciled<'a> {
    let mut found = Reconciled::default();
    let job = situation.job.filter(|job| !job.is_stopped());
    found.deployment_updates.extend(rollout::superseded(job, situation.deployment));
    let mut members: Vec<Vec<Member<'a>>> = Vec::new();
    members.resize_with(job.map_or(0, |job| job.task_groups.len()), Vec::new);
    let mut versions = Versions::default();
    for alloc in situation.allocs.iter().copied() {
        found.write_off(situation, alloc);
        let home = job.and_then(|job| versions.home(job, alloc));
        match home.and_then(|(group, update)| Some((members.get_mut(usize::from(group))?, update))) {
            Some((members, update)) => members.push(Member { alloc, index: alloc.index, update }),
            None => found.remove(situation, alloc),
        }
    }
    let Some(job) = job else { return found };
    let rollout = Rollout::of(job, situation.deployment);
    let mut is_settled = true;
    for (spec, members) in job.task_groups.iter().zip(members) {
        let decided = Group::new(situation, job, spec, rollout).decide(members, &mut found.stops);
        is_settled &= decided.is_settled;
        found.rollouts.extend(decided.starts.map(|starts| (spec.name.clone(), starts)));
        found.groups.push(decided.decisions);
    }
    if is_settled {
        found.deployment_updates.extend(rollout.success());
    }
    found
}

impl<'a> Reconciled<'a> {
    /// Notes that what was told to stop on a node that is gone will never say that it has ended.
    fn write_off(&mut self, situation: &Situation<'_, 'a>, alloc: &Allocation) {
        if alloc.desired.is_stop() && !alloc.is_client_terminal() && situation.is_gone(&alloc.node_id) {
            let reason = alloc.stop_reason.unwrap_or(StopReason::Lost);
            self.stops.push(Stop { alloc_id: alloc.id, reason, client_status: Some(ClientStatus::Lost) });
        }
    }

    /// Stops an allocation that the job does not want at all.
    fn remove(&mut self, situation: &Situation<'_, 'a>, alloc: &Allocation) {
        let ended = matches!(alloc.client_status, ClientStatus::Complete | ClientStatus::Lost);
        if alloc.desired.is_stop() || ended {
            return;
        }
        self.stops.push(stop(situation, alloc, StopReason::NotNeeded));
        self.removed.entry(alloc.group_name().to_owned()).or_default().stop += 1;
    }
}

/// The stop of an allocation; it is lost if its node is gone.
fn stop(situation: &Situation<'_, '_>, alloc: &Allocation, reason: StopReason) -> Stop {
    if !alloc.is_client_terminal() && situation.is_gone(&alloc.node_id) {
        Stop { alloc_id: alloc.id, reason: StopReason::Lost, client_status: Some(ClientStatus::Lost) }
    } else {
        Stop { alloc_id: alloc.id, reason, client_status: None }
    }
}
