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
    /// Whether its allocations skip their shutdown delay.
    #[serde(default)]
    pub no_shutdown_delay: bool,
}

impl DeregisterJob {
    pub(crate) fn apply(&self, tx: &mut Tx<'_>) -> Reply {
        if let Some(eval) = tx.state.eval(&self.eval_id) {
            return Reply::Job { eval_id: Some(eval.id), job_modify_index: eval.job_modify_index };
        }
        let Some(job) = tx.state.job(&self.job).cloned() else {
            return Reply::not_found("job not found");
        };
        if self.no_shutdown_delay {
            self.skip_shutdown_delays(tx);
        }
        let mut eval = requested_eval(self.eval_id, &job, self.eval_priority, Trigger::JobDeregister);
        eval.job_modify_index = tx.index;
        if self.purge {
            tx.remove_job(&self.job);
        } else if !job.stop {
            let mut stopped = (*job).clone();
            stopped.stop = true;
            stopped.stable = false;
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

    /// Has the job's allocations end without delay once they are told to stop.
    fn skip_shutdown_delays(&self, tx: &mut Tx<'_>) {
        let allocs: Vec<_> =
            tx.state.allocs_of_job(&self.job).filter(|alloc| !alloc.is_client_terminal()).cloned().collect();
        for alloc in allocs.iter().filter(|alloc| !alloc.transition.no_shutdown_delay) {
            let mut alloc = (**alloc).clone();
            alloc.transition.no_shutdown_delay = true;
            let is_told = alloc.desired.is_stop();
            tx.put_alloc(alloc, is_told);
        }
    }
}
