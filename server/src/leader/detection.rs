//! Judging silence: the failure detector's shell.

use std::time::{Duration, Instant};

use orch_model::node::NodeStatus;
use orch_state::Command;
use orch_state::commands::{NodeTransition, NodeTransitions};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use super::Context;
use super::brake::{Asked, BrakeWish};
use super::detector::{Detector, Verdict, Watched};
use crate::metrics;

/// How often silence is judged.
const JUDGE: Duration = Duration::from_millis(500);

/// The most nodes in one entry.
const TRANSITIONS: usize = 500;

/// Judges which nodes are gone and answers for the brake, until `ended`.
pub(super) async fn detect(context: Context, ended: CancellationToken) {
    let mut detector = Detector::new(context.config.detection.clone(), Instant::now());
    let mut ticks = tokio::time::interval(JUDGE);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            () = ended.cancelled() => return,
            () = context.brake.rung() => {}
            _ = ticks.tick() => {}
        }
        let asked = context.brake.take();
        if asked.iter().any(|asked| asked.wish == BrakeWish::Release) {
            info!(held = detector.brake(Instant::now()).held.len(), "an operator releases the brake");
            detector.release();
        }
        for (server, silent, at) in context.digests.take() {
            detector.digest(server, silent, at);
        }
        let verdicts = judge(&context, &mut detector);
        store(&context, &verdicts).await;
        let brake = detector.brake(Instant::now());
        metrics::brake(brake.held.len(), brake.tokens);
        for Asked { wish: _, answer } in asked {
            // Whoever asked may not wait any more.
            drop(answer.send(brake.clone()));
        }
    }
}

fn judge(context: &Context, detector: &mut Detector) -> Vec<Verdict> {
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
    detector.judge(&nodes, Instant::now())
}

async fn store(context: &Context, verdicts: &[Verdict]) {
    if verdicts.is_empty() {
        return;
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
