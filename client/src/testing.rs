//! Small valid allocations for this crate's tests.

use std::sync::Arc;

use orch_model::allocation::{ClientStatus, DesiredStatus, Transition};
use orch_model::units::Usage;
use orch_model::{AllocId, Allocation, EvalId, Job, NodeId, StateIndex, Timestamp};
use uuid::Uuid;

/// Allocation number `number` of the job's first group.
pub(crate) fn alloc(number: u128, job: &Arc<Job>) -> Allocation {
    Allocation {
        id: AllocId::from_uuid(Uuid::from_u128(number)),
        job: Arc::clone(job),
        group: 0,
        index: 0,
        node_id: NodeId::default(),
        eval_id: EvalId::default(),
        usage: Usage::default(),
        ports: [].into_iter().collect(),
        desired: DesiredStatus::Run,
        stop_reason: None,
        handed_over: false,
        transition: Transition::default(),
        client_status: ClientStatus::Pending,
        tasks: [].into(),
        previous: None,
        next: None,
        deployment_id: None,
        followup_eval: None,
        scores: [].into(),
        create_index: StateIndex(1),
        modify_index: StateIndex(1),
        alloc_modify_index: StateIndex(1),
        create_time: Timestamp(1),
        modify_time: Timestamp(1),
    }
}
