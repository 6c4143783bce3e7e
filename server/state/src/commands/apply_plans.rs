//! Committing what schedulers planned: the one place where it is decided whether something fits.

use std::sync::Arc;

use orch_model::allocation::{ClientStatus, DesiredStatus, Transition};
use orch_model::deployment::DeploymentStatus;
use orch_model::node::NodeStatus;
use orch_model::plan::{Misfit, Placement, Plan, PlanResult, Refusal};
use orch_model::{AllocId, Allocation, DeploymentId, Job, StateIndex};
use serde::{Deserialize, Serialize};

use super::Reply;
use crate::fits::{Asked, fits};
use crate::tx::Tx;

/// Commit what schedulers planned, in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ApplyPlans {
    /// The plans.
    pub plans: Vec<Plan>,
}

impl ApplyPlans {
    pub(crate) fn apply(&self, tx: &mut Tx<'_>) -> Reply {
        Reply::Plans(self.plans.iter().map(|plan| commit(tx, plan)).collect())
    }
}

fn commit(tx: &mut Tx<'_>, plan: &Plan) -> PlanResult {
    let key = &plan.job.job;
    let row = tx.state.job_row(key).cloned();
    if let Some((id, result)) = row.as_ref().and_then(|row| row.last_plan.as_ref())
        && *id == plan.id
        && is_repeated(plan, result)
    {
        return (**result).clone();
    }
    let seen = row.as_ref().map_or(StateIndex::default(), |row| row.placed_index);
    if seen != plan.placed_index {
        return PlanResult::Stale { placed_index: seen };
    }
    let job = row.as_ref().map(|row| &row.job).filter(|job| is_version(job, plan));
    if job.is_none() && !plan.placements.is_empty() {
        return PlanResult::Stale { placed_index: seen };
    }
    let version = tx.state.job_version(&plan.job).cloned().or_else(|| job.cloned());
    let refused = match &version {
        Some(job) if plan.all_at_once => whole(tx, plan, job),
        Some(job) => parts(tx, plan, job),
        None => {
            update_deployments(tx, plan);
            stop(tx, plan);
            Vec::new()
        }
    };
    if refused.is_empty() {
        follow_up(tx, plan);
        for eval in &plan.when_whole {
            tx.put_eval(eval.clone());
        }
    }
    if !plan.is_empty() {
        tx.move_placed_index(key);
    }
    let placed_index = tx.state.job_row(key).map_or(StateIndex::default(), |row| row.placed_index);
    let result = PlanResult::Committed { refused, placed_index };
    remember(tx, plan, &result);
    result
}

/// Whether a plan is the one that was committed with that result, delivered again.
///
/// One that saw what the commit left is another attempt that drew the same id. It is looked at, as is an empty plan that
/// comes again: that only writes evaluations which stand already.
fn is_repeated(plan: &Plan, result: &PlanResult) -> bool {
    match result {
        PlanResult::Committed { placed_index, .. } => plan.placed_index < *placed_index,
        PlanResult::Stale { .. } => true,
    }
}

fn is_version(job: &Job, plan: &Plan) -> bool {
    job.create_index == plan.job.created && job.version == plan.job.version
}

fn remember(tx: &mut Tx<'_>, plan: &Plan, result: &PlanResult) {
    if let Some(row) = tx.state.jobs.get_mut(&plan.job.job) {
        Arc::make_mut(row).last_plan = Some((plan.id, Arc::new(result.clone())));
    }
}

/// Commits what fits and names what does not.
fn parts(tx: &mut Tx<'_>, plan: &Plan, job: &Arc<Job>) -> Vec<Refusal> {
    update_deployments(tx, plan);
    if let Some(deployment) = plan.deployment.as_ref().filter(|deployment| deployment.job == plan.job) {
        tx.create_deployment(deployment.clone());
    }
    stop(tx, plan);
    update_in_place(tx, plan, job);
    let mut refused = Vec::new();
    for (position, placement) in (0_u32..).zip(&plan.placements) {
        if let Err(reason) = place(tx, plan, job, placement) {
            refused.push(Refusal { placement: position, reason });
        }
    }
    refused
}

/// Commits everything, or nothing if one placement does not fit.
fn whole(tx: &mut Tx<'_>, plan: &Plan, job: &Arc<Job>) -> Vec<Refusal> {
    let mut trial = tx.state.clone();
    let mut attempt = tx.trial(&mut trial);
    let refused = parts(&mut attempt, plan, job);
    let Tx { digest, changes, deployments_written, .. } = attempt;
    if refused.is_empty() {
        tx.adopt(trial, digest, changes, deployments_written);
    }
    refused
}

/// Gives deployments of the job their new status. None succeeds that is not where it should be.
fn update_deployments(tx: &mut Tx<'_>, plan: &Plan) {
    for update in &plan.deployment_updates {
        let Some(deployment) = tx.state.deployment(&update.id) else { continue };
        let is_premature = update.status == DeploymentStatus::Successful && !deployment.is_complete();
        if *deployment.job_key() == plan.job.job && deployment.status != update.status && !is_premature {
            tx.set_deployment_status(update.id, update.status, update.reason);
        }
    }
}

/// Notes which evaluations will look at failed allocations. They are written with the plan, so only if it is whole.
fn follow_up(tx: &mut Tx<'_>, plan: &Plan) {
    for follow_up in &plan.follow_ups {
        let Some(old) = of_job(tx, plan, &follow_up.alloc_id) else { continue };
        if old.followup_eval != Some(follow_up.eval_id) {
            let mut alloc = (*old).clone();
            alloc.followup_eval = Some(follow_up.eval_id);
            tx.put_alloc(alloc, false);
        }
    }
}

/// The deployment that something of a plan is to be part of, if it is the job's active one.
fn active(tx: &Tx<'_>, plan: &Plan, named: Option<DeploymentId>) -> Option<DeploymentId> {
    let active = tx.state.job_row(&plan.job.job).and_then(|row| row.active_deployment);
    named.filter(|id| active == Some(*id))
}

fn stop(tx: &mut Tx<'_>, plan: &Plan) {
    for stop in &plan.stops {
        let Some(old) = of_job(tx, plan, &stop.alloc_id) else { continue };
        let mut alloc = (*old).clone();
        if !alloc.desired.is_stop() {
            alloc.desired = DesiredStatus::Stop;
            alloc.stop_reason = Some(stop.reason);
        }
        if let Some(status) = stop.client_status
            && alloc.client_status != status
            && alloc.client_status.can_become(status)
            && !alloc.is_client_terminal()
            && !speaks_for_itself(tx, &alloc)
        {
            alloc.client_status = status;
        }
        if alloc.desired != old.desired || alloc.client_status != old.client_status {
            tx.put_alloc(alloc, true);
        }
    }
}

/// An allocation of the job that is planned for; a plan changes no other.
fn of_job(tx: &Tx<'_>, plan: &Plan, id: &AllocId) -> Option<Arc<Allocation>> {
    tx.state.alloc(id).filter(|alloc| alloc.job_key() == plan.job.job).cloned()
}

/// Whether the node is in contact (again), so that its client will say when the allocation has ended.
fn speaks_for_itself(tx: &Tx<'_>, alloc: &Allocation) -> bool {
    tx.state.node(&alloc.node_id).is_some_and(|node| match node.status {
        NodeStatus::Ready | NodeStatus::Initializing => true,
        NodeStatus::Down | NodeStatus::Disconnected => false,
    })
}

fn update_in_place(tx: &mut Tx<'_>, plan: &Plan, job: &Arc<Job>) {
    for update in &plan.in_place {
        let Some(old) = of_job(tx, plan, &update.alloc_id) else { continue };
        if old.is_terminal() {
            continue;
        }
        let mut alloc = (*old).clone();
        alloc.job = Arc::clone(job);
        alloc.group = update.group;
        if !alloc.host_volumes().eq(old.host_volumes()) {
            // Whether other volumes are free was not asked: such a change replaces the allocation.
            continue;
        }
        alloc.eval_id = plan.eval_id;
        let deployment = active(tx, plan, update.deployment);
        if alloc.deployment_id != deployment {
            alloc.deployment_id = deployment;
            alloc.health = None;
        }
        tx.put_alloc(alloc, true);
    }
}

fn place(tx: &mut Tx<'_>, plan: &Plan, job: &Arc<Job>, placement: &Placement) -> Result<(), Misfit> {
    if tx.state.alloc(&placement.alloc_id).is_some() {
        return Err(Misfit::IdTaken);
    }
    let previous = placement.previous.and_then(|id| tx.state.alloc(&id).cloned());
    let handing_over = previous
        .as_ref()
        .filter(|old| old.node_id == placement.node_id && old.desired.is_stop() && old.holds_resources());
    let group = job.task_groups.get(usize::from(placement.group));
    let volumes = group.map(|group| tx.state.volume_asks(&plan.job.job, group, placement.index)).unwrap_or_default();
    let taken_over: Vec<_> = handing_over.iter().flat_map(|old| old.host_volumes()).collect();
    let asked = Asked {
        volumes: &volumes,
        handed_over_volumes: &taken_over,
        ..Asked::of(placement, handing_over.map(Arc::as_ref))
    };
    let row = tx.state.usage().row(&placement.node_id).ok_or(Misfit::NodeGone)?;
    fits(row, &asked)?;
    let hands_over = handing_over.is_some();
    if let Some(previous) = &previous {
        let mut old = (**previous).clone();
        if !old.handed_over || !tx.knows_deployments() {
            old.next = Some(placement.alloc_id);
        }
        old.handed_over |= hands_over;
        tx.put_alloc(old, false);
    }
    let mut alloc = new_alloc(plan, job, placement);
    alloc.deployment_id = active(tx, plan, placement.deployment);
    tx.claim_volumes(&alloc, &volumes);
    tx.put_alloc(alloc, true);
    if let Some(previous) = previous.filter(|_| hands_over)
        && !(previous.usage.fits_in(placement.usage)
            && previous.ports == placement.ports
            && previous.cores == placement.cores
            && taken_over.iter().all(|old| volumes.iter().any(|new| new.source == old.source)))
        && let Some(node) = tx.state.node(&placement.node_id)
    {
        // What the successor does not need is free for others.
        tx.changes.freed.insert(node.id, node.computed_class);
    }
    Ok(())
}

fn new_alloc(plan: &Plan, job: &Arc<Job>, placement: &Placement) -> Allocation {
    Allocation {
        id: placement.alloc_id,
        job: Arc::clone(job),
        group: placement.group,
        index: placement.index,
        node_id: placement.node_id,
        eval_id: plan.eval_id,
        usage: placement.usage,
        ports: placement.ports.clone(),
        cores: placement.cores.clone(),
        oversubscribed: placement.oversubscribed,
        desired: DesiredStatus::Run,
        stop_reason: None,
        handed_over: false,
        transition: Transition::default(),
        client_status: ClientStatus::Pending,
        tasks: Arc::default(),
        previous: placement.previous,
        next: None,
        deployment_id: None,
        health: None,
        reschedules: Arc::clone(&placement.reschedules),
        followup_eval: None,
        scores: Arc::clone(&placement.scores),
        create_index: StateIndex::default(),
        modify_index: StateIndex::default(),
        alloc_modify_index: StateIndex::default(),
        create_time: orch_model::Timestamp::NONE,
        modify_time: orch_model::Timestamp::NONE,
    }
}
