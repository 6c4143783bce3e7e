//! What is asked of the servers, and what comes of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use orch_api::JobSubmission;
use orch_model::evaluation::{DesiredUpdates, Explanation};
use orch_model::{
    AllocId, DeploymentId, EvalId, Evaluation, HostVolume, HostVolumeId, Job, JobKey, Namespace, NodeId, StateIndex,
};
use serde_json::Value;

/// A job to be stored.
#[derive(Debug, Clone)]
pub struct RegisterJob {
    /// The job as admission left it.
    pub job: Arc<Job>,
    /// The id of the evaluation to create.
    pub eval_id: EvalId,
    /// The priority of the evaluation; `None` is the job's.
    pub eval_priority: Option<u16>,
    /// The index that the job must be at; 0 is "must not exist", `None` is "whatever".
    pub enforce_index: Option<StateIndex>,
    /// The text that it was made from, as the caller sent it: which version it belongs to is for the state to say.
    pub submission: Option<JobSubmission>,
    /// What is taken over from the job as it is stored.
    pub preserve: Preserve,
}

/// What is taken over from a job as it is stored, when a new version comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Preserve {
    /// The counts of groups that exist.
    pub counts: bool,
    /// The resources of tasks that exist.
    pub resources: bool,
}

/// A job to be stopped.
#[derive(Debug, Clone)]
pub struct DeregisterJob {
    /// The job.
    pub job: JobKey,
    /// The id of the evaluation to create.
    pub eval_id: EvalId,
    /// The priority of the evaluation; `None` is the job's.
    pub eval_priority: Option<u16>,
    /// Whether it is forgotten, too.
    pub purge: bool,
    /// Whether its tasks skip their shutdown delay.
    pub no_shutdown_delay: bool,
}

/// An allocation to be stopped.
#[derive(Debug, Clone)]
pub struct StopAlloc {
    /// The allocation.
    pub alloc: AllocId,
    /// The id of the evaluation to create.
    pub eval_id: EvalId,
    /// Whether its tasks skip their shutdown delay.
    pub no_shutdown_delay: bool,
    /// Whether its replacement counts as a rescheduling.
    pub reschedule: bool,
}

/// A change of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangeDeployment {
    /// The deployment.
    pub deployment: DeploymentId,
    /// What is done with it.
    pub action: DeploymentAction,
    /// The id of the evaluation to create, if one follows.
    pub eval_id: EvalId,
}

/// What people do with a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeploymentAction {
    /// Place nothing more until it is resumed.
    Pause,
    /// Go on; times begin anew.
    Resume,
    /// Give it up, and go back to the last stable version where a group asks for that.
    Fail,
}

impl DeploymentAction {
    /// The verb in sentences about it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Fail => "fail",
        }
    }
}

/// Word of the health of allocations of a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAllocHealth {
    /// The deployment.
    pub deployment: DeploymentId,
    /// These are well.
    pub healthy: Vec<AllocId>,
    /// These are not.
    pub unhealthy: Vec<AllocId>,
    /// The id of the evaluation to create, if one follows.
    pub eval_id: EvalId,
}

/// A job that goes back to what an earlier version of it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevertJob {
    /// The job.
    pub job: JobKey,
    /// The version to go back to; what it says becomes a new version.
    pub to_version: u64,
    /// The version that the job must be at; `None` is "whatever".
    pub enforce_prior: Option<u64>,
    /// The id of the evaluation to create.
    pub eval_id: EvalId,
}

/// A version of a job that is, or no longer is, one to go back to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetJobStability {
    /// The job.
    pub job: JobKey,
    /// The version.
    pub version: u64,
    /// Whether it is stable.
    pub stable: bool,
}

/// A new count for a group of a job, or only word about its scaling.
#[derive(Debug, Clone, PartialEq)]
pub struct ScaleJob {
    /// The job.
    pub job: JobKey,
    /// The group.
    pub group: String,
    /// The count; `None` only notes the event.
    pub count: Option<u32>,
    /// Why.
    pub message: String,
    /// Whether the event tells of something that went wrong.
    pub error: bool,
    /// Whatever the scaler wants kept with the event.
    pub meta: BTreeMap<String, Value>,
    /// The id of the evaluation to create, if the count is given.
    pub eval_id: EvalId,
    /// The index that the job must be at; `None` is "whatever".
    pub enforce_index: Option<StateIndex>,
}

/// A dynamic host volume to be made or taken over, or one that is there to be written anew.
#[derive(Debug, Clone, PartialEq)]
pub struct PutHostVolume {
    /// The volume as it was asked for, checked; its node, where `node` names none, and its state are still open.
    pub volume: HostVolume,
    /// The node that it is to be on; `None` leaves the choice.
    pub node: Option<NodeId>,
    /// Whether it must be there already.
    pub exists: bool,
}

/// What came of writing a dynamic host volume.
#[derive(Debug, Clone, PartialEq)]
pub struct HostVolumeWritten {
    /// The volume as it is now.
    pub volume: Arc<HostVolume>,
    /// The index of the write.
    pub index: StateIndex,
}

/// A dynamic host volume to be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteHostVolume {
    /// Which.
    pub id: HostVolumeId,
    /// Its namespace.
    pub namespace: Namespace,
    /// Whether it goes although claims stand or its node does not answer.
    pub force: bool,
}

/// What came of a write about a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeploymentWritten {
    /// The index of the write.
    pub index: StateIndex,
    /// The evaluation that was created, if one was.
    pub eval_id: Option<EvalId>,
    /// The index of that evaluation.
    pub eval_create_index: StateIndex,
    /// The index of the deployment.
    pub deployment_modify_index: StateIndex,
    /// The version that the job went back to, if it did.
    pub reverted_version: Option<u64>,
}

/// What came of a write about a job or an allocation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Written {
    /// The index of the write.
    pub index: StateIndex,
    /// The evaluation that was created; none for jobs that do not run by themselves.
    pub eval_id: Option<EvalId>,
    /// The index of that evaluation.
    pub eval_create_index: StateIndex,
    /// The index of the job's specification.
    pub job_modify_index: StateIndex,
}

/// What came of a write about a node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeWritten {
    /// The index of the write.
    pub index: StateIndex,
    /// The evaluations that were created.
    pub eval_ids: Vec<EvalId>,
    /// Their index.
    pub eval_create_index: StateIndex,
    /// The index of the node.
    pub node_modify_index: StateIndex,
}

/// What came of writing the scheduler's settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SchedulerConfigWritten {
    /// Whether they were replaced.
    pub updated: bool,
    /// The index of the write.
    pub index: StateIndex,
}

/// What came of asking servers to join.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Joined {
    /// How many of the addresses answered as servers of this region, and are known now.
    pub joined: usize,
    /// What went wrong with the others, a sentence each.
    pub errors: Vec<String>,
}

/// What registering a job would do.
#[derive(Debug, Clone, Default)]
pub struct DryRun {
    /// The state that was looked at.
    pub index: StateIndex,
    /// The job as it is stored.
    pub stored: Option<Arc<Job>>,
    /// What would be placed, stopped and so on, per group.
    pub updates: BTreeMap<String, DesiredUpdates>,
    /// Why not everything could be placed, per group that falls short.
    pub failed: BTreeMap<String, Explanation>,
    /// Evaluations that would follow.
    pub created_evals: Vec<Evaluation>,
}

/// Who is to lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeadershipTarget {
    /// Any other server.
    Any,
    /// The server with this Raft id.
    Id(String),
    /// The server with this RPC address.
    Address(String),
}
