//! Scaling of jobs as the API shows it, and what is asked of it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::json::shape;

shape! {
    /// How a job's groups are scaled.
    pub struct JobScaleStatus {
        /// The job.
        #[serde(rename = "JobID")]
        pub job_id: String,
        /// Its namespace.
        pub namespace: String,
        /// When the job was created.
        pub job_create_index: u64,
        /// When its specification last changed.
        pub job_modify_index: u64,
        /// Whether it was stopped.
        pub job_stopped: bool,
        /// By group.
        pub task_groups: BTreeMap<String, TaskGroupScaleStatus>,
    }

    /// How one group is scaled.
    pub struct TaskGroupScaleStatus {
        /// The group's count.
        pub desired: u64,
        /// Its allocations that are to run.
        pub placed: u64,
        /// Those of them that run.
        pub running: u64,
        /// Those of them that were found healthy.
        pub healthy: u64,
        /// Those of them that were found unhealthy.
        pub unhealthy: u64,
        /// What its scalers did lately, newest first.
        pub events: Vec<ScalingEvent>,
    }

    /// Something that a scaler did or had to say.
    pub struct ScalingEvent {
        /// When, in nanoseconds since the epoch.
        pub time: u64,
        /// The count that it set; `None` if it only had something to say.
        pub count: Option<i64>,
        /// The count before.
        pub previous_count: i64,
        /// Why.
        pub message: String,
        /// Whether something went wrong.
        pub error: bool,
        /// Whatever the scaler wanted kept.
        pub meta: BTreeMap<String, Value>,
        /// The evaluation that was created, if one was.
        #[serde(rename = "EvalID")]
        pub eval_id: Option<String>,
        /// The index of the write.
        pub create_index: u64,
    }

    /// Asks for a group to be scaled, or for an event of its scaling to be noted.
    pub struct ScalingRequest {
        /// The count; `None` only notes the event.
        pub count: Option<i64>,
        /// What is scaled: `Group`, and perhaps `Job` and `Namespace`, which must be as in the request.
        pub target: BTreeMap<String, String>,
        /// Why.
        pub message: String,
        /// Whether something went wrong; not with a count.
        pub error: bool,
        /// Whatever the scaler wants kept.
        pub meta: BTreeMap<String, Value>,
        /// Without effect.
        pub policy_override: bool,
        /// Whether `job_modify_index` must match.
        pub enforce_index: bool,
        /// The index that the job must be at.
        pub job_modify_index: u64,
    }
}
