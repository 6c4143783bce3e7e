//! Applying the log: state and entry in, state, answer and changes out.

use std::collections::BTreeSet;
use std::sync::Arc;

use orch_model::{Deployment, StateIndex};

use crate::commands::{Command, Reply};
use crate::digest::{CHECKPOINT_EVERY, Digest, Record};
use crate::entry::{Entry, RULES_WITH_DEPLOYMENTS};
use crate::state::{Meta, State};
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
    let is_checkpoint = crosses_checkpoint(meta, index);
    meta.now = meta.now.max(entry.stamp);
    meta.last_index = index;
    let now = meta.now;
    let keeps_digest = entry.rules >= RULES_WITH_DEPLOYMENTS;
    let mut digest = Digest::resume(meta.digest, keeps_digest);
    digest.number(Record::Entry, &[index.0, now.0.cast_unsigned()]);
    let mut tx = Tx {
        state,
        index,
        now,
        rules: entry.rules,
        digest,
        changes: Changes::default(),
        deployments_written: BTreeSet::new(),
    };
    let reply = dispatch(&mut tx, &entry.command);
    let Tx { state, mut digest, mut changes, deployments_written, .. } = tx;
    let written = deployments_written.iter().filter_map(|id| state.deployments.get(id));
    for deployment in written {
        fold_deployment(&mut digest, deployment);
        changes.deployments.push(Arc::clone(deployment));
    }
    changes.last_index = index;
    let meta = Arc::make_mut(&mut state.meta);
    meta.digest = digest.value();
    if keeps_digest && is_checkpoint {
        meta.checkpoint = Some((index, meta.digest));
        changes.checkpoint = meta.checkpoint;
    }
    Applied { index, reply, changes }
}

/// Whether `index` is the first entry at or past a multiple of [`CHECKPOINT_EVERY`].
fn crosses_checkpoint(meta: &Meta, index: StateIndex) -> bool {
    let period = |index: StateIndex| index.0.saturating_sub(meta.index_base) / CHECKPOINT_EVERY;
    period(meta.last_index) != period(index)
}

fn fold_deployment(digest: &mut Digest, deployment: &Deployment) {
    digest.id(Record::Deployment, deployment.id.as_uuid(), &[deployment.status as u64, deployment.modify_index.0]);
    for group in deployment.groups.values() {
        let counts = [group.placed, group.healthy, group.unhealthy, u32::from(group.promoted)].map(u64::from);
        digest.number(Record::Deployment, &counts);
        digest.number(Record::Deployment, &[group.require_progress_by.0.cast_unsigned()]);
    }
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
        Command::ChangeDeployment(command) => command.apply(tx),
        Command::SetAllocHealth(command) => command.apply(tx),
        Command::RescheduleAllocs(command) => command.apply(tx),
        Command::SetJobStability(command) => command.apply(tx),
        Command::RevertJob(command) => command.apply(tx),
        Command::ScaleJob(command) => command.apply(tx),
        Command::CheckDigest(command) => command.apply(tx),
        Command::PutHostVolume(command) => command.apply(tx),
        Command::DeleteHostVolume(command) => command.apply(tx),
        Command::DeleteVolumeClaim(command) => command.apply(tx),
    }
}
