//! The commands of the log; one file each: what it carries, how it applies, its tests.

use orch_model::evaluation::Evaluation;
use orch_model::ids::EvalId;
use orch_model::plan::PlanResult;
use serde::{Deserialize, Serialize};

mod apply_plans;
mod cluster;
mod deregister_job;
mod evals;
mod nodes;
mod reap;
mod register_job;
mod register_node;
mod scheduler_config;
mod stop_alloc;
mod update_allocs;

#[cfg(test)]
mod tests;

pub use apply_plans::ApplyPlans;
pub use cluster::{FormCluster, RaiseVersion};
pub use deregister_job::DeregisterJob;
pub use evals::{EvaluateJob, PutEvals};
pub use nodes::{EvaluateNode, NodeTransition, NodeTransitions, PurgeNode, SetEligibility};
pub use reap::Reap;
pub use register_job::RegisterJob;
pub use register_node::{DescribeNode, RegisterNode};
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

    /// The answer that it is not allowed.
    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::Rejected(Rejection { kind: RejectionKind::Forbidden, message: message.into() })
    }
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
