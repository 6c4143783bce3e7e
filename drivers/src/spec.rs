//! What a driver is given to start a task.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use orch_model::{AllocId, MebiBytes, Mhz};
use serde::{Deserialize, Serialize};

/// One run of a task: its allocation, its name, and the how-manieth start of it this is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskId {
    /// The allocation.
    pub alloc_id: AllocId,
    /// The task's name.
    pub task: String,
    /// Counted from 0; raised with each start, so that a late answer about an earlier run is not taken for this one.
    pub run: u32,
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.alloc_id, self.task, self.run)
    }
}

/// Everything a driver needs to start a task. All interpolation is done.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskSpec {
    /// Which run of which task.
    pub id: TaskId,
    /// The job's id, for labels.
    pub job_id: String,
    /// The group's name, for labels.
    pub group: String,
    /// The driver's own configuration, as the job says it.
    pub config: BTreeMap<String, serde_json::Value>,
    /// The environment, complete.
    pub env: BTreeMap<String, String>,
    /// The user to run as; `None` leaves it to the driver.
    pub user: Option<String>,
    /// How much it may use.
    pub limits: TaskLimits,
    /// Where its files are.
    pub dirs: TaskDirs,
    /// Where its output goes.
    pub logs: LogSpec,
}

/// How much a task may use.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TaskLimits {
    /// Its share of the processors.
    pub cpu: Mhz,
    /// The processors of the whole node, to relate the share to.
    pub node_cpu: Mhz,
    /// The memory reserved for it; also its limit unless `memory_max` is set.
    pub memory: MebiBytes,
    /// The most memory it may use, where that is more than `memory`.
    pub memory_max: Option<MebiBytes>,
    /// The numbers of the processors that are reserved for it, and on which alone it may run; empty where none are.
    #[serde(default)]
    pub cpuset_cores: Vec<u16>,
}

/// Where a task's files are, on the host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TaskDirs {
    /// The directory of the task alone.
    pub task: PathBuf,
    /// `local` in it: for the task's own files.
    pub local: PathBuf,
    /// `secrets` in it: readable by nobody else.
    pub secrets: PathBuf,
    /// The directory that the allocation's tasks share.
    pub shared: PathBuf,
}

/// Where a task's output goes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LogSpec {
    /// The directory of the log files `<task>.<stdout|stderr>.<N>`.
    pub dir: PathBuf,
    /// How many files are kept per stream; at least 1.
    pub max_files: u32,
    /// How large a file grows, in bytes; at least 1 MiB.
    pub max_file_bytes: u64,
    /// Whether output is thrown away.
    pub disabled: bool,
}
