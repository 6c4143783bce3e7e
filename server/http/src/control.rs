//! The servers, as the router needs them: consistent views of the state, waiting for changes, and writes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use orch_api::{AgentMember, BrakeStatus, JobSubmission, JobSummary, Namespace as NamespaceShape, NodePool};
use orch_api::{PartHealth, RaftConfiguration, ScalingEvent, TransferLeadership};
use orch_model::ids::VolumeClaimId;
use orch_model::node::Eligibility;
use orch_model::operator::SchedulerConfig;
use orch_model::volume::VolumeClaim;
use orch_model::{
    AllocId, Allocation, Deployment, DeploymentId, EvalId, Evaluation, HostVolume, HostVolumeId, Job, JobKey,
};
use orch_model::{Namespace, Node, NodeId, StateIndex};
use tokio::time::Instant;

mod requests;

pub use requests::{
    ChangeDeployment, DeleteHostVolume, DeploymentAction, DeploymentWritten, DeregisterJob, DryRun, HostVolumeWritten,
    Joined, LeadershipTarget, NodeWritten, Preserve, PutHostVolume, RegisterJob, RevertJob, ScaleJob,
    SchedulerConfigWritten, SetAllocHealth, SetJobStability, StopAlloc, Written,
};

use crate::error::Error;
use crate::{Request, Response};

/// How fresh a view must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Consistency {
    /// It shows every write that was acknowledged before it was asked for.
    #[default]
    Linearizable,
    /// It is what this server has, with or without a leader.
    Stale,
}

/// A kind of record that queries wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Jobs, their versions, submissions and scaling events.
    Jobs,
    /// Allocations.
    Allocs,
    /// Evaluations.
    Evals,
    /// Deployments.
    Deployments,
    /// Dynamic host volumes.
    HostVolumes,
    /// Claims on them.
    VolumeClaims,
    /// Nodes.
    Nodes,
    /// The scheduler's settings.
    SchedulerConfig,
}

/// What a query looked at: it is woken when something in there is written or deleted, and by nothing else.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// All records of a table.
    Table(Table),
    /// The records of a table in one namespace.
    Namespace(Table, Namespace),
    /// The job itself, or its allocations, evaluations or deployments, by table.
    Job(Table, JobKey),
    /// The node itself, or its allocations, by table.
    Node(Table, NodeId),
    /// The evaluation itself, or the allocations it placed, by table.
    Eval(Table, EvalId),
    /// One allocation.
    Alloc(AllocId),
    /// One deployment.
    Deployment(DeploymentId),
    /// One dynamic host volume.
    HostVolume(HostVolumeId),
}

/// The servers of a region, as any of them sees it.
///
/// Writes are forwarded to the leader; the answer comes when this server's own state shows them. A write may be
/// repeated when its outcome is unknown: the evaluation id that it carries makes the repetition answer as the first.
#[async_trait]
pub trait ControlPlane: Send + Sync + 'static {
    /// An immutable snapshot of the state, as fresh as `consistency` asks.
    ///
    /// Errors: `NotLeader` where a linearizable view cannot be had for want of a leader.
    async fn view(&self, consistency: Consistency) -> Result<Arc<dyn View>, Error>;

    /// Returns once the index of one of `scopes` is above `after`, or at `deadline`, whichever is first.
    ///
    /// It registers for all scopes before it compares, so no change falls between. So a caller reads a view, finds its
    /// scopes not above `after`, waits, and reads a fresh view. It also returns when the state was restored from a
    /// backup, or the server is shutting down.
    async fn wait(&self, scopes: &[Scope], after: StateIndex, deadline: Instant);

    /// Stores a job, which admission has accepted, and creates its evaluation.
    ///
    /// Errors: [`Error::job_index`], `Forbidden` where the scheduler's settings refuse jobs, `TooMany`.
    async fn register_job(&self, request: RegisterJob) -> Result<Written, Error>;

    /// Stops a job, or removes it with all that is known of it. A job that does not exist is `NotFound`.
    async fn deregister_job(&self, request: DeregisterJob) -> Result<Written, Error>;

    /// Creates an evaluation of a job. A job that does not exist is `NotFound`.
    async fn evaluate_job(&self, job: JobKey, eval_id: EvalId, force_reschedule: bool) -> Result<Written, Error>;

    /// Finds out what registering a job, which admission has accepted, would do; nothing is stored.
    async fn plan_job(&self, job: Arc<Job>) -> Result<DryRun, Error>;

    /// Pauses, resumes or gives up a deployment.
    ///
    /// Errors: `NotFound` with `deployment not found`; `Invalid` with `can't <action> terminal deployment`.
    async fn change_deployment(&self, request: ChangeDeployment) -> Result<DeploymentWritten, Error>;

    /// Says of allocations of a deployment whether they are well, in place of their clients.
    ///
    /// Errors: `NotFound` for a deployment or an allocation that does not exist; `Invalid` for a deployment that has
    /// ended, and for an allocation that is not part of it.
    async fn set_alloc_health(&self, request: SetAllocHealth) -> Result<DeploymentWritten, Error>;

    /// Writes what an earlier version of a job says as its newest one, and creates its evaluation.
    ///
    /// Errors: `NotFound` for a job or version that does not exist; `Invalid` for the version that is the newest;
    /// [`Error::job_version`] where another version is the newest than the caller enforces.
    async fn revert_job(&self, request: RevertJob) -> Result<Written, Error>;

    /// Says whether a version of a job is one to go back to. A job or version that does not exist is `NotFound`.
    /// Returns the index of the write.
    async fn set_job_stability(&self, request: SetJobStability) -> Result<StateIndex, Error>;

    /// Changes the count of a group, or only notes an event of its scaling.
    ///
    /// Errors: `NotFound` for a job that does not exist; [`Error::job_index`]; `Invalid` for a group that does not exist, for
    /// a count beyond the bounds of its scaling block or together with an error, and while a deployment is active.
    async fn scale_job(&self, request: ScaleJob) -> Result<Written, Error>;

    /// Stops an allocation so that it is replaced.
    async fn stop_alloc(&self, request: StopAlloc) -> Result<Written, Error>;

    /// Says whether work may be placed on a node.
    async fn set_eligibility(&self, node: NodeId, eligibility: Eligibility) -> Result<NodeWritten, Error>;

    /// Forgets a node; what it ran is lost.
    async fn purge_node(&self, node: NodeId) -> Result<NodeWritten, Error>;

    /// Creates an evaluation of every job that has work on a node.
    async fn evaluate_node(&self, node: NodeId) -> Result<NodeWritten, Error>;

    /// Has a node make a dynamic host volume, or take over a directory, and stores it.
    ///
    /// Errors: `NotFound` for a node or volume that is not there; `Invalid` where no node can hold it, or its node
    /// refuses it; `Conflict` for a name that another volume of the node has; `Unavailable` where the node does not answer.
    async fn put_host_volume(&self, request: PutHostVolume) -> Result<HostVolumeWritten, Error>;

    /// Has its node remove a dynamic host volume, and forgets it. Returns the index of the write.
    ///
    /// Errors: `NotFound`; `Conflict` while allocations use it or claims stand; `Unavailable` where the node does not
    /// answer, unless it is forced.
    async fn delete_host_volume(&self, request: DeleteHostVolume) -> Result<StateIndex, Error>;

    /// Forgets a claim on a host volume. One that does not exist is `NotFound`. Returns the index of the write.
    async fn delete_volume_claim(&self, id: VolumeClaimId) -> Result<StateIndex, Error>;

    /// Replaces the scheduler's settings; with `cas`, only if they were last changed at that index.
    async fn set_scheduler_config(
        &self,
        config: SchedulerConfig,
        cas: Option<StateIndex>,
    ) -> Result<SchedulerConfigWritten, Error>;

    /// Removes what has ended, at once.
    async fn system_gc(&self) -> Result<(), Error>;

    /// The members of Raft.
    async fn raft_configuration(&self, consistency: Consistency) -> Result<RaftConfiguration, Error>;

    /// Takes a server out of Raft; `id` is one of [`RaftConfiguration`].
    async fn remove_peer(&self, id: &str) -> Result<(), Error>;

    /// Hands leadership to another server, or to any if `to` names none.
    async fn transfer_leadership(&self, to: LeadershipTarget) -> Result<TransferLeadership, Error>;

    /// The servers of the region, this one among them.
    async fn members(&self) -> Result<Vec<AgentMember>, Error>;

    /// Marks a server that is gone as left, by its member name; with `prune`, forgets it.
    async fn force_leave(&self, name: &str, prune: bool) -> Result<(), Error>;

    /// Makes servers known to this one by the RPC addresses of some; what cannot be reached is told in the answer.
    async fn join(&self, addresses: Vec<String>) -> Result<Joined, Error>;

    /// How the brake on the loss of nodes stands, as the leader sees it.
    async fn brake_status(&self) -> Result<BrakeStatus, Error>;

    /// Lets go of what the brake holds back now: those nodes are given up at once. Says how it stands after that.
    async fn brake_release(&self) -> Result<BrakeStatus, Error>;

    /// The RPC address of the leader, if there is one.
    async fn leader(&self) -> Option<String>;

    /// The RPC addresses of the servers of the region.
    async fn peers(&self) -> Result<Vec<String>, Error>;

    /// Passes a request to the agent of a node over its session, wherever that session is held.
    ///
    /// Bodies stream both ways. Errors: `NotFound` with `No path to node` where there is no session.
    async fn node_http(&self, node: NodeId, request: Request) -> Result<Response, Error>;

    /// Whether this server is well.
    async fn health(&self) -> PartHealth;

    /// Counters for `agent info`, by group and name.
    fn stats(&self) -> BTreeMap<String, BTreeMap<String, String>>;
}

/// An immutable snapshot of the state. Lists hold shared records, in the order of their keys.
pub trait View: Send + Sync {
    /// When something in `scope` was last written or deleted; at least 1.
    fn index(&self, scope: &Scope) -> StateIndex;

    /// Whether this server knew a leader when the view was taken.
    fn known_leader(&self) -> bool;

    /// How long ago this server had heard from the leader when the view was taken.
    fn last_contact(&self) -> Duration;

    /// The newest version of a job.
    fn job(&self, key: &JobKey) -> Option<Arc<Job>>;

    /// The versions of a job that are kept, newest first.
    fn job_versions(&self, key: &JobKey) -> Vec<Arc<Job>>;

    /// The jobs of a namespace (of all with `None`) whose id starts with `prefix`, by namespace and id.
    fn jobs(&self, namespace: Option<&Namespace>, prefix: &str) -> Vec<Arc<Job>>;

    /// The text that a version of a job was made from.
    fn submission(&self, key: &JobKey, version: u64) -> Option<JobSubmission>;

    /// How the allocations of a job are.
    fn job_summary(&self, key: &JobKey) -> Option<JobSummary>;

    /// An allocation.
    fn alloc(&self, id: AllocId) -> Option<Arc<Allocation>>;

    /// The allocations of a namespace (of all with `None`), by creation and id.
    fn allocs(&self, namespace: Option<&Namespace>) -> Vec<Arc<Allocation>>;

    /// The allocations in whatever namespace whose id lies between `first` and `last`, both included, by id.
    fn allocs_between(&self, first: AllocId, last: AllocId) -> Vec<Arc<Allocation>>;

    /// The allocations of a job, of all its incarnations.
    fn allocs_of_job(&self, key: &JobKey) -> Vec<Arc<Allocation>>;

    /// The allocations of a node.
    fn allocs_of_node(&self, node: NodeId) -> Vec<Arc<Allocation>>;

    /// The allocations that an evaluation placed.
    fn allocs_of_eval(&self, eval: EvalId) -> Vec<Arc<Allocation>>;

    /// An evaluation.
    fn eval(&self, id: EvalId) -> Option<Arc<Evaluation>>;

    /// The evaluations of a namespace (of all with `None`), by creation and id.
    fn evals(&self, namespace: Option<&Namespace>) -> Vec<Arc<Evaluation>>;

    /// The evaluations in whatever namespace whose id lies between `first` and `last`, both included, by id.
    fn evals_between(&self, first: EvalId, last: EvalId) -> Vec<Arc<Evaluation>>;

    /// The evaluations of a job.
    fn evals_of_job(&self, key: &JobKey) -> Vec<Arc<Evaluation>>;

    /// A deployment.
    fn deployment(&self, id: DeploymentId) -> Option<Arc<Deployment>>;

    /// The deployments of a namespace (of all with `None`), by creation and id.
    fn deployments(&self, namespace: Option<&Namespace>) -> Vec<Arc<Deployment>>;

    /// The deployments in whatever namespace whose id lies between `first` and `last`, both included, by id.
    fn deployments_between(&self, first: DeploymentId, last: DeploymentId) -> Vec<Arc<Deployment>>;

    /// The deployments of a job, of all its incarnations, by creation and id.
    fn deployments_of_job(&self, key: &JobKey) -> Vec<Arc<Deployment>>;

    /// The allocations that are part of a deployment.
    fn allocs_of_deployment(&self, id: DeploymentId) -> Vec<Arc<Allocation>>;

    /// The last events of a job's scaling by group, newest first. They count as part of the job: [`Table::Jobs`].
    fn scaling_events(&self, key: &JobKey) -> BTreeMap<String, Vec<ScalingEvent>>;

    /// A dynamic host volume.
    fn host_volume(&self, id: HostVolumeId) -> Option<Arc<HostVolume>>;

    /// The dynamic host volumes of a namespace (of all with `None`), by namespace and id.
    fn host_volumes(&self, namespace: Option<&Namespace>) -> Vec<Arc<HostVolume>>;

    /// The allocations that use a dynamic host volume and have not ended on their node.
    fn allocs_of_host_volume(&self, volume: &HostVolume) -> Vec<Arc<Allocation>>;

    /// The claims on host volumes by jobs of a namespace (of all with `None`), by namespace and id.
    fn volume_claims(&self, namespace: Option<&Namespace>) -> Vec<Arc<VolumeClaim>>;

    /// A node.
    fn node(&self, id: NodeId) -> Option<Arc<Node>>;

    /// The nodes whose id lies between `first` and `last`, both included, by id.
    fn nodes_between(&self, first: NodeId, last: NodeId) -> Vec<Arc<Node>>;

    /// The namespaces, by name.
    fn namespaces(&self) -> Vec<NamespaceShape>;

    /// The node pools, by name, those that always exist among them.
    fn node_pools(&self) -> Vec<NodePool>;

    /// The scheduler's settings.
    fn scheduler_config(&self) -> Arc<SchedulerConfig>;
}
