//! The servers, as the router needs them: consistent views of the state, waiting for changes, and writes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use orch_api::{AgentMember, JobSubmission, JobSummary, Namespace as NamespaceShape, NodePool};
use orch_api::{PartHealth, RaftConfiguration, TransferLeadership};
use orch_model::evaluation::{DesiredUpdates, Explanation};
use orch_model::node::Eligibility;
use orch_model::operator::SchedulerConfig;
use orch_model::{AllocId, Allocation, EvalId, Evaluation, Job, JobKey, Namespace, Node, NodeId, StateIndex};
use tokio::time::Instant;

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
    /// Jobs, their versions and submissions.
    Jobs,
    /// Allocations.
    Allocs,
    /// Evaluations.
    Evals,
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
    /// The job itself, or its allocations or evaluations, by table.
    Job(Table, JobKey),
    /// The node itself, or its allocations, by table.
    Node(Table, NodeId),
    /// The evaluation itself, or the allocations it placed, by table.
    Eval(Table, EvalId),
    /// One allocation.
    Alloc(AllocId),
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

    /// Stops an allocation so that it is replaced.
    async fn stop_alloc(&self, request: StopAlloc) -> Result<Written, Error>;

    /// Says whether work may be placed on a node.
    async fn set_eligibility(&self, node: NodeId, eligibility: Eligibility) -> Result<NodeWritten, Error>;

    /// Forgets a node; what it ran is lost.
    async fn purge_node(&self, node: NodeId) -> Result<NodeWritten, Error>;

    /// Creates an evaluation of every job that has work on a node.
    async fn evaluate_node(&self, node: NodeId) -> Result<NodeWritten, Error>;

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
