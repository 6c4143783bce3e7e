//! How deployments stand by the state.

use orch_model::allocation::ClientStatus;
use orch_model::deployment::{Deployment, DeploymentStatus};
use orch_model::{Allocation, Nanos};
use orch_scheduler::reconcile::reschedule_due;
use orch_state::State;

use super::{Remedy, Standing, Unhealthy};

/// How `deployment` stands by `state`.
pub fn observe(state: &State, deployment: &Deployment) -> Standing {
    let unhealthy = if deployment.status == DeploymentStatus::Running {
        let allocs = state.allocs_of_deployment(&deployment.id).filter(|alloc| is_unhealthy(alloc));
        allocs.map(|alloc| Unhealthy { id: alloc.id, remedy: remedy(deployment, alloc) }).collect()
    } else {
        Vec::new()
    };
    Standing::new(deployment, unhealthy)
}

/// Whether a deployment cannot count on an allocation that nothing has replaced yet.
///
/// One that failed counts whatever was said of it before: its client may have died before it could say more.
fn is_unhealthy(alloc: &Allocation) -> bool {
    let said = alloc.health.is_some_and(|health| !health.healthy);
    !alloc.desired.is_stop() && alloc.next.is_none() && (said || alloc.client_status == ClientStatus::Failed)
}

fn remedy(deployment: &Deployment, alloc: &Allocation) -> Remedy {
    let rollout = deployment.groups.get(alloc.group_name());
    if rollout.is_some_and(|rollout| rollout.progress_deadline <= Nanos::ZERO) {
        return Remedy::None;
    }
    let policy = alloc.task_group().and_then(|group| group.reschedule_policy.as_ref());
    match policy.and_then(|policy| reschedule_due(policy, alloc)) {
        None => Remedy::None,
        Some(_) if alloc.transition.reschedule || alloc.client_status != ClientStatus::Failed => Remedy::Wait,
        Some(due) => Remedy::Replace(due),
    }
}
