//! The metrics of the servers: names, units and meaning, in one place.
//!
//! Durations are histograms in seconds of wall clock, depths are gauges in whole things, and what happens is counted.
//! Those that only a leader has keep their last value when it does not lead any more.

use std::time::Duration;

use metrics::{counter, gauge, histogram};

// The log

/// Entries applied, by command.
pub(crate) fn applied(command: &'static str) {
    counter!("nomad.fsm.applied", "command" => command).increment(1);
}

/// Entries whose application failed; each is a defect.
pub(crate) fn apply_panicked() {
    counter!("nomad.fsm.panics").increment(1);
}

/// How long a command took from being proposed on this server to its answer, by command, in seconds: forwarded to the
/// leader, logged by a quorum, applied here.
pub(crate) fn proposed(command: &'static str, took: Duration, failed: bool) {
    histogram!("nomad.raft.propose", "command" => command).record(took);
    if failed {
        counter!("nomad.raft.propose_failed", "command" => command).increment(1);
    }
}

/// Entries of this server's log that are not applied yet.
pub(crate) fn apply_lag(entries: u64) {
    gauge!("nomad.raft.apply_lag").set(f64::from(u32::try_from(entries).unwrap_or(u32::MAX)));
}

/// Blocking queries that wait on this server.
pub(crate) fn blocking_queries(waiting: usize) {
    gauge!("nomad.nomad.blocking_queries").set(count(waiting));
}

// Scheduling

/// Evaluations ready, leased, waiting behind another of their job, and waiting for their time.
pub(crate) fn broker(ready: usize, leased: usize, pending: usize, waiting: usize) {
    gauge!("nomad.nomad.broker.total_ready").set(count(ready));
    gauge!("nomad.nomad.broker.total_unacked").set(count(leased));
    gauge!("nomad.nomad.broker.total_pending").set(count(pending));
    gauge!("nomad.nomad.broker.total_waiting").set(count(waiting));
}

/// Evaluations that wait for capacity, and those among them that any class may help.
pub(crate) fn blocked(total: usize, escaped: usize) {
    gauge!("nomad.nomad.blocked_evals.total_blocked").set(count(total));
    gauge!("nomad.nomad.blocked_evals.total_escaped").set(count(escaped));
}

/// How long a scheduler took, by type of job, in seconds.
pub(crate) fn scheduled(kind: &'static str, took: Duration) {
    histogram!("nomad.nomad.worker.invoke_scheduler", "type" => kind).record(took);
}

/// How long an evaluation took from being leased to its end, by type of job, in seconds.
pub(crate) fn evaluated(kind: &'static str, took: Duration) {
    histogram!("nomad.nomad.worker.process", "type" => kind).record(took);
}

/// How long a worker waited for a processor to schedule on, in seconds.
pub(crate) fn waited_for_processor(took: Duration) {
    histogram!("nomad.nomad.worker.wait_for_processor").record(took);
}

/// Evaluations that were given up after too many attempts.
pub(crate) fn evals_given_up(evals: usize) {
    counter!("nomad.nomad.broker.given_up").increment(number(evals));
}

/// How long a plan took from being handed in to its answer, in seconds; and its placements that no longer fitted.
pub(crate) fn plan_submitted(took: Duration, refused: usize) {
    histogram!("nomad.nomad.plan.submit").record(took);
    counter!("nomad.nomad.plan.placements_refused").increment(number(refused));
}

/// Plans that were refused whole because their job had moved on.
pub(crate) fn plan_stale() {
    counter!("nomad.nomad.plan.stale").increment(1);
}

/// Plans waiting to be logged.
pub(crate) fn plan_queue(depth: usize) {
    gauge!("nomad.nomad.plan.queue_depth").set(count(depth));
}

/// How long an entry of plans took from being proposed to its answer, in seconds; and how many plans it held.
pub(crate) fn plans_applied(took: Duration, plans: usize) {
    histogram!("nomad.nomad.plan.apply").record(took);
    histogram!("nomad.nomad.plan.entry_plans").record(count(plans));
}

// Deployments

/// Deployments that are watched, and those for which an answer is awaited.
pub(crate) fn deployments(watched: usize, asking: usize) {
    gauge!("nomad.nomad.deployments.watched").set(count(watched));
    gauge!("nomad.nomad.deployments.asking").set(count(asking));
}

/// Deployments that the watcher gave up.
pub(crate) fn deployment_failed() {
    counter!("nomad.nomad.deployments.failed").increment(1);
}

// Clients

/// Connections to the RPC port that were refused, because their address had too many.
pub(crate) fn rpc_refused() {
    counter!("nomad.rpc.connections_refused").increment(1);
}

/// Client sessions held by this server.
pub(crate) fn sessions(held: usize) {
    gauge!("nomad.nomad.heartbeat.active").set(count(held));
}

/// Reports of clients waiting to be logged.
pub(crate) fn update_queue(depth: usize) {
    gauge!("nomad.nomad.client.update_queue_depth").set(count(depth));
}

/// How long reports of clients took from being gathered to being stored, in seconds; and how many updates went together.
pub(crate) fn updates_stored(took: Duration, updates: usize) {
    histogram!("nomad.nomad.client.update_store").record(took);
    histogram!("nomad.nomad.client.updates_together").record(count(updates));
}

/// Nodes that the failure detector gave up.
pub(crate) fn nodes_lost(nodes: usize) {
    counter!("nomad.nomad.heartbeat.invalidate").increment(number(nodes));
}

/// Nodes that the brake holds back, and how many it would let go now.
pub(crate) fn brake(held: usize, tokens: f64) {
    gauge!("nomad.nomad.brake.held").set(count(held));
    gauge!("nomad.nomad.brake.tokens").set(tokens);
}

// Housekeeping

/// How long one step of collection looked at the state, in seconds; and how many names it found.
pub(crate) fn collected(took: Duration, names: usize) {
    histogram!("nomad.nomad.gc.step").record(took);
    counter!("nomad.nomad.gc.collected").increment(number(names));
}

/// Breaches of what must hold of the state, as the leader came across them; each is a defect.
pub(crate) fn breach() {
    counter!("nomad.nomad.state.breaches").increment(1);
}

/// Times that this server's state was found to differ from the leader's; each is a defect.
pub(crate) fn diverged() {
    counter!("nomad.nomad.state.diverged").increment(1);
}

#[expect(clippy::cast_precision_loss, reason = "gauges are floats; counts stay far below 2^52")]
const fn count(n: usize) -> f64 {
    n as f64
}

fn number(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
