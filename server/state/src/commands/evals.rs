//! Commands about evaluations alone.

use orch_model::evaluation::{Evaluation, Trigger};
use orch_model::{EvalId, JobKey};
use serde::{Deserialize, Serialize};

use super::{Reply, requested_eval};
use crate::tx::Tx;

/// Look at a job afresh.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvaluateJob {
    /// The job.
    pub job: JobKey,
    /// The evaluation's id.
    pub eval_id: EvalId,
}

impl EvaluateJob {
    pub(crate) fn apply(&self, tx: &mut Tx<'_>) -> Reply {
        if let Some(eval) = tx.state.eval(&self.eval_id) {
            return Reply::Job { eval_id: Some(eval.id), job_modify_index: eval.job_modify_index };
        }
        let Some(job) = tx.state.job(&self.job).cloned() else {
            return Reply::not_found("job not found");
        };
        tx.put_eval(requested_eval(self.eval_id, &job, None, Trigger::JobRegister));
        Reply::Job { eval_id: Some(self.eval_id), job_modify_index: job.job_modify_index }
    }
}

/// Write evaluations as the leader's broker, workers and blocked list decided.
///
/// One that has ended meanwhile stays as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PutEvals {
    /// The evaluations; creation index and time in them are ignored.
    pub evals: Vec<Evaluation>,
}

impl PutEvals {
    pub(crate) fn apply(&self, tx: &mut Tx<'_>) -> Reply {
        for eval in &self.evals {
            tx.put_eval(eval.clone());
        }
        Reply::Done
    }
}
