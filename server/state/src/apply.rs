//! Applying the log: state and entry in, state, answer and changes out.

use std::sync::Arc;

use orch_model::StateIndex;

use crate::commands::{Command, Reply};
use crate::entry::Entry;
use crate::state::State;
use crate::tx::{Changes, Tx};

/// What came of an entry.
#[derive(Debug, Clone)]
pub struct Applied {
    /// The index that it made.
    pub index: StateIndex,
    /// The answer to whoever proposed it.
    pub reply: Reply,
    /// What it changed.
    pub changes: Changes,
}

/// Applies the entry at `log_index`.
///
/// Deterministic, and total: a command that cannot be honoured is answered with [`Reply::Rejected`] and changes nothing
/// but the time and the last index.
pub fn apply(state: &mut State, log_index: u64, entry: &Entry) -> Applied {
    let meta = Arc::make_mut(&mut state.meta);
    let index = StateIndex(meta.index_base.saturating_add(log_index));
    meta.now = meta.now.max(entry.stamp);
    meta.last_index = index;
    let now = meta.now;
    let mut tx = Tx { state, index, now, changes: Changes::default() };
    let reply = dispatch(&mut tx, &entry.command);
    let mut changes = tx.changes;
    changes.last_index = index;
    Applied { index, reply, changes }
}

fn dispatch(tx: &mut Tx<'_>, command: &Command) -> Reply {
    match command {
        Command::FormCluster(command) => command.apply(tx),
        Command::RegisterJob(command) => command.apply(tx),
        Command::DeregisterJob(command) => command.apply(tx),
        Command::EvaluateJob(command) => command.apply(tx),
        Command::RegisterNode(command) => command.apply(tx),
        Command::DescribeNode(command) => command.apply(tx),
        Command::NodeTransitions(command) => command.apply(tx),
        Command::SetEligibility(command) => command.apply(tx),
        Command::EvaluateNode(command) => command.apply(tx),
        Command::PurgeNode(command) => command.apply(tx),
        Command::ApplyPlans(command) => command.apply(tx),
        Command::UpdateAllocs(command) => command.apply(tx),
        Command::StopAlloc(command) => command.apply(tx),
        Command::PutEvals(command) => command.apply(tx),
        Command::Reap(command) => command.apply(tx),
        Command::SetSchedulerConfig(command) => command.apply(tx),
        Command::RaiseVersion(command) => command.apply(tx),
    }
}
