//! Forgetting what has ended.

use orch_model::allocation::ClientStatus;
use orch_model::deployment::DeploymentStatus;
use orch_model::job::{JobStatus, JobType};
use orch_model::node::NodeStatus;
use orch_model::{AllocId, Allocation, Deployment, DeploymentId, EvalId, JobKey, NodeId};
use serde::{Deserialize, Serialize};

use super::Reply;
use crate::state::State;
use crate::tx::Tx;

/// Forget what has ended. The leader names the ids; whether each may go is checked again here.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Reap {
    /// Evaluations that ended and whose allocations have gone, or go with them.
    pub evals: Vec<EvalId>,
    /// Allocations that are terminal on both sides.
    pub allocs: Vec<AllocId>,
    /// Jobs that are dead.
    pub jobs: Vec<JobKey>,
    /// Nodes that are down and hold nothing.
    pub nodes: Vec<NodeId>,
    /// Deployments that ended and of which nothing runs.
    pub deployments: Vec<DeploymentId>,
}

impl Reap {
    pub(crate) fn apply(&self, tx: &mut Tx<'_>) -> Reply {
        for id in &self.allocs {
            let may_go = tx.state.alloc(id).is_some_and(|alloc| {
                alloc.is_client_terminal() && (!tx.knows_deployments() || tx.state.may_forget_alloc(alloc))
            });
            if may_go {
                tx.remove_alloc(id);
            }
        }
        for id in &self.evals {
            if tx.state.eval(id).is_some_and(|eval| eval.status.is_terminal()) {
                tx.remove_eval(id);
            }
        }
        for key in &self.jobs {
            let idle = tx.state.evals_of_job(key).all(|eval| eval.status.is_terminal())
                && tx.state.allocs_of_job(key).all(|alloc| alloc.is_terminal())
                && tx.state.active_deployment(key).is_none();
            if idle {
                let evals: Vec<_> = tx.state.evals_of_job(key).map(|eval| eval.id).collect();
                tx.remove_job(key);
                evals.iter().for_each(|id| tx.remove_eval(id));
            }
        }
        for id in &self.nodes {
            let down = tx.state.node(id).is_some_and(|node| node.status == NodeStatus::Down);
            if down && tx.state.allocs_of_node(id).all(|alloc| alloc.is_client_terminal()) {
                tx.remove_node(id);
            }
        }
        for id in &self.deployments {
            if tx.state.deployment(id).is_some_and(|deployment| tx.state.may_forget_deployment(deployment)) {
                tx.remove_deployment(id);
            }
        }
        Reply::Done
    }
}

impl State {
    /// Whether nothing looks at an allocation any more: it has ended, and no decision about its job depends on it.
    ///
    /// What a batch job completed is kept while the job is wanted, or it would run again. A service allocation that
    /// failed is kept while it stands for an instance: until it is replaced, or its policy counts its attempts anew.
    pub fn may_forget_alloc(&self, alloc: &Allocation) -> bool {
        if !alloc.is_client_terminal() {
            return false;
        }
        let Some(row) = self.job_row(&alloc.job_key()) else { return true };
        if row.job.create_index != alloc.job.create_index || row.job.stop {
            return true;
        }
        if alloc.deployment_id.is_some() && alloc.deployment_id == row.active_deployment {
            return false;
        }
        match alloc.job.kind() {
            Some(JobType::Batch | JobType::Sysbatch) => alloc.job.version != row.job.version,
            Some(JobType::Service | JobType::System) | None => {
                let is_dead = row.job.status == JobStatus::Dead && row.live_evals == 0;
                is_dead || alloc.desired.is_stop() || alloc.next.is_some() || !self.stands_for_an_instance(alloc)
            }
        }
    }

    /// Whether a service allocation that ended by itself keeps another from being placed in its stead.
    fn stands_for_an_instance(&self, alloc: &Allocation) -> bool {
        if alloc.client_status != ClientStatus::Failed {
            return false;
        }
        let policy = alloc.task_group().and_then(|group| group.reschedule_policy.as_ref());
        let counts_anew = policy.is_some_and(|policy| {
            !policy.unlimited() && policy.attempts() > 0 && self.now().since(alloc.modify_time) > policy.interval()
        });
        !counts_anew
    }

    /// Whether a deployment has ended and nothing that it placed runs any more.
    ///
    /// One that failed is kept while its version is the job's: without it, that version would be rolled out again.
    pub fn may_forget_deployment(&self, deployment: &Deployment) -> bool {
        let is_current = self.job(deployment.job_key()).is_some_and(|job| job.version_key() == deployment.job);
        let holds = is_current && deployment.status == DeploymentStatus::Failed;
        let mut allocs = self.allocs_of_deployment(&deployment.id);
        !deployment.is_active() && !holds && allocs.all(|alloc| alloc.is_terminal())
    }
}
