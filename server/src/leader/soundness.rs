//! Looking whether what stands is sound: that servers agree, and that what must hold of the state does hold.

use std::collections::BTreeSet;
use std::time::Duration;

use orch_model::StateIndex;
use orch_state::Command;
use orch_state::commands::CheckDigest;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use super::Context;
use super::inspection::Inspection;
use crate::metrics;

/// How often is looked whether the state has passed a checkpoint.
const CHECKPOINT: Duration = Duration::from_secs(1);

/// How often some rows are looked at.
const INSPECT: Duration = Duration::from_secs(1);

/// How many breaches are told in the time of one leader.
const BREACHES: usize = 1_000;

/// Tells the others, after each checkpoint, what this server's state came to there, until `ended`.
///
/// Whoever came to something else notices when it applies that entry.
pub(super) async fn agree(context: Context, ended: CancellationToken) {
    let mut ticks = tokio::time::interval(CHECKPOINT);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut told: Option<StateIndex> = None;
    loop {
        tokio::select! {
            () = ended.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let checkpoint = context.store.snapshot().meta().checkpoint;
        let Some((at, digest)) = checkpoint.filter(|(at, _)| told != Some(*at)) else { continue };
        match context.consensus.propose(Command::CheckDigest(CheckDigest { at, digest })).await {
            Ok(_) => told = Some(at),
            Err(error) => debug!(raft.index = at.0, %error, "the digest of the state could not be told yet"),
        }
    }
}

/// Looks at some rows of the state at a time, round and round, until `ended`.
pub(super) async fn check(context: Context, ended: CancellationToken) {
    let mut ticks = tokio::time::interval(INSPECT);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut inspection = Inspection::default();
    let mut known = BTreeSet::new();
    loop {
        tokio::select! {
            () = ended.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let state = context.store.snapshot();
        for breach in inspection.step(&state) {
            metrics::breach();
            // Each is told once: it is found again in every round.
            if known.len() < BREACHES && known.insert(breach.clone()) {
                error!(breach, "the state is not as it must be");
            }
        }
    }
}
