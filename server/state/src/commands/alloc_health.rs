//! Saying by hand whether allocations of a deployment are well, and having failed ones placed again.

use std::collections::BTreeMap;

use orch_model::allocation::{AllocHealth, ClientStatus};
use orch_model::evaluation::Trigger;
use orch_model::{AllocId, DeploymentId, EvalId, JobKey};
use serde::{Deserialize, Serialize};

use super::{Reply, requested_eval};
use crate::tx::Tx;

/// Say by hand whether allocations of a deployment are well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAllocHealth {
    /// The deployment.
    pub deployment: DeploymentId,
    /// Allocations that are well.
    pub healthy: Vec<AllocId>,
    /// Allocations that are not.
    pub unhealthy: Vec<AllocId>,
    /// The evaluation that follows.
    pub eval_id: EvalId,
}

impl SetAllocHealth {
    pub(crate) fn apply(&self, tx: &mut Tx<'_>) -> Reply {
        let Some(deployment) = tx.state.deployment(&self.deployment).cloned() else {
            return Reply::not_found("deployment not found");
        };
        let modify_index = deployment.modify_index;
        if tx.state.eval(&self.eval_id).is_some() {
            return Reply::Deployment { eval_id: Some(self.eval_id), modify_index, reverted_to: None };
        }
        if !deployment.is_active() {
            return Reply::invalid("can't set health of allocations for a terminal deployment");
        }
        let named: BTreeMap<_, _> =
            (self.healthy.iter().map(|id| (*id, true))).chain(self.unhealthy.iter().map(|id| (*id, false))).collect();
        if named.len() < self.healthy.len() + self.unhealthy.len() {
            return Reply::invalid("an allocation is named twice: it is either healthy or unhealthy");
        }
        let is_of =
            |id: &&AllocId| tx.state.alloc(id).is_some_and(|alloc| alloc.deployment_id == Some(self.deployment));
        if let Some(foreign) = named.keys().find(|id| !is_of(id)) {
            return Reply::invalid(format!("allocation {foreign} is not part of deployment {}", self.deployment));
        }
        for (id, healthy) in named {
            let Some(old) = tx.state.alloc(&id).cloned() else { continue };
            let mut alloc = (*old).clone();
            if set_health(tx, &mut alloc, healthy) {
                tx.put_alloc(alloc, false);
            }
        }
        let job = tx.state.job(deployment.job_key()).cloned();
        let eval_id = job.map(|job| {
            let mut eval = requested_eval(self.eval_id, &job, None, Trigger::DeploymentWatcher);
            eval.deployment_id = Some(self.deployment);
            tx.put_eval(eval);
            self.eval_id
        });
        let modify_index = tx.state.deployment(&self.deployment).map_or(modify_index, |now| now.modify_index);
        Reply::Deployment { eval_id, modify_index, reverted_to: None }
    }
}

/// Notes whether an allocation is well, as of this entry; says whether that is news.
pub(super) fn set_health(tx: &Tx<'_>, alloc: &mut orch_model::Allocation, healthy: bool) -> bool {
    if alloc.health.is_some_and(|health| health.healthy == healthy) {
        return false;
    }
    alloc.health = Some(AllocHealth { healthy, at: tx.now, index: tx.index });
    true
}

/// Have failed allocations placed again, although their deployment or their policy would have them wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RescheduleAllocs {
    /// Allocations that failed; others are passed over.
    pub allocs: Vec<AllocId>,
    /// Where ids of evaluations come from.
    pub evals_seed: u64,
    /// What the evaluations are for.
    pub trigger: Trigger,
}

impl RescheduleAllocs {
    pub(crate) fn apply(&self, tx: &mut Tx<'_>) -> Reply {
        let mut jobs: BTreeMap<JobKey, Trigger> = BTreeMap::new();
        for id in &self.allocs {
            let Some(old) = tx.state.alloc(id).cloned() else { continue };
            if old.client_status != ClientStatus::Failed || old.desired.is_stop() || old.next.is_some() {
                continue;
            }
            jobs.insert(old.job_key(), self.trigger);
            if !old.transition.reschedule {
                let mut alloc = (*old).clone();
                alloc.transition.reschedule = true;
                tx.put_alloc(alloc, false);
            }
        }
        let eval_ids = tx.add_evals(jobs, None, self.evals_seed);
        Reply::Evals { eval_ids }
    }
}
