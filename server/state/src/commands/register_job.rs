//! Writing a version of a job.

use std::sync::Arc;

use orch_model::diff::same_spec;
use orch_model::evaluation::Trigger;
use orch_model::{EvalId, Job, StateIndex};
use serde::{Deserialize, Serialize};

use super::{Reply, count_refusal, requested_eval, write_version};
use crate::row::Submission;
use crate::tx::Tx;

/// Write a version of a job, which admission has completed and accepted.
///
/// A job that says what the current version says makes no new version, only an evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RegisterJob {
    /// The job; indexes, version and status in it are ignored.
    pub job: Job,
    /// The evaluation that follows.
    pub eval_id: EvalId,
    /// Its priority, if not the job's.
    #[serde(default)]
    pub eval_priority: Option<u16>,
    /// Only if the job was last written at this index; 0 means only if there is none.
    #[serde(default)]
    pub enforce_index: Option<StateIndex>,
    /// The text it was made from.
    #[serde(default)]
    pub submission: Option<Submission>,
}

impl RegisterJob {
    pub(crate) fn apply(&self, tx: &mut Tx<'_>) -> Reply {
        if let Some(eval) = tx.state.eval(&self.eval_id) {
            return Reply::Job { eval_id: Some(eval.id), job_modify_index: eval.job_modify_index };
        }
        if tx.state.meta.scheduler.reject_job_registration {
            return Reply::registration_disabled();
        }
        if let Some(message) = count_refusal(&self.job).filter(|_| tx.knows_deployments()) {
            return Reply::invalid(message);
        }
        let key = self.job.key();
        let current = tx.state.job(&key).cloned();
        if let Some(message) = self.index_conflict(current.as_deref()) {
            return Reply::conflict(message);
        }
        let job = match current {
            Some(current) if same_spec(&current, &self.job) => current,
            Some(_) | None => write_version(tx, self.job.clone(), self.submission.clone().map(Arc::new)),
        };
        tx.put_eval(requested_eval(self.eval_id, &job, self.eval_priority, Trigger::JobRegister));
        Reply::Job { eval_id: Some(self.eval_id), job_modify_index: job.job_modify_index }
    }

    fn index_conflict(&self, current: Option<&Job>) -> Option<String> {
        let wanted = self.enforce_index?;
        let start = format!("Enforcing job modify index {wanted}:");
        match current {
            Some(_) if wanted == StateIndex(0) => Some(format!("{start} job already exists")),
            Some(job) if job.job_modify_index != wanted => {
                Some(format!("{start} job exists with conflicting job modify index: {}", job.job_modify_index))
            }
            None if wanted != StateIndex(0) => Some(format!("{start} job does not exist")),
            Some(_) | None => None,
        }
    }
}
