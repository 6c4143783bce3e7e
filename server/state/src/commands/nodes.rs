//! What servers and operators decide about nodes.

use orch_model::allocation::ClientStatus;
use orch_model::evaluation::Trigger;
use orch_model::node::{Eligibility, NodeStatus};
use orch_model::{JobKey, NodeId};
use serde::{Deserialize, Serialize};

use super::Reply;
use super::register_node::event;
use crate::tx::Tx;

/// Nodes fell silent, as the leader's failure detector found; a node that has a newer session is left alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeTransitions {
    /// What became of each.
    pub transitions: Vec<NodeTransition>,
    /// Where ids of evaluations come from.
    pub seed: u64,
}

/// What became of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeTransition {
    /// The node.
    pub node_id: NodeId,
    /// The session that fell silent.
    pub epoch: u64,
    /// `down` or `disconnected`.
    pub status: NodeStatus,
    /// Why, in a sentence.
    pub description: String,
}

impl NodeTransitions {
    pub(crate) fn apply(&self, tx: &mut Tx<'_>) -> Reply {
        let mut jobs = Vec::new();
        for transition in &self.transitions {
            if transition.apply(tx) {
                jobs.extend(live_jobs(tx, &transition.node_id));
            }
        }
        let eval_ids = tx.add_evals(jobs.into_iter().map(|key| (key, Trigger::NodeUpdate)), None, self.seed);
        Reply::Evals { eval_ids }
    }
}

impl NodeTransition {
    fn apply(&self, tx: &mut Tx<'_>) -> bool {
        let Some(old) = tx.state.node(&self.node_id).cloned() else { return false };
        if old.session.epoch != self.epoch || old.status == self.status || !old.status.can_become(self.status) {
            return false;
        }
        let mut node = (*old).clone();
        node.status = self.status;
        node.status_description.clone_from(&self.description);
        node.status_updated_at = tx.now;
        node.last_missed_heartbeat = tx.index;
        node.note(event(tx, "Cluster", "Node heartbeat missed"));
        tx.put_node(node);
        if self.status == NodeStatus::Disconnected {
            mark(tx, &self.node_id, ClientStatus::Unknown);
        }
        true
    }
}

/// Gives every allocation of a node that has not ended the client status that the servers suppose.
fn mark(tx: &mut Tx<'_>, node: &NodeId, status: ClientStatus) {
    let allocs: Vec<_> = tx
        .state
        .allocs_of_node(node)
        .filter(|alloc| !alloc.is_client_terminal() && alloc.client_status.can_become(status))
        .cloned()
        .collect();
    for alloc in allocs {
        let mut alloc = (*alloc).clone();
        alloc.client_status = status;
        tx.put_alloc(alloc, false);
    }
}

/// The jobs of which a node has allocations that have not ended.
fn live_jobs(tx: &Tx<'_>, node: &NodeId) -> Vec<JobKey> {
    tx.state.allocs_of_node(node).filter(|alloc| !alloc.is_client_terminal()).map(|alloc| alloc.job_key()).collect()
}

/// Let the scheduler use a node, or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetEligibility {
    /// The node.
    pub node_id: NodeId,
    /// Whether it may be used.
    pub eligibility: Eligibility,
}

impl SetEligibility {
    pub(crate) fn apply(&self, tx: &mut Tx<'_>) -> Reply {
        let Some(old) = tx.state.node(&self.node_id).cloned() else {
            return Reply::not_found("node not found");
        };
        if old.eligibility != self.eligibility {
            let mut node = (*old).clone();
            node.eligibility = self.eligibility;
            let message = match self.eligibility {
                Eligibility::Eligible => "Node marked as eligible for scheduling",
                Eligibility::Ineligible => "Node marked as ineligible for scheduling",
            };
            node.note(event(tx, "Cluster", message));
            tx.put_node(node);
        }
        Reply::Evals { eval_ids: Vec::new() }
    }
}

/// Look afresh at all jobs on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvaluateNode {
    /// The node.
    pub node_id: NodeId,
    /// Where ids of evaluations come from.
    pub seed: u64,
}

impl EvaluateNode {
    pub(crate) fn apply(&self, tx: &mut Tx<'_>) -> Reply {
        if tx.state.node(&self.node_id).is_none() {
            return Reply::not_found("node not found");
        }
        let jobs = live_jobs(tx, &self.node_id);
        let eval_ids =
            tx.add_evals(jobs.into_iter().map(|key| (key, Trigger::NodeUpdate)), Some(self.node_id), self.seed);
        Reply::Evals { eval_ids }
    }
}

/// Forget a node; what ran there counts as lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurgeNode {
    /// The node.
    pub node_id: NodeId,
    /// Where ids of evaluations come from.
    pub seed: u64,
}

impl PurgeNode {
    pub(crate) fn apply(&self, tx: &mut Tx<'_>) -> Reply {
        if tx.state.node(&self.node_id).is_none() {
            return Reply::not_found("node not found");
        }
        let jobs = live_jobs(tx, &self.node_id);
        mark(tx, &self.node_id, ClientStatus::Lost);
        tx.remove_node(&self.node_id);
        tx.changes.nodes_to_tell.insert(self.node_id);
        let eval_ids =
            tx.add_evals(jobs.into_iter().map(|key| (key, Trigger::NodeUpdate)), Some(self.node_id), self.seed);
        Reply::Evals { eval_ids }
    }
}
