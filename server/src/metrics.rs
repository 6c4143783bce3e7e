//! The metrics of the servers: names, units and meaning, in one place.

use std::time::Duration;

use metrics::{counter, gauge, histogram};

/// Entries applied, by command.
pub(crate) fn applied(command: &'static str) {
    counter!("nomad.fsm.applied", "command" => command).increment(1);
}

/// Entries whose application failed; each is a defect.
pub(crate) fn apply_panicked() {
    counter!("nomad.fsm.panics").increment(1);
}

/// Evaluations ready, leased and waiting behind another of their job.
pub(crate) fn broker(ready: usize, leased: usize, pending: usize, waiting: usize) {
    gauge!("nomad.nomad.broker.total_ready").set(count(ready));
    gauge!("nomad.nomad.broker.total_unacked").set(count(leased));
    gauge!("nomad.nomad.broker.total_pending").set(count(pending));
    gauge!("nomad.nomad.broker.total_waiting").set(count(waiting));
}

/// Evaluations that wait for capacity.
pub(crate) fn blocked(total: usize, escaped: usize) {
    gauge!("nomad.nomad.blocked_evals.total_blocked").set(count(total));
    gauge!("nomad.nomad.blocked_evals.total_escaped").set(count(escaped));
}

/// How long a scheduler took, in seconds of wall clock.
pub(crate) fn scheduled(kind: &'static str, took: Duration) {
    histogram!("nomad.nomad.worker.invoke_scheduler", "type" => kind).record(took);
}

/// How long a plan took from being handed in to its answer, in seconds.
pub(crate) fn plan_submitted(took: Duration, refused: usize) {
    histogram!("nomad.nomad.plan.submit").record(took);
    counter!("nomad.nomad.plan.placements_refused").increment(u64::try_from(refused).unwrap_or(u64::MAX));
}

/// Plans waiting to be logged.
pub(crate) fn plan_queue(depth: usize) {
    gauge!("nomad.nomad.plan.queue_depth").set(count(depth));
}

/// Client sessions held by this server.
pub(crate) fn sessions(held: usize) {
    gauge!("nomad.nomad.heartbeat.active").set(count(held));
}

/// Nodes that the failure detector gave up.
pub(crate) fn nodes_lost(nodes: usize) {
    counter!("nomad.nomad.heartbeat.invalidate").increment(u64::try_from(nodes).unwrap_or(u64::MAX));
}

#[expect(clippy::cast_precision_loss, reason = "gauges are floats; counts stay far below 2^52")]
const fn count(n: usize) -> f64 {
    n as f64
}
