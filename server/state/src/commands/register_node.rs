//! A client opening a session, and describing itself anew.

use std::collections::BTreeMap;
use std::sync::Arc;

use orch_model::evaluation::Trigger;
use orch_model::ids::RaftId;
use orch_model::node::{ComputedClass, Eligibility, NodeDescription, NodeEvent, NodeStatus, SessionRef};
use orch_model::{Node, NodeId, StateIndex, Timestamp};
use serde::{Deserialize, Serialize};

use super::Reply;
use crate::tx::Tx;

/// A client opened a session: it is ready from now on, and reports about its earlier sessions are void.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RegisterNode {
    /// The node.
    pub node_id: NodeId,
    /// What it says of itself.
    pub description: Arc<NodeDescription>,
    /// The server that holds the session.
    pub server: RaftId,
    /// Where ids of evaluations come from.
    pub seed: u64,
}

impl RegisterNode {
    pub(crate) fn apply(&self, tx: &mut Tx<'_>) -> Reply {
        let old = tx.state.node(&self.node_id).cloned();
        if let Some(old) = &old
            && old.described.secret_id != self.description.secret_id
        {
            return Reply::forbidden(format!(
                "node {} is registered with another secret: two clients must not share a node id",
                self.node_id
            ));
        }
        // A node that was purged goes on above every epoch that was ever purged, so that old verdicts stay void.
        let epoch = old.as_ref().map_or(tx.state.meta.purged_epoch, |old| old.session.epoch).saturating_add(1);
        let was_away = old.as_ref().is_some_and(|old| old.status != NodeStatus::Ready);
        let mut node = match &old {
            Some(old) => (**old).clone(),
            None => self.new_node(),
        };
        let class = ComputedClass::of(&self.description);
        let changed = old.as_ref().is_none_or(|old| old.computed_class != class);
        node.described = Arc::clone(&self.description);
        node.computed_class = class;
        node.session = SessionRef { server: self.server, epoch };
        if node.status != NodeStatus::Ready {
            node.status = NodeStatus::Ready;
            node.status_description.clear();
            node.status_updated_at = tx.now;
        }
        if old.is_none() || was_away {
            let message = if old.is_none() { "Node registered" } else { "Node re-registered" };
            node.note(event(tx, "Cluster", message));
        }
        tx.put_node(node);
        tx.changes.nodes_to_tell.insert(self.node_id);
        if old.is_some() && (was_away || changed) {
            let jobs: Vec<_> = tx
                .state
                .allocs_of_node(&self.node_id)
                .filter(|alloc| !alloc.is_terminal())
                .map(|alloc| (alloc.job_key(), Trigger::NodeUpdate))
                .collect();
            tx.add_evals(jobs, Some(self.node_id), self.seed);
        }
        Reply::Session { epoch }
    }

    fn new_node(&self) -> Node {
        let eligibility =
            if self.description.default_ineligible { Eligibility::Ineligible } else { Eligibility::Eligible };
        Node {
            id: self.node_id,
            described: Arc::clone(&self.description),
            computed_class: ComputedClass::default(),
            status: NodeStatus::Initializing,
            status_description: String::new(),
            status_updated_at: Timestamp::NONE,
            eligibility,
            session: SessionRef::default(),
            events: Vec::new(),
            last_missed_heartbeat: StateIndex::default(),
            last_alloc_update: StateIndex::default(),
            create_index: StateIndex::default(),
            modify_index: StateIndex::default(),
        }
    }
}

/// A client described itself anew: a driver came up, an attribute changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DescribeNode {
    /// The node.
    pub node_id: NodeId,
    /// The session in which it said so.
    pub epoch: u64,
    /// What it says of itself.
    pub description: Arc<NodeDescription>,
}

impl DescribeNode {
    pub(crate) fn apply(&self, tx: &mut Tx<'_>) -> Reply {
        let Some(old) = tx.state.node(&self.node_id).cloned() else {
            return Reply::not_found("node not found");
        };
        if old.session.epoch != self.epoch {
            return Reply::conflict("the session has been replaced by a newer one");
        }
        if old.described.secret_id != self.description.secret_id {
            return Reply::forbidden(format!("node {} is registered with another secret", self.node_id));
        }
        let mut node = (*old).clone();
        node.described = Arc::clone(&self.description);
        node.computed_class = ComputedClass::of(&self.description);
        tx.put_node(node);
        Reply::Done
    }
}

/// An event of a node, at this entry.
pub(super) fn event(tx: &Tx<'_>, subsystem: &str, message: &str) -> NodeEvent {
    NodeEvent {
        message: message.to_owned(),
        subsystem: subsystem.to_owned(),
        details: BTreeMap::new(),
        timestamp: tx.now,
        create_index: tx.index,
    }
}
