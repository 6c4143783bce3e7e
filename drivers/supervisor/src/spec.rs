use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use orch_host::cgroup::{Limits, Stats, TaskCgroup};
use orch_host::{ProcessId, Warning};
use serde::{Deserialize, Serialize};

use crate::sandbox::{Namespaces, Privileges, Sandbox};

/// Names one run of a task for good: the caller puts allocation, task and run number in it.
///
/// It also names the control group of the run, so two runs never have the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskKey(String);

impl TaskKey {
    /// The key for `text`, of which every character outside `A-Z a-z 0-9 . _ -` becomes `_`, and which is cut at 200 bytes.
    pub fn new(text: &str) -> Self {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let clean: String = text.chars().map(|c| if allowed(c) { c } else { '_' }).take(200).collect();
        // A leading dot could make it "." or "..", which are no names for a directory.
        Self(if clean.starts_with('.') || clean.is_empty() { format!("_{clean}") } else { clean })
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What to start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpawnSpec {
    pub key: TaskKey,
    /// A path, or a bare name that is looked up in the `PATH` of `env`. A relative path counts from `work_dir`.
    pub command: PathBuf,
    /// The arguments after the name of the program.
    pub args: Vec<String>,
    /// The whole environment: nothing is inherited.
    pub env: Vec<(String, String)>,
    /// Where the task starts, as the task sees it; it must exist.
    pub work_dir: PathBuf,
    /// Whom to run as; `None` keeps the supervisor's user.
    pub user: Option<UserIds>,
    /// The control group to run in; `None` makes none, and the task is then killed by session, descent and a mark in its environment.
    pub cgroup: Option<CgroupSpec>,
    pub logs: LogSpec,
    /// Written to `oom_score_adj`, clamped to what the host allows; `None` keeps the supervisor's.
    pub oom_score_adj: Option<i32>,
    /// What keeps the task apart from the host; `None` leaves it among the host's files and processes.
    pub sandbox: Option<Box<Sandbox>>,
}

/// Numeric identity of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserIds {
    pub uid: u32,
    pub gid: u32,
    /// Supplementary groups; they replace all that the supervisor has.
    pub groups: Vec<u32>,
}

/// Which control group a task runs in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CgroupSpec {
    /// One of its own, made with these limits and removed by `forget`.
    Own(Limits),
    /// Directories that somebody else made: joined, without limits, never removed.
    ///
    /// What runs in them besides the task is not ours, so killing goes as if the task had no group.
    Existing(Vec<PathBuf>),
}

/// Where the output of a task goes.
///
/// A file is made when its first byte arrives: where there is none, nothing has been written yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSpec {
    /// The directory of the files `<task>.<stdout|stderr>.<N>`; it must exist.
    pub dir: PathBuf,
    pub task: String,
    /// How many files each stream keeps.
    pub max_files: u32,
    /// Size in bytes at which the next file is begun.
    pub max_file_bytes: u64,
    /// Sends both streams to `/dev/null` instead.
    pub disabled: bool,
}

/// A task that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    pub process: ProcessId,
    /// What the host did not allow, and the task does without.
    pub warnings: Vec<Warning>,
    /// The task as [`Handle::adopt`](crate::Handle::adopt) takes it: worth storing, for the case that agent and supervisor die together.
    pub entry: TaskEntry,
}

/// How a task ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitStatus {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    /// Whether the kernel killed any process of the task for want of memory.
    pub oom_killed: bool,
    /// Whether the task ended where nobody could see how: its supervisor had been lost. Code and signal are then `None`.
    pub unknown: bool,
}

impl ExitStatus {
    /// The status of a task whose end nobody saw.
    pub const UNKNOWN: Self = Self { code: None, signal: None, oom_killed: false, unknown: true };

    /// Whether it is known to have exited with code 0.
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }
}

/// What the supervisor knows of a task: a second copy of what the agent stores.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskEntry {
    pub key: TaskKey,
    pub process: ProcessId,
    /// Milliseconds since the Unix epoch at which it was started, by the host's clock.
    pub started_at_ms: u64,
    /// How it ended, if it has.
    pub exit: Option<ExitStatus>,
    pub command: PathBuf,
    pub logs: LogSpec,
    /// The control group it runs in; may have no directory.
    pub cgroup: TaskCgroup,
    /// As whom and where it was started, for commands that join it.
    #[serde(default)]
    pub place: Place,
}

/// As whom and where a task was started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub user: Option<UserIds>,
    pub work_dir: PathBuf,
    /// The namespaces and privileges of a task that has a sandbox.
    pub confinement: Option<(Namespaces, Privileges)>,
}

impl Place {
    /// Where `spec` starts its task.
    pub(crate) fn of(spec: &SpawnSpec) -> Self {
        let confinement = spec.sandbox.as_ref().map(|sandbox| (sandbox.namespaces, sandbox.privileges));
        Self { user: spec.user.clone(), work_dir: spec.work_dir.clone(), confinement }
    }
}

/// What a task has used so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskStats {
    /// From its control group; where it has none, from the processes below it, and then without what ended ones used.
    pub usage: Stats,
    /// Bytes of output that were dropped since this supervisor took the task over, because the disk was full or did not answer.
    pub log_bytes_dropped: u64,
}

/// What becomes of tasks and supervisor when the agent goes away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lifetime {
    /// Tasks keep running; the supervisor ends when it has had neither agent nor task for a minute.
    Outlives,
    /// Everything ends `grace` after the agent's connection has gone: tasks are killed, groups and `remove_dir` are removed.
    StopsWithAgent { grace: Duration, remove_dir: Option<PathBuf> },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_always_one_path_segment() {
        for (text, key) in [("a/b c", "a_b_c"), ("..", "_.."), ("", "_"), ("0123-web.1", "0123-web.1"), ("ä", "_")] {
            assert_eq!(TaskKey::new(text).as_str(), key);
        }
        assert_eq!(TaskKey::new(&"x".repeat(500)).as_str().len(), 200);
    }
}
