//! Taking over what clients say about their allocations.

use std::collections::{BTreeMap, BTreeSet};

use orch_model::allocation::{AllocUpdate, ClientStatus};
use orch_model::evaluation::Trigger;
use orch_model::job::JobType;
use orch_model::{Allocation, JobKey, NodeId};
use serde::{Deserialize, Serialize};

use super::Reply;
use super::alloc_health::set_health;
use crate::tx::Tx;

/// Take over what clients say about their allocations.
///
/// A client's final word wins over what the servers supposed; what was written off never counts as running again. An
/// allocation that ended has its job looked at in the same entry, so no failure is forgotten between two entries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UpdateAllocs {
    /// What they say, each for the node that says it.
    pub updates: Vec<(NodeId, AllocUpdate)>,
    /// Where ids of evaluations come from.
    pub seed: u64,
}

impl UpdateAllocs {
    pub(crate) fn apply(&self, tx: &mut Tx<'_>) -> Reply {
        let mut jobs: BTreeMap<JobKey, Trigger> = BTreeMap::new();
        let mut nodes: BTreeSet<NodeId> = BTreeSet::new();
        for (node, update) in &self.updates {
            let Some((key, trigger)) = take_over(tx, node, update) else { continue };
            nodes.insert(*node);
            if let Some(trigger) = trigger {
                jobs.insert(key, trigger);
            }
        }
        if tx.knows_deployments() {
            nodes.iter().for_each(|node| tx.note_alloc_update(node));
        }
        let eval_ids = tx.add_evals(jobs, None, self.seed);
        Reply::Evals { eval_ids }
    }
}

/// Takes over one update; `None` if it says nothing new. Answers why the job must be looked at, if it must.
///
/// One that comes late, after the allocation has ended or was written off, says nothing about its tasks either. What it
/// says of the allocation's health only counts in its deployment; who watches that has the job looked at.
fn take_over(tx: &mut Tx<'_>, node: &NodeId, update: &AllocUpdate) -> Option<(JobKey, Option<Trigger>)> {
    let old = tx.state.alloc(&update.id).filter(|alloc| alloc.node_id == *node).cloned()?;
    if !old.client_status.can_become(update.client_status) {
        return None;
    }
    let mut alloc = (*old).clone();
    alloc.tasks = update.tasks.clone();
    alloc.client_status = update.client_status;
    let health_moved = update.health.is_some_and(|healthy| set_health(tx, &mut alloc, healthy));
    if alloc.client_status == old.client_status && alloc.tasks == old.tasks && !health_moved {
        return None;
    }
    let trigger = follow_up(&old, &alloc).or_else(|| ended_for_newer(tx, &old, &alloc).then_some(Trigger::AllocStop));
    let key = alloc.job_key();
    tx.put_alloc(alloc, false);
    Some((key, trigger))
}

/// Whether the allocation has ended while its job wants another version, which may have waited for its name.
fn ended_for_newer(tx: &Tx<'_>, old: &Allocation, new: &Allocation) -> bool {
    let has_ended = new.client_status.is_terminal() && !old.client_status.is_terminal() && !new.desired.is_stop();
    let is_outdated = |job: &orch_model::Job| !job.stop && job.version_key() != new.job.version_key();
    tx.knows_deployments() && has_ended && tx.state.job(&new.job_key()).is_some_and(|job| is_outdated(job))
}

/// Why the job must be looked at now that an allocation went from `old` to `new`.
fn follow_up(old: &Allocation, new: &Allocation) -> Option<Trigger> {
    if old.client_status == ClientStatus::Unknown && !new.client_status.is_terminal() {
        return Some(Trigger::Reconnect);
    }
    if !new.client_status.is_terminal() || old.client_status.is_terminal() || new.desired.is_stop() {
        return None;
    }
    match (new.client_status, new.job.kind()) {
        (ClientStatus::Complete, Some(JobType::Batch | JobType::Sysbatch)) => None,
        (ClientStatus::Complete, Some(JobType::Service | JobType::System) | None) => Some(Trigger::AllocStop),
        (ClientStatus::Failed | ClientStatus::Lost, _) => Some(Trigger::AllocFailure),
        (ClientStatus::Pending | ClientStatus::Running | ClientStatus::Unknown, _) => None,
    }
}
