//! What a driver can do.

use serde::{Deserialize, Serialize};

/// What a driver supports; what it does not is refused before it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Tasks can be sent signals.
    pub signals: bool,
    /// Commands can be run inside a task.
    pub exec: bool,
    /// What a job mounts appears under paths of the task's own.
    pub mounts: bool,
    /// How a task's files are kept apart from the host's.
    pub fs_isolation: FsIsolation,
    /// The driver writes the task's output to log files.
    pub logs: bool,
}

/// How a task's files are kept apart from the host's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FsIsolation {
    /// Not at all: the task sees the host's paths.
    #[default]
    None,
    /// By a root directory made of parts of the host.
    Chroot,
    /// By an image.
    Image,
}
