//! What a blocking query can wait for, and when it last changed.

use orch_model::{AllocId, DeploymentId, EvalId, HostVolumeId, JobKey, Namespace, NodeId, StateIndex};

use crate::state::State;

/// A table that lists can be made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Jobs and their summaries.
    Jobs,
    /// Evaluations.
    Evals,
    /// Allocations.
    Allocs,
    /// Nodes.
    Nodes,
    /// The scheduler's configuration.
    SchedulerConfig,
    /// Deployments.
    Deployments,
    /// Dynamic host volumes.
    HostVolumes,
    /// Claims on them.
    VolumeClaims,
}

impl Table {
    /// Every table.
    pub const ALL: [Self; 8] = [
        Self::Jobs,
        Self::Evals,
        Self::Allocs,
        Self::Nodes,
        Self::SchedulerConfig,
        Self::Deployments,
        Self::HostVolumes,
        Self::VolumeClaims,
    ];
}

/// A part of the state whose changes wake those who wait for it, and nobody else.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// A whole table.
    Table(Table),
    /// The rows of a table in one namespace.
    Namespace(Table, Namespace),
    /// The rows of a table that belong to one job; with [`Table::Jobs`], the job itself.
    Job(Table, JobKey),
    /// The allocations on a node; with [`Table::Nodes`], the node itself.
    Node(Table, NodeId),
    /// One evaluation.
    Eval(EvalId),
    /// One allocation.
    Alloc(AllocId),
    /// One deployment.
    Deployment(DeploymentId),
    /// One dynamic host volume.
    HostVolume(HostVolumeId),
}

impl State {
    /// When `scope` was last written or something of it was deleted; at least 1.
    ///
    /// Where the thing itself is gone, the answer is its table's last change, so it never goes back.
    pub fn scope_index(&self, scope: &Scope) -> StateIndex {
        let index = match scope {
            Scope::Table(table) => self.table_index(*table),
            Scope::Namespace(table, namespace) => self.namespace_index(*table, namespace),
            Scope::Job(table, key) => match (self.job_row(key), table) {
                (Some(row), Table::Jobs) => row.job.modify_index.max(row.summary_index).max(row.scaling_index),
                (Some(row), Table::Allocs) => row.allocs_index.max(row.job.create_index),
                (Some(row), Table::Evals) => row.evals_index.max(row.job.create_index),
                (Some(row), Table::Deployments) => row.deployments_index.max(row.job.create_index),
                // What the job's row said of its allocations and evaluations was never above its own last change.
                (None, _) => self.table_index(*table).max(self.table_index(Table::Jobs)),
                (Some(_), Table::Nodes | Table::SchedulerConfig | Table::HostVolumes | Table::VolumeClaims) => {
                    self.table_index(*table)
                }
            },
            Scope::Node(Table::Allocs, node) => self.node_allocs_index(node),
            Scope::Node(table, node) => self.node(node).map_or(self.table_index(*table), |node| node.modify_index),
            Scope::Eval(id) => self.eval(id).map_or(self.table_index(Table::Evals), |eval| eval.modify_index),
            Scope::Deployment(id) => {
                self.deployment(id).map_or(self.table_index(Table::Deployments), |deployment| deployment.modify_index)
            }
            Scope::HostVolume(id) => {
                self.host_volume(id).map_or(self.table_index(Table::HostVolumes), |volume| volume.modify_index)
            }
            Scope::Alloc(id) => self.alloc(id).map_or(self.table_index(Table::Allocs), |alloc| alloc.modify_index),
        };
        index.max(StateIndex(1))
    }
}
