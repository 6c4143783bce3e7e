//! What the state keeps beside a job's current version.

use std::collections::BTreeMap;
use std::sync::Arc;

use orch_model::allocation::ClientStatus;
use orch_model::ids::PlanId;
use orch_model::job::JobStatus;
use orch_model::plan::PlanResult;
use orch_model::scaling::ScalingEvents;
use orch_model::{DeploymentId, Job, StateIndex};
use serde::{Deserialize, Serialize};

/// A job: its current version and what is counted about it.
#[derive(Debug, Clone, PartialEq)]
pub struct JobRow {
    /// The current version, its status kept true.
    pub job: Arc<Job>,
    /// Moved by plans, job writes and changes of desired state; a plan that saw another is stale.
    pub placed_index: StateIndex,
    /// The last plan and what became of it, for one that is delivered again.
    pub last_plan: Option<(PlanId, Arc<PlanResult>)>,
    /// Allocations that are not terminal.
    pub live_allocs: u32,
    /// Evaluations that have not ended.
    pub live_evals: u32,
    /// Whether it was ever evaluated.
    pub evaluated: bool,
    /// When an allocation of it last changed.
    pub allocs_index: StateIndex,
    /// When an evaluation of it last changed.
    pub evals_index: StateIndex,
    /// Counts per group.
    pub summary: Arc<BTreeMap<String, GroupSummary>>,
    /// When `summary` last changed.
    pub summary_index: StateIndex,
    /// Its deployment that has not ended.
    pub active_deployment: Option<DeploymentId>,
    /// When a deployment of it last changed.
    pub deployments_index: StateIndex,
    /// What was done about the count of its groups.
    pub scaling: Arc<ScalingEvents>,
    /// When `scaling` last changed.
    pub scaling_index: StateIndex,
}

impl JobRow {
    /// What has become of the job.
    pub fn derived_status(&self) -> JobStatus {
        if self.live_allocs > 0 || self.active_deployment.is_some() {
            JobStatus::Running
        } else if self.live_evals > 0 {
            JobStatus::Pending
        } else if self.job.stop || self.evaluated {
            JobStatus::Dead
        } else {
            JobStatus::Pending
        }
    }
}

/// How many allocations of a group are in which state; `failed`, `complete` and `lost` only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupSummary {
    /// Waiting to be placed, as the last evaluation saw it.
    pub queued: u32,
    /// Ended well.
    pub complete: u32,
    /// Ended badly.
    pub failed: u32,
    /// Running.
    pub running: u32,
    /// Placed, not yet running.
    pub starting: u32,
    /// On nodes that are gone.
    pub lost: u32,
    /// On nodes out of contact.
    pub unknown: u32,
}

impl GroupSummary {
    /// The count for allocations in `status`.
    pub(crate) fn of(&mut self, status: ClientStatus) -> &mut u32 {
        match status {
            ClientStatus::Pending => &mut self.starting,
            ClientStatus::Running => &mut self.running,
            ClientStatus::Complete => &mut self.complete,
            ClientStatus::Failed => &mut self.failed,
            ClientStatus::Lost => &mut self.lost,
            ClientStatus::Unknown => &mut self.unknown,
        }
    }
}

/// What a user handed in: the text that a version of a job was made from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Submission {
    /// The text.
    pub source: String,
    /// `hcl2` or `json`.
    pub format: String,
    /// Variables given as flags.
    pub variable_flags: BTreeMap<String, String>,
    /// Variables given as files.
    pub variables: String,
}
