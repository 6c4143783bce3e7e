//! What the leader does at intervals: collecting what has ended, taking learners in.

use std::time::{Duration, Instant};

use orch_state::Command;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::Context;
use super::gc::{self, Collector};
use crate::metrics;

/// How often a pass of collection that is under way goes on.
const COLLECT: Duration = Duration::from_millis(250);

/// How often learners are looked at.
const PROMOTE: Duration = Duration::from_millis(200);

/// How far behind a learner may be and still become a voter, in entries.
const CAUGHT_UP: u64 = 64;

/// Collects what has ended, until `ended`: a pass at each interval, in small steps.
pub(super) async fn collect(context: Context, ended: CancellationToken) {
    let mut passes = tokio::time::interval(context.config.gc.interval);
    passes.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = ended.cancelled() => return,
            _ = passes.tick() => {}
        }
        let mut collector = Collector::begin(false);
        while !collector.is_idle() {
            let next = async {
                collect_some(&context, &mut collector).await;
                tokio::time::sleep(COLLECT).await;
            };
            tokio::select! {
                () = ended.cancelled() => return,
                () = next => {}
            }
        }
    }
}

async fn collect_some(context: &Context, collector: &mut Collector) {
    let began = Instant::now();
    let reap = collector.step(&context.store.snapshot(), &context.config.gc);
    metrics::collected(began.elapsed(), gc::names(&reap));
    if gc::is_empty(&reap) {
        return;
    }
    debug!(
        allocs = reap.allocs.len(),
        evals = reap.evals.len(),
        deployments = reap.deployments.len(),
        jobs = reap.jobs.len(),
        nodes = reap.nodes.len(),
        "collecting"
    );
    if let Err(error) = context.consensus.propose(Command::Reap(reap)).await {
        warn!(%error, "what has ended could not be collected");
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
