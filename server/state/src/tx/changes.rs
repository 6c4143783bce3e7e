//! What an entry changed, as data.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use orch_model::node::ComputedClass;
use orch_model::{Deployment, DeploymentId, Evaluation, JobKey, NodeId, StateIndex};

use crate::scope::Scope;

/// What an entry changed, for those who act on it: waiters, sessions and, on the leader, broker and detectors.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// The newest entry among those that made the changes.
    pub last_index: StateIndex,
    /// Parts of the state that were written.
    pub scopes: BTreeSet<Scope>,
    /// Evaluations that were written, as they are now.
    pub evals: Vec<Arc<Evaluation>>,
    /// Nodes of which an allocation changed on the servers' word.
    pub nodes_to_tell: BTreeSet<NodeId>,
    /// Nodes that were written.
    pub nodes: BTreeSet<NodeId>,
    /// Nodes on which capacity came free, and their classes.
    pub freed: BTreeMap<NodeId, ComputedClass>,
    /// Jobs that were purged.
    pub jobs_gone: BTreeSet<JobKey>,
    /// Deployments that were written, as they are now.
    pub deployments: Vec<Arc<Deployment>>,
    /// Deployments of which an allocation was placed, found healthy or unhealthy, or ended.
    pub deployment_allocs: BTreeSet<DeploymentId>,
    /// The checkpoint that was taken at this entry: its index and the state's digest.
    pub checkpoint: Option<(StateIndex, u64)>,
    /// The checkpoint at which this server's state is another than the leader's: it must not go on from it.
    pub diverged: Option<StateIndex>,
}

impl Changes {
    /// Adds what a later entry changed.
    pub fn absorb(&mut self, later: Self) {
        let Self {
            last_index,
            scopes,
            evals,
            nodes_to_tell,
            nodes,
            freed,
            jobs_gone,
            deployments,
            deployment_allocs,
            checkpoint,
            diverged,
        } = later;
        self.last_index = self.last_index.max(last_index);
        self.scopes.extend(scopes);
        self.evals.extend(evals);
        self.nodes_to_tell.extend(nodes_to_tell);
        self.nodes.extend(nodes);
        self.freed.extend(freed);
        self.jobs_gone.extend(jobs_gone);
        self.deployments.extend(deployments);
        self.deployment_allocs.extend(deployment_allocs);
        self.checkpoint = checkpoint.or(self.checkpoint);
        self.diverged = self.diverged.or(diverged);
    }
}
