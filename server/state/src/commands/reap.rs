//! Forgetting what has ended.

use orch_model::node::NodeStatus;
use orch_model::{AllocId, EvalId, JobKey, NodeId};
use serde::{Deserialize, Serialize};

use super::Reply;
use crate::tx::Tx;

/// Forget what has ended. The leader names the ids; whether each may go is checked again here.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Reap {
    /// Evaluations that ended and whose allocations have gone, or go with them.
    pub evals: Vec<EvalId>,
    /// Allocations that are terminal on both sides.
    pub allocs: Vec<AllocId>,
    /// Jobs that are dead.
    pub jobs: Vec<JobKey>,
    /// Nodes that are down and hold nothing.
    pub nodes: Vec<NodeId>,
}

impl Reap {
    pub(crate) fn apply(&self, tx: &mut Tx<'_>) -> Reply {
        for id in &self.allocs {
            if tx.state.alloc(id).is_some_and(|alloc| alloc.is_client_terminal()) {
                tx.remove_alloc(id);
            }
        }
        for id in &self.evals {
            if tx.state.eval(id).is_some_and(|eval| eval.status.is_terminal()) {
                tx.remove_eval(id);
            }
        }
        for key in &self.jobs {
            let idle = tx.state.evals_of_job(key).all(|eval| eval.status.is_terminal())
                && tx.state.allocs_of_job(key).all(|alloc| alloc.is_terminal());
            if idle {
                let evals: Vec<_> = tx.state.evals_of_job(key).map(|eval| eval.id).collect();
                tx.remove_job(key);
                evals.iter().for_each(|id| tx.remove_eval(id));
            }
        }
        for id in &self.nodes {
            let down = tx.state.node(id).is_some_and(|node| node.status == NodeStatus::Down);
            if down && tx.state.allocs_of_node(id).all(|alloc| alloc.is_client_terminal()) {
                tx.remove_node(id);
            }
        }
        Reply::Done
    }
}
