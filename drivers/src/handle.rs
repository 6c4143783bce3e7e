//! What a driver answers: handles, exits and figures.

use orch_model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::spec::TaskId;

/// A note by which a driver finds a task again after the agent restarted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskHandle {
    /// Which run of which task.
    pub id: TaskId,
    /// The driver's name.
    pub driver: String,
    /// When it started.
    pub started_at: Timestamp,
    /// The driver's own note, opaque to everyone else.
    pub state: Vec<u8>,
    /// What the host did not allow and the task does without, in sentences.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ExitStatus {
    /// The exit code, as a shell would tell it: 128 and the signal's number where a signal ended it. `None` if nobody knows.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Whether it was killed for using too much memory.
    pub oom_killed: bool,
    /// What else is known, in a sentence; may be empty.
    pub message: String,
}

impl ExitStatus {
    /// Whether it ended well.
    pub fn success(&self) -> bool {
        self.code == Some(0) && self.signal.is_none() && !self.oom_killed
    }
}

/// How much a task uses at this moment; 0 also where the host does not count it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TaskStats {
    /// Processor time since it started, in user and kernel mode, in nanoseconds.
    pub cpu_nanos: u64,
    /// The part of it in user mode.
    pub cpu_user_nanos: u64,
    /// The part of it in kernel mode.
    pub cpu_system_nanos: u64,
    /// How often it was held back for using too much of the processor.
    pub throttled_periods: u64,
    /// How long it was held back, in nanoseconds.
    pub throttled_nanos: u64,
    /// Anonymous memory in bytes.
    pub memory_rss: u64,
    /// Page cache in bytes.
    pub memory_cache: u64,
    /// Mapped files in bytes; part of the cache.
    pub memory_mapped_file: u64,
    /// What is swapped out, in bytes.
    pub memory_swap: u64,
    /// Memory in bytes as its limit counts it.
    pub memory_usage: u64,
    /// The most of it so far.
    pub memory_max_usage: u64,
    /// What the kernel holds on its behalf, in bytes.
    pub memory_kernel_usage: u64,
    /// The most of that so far.
    pub memory_kernel_max_usage: u64,
    /// Bytes read from block devices.
    pub io_read_bytes: u64,
    /// Bytes written to block devices.
    pub io_write_bytes: u64,
    /// Bytes of output that did not reach the log, because the disk was full or did not answer.
    pub log_bytes_dropped: u64,
    /// How many processes it has.
    pub processes: u32,
}
