//! What a driver is given to start a task.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use orch_model::job::DnsConfig;
use orch_model::{AllocId, MebiBytes, Mhz};
use serde::{Deserialize, Serialize};

/// One run of a task: its allocation, its name, and the how-manieth start of it this is.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Default)]
pub struct TaskSpec {
    /// Which run of which task.
    pub id: TaskId,
    /// The job's namespace, for labels.
    pub namespace: String,
    /// The job's id, for labels.
    pub job_id: String,
    /// The job's name, for labels.
    pub job_name: String,
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
    /// Directories and files of the host that it sees under other paths; those of its own directories are not among them.
    pub mounts: Vec<TaskMount>,
    /// The ports that its group was given.
    pub ports: Vec<TaskPort>,
    /// Name servers instead of the host's.
    pub dns: Option<DnsConfig>,
    /// Where a driver tells what takes long before the task runs.
    pub progress: Progress,
}

/// Something of the host that a task sees under a path of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskMount {
    /// The directory or file on the host; absolute, and it exists.
    pub host_path: PathBuf,
    /// Where the task sees it: an absolute path in the task's own root. A driver without a root of its own for tasks cannot honour it.
    pub task_path: PathBuf,
    /// Whether the task may only read.
    pub read_only: bool,
    /// Whether mounts made later below it are seen on the other side.
    pub propagation: Propagation,
}

/// Whether mounts made later below a mount are seen on the other side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Propagation {
    /// Neither way.
    #[default]
    Private,
    /// The task sees those of the host.
    HostToTask,
    /// Both ways.
    Bidirectional,
}

/// A port that a task's group was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskPort {
    /// Its name in the job.
    pub label: String,
    /// The address of the host that it is on.
    pub host_ip: IpAddr,
    /// Its number on the host.
    pub host: u16,
    /// Its number inside a network of the task's own; the host's number where the job names none.
    pub inside: u16,
}

/// Where a driver tells what takes long before a task runs, such as the download of an image.
#[derive(Clone, Default)]
pub struct Progress(Option<std::sync::Arc<dyn Fn(String) + Send + Sync>>);

impl Progress {
    /// Tells to `tell`, which must return at once; what is told becomes a `Driver` event of the task.
    pub fn new(tell: impl Fn(String) + Send + Sync + 'static) -> Self {
        Self(Some(std::sync::Arc::new(tell)))
    }

    /// Tells `text`, a short sentence.
    pub fn tell(&self, text: impl Into<String>) {
        if let Some(tell) = &self.0 {
            tell(text.into());
        }
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Progress(told)" } else { "Progress(not told)" })
    }
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
