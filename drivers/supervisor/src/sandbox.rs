//! The world of its own that a task may be given, as data.
//!
//! Whoever starts a task computes it; between fork and exec it is carried out step by step, and decides nothing.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What keeps a task apart from the host.
///
/// A mount namespace of its own is always part of it, so nothing of all this is ever seen on the host, and all of it goes with the last
/// process of the task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    pub namespaces: Namespaces,
    /// The directory of the host that becomes `/`, with what is mounted below it.
    pub root: PathBuf,
    /// Whether the host's files are unmounted inside. Without, they are only covered, as on a host whose root is an initial RAM disk.
    pub pivot: bool,
    /// Carried out in this order, once the root has changed.
    pub steps: Vec<Step>,
    /// Where the program is, inside; the first that can be executed is taken, and `SpawnSpec::command` is only its name.
    pub programs: Vec<PathBuf>,
    pub privileges: Privileges,
    /// Instructions of the filter that every system call passes, each as the kernel's eight bytes; none is no filter.
    pub filter: Vec<u64>,
}

/// The namespaces of a task besides that for mounts.
///
/// With one for processes the task is not the first process in it: that is a copy of the supervisor without its memory, which reaps
/// orphans and passes signals on. So signals have their usual default actions in the task, which the first process would not have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespaces {
    pub pid: bool,
    pub ipc: bool,
    pub uts: bool,
}

/// What a task may do beyond what its user may. It never gains any more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Privileges {
    /// The capabilities that it may ever have, a bit each; with user 0 it has them.
    pub bounding: u64,
    /// Those that it has in any case, also as another user.
    pub ambient: u64,
    /// The Landlock scopes it is confined to, a bit each; left out where the kernel does not know them.
    pub scopes: u64,
}

/// One step in building the files of a task. Paths are absolute inside, unless they are said to be the host's; what is mounted upon
/// exists already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// A directory or file of the host, with what is mounted below it. Devices in it never work.
    Bind {
        /// On the host.
        source: PathBuf,
        target: PathBuf,
        read_only: bool,
        sharing: Sharing,
    },
    /// A file system of the kernel.
    Filesystem {
        kind: String,
        target: PathBuf,
        data: String,
        flags: MountFlags,
    },
    /// A character device.
    Node {
        path: PathBuf,
        major: u32,
        minor: u32,
    },
    /// A directory that anybody may enter.
    Directory {
        path: PathBuf,
    },
    Symlink {
        path: PathBuf,
        content: PathBuf,
    },
    /// What is at a mount point becomes read-only.
    Seal {
        path: PathBuf,
    },
    /// A file or directory becomes read-only, if it is there.
    Lock {
        path: PathBuf,
    },
    /// A file or directory is seen empty, if it is there. For a file `/dev/null` has to be there already.
    Hide {
        path: PathBuf,
    },
}

impl Step {
    /// What it is about, inside.
    pub fn target(&self) -> &Path {
        match self {
            Self::Bind { target, .. } | Self::Filesystem { target, .. } => target,
            Self::Node { path, .. }
            | Self::Directory { path }
            | Self::Symlink { path, .. }
            | Self::Seal { path }
            | Self::Lock { path }
            | Self::Hide { path } => path,
        }
    }
}

/// How a file system of the kernel is mounted. None honours set-user-id bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountFlags {
    pub read_only: bool,
    /// Whether device files in it work.
    pub devices: bool,
    /// Whether programs in it can be executed.
    pub executables: bool,
}

/// Whether mounts made later below a bind mount are seen on the other side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sharing {
    /// Neither way.
    #[default]
    Private,
    /// The task sees those of the host.
    FromHost,
    /// Both ways, where the host shares the mount.
    Both,
}
