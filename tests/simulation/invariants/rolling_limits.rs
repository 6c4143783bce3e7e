//! A plan that replaces what serves leaves so many serving as the job's update says.

use std::collections::BTreeSet;

use orch_model::allocation::{ClientStatus, StopReason};
use orch_model::job::{JobType, TaskGroup};
use orch_model::node::NodeStatus;
use orch_model::plan::Plan;
use orch_model::{AllocId, Allocation, Job};
use orch_state::State;

/// Checks a plan on the state that it was made from: what fails or is lost meanwhile is no decision of a scheduler.
pub(crate) fn check(state: &State, plan: &Plan) {
    let Some(job) = state.job(&plan.job.job).filter(|job| job.kind() == Some(JobType::Service)) else { return };
    for group in &job.task_groups {
        check_group(state, plan, job, group);
    }
}

fn check_group(state: &State, plan: &Plan, job: &Job, group: &TaskGroup) {
    let max_parallel = group.update.as_ref().map_or(0, |update| update.max_parallel());
    if max_parallel <= 0 {
        return;
    }
    let serving: Vec<_> = state
        .allocs_of_job(&job.key())
        .filter(|alloc| alloc.job.create_index == job.create_index && alloc.group_name() == group.name)
        .filter(|alloc| is_serving(state, alloc))
        .collect();
    let stop_of = |id: &AllocId| plan.stops.iter().find(|stop| stop.alloc_id == *id).map(|stop| stop.reason);
    if !serving.iter().any(|alloc| stop_of(&alloc.id) == Some(StopReason::Updated)) {
        return;
    }
    // What moves to another node is not held back by the update.
    let stay = |alloc: &Allocation| stop_of(&alloc.id).is_none_or(|reason| reason == StopReason::Migrating);
    let left: BTreeSet<_> = serving.iter().filter(|alloc| stay(alloc)).map(|alloc| alloc.index).collect();
    let least = group.count.saturating_sub(max_parallel);
    assert!(
        i64::try_from(left.len()).unwrap() >= least,
        "a plan for {}.{} leaves {left:?} serving of {:?}, and should leave {least}: {:#?}",
        job.id,
        group.name,
        serving.iter().map(|alloc| alloc.index).collect::<Vec<_>>(),
        plan.stops
    );
}

/// Whether an allocation serves: it runs on a node in contact, and is well as far as a deployment wants to know.
fn is_serving(state: &State, alloc: &Allocation) -> bool {
    let in_contact = state.node(&alloc.node_id).is_some_and(|node| node.status == NodeStatus::Ready);
    let is_well = alloc.deployment_id.is_none() || alloc.is_healthy();
    in_contact && is_well && alloc.client_status == ClientStatus::Running && !alloc.desired.is_stop()
}
