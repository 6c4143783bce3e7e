//! Deployments as the API shows them, and what is asked of them.

use std::collections::BTreeMap;

use orch_model::deployment::{DeploymentStatus, GroupRollout};
use orch_model::{Deployment as ModelDeployment, Nanos};

use crate::json::{Time, shape};

shape! {
    /// A version of a job on its way out.
    pub struct Deployment {
        /// Its id.
        #[serde(rename = "ID")]
        pub id: String,
        /// The job's namespace.
        pub namespace: String,
        /// The job.
        #[serde(rename = "JobID")]
        pub job_id: String,
        /// The version that is rolled out.
        pub job_version: u64,
        /// When that version was written.
        pub job_modify_index: u64,
        /// The same: kept for compatibility.
        pub job_spec_modify_index: u64,
        /// When the job was created.
        pub job_create_index: u64,
        /// Always false.
        pub is_multiregion: bool,
        /// How far it is, by group.
        pub task_groups: BTreeMap<String, DeploymentState>,
        /// How it stands.
        pub status: DeploymentStatus,
        /// Why.
        pub status_description: String,
        /// The priority of its evaluations.
        pub eval_priority: u64,
        /// When it was created.
        pub create_index: u64,
        /// When it last changed.
        pub modify_index: u64,
        /// When it was created, in nanoseconds since the epoch.
        pub create_time: i64,
        /// When it last changed, in nanoseconds since the epoch.
        pub modify_time: i64,
    }

    /// How far one group of a deployment is.
    pub struct DeploymentState {
        /// Whether a failure makes the job go back to its last stable version.
        pub auto_revert: bool,
        /// Whether healthy canaries are promoted without an operator.
        pub auto_promote: bool,
        /// How long it may take from one healthy allocation to the next.
        pub progress_deadline: Nanos,
        /// By when the next allocation must be healthy.
        pub require_progress_by: Time,
        /// Whether its canaries were promoted.
        pub promoted: bool,
        /// The canaries that were placed.
        pub placed_canaries: Vec<String>,
        /// Canaries that it wants.
        pub desired_canaries: u64,
        /// Allocations that it wants in the end.
        pub desired_total: u64,
        /// Allocations that were placed.
        pub placed_allocs: u64,
        /// Those of them that were found healthy.
        pub healthy_allocs: u64,
        /// Those of them that were found unhealthy.
        pub unhealthy_allocs: u64,
    }

    /// Asks for a deployment to be paused or resumed.
    pub struct DeploymentPauseRequest {
        /// The deployment; as in the path.
        #[serde(rename = "DeploymentID")]
        pub deployment_id: String,
        /// Whether it is paused; otherwise it is resumed.
        pub pause: bool,
    }

    /// Asks for the canaries of a deployment to be promoted.
    pub struct DeploymentPromoteRequest {
        /// The deployment; as in the path.
        #[serde(rename = "DeploymentID")]
        pub deployment_id: String,
        /// Whether those of all groups are.
        pub all: bool,
        /// The groups of which they are.
        pub groups: Vec<String>,
    }

    /// Says of allocations of a deployment whether they are well.
    pub struct DeploymentAllocHealthRequest {
        /// The deployment; as in the path.
        #[serde(rename = "DeploymentID")]
        pub deployment_id: String,
        /// Those that are.
        #[serde(rename = "HealthyAllocationIDs")]
        pub healthy_allocation_ids: Vec<String>,
        /// Those that are not.
        #[serde(rename = "UnhealthyAllocationIDs")]
        pub unhealthy_allocation_ids: Vec<String>,
    }

    /// What came of a change of a deployment.
    pub struct DeploymentUpdateResponse {
        /// The evaluation that was created, or "".
        #[serde(rename = "EvalID")]
        pub eval_id: String,
        /// Its index.
        pub eval_create_index: u64,
        /// The index of the deployment.
        pub deployment_modify_index: u64,
        /// The version that the job went back to, if it did.
        pub reverted_job_version: Option<u64>,
        /// The index of the write.
        pub index: u64,
    }
}

impl Deployment {
    /// How the API shows `deployment`.
    pub fn of(deployment: &ModelDeployment) -> Self {
        let ModelDeployment {
            id,
            job,
            job_spec_index,
            priority,
            status,
            reason,
            groups,
            create_index,
            modify_index,
            create_time,
            modify_time,
        } = deployment;
        Self {
            id: id.to_string(),
            namespace: job.job.namespace.to_string(),
            job_id: job.job.job_id.to_string(),
            job_version: job.version,
            job_modify_index: job_spec_index.0,
            job_spec_modify_index: job_spec_index.0,
            job_create_index: job.created.0,
            is_multiregion: false,
            task_groups: groups.iter().map(|(name, group)| (name.clone(), DeploymentState::of(group))).collect(),
            status: *status,
            status_description: reason.to_string(),
            eval_priority: u64::from(*priority),
            create_index: create_index.0,
            modify_index: modify_index.0,
            create_time: create_time.0,
            modify_time: modify_time.0,
        }
    }
}

impl DeploymentState {
    /// How the API shows `rollout`.
    pub fn of(rollout: &GroupRollout) -> Self {
        let GroupRollout {
            auto_revert,
            auto_promote,
            promoted,
            progress_deadline,
            require_progress_by,
            desired_canaries,
            desired_total,
            placed,
            healthy,
            unhealthy,
            placed_canaries,
        } = rollout;
        Self {
            auto_revert: *auto_revert,
            auto_promote: *auto_promote,
            progress_deadline: *progress_deadline,
            require_progress_by: Time(*require_progress_by),
            promoted: *promoted,
            placed_canaries: placed_canaries.iter().map(ToString::to_string).collect(),
            desired_canaries: u64::from(*desired_canaries),
            desired_total: u64::from(*desired_total),
            placed_allocs: u64::from(*placed),
            healthy_allocs: u64::from(*healthy),
            unhealthy_allocs: u64::from(*unhealthy),
        }
    }
}
