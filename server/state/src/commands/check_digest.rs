//! Finding a server whose state went its own way.

use orch_model::StateIndex;
use serde::{Deserialize, Serialize};

use super::Reply;
use crate::tx::Tx;

/// Compare the digest that the leader had at a checkpoint with one's own; a server where they differ must not go on.
///
/// The state is the same after it everywhere: who is wrong stands in the changes alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckDigest {
    /// The checkpoint.
    pub at: StateIndex,
    /// The leader's digest there.
    pub digest: u64,
}

impl CheckDigest {
    pub(crate) fn apply(&self, tx: &mut Tx<'_>) -> Reply {
        if let Some((at, own)) = tx.state.meta.checkpoint
            && at == self.at
            && own != self.digest
        {
            tx.changes.diverged = Some(at);
        }
        Reply::Done
    }
}
