//! The commands of the log; one file each: what it carries, how it applies, its tests.

use std::sync::Arc;

use orch_model::Job;
use orch_model::evaluation::Evaluation;
use orch_model::ids::EvalId;
use orch_model::plan::PlanResult;
use serde::{Deserialize, Serialize};

use crate::row::Submission;
use crate::tx::Tx;

mod alloc_health;
mod apply_plans;
mod change_deployment;
mod check_digest;
mod cluster;
mod deregister_job;
mod evals;
mod host_volumes;
mod job_versions;
mod nodes;
mod reap;
mod register_job;
mod register_node;
mod scale_job;
mod scheduler_config;
mod stop_alloc;
mod update_allocs;

#[cfg(test)]
mod tests;

pub use alloc_health::{RescheduleAllocs, SetAllocHealth};
pub use apply_plans::ApplyPlans;
pub use change_deployment::{ChangeDeployment, DeploymentChange, DeploymentFailure};
pub use check_digest::CheckDigest;
pub use cluster::{FormCluster, RaiseVersion};
pub use deregister_job::DeregisterJob;
pub use evals::{EvaluateJob, PutEvals};
pub use host_volumes::{DeleteHostVolume, DeleteStep, DeleteVolumeClaim, PutHostVolume};
pub use job_versions::{RevertJob, SetJobStability};
pub use nodes::{EvaluateNode, NodeTransition, NodeTransitions, PurgeNode, SetEligibility};
pub use reap::Reap;
pub use register_job::RegisterJob;
pub use register_node::{DescribeNode, RegisterNode};
pub use scale_job::ScaleJob;
pub use scheduler_config::SetSchedulerConfig;
pub use stop_alloc::StopAlloc;
pub use update_allocs::UpdateAllocs;

/// A change of the state.
///
/// Ids that a command mints are in it, chosen by the proposer: a command that is delivered twice is answered as the
/// first time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// The first entry of a cluster.
    FormCluster(FormCluster),
    /// Write a version of a job.
    RegisterJob(Box<RegisterJob>),
    /// Stop a job, or forget it.
    DeregisterJob(DeregisterJob),
    /// Look at a job afresh.
    EvaluateJob(EvaluateJob),
    /// A client opened a session.
    RegisterNode(RegisterNode),
    /// A client described itself anew.
    DescribeNode(DescribeNode),
    /// Nodes fell silent.
    NodeTransitions(NodeTransitions),
    /// Let the scheduler use a node, or not.
    SetEligibility(SetEligibility),
    /// Look afresh at all jobs on a node.
    EvaluateNode(EvaluateNode),
    /// Forget a node.
    PurgeNode(PurgeNode),
    /// Commit what schedulers planned.
    ApplyPlans(ApplyPlans),
    /// Take over what clients say about their allocations.
    UpdateAllocs(UpdateAllocs),
    /// Stop an allocation.
    StopAlloc(StopAlloc),
    /// Write evaluations.
    PutEvals(PutEvals),
    /// Forget what has ended.
    Reap(Reap),
    /// Change how the scheduler behaves.
    SetSchedulerConfig(SetSchedulerConfig),
    /// Every member runs this version at least.
    RaiseVersion(RaiseVersion),
    /// Pause, resume, promote or end a deployment.
    ChangeDeployment(ChangeDeployment),
    /// Say by hand whether allocations of a deployment are well.
    SetAllocHealth(SetAllocHealth),
    /// Have failed allocations placed again.
    RescheduleAllocs(RescheduleAllocs),
    /// Say whether a version of a job is stable.
    SetJobStability(SetJobStability),
    /// Go back to an earlier version of a job.
    RevertJob(RevertJob),
    /// Change the count of a group.
    ScaleJob(ScaleJob),
    /// Compare the digest of the state with the leader's.
    CheckDigest(CheckDigest),
    /// Write a dynamic host volume.
    PutHostVolume(Box<PutHostVolume>),
    /// Remove a dynamic host volume, in steps.
    DeleteHostVolume(DeleteHostVolume),
    /// Forget a claim on a host volume.
    DeleteVolumeClaim(DeleteVolumeClaim),
}

impl Command {
    /// The command's name, for logs and metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::FormCluster(_) => "form_cluster",
            Self::RegisterJob(_) => "register_job",
            Self::DeregisterJob(_) => "deregister_job",
            Self::EvaluateJob(_) => "evaluate_job",
            Self::RegisterNode(_) => "register_node",
            Self::DescribeNode(_) => "describe_node",
            Self::NodeTransitions(_) => "node_transitions",
            Self::SetEligibility(_) => "set_eligibility",
            Self::EvaluateNode(_) => "evaluate_node",
            Self::PurgeNode(_) => "purge_node",
            Self::ApplyPlans(_) => "apply_plans",
            Self::UpdateAllocs(_) => "update_allocs",
            Self::StopAlloc(_) => "stop_alloc",
            Self::PutEvals(_) => "put_evals",
            Self::Reap(_) => "reap",
            Self::SetSchedulerConfig(_) => "set_scheduler_config",
            Self::RaiseVersion(_) => "raise_version",
            Self::ChangeDeployment(_) => "change_deployment",
            Self::SetAllocHealth(_) => "set_alloc_health",
            Self::RescheduleAllocs(_) => "reschedule_allocs",
            Self::SetJobStability(_) => "set_job_stability",
            Self::RevertJob(_) => "revert_job",
            Self::ScaleJob(_) => "scale_job",
            Self::CheckDigest(_) => "check_digest",
            Self::PutHostVolume(_) => "put_host_volume",
            Self::DeleteHostVolume(_) => "delete_host_volume",
            Self::DeleteVolumeClaim(_) => "delete_volume_claim",
        }
    }
}

/// The answer to a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// It was done.
    Done,
    /// A job was written, stopped or looked at.
    Job {
        /// The evaluation that follows from it.
        eval_id: Option<EvalId>,
        /// When the job was last written.
        job_modify_index: orch_model::StateIndex,
    },
    /// Something was written that has these evaluations follow.
    Evals {
        /// The evaluations.
        eval_ids: Vec<EvalId>,
    },
    /// A session was opened.
    Session {
        /// Its epoch: reports about older ones are ignored.
        epoch: u64,
    },
    /// A deployment was changed.
    Deployment {
        /// The evaluation that follows from it.
        eval_id: Option<EvalId>,
        /// When the deployment was last written.
        modify_index: orch_model::StateIndex,
        /// The version that its job went back to.
        reverted_to: Option<u64>,
    },
    /// What became of each plan.
    Plans(Vec<PlanResult>),
    /// It was not done.
    Rejected(Rejection),
}

/// Why a command was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Rejection {
    /// What kind of refusal it is.
    pub kind: RejectionKind,
    /// Why, in a sentence.
    pub message: String,
}

/// What kind of refusal it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RejectionKind {
    /// What it names is not there.
    NotFound,
    /// What it says is not valid.
    Invalid,
    /// The state has moved on from what it expects.
    Conflict,
    /// It is not allowed.
    Forbidden,
    /// There is too much of it already.
    TooMany,
}

impl Reply {
    /// The answer that something is not there.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::Rejected(Rejection { kind: RejectionKind::NotFound, message: message.into() })
    }

    /// The answer that the state has moved on.
    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::Rejected(Rejection { kind: RejectionKind::Conflict, message: message.into() })
    }

    /// The answer that what it says is not valid.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::Rejected(Rejection { kind: RejectionKind::Invalid, message: message.into() })
    }

    /// The answer that the operator lets nobody write jobs.
    pub(crate) fn registration_disabled() -> Self {
        Self::forbidden("Job registration, dispatch, and scale are disabled by the scheduler configuration")
    }

    /// The answer that it is not allowed.
    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::Rejected(Rejection { kind: RejectionKind::Forbidden, message: message.into() })
    }
}

/// The most instances that a group may want, whatever an agent's own limit says.
pub const MAX_GROUP_COUNT: u32 = 1_000_000;

/// Why a job is too much for any scheduler, if it is.
fn count_refusal(job: &Job) -> Option<String> {
    let group = job.task_groups.iter().find(|group| group.count > i64::from(MAX_GROUP_COUNT))?;
    Some(format!("group {:?} wants {} instances, more than {MAX_GROUP_COUNT}", group.name, group.count))
}

/// Writes `job` as the next version of what is there, or as the first, with the text that it was made from.
fn write_version(tx: &mut Tx<'_>, mut job: Job, submission: Option<Arc<Submission>>) -> Arc<Job> {
    let key = job.key();
    job.job_modify_index = tx.index;
    job.submit_time = tx.now;
    job.stable = false;
    job.status_description.clear();
    (job.create_index, job.version) = match tx.state.job(&key) {
        Some(current) => (current.create_index, current.version.saturating_add(1)),
        None => (tx.index, 0),
    };
    let version = job.version_key();
    tx.put_job(job);
    if let Some(submission) = submission {
        tx.state.submissions.insert(version, submission);
    }
    tx.state.job(&key).cloned().expect("the job was written a line above")
}

/// The evaluation that a command asks for, by the id its proposer minted.
fn requested_eval(
    id: EvalId,
    job: &orch_model::Job,
    priority: Option<u16>,
    trigger: orch_model::evaluation::Trigger,
) -> Evaluation {
    let priority = priority.unwrap_or_else(|| u16::try_from(job.priority).unwrap_or_default());
    let kind = job.kind().unwrap_or(orch_model::job::JobType::Service);
    let mut eval = Evaluation::new(id, &job.key(), priority, kind, trigger);
    eval.job_modify_index = job.job_modify_index;
    eval
}
