//! Going back to an earlier version of a job, and saying which versions are stable.

use orch_model::diff::same_spec;
use orch_model::evaluation::Trigger;
use orch_model::{EvalId, Job, JobKey, JobVersionKey};
use serde::{Deserialize, Serialize};

use super::change_deployment::going_back;
use super::{Reply, requested_eval, write_version};
use crate::tx::Tx;

/// Say whether a version of a job is stable: one that a failed deployment may go back to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetJobStability {
    /// The job.
    pub key: JobKey,
    /// Which version.
    pub version: u64,
    /// Whether it is stable.
    pub stable: bool,
}

impl SetJobStability {
    pub(crate) fn apply(&self, tx: &mut Tx<'_>) -> Reply {
        let Some(job) = tx.state.job(&self.key).cloned() else {
            return Reply::not_found("job not found");
        };
        if tx.set_stable(&version_key(&job, self.version), self.stable) {
            Reply::Done
        } else {
            Reply::not_found(format!("job {} has no version {}", self.key, self.version))
        }
    }
}

/// Write what an earlier version of a job says as a new version, which runs even if the job or that version was stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevertJob {
    /// The job.
    pub key: JobKey,
    /// The version to go back to.
    pub to_version: u64,
    /// Only if this is the current version.
    #[serde(default)]
    pub enforce_prior: Option<u64>,
    /// The evaluation that follows.
    pub eval_id: EvalId,
}

impl RevertJob {
    pub(crate) fn apply(&self, tx: &mut Tx<'_>) -> Reply {
        if let Some(eval) = tx.state.eval(&self.eval_id) {
            return Reply::Job { eval_id: Some(eval.id), job_modify_index: eval.job_modify_index };
        }
        if tx.state.meta.scheduler.reject_job_registration {
            return Reply::registration_disabled();
        }
        let Some(current) = tx.state.job(&self.key).cloned() else {
            return Reply::not_found("job not found");
        };
        if let Some(wanted) = self.enforce_prior.filter(|wanted| *wanted != current.version) {
            return Reply::conflict(format!("Current job has version {}; enforcing version {wanted}", current.version));
        }
        if self.to_version == current.version {
            return Reply::invalid("can't revert to current version");
        }
        let version = version_key(&current, self.to_version);
        let Some(earlier) = tx.state.job_version(&version).cloned() else {
            return Reply::not_found(format!("job {} at version {} not found", self.key, self.to_version));
        };
        let wanted = going_back(&earlier);
        let job = if same_spec(&current, &wanted) {
            current
        } else {
            let submission = tx.state.submission(&version).cloned();
            write_version(tx, wanted, submission)
        };
        tx.put_eval(requested_eval(self.eval_id, &job, None, Trigger::JobRegister));
        Reply::Job { eval_id: Some(self.eval_id), job_modify_index: job.job_modify_index }
    }
}

fn version_key(job: &Job, version: u64) -> JobVersionKey {
    JobVersionKey { version, ..job.version_key() }
}
