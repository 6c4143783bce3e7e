//! Stopping one allocation by hand.

use orch_model::allocation::{DesiredStatus, StopReason};
use orch_model::evaluation::Trigger;
use orch_model::{AllocId, EvalId};
use serde::{Deserialize, Serialize};

use super::Reply;
use crate::tx::Tx;

/// Stop an allocation; the evaluation that follows places another if the job still wants it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopAlloc {
    /// The allocation.
    pub alloc_id: AllocId,
    /// Whether its shutdown delay is skipped.
    pub no_shutdown_delay: bool,
    /// The evaluation that follows.
    pub eval_id: EvalId,
}

impl StopAlloc {
    pub(crate) fn apply(&self, tx: &mut Tx<'_>) -> Reply {
        if tx.state.eval(&self.eval_id).is_some() {
            return Reply::Evals { eval_ids: vec![self.eval_id] };
        }
        let Some(old) = tx.state.alloc(&self.alloc_id).cloned() else {
            return Reply::not_found("alloc not found");
        };
        let mut alloc = (*old).clone();
        if !alloc.desired.is_stop() {
            alloc.desired = DesiredStatus::Stop;
            alloc.stop_reason = Some(StopReason::StoppedByUser);
            alloc.transition.no_shutdown_delay = self.no_shutdown_delay;
            tx.put_alloc(alloc, true);
            tx.move_placed_index(&old.job_key());
        }
        let eval = super::requested_eval(self.eval_id, &old.job, None, Trigger::AllocStop);
        tx.put_eval(eval);
        Reply::Evals { eval_ids: vec![self.eval_id] }
    }
}
