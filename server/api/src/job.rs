//! Requests and answers about jobs; the job itself is the model's.

use std::collections::BTreeMap;
use std::sync::Arc;

use orch_model::diff::JobDiff;
use orch_model::evaluation::DesiredUpdates as ModelUpdates;
use orch_model::job::{Job, JobStatus, Multiregion};

use crate::allocation::{AllocListStub, AllocMetric};
use crate::evaluation::Evaluation;
use crate::json::{Time, shape};

shape! {
    /// A job in a list.
    pub struct JobListStub {
        /// Its id.
        #[serde(rename = "ID")]
        pub id: String,
        /// The job it was derived from, or "".
        #[serde(rename = "ParentID")]
        pub parent_id: String,
        /// What people call it.
        pub name: String,
        /// Its namespace.
        pub namespace: String,
        /// Where it may run.
        pub datacenters: Vec<String>,
        /// The pool it may run on.
        pub node_pool: String,
        /// Several regions at once.
        pub multiregion: Option<Multiregion>,
        /// `service`, `batch`, `system` or `sysbatch`.
        pub r#type: String,
        /// Larger is more important.
        pub priority: i64,
        /// Whether it is launched by the clock.
        pub periodic: bool,
        /// Whether it only runs as dispatched children.
        pub parameterized_job: bool,
        /// Whether it was stopped.
        pub stop: bool,
        /// What has become of it.
        pub status: JobStatus,
        /// Why.
        pub status_description: String,
        /// How its allocations are.
        pub job_summary: Option<JobSummary>,
        /// When it was created.
        pub create_index: u64,
        /// When it last changed.
        pub modify_index: u64,
        /// When its specification last changed.
        pub job_modify_index: u64,
        /// When it was submitted, in nanoseconds since the epoch.
        pub submit_time: i64,
        /// Its metadata, where asked for.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        pub meta: BTreeMap<String, String>,
    }

    /// How the allocations of a job are.
    pub struct JobSummary {
        /// The job.
        #[serde(rename = "JobID")]
        pub job_id: String,
        /// Its namespace.
        pub namespace: String,
        /// By group.
        pub summary: BTreeMap<String, TaskGroupSummary>,
        /// Its children, if it has any.
        pub children: Option<JobChildrenSummary>,
        /// When the job was created.
        pub create_index: u64,
        /// When these numbers last changed.
        pub modify_index: u64,
    }

    /// How many children of a job are in each status.
    pub struct JobChildrenSummary {
        /// Waiting.
        pub pending: u64,
        /// Running.
        pub running: u64,
        /// Ended.
        pub dead: u64,
    }

    /// How many allocations of a group are in each status.
    pub struct TaskGroupSummary {
        /// Not placed yet.
        pub queued: u64,
        /// Ended well.
        pub complete: u64,
        /// Ended badly.
        pub failed: u64,
        /// Running.
        pub running: u64,
        /// Placed, not yet running.
        pub starting: u64,
        /// Lost with their node.
        pub lost: u64,
        /// Out of contact with their node.
        pub unknown: u64,
    }

    /// The text that a job was made from.
    pub struct JobSubmission {
        /// The text.
        pub source: String,
        /// `hcl2`, `hcl1` or `json`.
        pub format: String,
        /// Variables given one by one.
        pub variable_flags: BTreeMap<String, String>,
        /// Variables given as a text.
        pub variables: String,
        /// The job's namespace.
        pub namespace: String,
        /// The job.
        #[serde(rename = "JobID")]
        pub job_id: String,
        /// The version made from it.
        pub version: u64,
        /// The index of that version.
        pub job_modify_index: u64,
    }

    /// Asks for a job to be registered.
    pub struct JobRegisterRequest {
        /// The job.
        pub job: Option<Arc<Job>>,
        /// The text that it was made from.
        pub submission: Option<JobSubmission>,
        /// Whether `job_modify_index` must match.
        pub enforce_index: bool,
        /// The index that the job must be at; 0 is "must not exist".
        pub job_modify_index: u64,
        /// Without effect.
        pub policy_override: bool,
        /// Whether groups that exist keep their count.
        pub preserve_counts: bool,
        /// Whether tasks that exist keep their resources.
        pub preserve_resources: bool,
        /// 1 to 100; 0 is the job's own.
        pub eval_priority: i64,
    }

    /// What came of registering or evaluating a job.
    pub struct JobRegisterResponse {
        /// The evaluation that was created, or "".
        #[serde(rename = "EvalID")]
        pub eval_id: String,
        /// Its index.
        pub eval_create_index: u64,
        /// The index of the job's specification.
        pub job_modify_index: u64,
        /// What is odd about the job.
        pub warnings: String,
        /// The index of the write.
        pub index: u64,
        /// Always 0.
        pub last_contact: i64,
        /// Always false.
        pub known_leader: bool,
        /// Always empty.
        pub next_token: String,
    }

    /// What came of stopping or purging a job.
    pub struct JobDeregisterResponse {
        /// The evaluation that was created, or "".
        #[serde(rename = "EvalID")]
        pub eval_id: String,
        /// Its index.
        pub eval_create_index: u64,
        /// The index of the job's specification.
        pub job_modify_index: u64,
        /// Always empty.
        #[serde(rename = "VolumeEvalID")]
        pub volume_eval_id: String,
        /// Always 0.
        pub volume_eval_index: u64,
        /// The index of the write.
        pub index: u64,
        /// Always 0.
        pub last_contact: i64,
        /// Always false.
        pub known_leader: bool,
        /// Always empty.
        pub next_token: String,
    }

    /// Asks for an HCL text to be turned into a job.
    pub struct JobParseRequest {
        /// The text.
        #[serde(rename = "JobHCL")]
        pub job_hcl: String,
        /// Values of variables, as the text of a variable file.
        pub variables: String,
        /// Whether defaults are filled in.
        pub canonicalize: bool,
    }

    /// Asks what registering a job would do.
    pub struct JobPlanRequest {
        /// The job.
        pub job: Option<Arc<Job>>,
        /// Whether the difference to the stored job is wanted.
        pub diff: bool,
        /// Without effect.
        pub policy_override: bool,
    }

    /// What registering a job would do.
    pub struct JobPlanResponse {
        /// What would be placed, stopped and so on.
        pub annotations: Option<PlanAnnotations>,
        /// Why not everything could be placed, by group.
        #[serde(rename = "FailedTGAllocs")]
        pub failed_tg_allocs: BTreeMap<String, AllocMetric>,
        /// The index of the stored job's specification; 0 if there is none.
        pub job_modify_index: u64,
        /// Evaluations that would follow.
        pub created_evals: Vec<Evaluation>,
        /// The difference to the stored job, where asked for.
        pub diff: Option<JobDiff>,
        /// When it would next be launched.
        pub next_periodic_launch: Time,
        /// What is odd about the job.
        pub warnings: String,
        /// The state that was looked at.
        pub index: u64,
    }

    /// What a plan would do.
    pub struct PlanAnnotations {
        /// By group.
        #[serde(rename = "DesiredTGUpdates")]
        pub desired_tg_updates: BTreeMap<String, DesiredUpdates>,
        /// Less important work that would have to go.
        pub preempted_allocs: Vec<AllocListStub>,
    }

    /// What a plan would do to a group, as numbers of allocations.
    pub struct DesiredUpdates {
        /// Left as they are.
        pub ignore: u64,
        /// Newly placed.
        pub place: u64,
        /// Moved to another node.
        pub migrate: u64,
        /// Stopped.
        pub stop: u64,
        /// Changed where they run.
        pub in_place_update: u64,
        /// Replaced by the new version.
        pub destructive_update: u64,
        /// Run beside the old version.
        pub canary: u64,
        /// Displaced.
        pub preemptions: u64,
        /// Out of contact.
        pub disconnect: u64,
        /// Back in contact.
        pub reconnect: u64,
        /// Placed again at once.
        pub reschedule_now: u64,
        /// Placed again later.
        pub reschedule_later: u64,
    }

    /// Asks whether a job is well-formed.
    pub struct JobValidateRequest {
        /// The job.
        pub job: Option<Arc<Job>>,
    }

    /// Whether a job is well-formed.
    pub struct JobValidateResponse {
        /// Whether the drivers' configurations were looked at.
        pub driver_config_validated: bool,
        /// What is wrong.
        pub validation_errors: Vec<String>,
        /// All of it in one text; empty if nothing is wrong.
        pub error: String,
        /// What is odd.
        pub warnings: String,
    }

    /// Asks for a job to be evaluated.
    pub struct JobEvaluateRequest {
        /// The job.
        #[serde(rename = "JobID")]
        pub job_id: String,
        /// How.
        pub eval_options: EvalOptions,
    }

    /// How a job is evaluated.
    pub struct EvalOptions {
        /// Whether failed allocations are placed again regardless of their policy.
        pub force_reschedule: bool,
    }

    /// Asks for a job to go back to what an earlier version of it says.
    pub struct JobRevertRequest {
        /// The job; as in the path.
        #[serde(rename = "JobID")]
        pub job_id: String,
        /// The version to go back to.
        pub job_version: u64,
        /// The version that the job must be at; `None` is "whatever".
        pub enforce_prior_version: Option<u64>,
    }

    /// Says whether a version of a job is one to go back to.
    pub struct JobStabilityRequest {
        /// The job; as in the path.
        #[serde(rename = "JobID")]
        pub job_id: String,
        /// The version.
        pub job_version: u64,
        /// Whether it is.
        pub stable: bool,
    }

    /// What came of saying whether a version of a job is stable.
    pub struct JobStabilityResponse {
        /// The index of the write.
        pub index: u64,
    }

    /// The versions of a job, newest first.
    pub struct JobVersionsResponse {
        /// The versions.
        pub versions: Vec<Arc<Job>>,
        /// Each version's difference to the next older one, where asked for.
        pub diffs: Vec<JobDiff>,
        /// The index of the answer.
        pub index: u64,
        /// Nanoseconds since the server heard from the leader.
        pub last_contact: i64,
        /// Whether there is a leader.
        pub known_leader: bool,
        /// Always empty.
        pub next_token: String,
    }
}

impl JobListStub {
    /// The list row of `job`; `with_meta` says whether its metadata is shown.
    pub fn of(job: &Job, summary: Option<JobSummary>, with_meta: bool) -> Self {
        Self {
            id: job.id.as_str().to_owned(),
            parent_id: job.parent_id.clone(),
            name: job.name.clone(),
            namespace: job.namespace.as_str().to_owned(),
            datacenters: job.datacenters.clone(),
            node_pool: job.node_pool.clone(),
            multiregion: job.multiregion.clone(),
            r#type: job.r#type.clone(),
            priority: job.priority,
            periodic: job.is_periodic(),
            parameterized_job: job.is_parameterized(),
            stop: job.stop,
            status: job.status,
            status_description: job.status_description.clone(),
            job_summary: summary,
            create_index: job.create_index.0,
            modify_index: job.modify_index.0,
            job_modify_index: job.job_modify_index.0,
            submit_time: job.submit_time.0,
            meta: if with_meta { job.meta.clone() } else { BTreeMap::new() },
        }
    }
}

impl DesiredUpdates {
    /// How the API shows `updates`.
    pub fn of(updates: &ModelUpdates) -> Self {
        let ModelUpdates { ignore, place, migrate, stop, in_place, destructive } = *updates;
        Self {
            ignore: ignore.into(),
            place: place.into(),
            migrate: migrate.into(),
            stop: stop.into(),
            in_place_update: in_place.into(),
            destructive_update: destructive.into(),
            ..Self::default()
        }
    }
}

impl PlanAnnotations {
    /// How the API shows the updates of each group.
    pub fn of(updates: &BTreeMap<String, ModelUpdates>) -> Self {
        Self {
            desired_tg_updates: updates
                .iter()
                .map(|(group, updates)| (group.clone(), DesiredUpdates::of(updates)))
                .collect(),
            preempted_allocs: Vec::new(),
        }
    }
}
