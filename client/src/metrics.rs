//! The metrics of the client: names, units and meaning, in one place.

use std::time::Duration;

use metrics::{Label, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use orch_api::HostStats;
use orch_model::allocation::ClientStatus;
use orch_model::units::Usage;

use crate::gc::{Fullness, Reason};

const SESSIONS_OPENED: &str = "nomad.client.session.opened";
const SESSIONS_LOST: &str = "nomad.client.session.lost";
const SESSIONS_FAILED: &str = "nomad.client.session.failed";
const CONNECTED: &str = "nomad.client.session.connected";
const AWAY: &str = "nomad.client.session.away";
const UPDATES_WAITING: &str = "nomad.client.updates.waiting";
const UPDATES_COMMITTED: &str = "nomad.client.updates.committed";
const QUEUE: &str = "nomad.client.queue";
const ALLOC_STARTED: &str = "nomad.client.alloc.start";
const ALLOC_STOPPED: &str = "nomad.client.alloc.stop";
const RUNNING: &str = "nomad.client.allocs.running";
const COMPLETE: &str = "nomad.client.allocs.complete";
const FAILED: &str = "nomad.client.allocs.failed";
const RESTARTS: &str = "nomad.client.allocs.restart";
const OOM_KILLED: &str = "nomad.client.allocs.oom_killed";
const PENDING_NOW: &str = "nomad.client.allocations.pending";
const RUNNING_NOW: &str = "nomad.client.allocations.running";
const TERMINAL_NOW: &str = "nomad.client.allocations.terminal";
const COLLECTED: &str = "nomad.client.gc.collected";
const ENDED: &str = "nomad.client.gc.ended";
const DISK_USED: &str = "nomad.client.gc.disk_used_percent";
const INODES_USED: &str = "nomad.client.gc.inodes_used_percent";
const DISK_EXCEEDED: &str = "nomad.client.allocs.disk_exceeded";
const DIR_REMOVED: &str = "nomad.client.gc.dir_removed";

/// Figures of the machine: the end of their name, unit and meaning.
const HOST: [(&str, Unit, &str); 15] = [
    ("cpu.user", Unit::Percent, "Time of a core in user mode"),
    ("cpu.system", Unit::Percent, "Time of a core in the kernel"),
    ("cpu.idle", Unit::Percent, "Time of a core with nothing to do"),
    ("cpu.total_percent", Unit::Percent, "Time of a core in use"),
    ("cpu.total_ticks", Unit::Count, "What of a core is in use, in MHz"),
    ("memory.total", Unit::Bytes, "Memory of the machine"),
    ("memory.available", Unit::Bytes, "Memory that programs can still get"),
    ("memory.used", Unit::Bytes, "Memory that is not available"),
    ("memory.free", Unit::Bytes, "Memory that nobody uses, not even for caches"),
    ("disk.size", Unit::Bytes, "Size of a disk"),
    ("disk.used", Unit::Bytes, "What of a disk is in use"),
    ("disk.available", Unit::Bytes, "What of a disk unprivileged users can still get"),
    ("disk.used_percent", Unit::Percent, "Share of a disk in use"),
    ("disk.inodes_percent", Unit::Percent, "Share of a disk's inodes in use"),
    ("uptime", Unit::Seconds, "Since the start of the machine"),
];

/// Tells whoever records metrics what each of them means; call it once, after the recorder is there.
pub(crate) fn describe() {
    describe_counter!(SESSIONS_OPENED, Unit::Count, "Sessions that were opened with a server");
    describe_counter!(SESSIONS_LOST, Unit::Count, "Sessions that ended, other than by the end of the agent");
    describe_counter!(SESSIONS_FAILED, Unit::Count, "Attempts to open a session that failed");
    describe_gauge!(CONNECTED, Unit::Count, "1 while there is a session, else 0");
    describe_histogram!(AWAY, Unit::Seconds, "From the start of the agent or the loss of a session to the next one");
    describe_gauge!(UPDATES_WAITING, Unit::Count, "Allocations of which something new is not committed by the servers");
    describe_histogram!(UPDATES_COMMITTED, Unit::Seconds, "From sending a message of updates to its being committed");
    describe_gauge!(QUEUE, Unit::Count, "What waits in a queue between parts of the agent, by queue");
    describe_histogram!(ALLOC_STARTED, Unit::Seconds, "From the arrival of an allocation to the report that it runs");
    describe_histogram!(ALLOC_STOPPED, Unit::Seconds, "From the word that an allocation is to stop to its end");
    describe_counter!(RUNNING, Unit::Count, "Allocations that came to run");
    describe_counter!(COMPLETE, Unit::Count, "Allocations that ended well");
    describe_counter!(FAILED, Unit::Count, "Allocations that failed");
    describe_counter!(RESTARTS, Unit::Count, "Tasks that were started again");
    describe_counter!(OOM_KILLED, Unit::Count, "Tasks that were killed for want of memory");
    describe_gauge!(PENDING_NOW, Unit::Count, "Allocations of this node that do not run yet");
    describe_gauge!(RUNNING_NOW, Unit::Count, "Allocations of this node that run");
    describe_gauge!(TERMINAL_NOW, Unit::Count, "Allocations of this node that have ended");
    describe_counter!(COLLECTED, Unit::Count, "Ended allocations that gave up their directory, by reason");
    describe_gauge!(ENDED, Unit::Count, "Ended allocations that still have their directory");
    describe_gauge!(DISK_USED, Unit::Percent, "How much of the disk of the allocations is in use");
    describe_gauge!(INODES_USED, Unit::Percent, "How many of the inodes of that disk are in use");
    describe_counter!(DISK_EXCEEDED, Unit::Count, "Allocations that came to use more of the disk than they asked for");
    describe_histogram!(DIR_REMOVED, Unit::Seconds, "How long the removal of an allocation's directory took");
    for name in crate::alloc_runner::hook_names() {
        let elapsed = format!("nomad.client.task_hook.{name}.elapsed");
        describe_histogram!(elapsed, Unit::Seconds, "How long this step of preparing a task took");
    }
    for (name, unit, meaning) in HOST {
        describe_gauge!(format!("nomad.client.host.{name}"), unit, meaning);
    }
    for part in ["allocated", "unallocated"] {
        let of = if part == "allocated" { "that allocations hold" } else { "that is left for allocations" };
        describe_gauge!(format!("nomad.client.{part}.cpu"), Unit::Count, format!("Processor {of}, in MHz"));
        describe_gauge!(format!("nomad.client.{part}.memory"), Unit::Mebibytes, format!("Memory {of}"));
        describe_gauge!(format!("nomad.client.{part}.disk"), Unit::Mebibytes, format!("Disk {of}"));
    }
}

/// A step of preparing tasks that went well or failed, by the step's name, and how long it took.
pub(crate) fn task_hook(name: &'static str, success: bool, took: Duration) {
    histogram!(format!("nomad.client.task_hook.{name}.elapsed")).record(took);
    let outcome = if success { "success" } else { "failed" };
    counter!(format!("nomad.client.task_hook.{name}.{outcome}")).increment(1);
}

/// An allocation came to run, or ended; nothing is counted for other statuses.
pub(crate) fn alloc_became(status: ClientStatus) {
    let name = match status {
        ClientStatus::Running => RUNNING,
        ClientStatus::Complete => COMPLETE,
        ClientStatus::Failed => FAILED,
        ClientStatus::Pending | ClientStatus::Lost | ClientStatus::Unknown => return,
    };
    counter!(name).increment(1);
}

/// An allocation runs, so long after it came.
pub(crate) fn alloc_started(took: Duration) {
    histogram!(ALLOC_STARTED).record(took);
}

/// An allocation has ended, so long after it was told to.
pub(crate) fn alloc_stopped(took: Duration) {
    histogram!(ALLOC_STOPPED).record(took);
}

/// So many tasks were started again.
pub(crate) fn tasks_restarted(count: u64) {
    if count > 0 {
        counter!(RESTARTS).increment(count);
    }
}

/// A task was killed for want of memory.
pub(crate) fn task_oom_killed() {
    counter!(OOM_KILLED).increment(1);
}

/// An allocation came to use more of the disk than it asked for.
pub(crate) fn disk_exceeded() {
    counter!(DISK_EXCEEDED).increment(1);
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
        gauge!(PENDING_NOW).set(self.pending);
        gauge!(RUNNING_NOW).set(self.running);
        gauge!(TERMINAL_NOW).set(self.terminal);
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

/// How much waits in the queues between the parts of the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Queues {
    /// From runners to the agent's loop.
    pub(crate) reports: usize,
    /// From the session to the agent's loop.
    pub(crate) session: usize,
    /// From the agent's loop to the session.
    pub(crate) outgoing: usize,
    /// From whoever uses the agent's handle.
    pub(crate) requests: usize,
}

impl Queues {
    /// Sets the gauges.
    pub(crate) fn publish(self) {
        let Self { reports, session, outgoing, requests } = self;
        let queues = [("reports", reports), ("session", session), ("outgoing", outgoing), ("requests", requests)];
        for (name, waiting) in queues {
            gauge!(QUEUE, "queue" => name).set(count(waiting));
        }
    }
}

/// So many allocations have updates that the servers have not committed.
pub(crate) fn updates_waiting(waiting: usize) {
    gauge!(UPDATES_WAITING).set(count(waiting));
}

/// A message of updates was committed, so long after it was sent.
pub(crate) fn updates_committed(took: Duration) {
    histogram!(UPDATES_COMMITTED).record(took);
}

/// A session was opened, so long after the last one was lost.
pub(crate) fn session_opened(away: Duration) {
    counter!(SESSIONS_OPENED).increment(1);
    gauge!(CONNECTED).set(1);
    histogram!(AWAY).record(away);
}

/// A session has ended, though the agent goes on.
pub(crate) fn session_lost() {
    counter!(SESSIONS_LOST).increment(1);
    gauge!(CONNECTED).set(0);
}

/// A session could not be opened.
pub(crate) fn session_failed() {
    counter!(SESSIONS_FAILED).increment(1);
}

/// What a look at ended allocations and their disk found.
pub(crate) fn gc_held(ended: usize, full: Fullness) {
    gauge!(ENDED).set(count(ended));
    gauge!(DISK_USED).set(full.disk);
    gauge!(INODES_USED).set(full.inodes);
}

/// An ended allocation gave up its directory.
pub(crate) fn gc_collected(reason: Reason) {
    counter!(COLLECTED, "reason" => reason.as_str()).increment(1);
}

/// A directory was removed.
pub(crate) fn dir_removed(took: Duration) {
    histogram!(DIR_REMOVED).record(took);
}

/// What the machine uses.
pub(crate) fn host(stats: &HostStats) {
    let set = |name: &str, labels: Vec<Label>, value: f64| {
        gauge!(format!("nomad.client.host.{name}"), labels).set(value);
    };
    for core in &stats.cpu {
        let figures = [
            ("cpu.user", core.user),
            ("cpu.system", core.system),
            ("cpu.idle", core.idle),
            ("cpu.total_percent", core.total_percent),
            ("cpu.total_ticks", core.total_ticks),
        ];
        for (name, value) in figures {
            set(name, vec![Label::new("cpu", core.cpu.clone())], value);
        }
    }
    let memory = &stats.memory;
    set("memory.total", Vec::new(), float(memory.total));
    set("memory.available", Vec::new(), float(memory.available));
    set("memory.used", Vec::new(), float(memory.used));
    set("memory.free", Vec::new(), float(memory.free));
    for disk in &stats.disk_stats {
        let figures = [
            ("disk.size", float(disk.size)),
            ("disk.used", float(disk.used)),
            ("disk.available", float(disk.available)),
            ("disk.used_percent", disk.used_percent),
            ("disk.inodes_percent", disk.inodes_used_percent),
        ];
        for (name, value) in figures {
            set(name, vec![Label::new("disk", disk.device.clone())], value);
        }
    }
    set("uptime", Vec::new(), float(stats.uptime));
}

#[expect(clippy::cast_precision_loss, reason = "what is lost beyond 2^53 does not matter in a figure")]
const fn float(number: u64) -> f64 {
    number as f64
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
const fn count(number: usize) -> f64 {
    number as f64
}
