//! What the leader does at intervals: judging silence, collecting what has ended, taking learners in.

use std::time::{Duration, Instant};

use orch_model::node::NodeStatus;
use orch_state::Command;
use orch_state::commands::{NodeTransition, NodeTransitions};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::detector::{Detector, Watched};
use super::{Context, gc};
use crate::metrics;

/// How often silence is judged.
const JUDGE: Duration = Duration::from_millis(500);

/// How often learners are looked at.
const PROMOTE: Duration = Duration::from_millis(200);

/// How far behind a learner may be and still become a voter, in entries.
const CAUGHT_UP: u64 = 64;

/// The most nodes in one entry.
const TRANSITIONS: usize = 500;

/// Judges which nodes are gone, until `ended`.
pub(super) async fn detect(context: Context, ended: CancellationToken) {
    let mut detector = Detector::new(context.config.detection.clone(), Instant::now());
    let mut ticks = tokio::time::interval(JUDGE);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            () = ended.cancelled() => return,
            _ = ticks.tick() => {}
        }
        for (server, silent, at) in context.digests.take() {
            detector.digest(server, silent, at);
        }
        let state = context.store.snapshot();
        let nodes: Vec<_> = state
            .nodes()
            .filter(|node| node.status != NodeStatus::Down)
            .map(|node| Watched {
                node_id: node.id,
                server: node.session.server,
                epoch: node.session.epoch,
                status: node.status,
            })
            .collect();
        drop(state);
        let verdicts = detector.judge(&nodes, Instant::now());
        if verdicts.is_empty() {
            continue;
        }
        metrics::nodes_lost(verdicts.len());
        for part in verdicts.chunks(TRANSITIONS) {
            let transitions = part
                .iter()
                .map(|verdict| {
                    warn!(node_id = %verdict.node_id, status = %verdict.status, reason = verdict.reason, "node is given up");
                    NodeTransition {
                        node_id: verdict.node_id,
                        epoch: verdict.epoch,
                        status: verdict.status,
                        description: verdict.reason.clone(),
                    }
                })
                .collect();
            let seed = Uuid::new_v4().as_u64_pair().0;
            let command = Command::NodeTransitions(NodeTransitions { transitions, seed });
            if let Err(error) = context.consensus.propose(command).await {
                warn!(%error, "the loss of nodes could not be stored");
            }
        }
    }
}

/// Collects what has ended, until `ended`.
pub(super) async fn collect(context: Context, ended: CancellationToken) {
    let mut ticks = tokio::time::interval(context.config.gc.interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = ended.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let reap = gc::collect(&context.store.snapshot(), &context.config.gc, false);
        if gc::is_empty(&reap) {
            continue;
        }
        debug!(
            allocs = reap.allocs.len(),
            evals = reap.evals.len(),
            jobs = reap.jobs.len(),
            nodes = reap.nodes.len(),
            "collecting"
        );
        if let Err(error) = context.consensus.propose(Command::Reap(reap)).await {
            warn!(%error, "what has ended could not be collected");
        }
    }
}

/// Makes voters of learners that have caught up, until `ended`.
pub(super) async fn promote(context: Context, ended: CancellationToken) {
    let mut ticks = tokio::time::interval(PROMOTE);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = ended.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let members = context.consensus.members();
        let newest = members.iter().filter_map(|status| status.matched).max().unwrap_or(0);
        let ready: Vec<_> = members
            .iter()
            .filter(|status| !status.voter)
            .filter(|status| status.matched.is_some_and(|matched| matched + CAUGHT_UP >= newest))
            .map(|status| status.id)
            .collect();
        if ready.is_empty() {
            continue;
        }
        match context.consensus.promote(ready.clone()).await {
            Ok(()) => info!(?ready, "servers have caught up and vote from now on"),
            Err(error) => debug!(%error, "servers that have caught up could not be made voters yet"),
        }
    }
}
