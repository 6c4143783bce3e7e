//! The figures that the agent keeps, each named here once.

use metrics::{counter, gauge};
use orch_model::allocation::ClientStatus;
use orch_model::units::Usage;

/// A step of preparing tasks that went well or failed, by the step's name.
pub(crate) fn task_hook(name: &'static str, success: bool) {
    let outcome = if success { "success" } else { "failed" };
    counter!(format!("nomad.client.task_hook.{name}.{outcome}")).increment(1);
}

/// An allocation came to run, or ended; nothing is counted for other statuses.
pub(crate) fn alloc_became(status: ClientStatus) {
    let name = match status {
        ClientStatus::Running => "nomad.client.allocs.running",
        ClientStatus::Complete => "nomad.client.allocs.complete",
        ClientStatus::Failed => "nomad.client.allocs.failed",
        ClientStatus::Pending | ClientStatus::Lost | ClientStatus::Unknown => return,
    };
    counter!(name).increment(1);
}

/// So many tasks were started again.
pub(crate) fn tasks_restarted(count: u64) {
    if count > 0 {
        counter!("nomad.client.allocs.restart").increment(count);
    }
}

/// A task was killed for want of memory.
pub(crate) fn task_oom_killed() {
    counter!("nomad.client.allocs.oom_killed").increment(1);
}

/// How many allocations this node has, by how they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct AllocCounts {
    pub(crate) pending: u32,
    pub(crate) running: u32,
    pub(crate) terminal: u32,
}

impl AllocCounts {
    /// Sets the gauges.
    pub(crate) fn publish(self) {
        gauge!("nomad.client.allocations.pending").set(self.pending);
        gauge!("nomad.client.allocations.running").set(self.running);
        gauge!("nomad.client.allocations.terminal").set(self.terminal);
    }
}

/// What allocations take from this node, and what is left of it: MHz and MiB.
pub(crate) fn allocated(taken: Usage, left: Usage) {
    for (name, usage) in [("allocated", taken), ("unallocated", left)] {
        gauge!(format!("nomad.client.{name}.cpu")).set(usage.cpu.0);
        gauge!(format!("nomad.client.{name}.memory")).set(float(usage.memory.0));
        gauge!(format!("nomad.client.{name}.disk")).set(float(usage.disk.0));
    }
}

#[expect(clippy::cast_precision_loss, reason = "MiB of a machine are far below 2^53")]
fn float(number: u64) -> f64 {
    number as f64
}

/// A session with a server was opened or was lost.
pub(crate) fn session(opened: bool) {
    let name = if opened { "nomad.client.rpc.request" } else { "nomad.client.rpc.request_error" };
    counter!(name).increment(1);
}
