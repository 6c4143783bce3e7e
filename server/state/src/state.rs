//! The tables of the replicated state and how they are read.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use orch_model::ids::ClusterId;
use orch_model::job::TaskGroup;
use orch_model::operator::SchedulerConfig;
use orch_model::scaling::ScalingEvents;
use orch_model::volume::{VolumeAsk, VolumeClaim};
use orch_model::{
    AllocId, Allocation, Deployment, DeploymentId, EvalId, Evaluation, HostVolume, HostVolumeId, Job, JobKey,
    JobVersionKey, Namespace, Node, NodeId, StateIndex, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::row::{JobRow, Submission};
use crate::scope::Table;
use crate::usage::UsageView;

/// The replicated state at one point of its history.
///
/// Cloning it is O(1): tables are persistent and share structure, rows are shared. Whoever holds a clone sees it
/// unchanged while the one writer, the applier, goes on.
#[derive(Debug, Clone, Default)]
pub struct State {
    pub(crate) meta: Arc<Meta>,
    pub(crate) jobs: OrdMap<JobKey, Arc<JobRow>>,
    pub(crate) versions: OrdMap<JobVersionKey, Arc<Job>>,
    pub(crate) submissions: OrdMap<JobVersionKey, Arc<Submission>>,
    pub(crate) evals: OrdMap<EvalId, Arc<Evaluation>>,
    pub(crate) evals_by_job: OrdMap<JobKey, OrdSet<EvalId>>,
    pub(crate) allocs: OrdMap<AllocId, Arc<Allocation>>,
    pub(crate) allocs_by_job: OrdMap<JobKey, OrdMap<AllocId, Arc<Allocation>>>,
    pub(crate) allocs_by_node: OrdMap<NodeId, NodeAllocs>,
    pub(crate) nodes: OrdMap<NodeId, Arc<Node>>,
    pub(crate) deployments: OrdMap<DeploymentId, Arc<Deployment>>,
    pub(crate) deployments_by_job: OrdMap<JobKey, OrdSet<DeploymentId>>,
    pub(crate) host_volumes: OrdMap<HostVolumeId, Arc<HostVolume>>,
    pub(crate) host_volumes_by_node: OrdMap<NodeId, OrdSet<HostVolumeId>>,
    pub(crate) volume_claims: OrdMap<ClaimKey, Arc<VolumeClaim>>,
    pub(crate) usage: UsageView,
    pub(crate) table_indexes: OrdMap<Table, StateIndex>,
    pub(crate) namespace_indexes: OrdMap<(Table, Namespace), StateIndex>,
}

/// What a claim is about: job, group, instance and the volume's name.
pub(crate) type ClaimKey = (JobKey, String, u32, String);

/// The allocations of a node.
#[derive(Debug, Clone, Default)]
pub(crate) struct NodeAllocs {
    pub(crate) ids: OrdSet<AllocId>,
    /// When one of them last changed.
    pub(crate) index: StateIndex,
}

/// What there is once per cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Meta {
    /// The cluster's id; `None` until its first entry.
    pub cluster_id: Option<ClusterId>,
    /// What is added to a log index to give a state index.
    pub index_base: u64,
    /// The version that every member runs at least.
    pub version: u16,
    /// The time of the newest entry.
    pub now: Timestamp,
    /// The index of the newest entry.
    pub last_index: StateIndex,
    /// How the scheduler behaves.
    pub scheduler: SchedulerConfig,
    /// The highest session epoch among nodes that were forgotten; a node that comes back starts above it.
    pub purged_epoch: u64,
    /// The running hash of what `apply` wrote.
    pub digest: u64,
    /// The digest at the last checkpoint, and the index that it was taken at.
    pub checkpoint: Option<(StateIndex, u64)>,
}

impl State {
    /// What there is once per cluster.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The time of the newest entry.
    pub fn now(&self) -> Timestamp {
        self.meta.now
    }

    /// The index of the newest entry.
    pub fn last_index(&self) -> StateIndex {
        self.meta.last_index
    }

    /// What is used of each node, in columns.
    pub fn usage(&self) -> &UsageView {
        &self.usage
    }

    /// A job and what is counted about it.
    pub fn job_row(&self, key: &JobKey) -> Option<&Arc<JobRow>> {
        self.jobs.get(key)
    }

    /// The current version of a job.
    pub fn job(&self, key: &JobKey) -> Option<&Arc<Job>> {
        self.jobs.get(key).map(|row| &row.job)
    }

    /// Every job, in the order of their keys.
    pub fn jobs(&self) -> impl Iterator<Item = &Arc<JobRow>> {
        self.jobs.values()
    }

    /// One version of a job.
    pub fn job_version(&self, key: &JobVersionKey) -> Option<&Arc<Job>> {
        self.versions.get(key)
    }

    /// The versions of a job's current incarnation that are kept, oldest first.
    pub fn job_versions(&self, key: &JobKey) -> impl Iterator<Item = &Arc<Job>> {
        let created = self.jobs.get(key).map_or(StateIndex(u64::MAX), |row| row.job.create_index);
        let first = JobVersionKey { job: key.clone(), created, version: 0 };
        let last = JobVersionKey { job: key.clone(), created, version: u64::MAX };
        self.versions.range(first..=last).map(|(_, job)| job)
    }

    /// The text that a version of a job was made from.
    pub fn submission(&self, key: &JobVersionKey) -> Option<&Arc<Submission>> {
        self.submissions.get(key)
    }

    /// One evaluation.
    pub fn eval(&self, id: &EvalId) -> Option<&Arc<Evaluation>> {
        self.evals.get(id)
    }

    /// Every evaluation, in the order of their ids.
    pub fn evals(&self) -> impl Iterator<Item = &Arc<Evaluation>> {
        self.evals.values()
    }

    /// The evaluations of a job, in the order of their ids.
    pub fn evals_of_job(&self, key: &JobKey) -> impl Iterator<Item = &Arc<Evaluation>> {
        self.evals_by_job.get(key).into_iter().flatten().filter_map(|id| self.evals.get(id))
    }

    /// One allocation.
    pub fn alloc(&self, id: &AllocId) -> Option<&Arc<Allocation>> {
        self.allocs.get(id)
    }

    /// Every allocation, in the order of their ids.
    pub fn allocs(&self) -> impl Iterator<Item = &Arc<Allocation>> {
        self.allocs.values()
    }

    /// The allocations whose id lies between `first` and `last`, both included.
    pub fn allocs_between(&self, first: AllocId, last: AllocId) -> impl Iterator<Item = &Arc<Allocation>> {
        self.allocs.range(first..=last).map(|(_, alloc)| alloc)
    }

    /// The evaluations whose id lies between `first` and `last`, both included.
    pub fn evals_between(&self, first: EvalId, last: EvalId) -> impl Iterator<Item = &Arc<Evaluation>> {
        self.evals.range(first..=last).map(|(_, eval)| eval)
    }

    /// The nodes whose id lies between `first` and `last`, both included.
    pub fn nodes_between(&self, first: NodeId, last: NodeId) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.range(first..=last).map(|(_, node)| node)
    }

    /// How many allocations there are.
    pub fn alloc_count(&self) -> usize {
        self.allocs.len()
    }

    /// The allocations of a job, of all its incarnations, in the order of their ids.
    pub fn allocs_of_job(&self, key: &JobKey) -> impl Iterator<Item = &Arc<Allocation>> {
        self.allocs_by_job.get(key).into_iter().flat_map(OrdMap::values)
    }

    /// The allocations of a node, in the order of their ids.
    pub fn allocs_of_node(&self, node: &NodeId) -> impl Iterator<Item = &Arc<Allocation>> {
        self.allocs_by_node.get(node).into_iter().flat_map(|allocs| &allocs.ids).filter_map(|id| self.allocs.get(id))
    }

    /// One deployment.
    pub fn deployment(&self, id: &DeploymentId) -> Option<&Arc<Deployment>> {
        self.deployments.get(id)
    }

    /// Every deployment, in the order of their ids.
    pub fn deployments(&self) -> impl Iterator<Item = &Arc<Deployment>> {
        self.deployments.values()
    }

    /// The deployments whose id lies between `first` and `last`, both included.
    pub fn deployments_between(
        &self,
        first: DeploymentId,
        last: DeploymentId,
    ) -> impl Iterator<Item = &Arc<Deployment>> {
        self.deployments.range(first..=last).map(|(_, deployment)| deployment)
    }

    /// The deployments of a job, of all its incarnations, in the order of their ids.
    pub fn deployments_of_job(&self, key: &JobKey) -> impl Iterator<Item = &Arc<Deployment>> {
        self.deployments_by_job.get(key).into_iter().flatten().filter_map(|id| self.deployments.get(id))
    }

    /// The deployment of a job that has not ended; it is always of the job's current version.
    pub fn active_deployment(&self, key: &JobKey) -> Option<&Arc<Deployment>> {
        self.deployments.get(&self.jobs.get(key)?.active_deployment?)
    }

    /// The deployment of a job that was created last, of whichever incarnation.
    pub fn latest_deployment(&self, key: &JobKey) -> Option<&Arc<Deployment>> {
        self.deployments_of_job(key).max_by_key(|deployment| (deployment.create_index, deployment.id))
    }

    /// The allocations of a deployment, in the order of their ids; looks at all allocations of its job.
    pub fn allocs_of_deployment(&self, id: &DeploymentId) -> impl Iterator<Item = &Arc<Allocation>> {
        let id = *id;
        let key = self.deployments.get(&id).map(|deployment| deployment.job_key());
        let allocs = key.and_then(|key| self.allocs_by_job.get(key)).into_iter().flat_map(OrdMap::values);
        allocs.filter(move |alloc| alloc.deployment_id == Some(id))
    }

    /// What was done about the count of a job's groups.
    pub fn scaling_events(&self, key: &JobKey) -> Option<&Arc<ScalingEvents>> {
        self.jobs.get(key).map(|row| &row.scaling)
    }

    /// One node.
    pub fn node(&self, id: &NodeId) -> Option<&Arc<Node>> {
        self.nodes.get(id)
    }

    /// Every node, in the order of their ids.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.values()
    }

    /// How many nodes there are.
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// One dynamic host volume.
    pub fn host_volume(&self, id: &HostVolumeId) -> Option<&Arc<HostVolume>> {
        self.host_volumes.get(id)
    }

    /// Every dynamic host volume, in the order of their ids.
    pub fn host_volumes(&self) -> impl Iterator<Item = &Arc<HostVolume>> {
        self.host_volumes.values()
    }

    /// The dynamic host volumes of a node, in the order of their ids.
    pub fn host_volumes_of_node(&self, node: &NodeId) -> impl Iterator<Item = &Arc<HostVolume>> {
        self.host_volumes_by_node.get(node).into_iter().flatten().filter_map(|id| self.host_volumes.get(id))
    }

    /// The allocations that use a dynamic host volume and have not ended on their node.
    pub fn users_of_volume<'a>(&'a self, volume: &'a HostVolume) -> impl Iterator<Item = &'a Arc<Allocation>> {
        self.allocs_of_node(&volume.node_id).filter(move |alloc| {
            let uses = |ask: VolumeAsk| ask.source == volume.name && ask.namespace == volume.namespace;
            !alloc.is_client_terminal() && alloc.host_volumes().any(uses)
        })
    }

    /// Every claim on a host volume, by job, group, instance and name.
    pub fn volume_claims(&self) -> impl Iterator<Item = &Arc<VolumeClaim>> {
        self.volume_claims.values()
    }

    /// The host volumes that an instance of a group asks its node for, with what it has a claim on.
    pub fn volume_asks(&self, key: &JobKey, group: &TaskGroup, index: u32) -> Vec<VolumeAsk> {
        let mut asks: Vec<_> = group.host_volumes(&key.namespace, index).collect();
        for ask in asks.iter_mut().filter(|ask| ask.sticky) {
            let claim = self.volume_claims.get(&(key.clone(), group.name.clone(), index, ask.source.clone()));
            ask.claimed = claim.map(|claim| claim.volume_id);
        }
        asks
    }

    /// When a table was last written or something of it deleted.
    pub fn table_index(&self, table: Table) -> StateIndex {
        self.table_indexes.get(&table).copied().unwrap_or_default()
    }

    pub(crate) fn namespace_index(&self, table: Table, namespace: &Namespace) -> StateIndex {
        self.namespace_indexes.get(&(table, namespace.clone())).copied().unwrap_or_default()
    }

    /// When an allocation of a node last changed; where the node is gone with all of them, when any last did.
    pub(crate) fn node_allocs_index(&self, node: &NodeId) -> StateIndex {
        match self.allocs_by_node.get(node) {
            Some(allocs) => allocs.index,
            None if self.nodes.contains_key(node) => StateIndex::default(),
            None => self.table_index(Table::Allocs).max(self.table_index(Table::Nodes)),
        }
    }
}
