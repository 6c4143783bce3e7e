//! What is to be rendered, where to, and how much it may take.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// A file to be rendered into a task's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// Where its text comes from.
    pub source: Source,
    /// The file it becomes: relative to the task's directory, or absolute as [`Sandbox`](crate::Sandbox) resolves it.
    pub destination: PathBuf,
    /// What opens an action; empty for `{{`.
    pub left_delim: String,
    /// What closes an action; empty for `}}`.
    pub right_delim: String,
    /// The file's mode; setuid, setgid and the sticky bit are not set.
    pub perms: u32,
    /// The file's owner; without it the agent's user.
    pub uid: Option<u32>,
    /// The file's group; without it the agent's group.
    pub gid: Option<u32>,
    /// Whether the file consists of `KEY=VALUE` lines for the task's environment.
    pub env: bool,
    /// Whether a key that a map does not have is an error; otherwise it is `<no value>`.
    pub error_on_missing_key: bool,
    /// Whether it is rendered only once.
    pub once: bool,
    /// How long changes are collected before it is rendered again; without it [`Config::wait`](crate::Config::wait).
    pub wait: Option<Wait>,
}

impl Template {
    /// A template with the usual delimiters, mode 0644 and nothing special.
    pub fn new(source: Source, destination: impl Into<PathBuf>) -> Self {
        Self {
            source,
            destination: destination.into(),
            left_delim: String::new(),
            right_delim: String::new(),
            perms: 0o644,
            uid: None,
            gid: None,
            env: false,
            error_on_missing_key: false,
            once: false,
            wait: None,
        }
    }

    /// The path by which messages call it.
    pub(crate) fn name(&self) -> &Path {
        &self.destination
    }
}

/// Where a template's text comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The text itself.
    Inline(String),
    /// A file in the sandbox, read when the template is rendered first.
    File(PathBuf),
}

/// How long changes are collected before a template is rendered again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// It is rendered once nothing has changed for so long,
    pub min: Duration,
    /// but at the latest so long after the first change; at least `min`.
    pub max: Duration,
}

/// How much one rendering may take; whatever exceeds it fails with a sentence that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Size of the result, and of any file read, in bytes.
    pub output: usize,
    /// Bytes of all values that functions may make, whether still in use or not.
    pub values: usize,
    /// Actions, calls and turns of loops.
    pub steps: u64,
    /// Time.
    pub time: Duration,
}

impl Default for Limits {
    /// 16 MiB of text, 256 MiB of values, five million steps, ten seconds.
    fn default() -> Self {
        Self { output: 16 << 20, values: 256 << 20, steps: 5_000_000, time: Duration::from_secs(10) }
    }
}
