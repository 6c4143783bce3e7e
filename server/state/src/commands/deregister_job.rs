//! Stopping a job, or forgetting it.

use orch_model::evaluation::Trigger;
use orch_model::{EvalId, JobKey, StateIndex};
use serde::{Deserialize, Serialize};

use super::{Reply, requested_eval};
use crate::tx::Tx;

/// Stop a job; with `purge`, forget it as well. Its allocations are stopped by the evaluation that follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeregisterJob {
    /// The job.
    pub job: JobKey,
    /// Whether it is forgotten.
    pub purge: bool,
    /// The evaluation that follows.
    pub eval_id: EvalId,
    /// Its priority, if not the job's.
    #[serde(default)]
    pub eval_priority: Option<u16>,
}

impl DeregisterJob {
    pub(crate) fn apply(&self, tx: &mut Tx<'_>) -> Reply {
        if let Some(eval) = tx.state.eval(&self.eval_id) {
            return Reply::Job { eval_id: Some(eval.id), job_modify_index: eval.job_modify_index };
        }
        let Some(job) = tx.state.job(&self.job).cloned() else {
            return Reply::not_found("job not found");
        };
        let mut eval = requested_eval(self.eval_id, &job, self.eval_priority, Trigger::JobDeregister);
        eval.job_modify_index = tx.index;
        if self.purge {
            tx.remove_job(&self.job);
        } else if !job.stop {
            let mut stopped = (*job).clone();
            stopped.stop = true;
            stopped.version = job.version.saturating_add(1);
            stopped.job_modify_index = tx.index;
            stopped.submit_time = tx.now;
            tx.put_job(stopped);
        } else {
            eval.job_modify_index = job.job_modify_index;
        }
        let job_modify_index: StateIndex = eval.job_modify_index;
        tx.put_eval(eval);
        Reply::Job { eval_id: Some(self.eval_id), job_modify_index }
    }
}
