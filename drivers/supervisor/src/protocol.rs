//! What agent and supervisor say to each other.
//!
//! Each frame is a length, a count of descriptors, and a body (see `frame`). The first body in each direction is a [`Hello`] of
//! fixed layout, which every version can read; what follows is postcard, and understood by one version only.

use std::fmt;
use std::path::PathBuf;

use orch_host::Warning;
use serde::{Deserialize, Serialize};

use crate::spec::{ExitStatus, SpawnSpec, TaskEntry, TaskKey, TaskStats};

/// Raised with every change of a type that travels.
pub(crate) const VERSION: u16 = 3;

const MAGIC: &[u8; 8] = b"orch-sup";

/// The first body in each direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) version: u16,
    pub(crate) intent: Intent,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Intent {
    /// A conversation in the version named.
    Talk,
    /// Replace yourself by this program, keeping process id, children and tasks; then hang up.
    Upgrade { exe: PathBuf },
}

impl Hello {
    pub(crate) fn encode(&self) -> Vec<u8> {
        use std::os::unix::ffi::OsStrExt;
        let mut body = MAGIC.to_vec();
        body.extend(self.version.to_le_bytes());
        match &self.intent {
            Intent::Talk => body.push(0),
            Intent::Upgrade { exe } => {
                body.push(1);
                body.extend(exe.as_os_str().as_bytes());
            }
        }
        body
    }

    pub(crate) fn decode(body: &[u8]) -> Option<Self> {
        use std::os::unix::ffi::OsStrExt;
        let rest = body.strip_prefix(MAGIC)?;
        let (version, rest) = rest.split_first_chunk::<2>()?;
        let intent = match rest.split_first()? {
            (0, _) => Intent::Talk,
            (1, exe) => Intent::Upgrade { exe: std::ffi::OsStr::from_bytes(exe).into() },
            _ => return None,
        };
        Some(Self { version: u16::from_le_bytes(*version), intent })
    }
}

/// What the agent asks. Each is answered once, under the same number.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) id: u64,
    pub(crate) ask: Ask,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// Tell every task, each with its pipes; then `Done`. Exits are reported from here on.
    Attach,
    Start(Box<SpawnSpec>),
    /// Take over a task of a lost supervisor; the read ends of its pipes come along, as far as there are any.
    Adopt(Box<TaskEntry>),
    Signal {
        key: TaskKey,
        signal: i32,
    },
    Kill {
        key: TaskKey,
    },
    Forget {
        key: TaskKey,
    },
    Stats {
        key: TaskKey,
    },
    List,
    /// Kill and remove every control group of ours that belongs to no task; answered before they are gone.
    Sweep,
    Shutdown {
        kill_tasks: bool,
    },
}

/// What the supervisor says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Message {
    Answer {
        id: u64,
        answer: Answer,
    },
    /// One task, in answer to `Attach`; carries the read ends of its pipes.
    Attached(Box<TaskEntry>),
    /// A task has ended, and what it had written by then is in its log.
    Exited {
        key: TaskKey,
        status: ExitStatus,
    },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Answer {
    Done,
    /// Carries the read ends of its pipes.
    Started {
        entry: Box<TaskEntry>,
        warnings: Vec<Warning>,
    },
    NotStarted {
        stage: Stage,
        errno: i32,
        detail: Option<PathBuf>,
    },
    ZeroByte {
        what: String,
    },
    Exists,
    Stats(Box<TaskStats>),
    Tasks(Vec<TaskEntry>),
    /// The groups that are being removed.
    Swept(Vec<String>),
    UnknownTask,
    NotRunning,
    Failed {
        errno: i32,
    },
}

/// A step between asking for a task and being in its program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u32)]
pub enum Stage {
    /// Making the pipes for its output.
    Pipe = 1,
    /// `clone3`.
    Fork = 2,
    /// `setsid`.
    Session = 3,
    /// Joining the control group.
    Cgroup = 4,
    /// Writing `oom_score_adj`.
    OomScore = 5,
    /// Restoring resource limits.
    Limits = 6,
    /// Putting descriptors 0 to 2 in place and closing all others.
    Descriptors = 7,
    /// Becoming the task's user.
    User = 8,
    /// Entering the working directory.
    WorkDir = 9,
    /// `execve`.
    Exec = 10,
    /// Making a file system of the task's own.
    Mount = 11,
    /// Changing the root directory.
    Root = 12,
    /// Giving up capabilities.
    Capabilities = 13,
    /// Installing the system call filter.
    Filter = 14,
}

impl Stage {
    const ALL: [Self; 14] = [
        Self::Pipe,
        Self::Fork,
        Self::Session,
        Self::Cgroup,
        Self::OomScore,
        Self::Limits,
        Self::Descriptors,
        Self::User,
        Self::WorkDir,
        Self::Exec,
        Self::Mount,
        Self::Root,
        Self::Capabilities,
        Self::Filter,
    ];

    pub(crate) fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| *stage as u32 == number)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pipe => "making the output pipes",
            Self::Fork => "forking",
            Self::Session => "making a session",
            Self::Cgroup => "joining the control group",
            Self::OomScore => "setting the out-of-memory score",
            Self::Limits => "restoring the resource limits",
            Self::Descriptors => "arranging the descriptors",
            Self::User => "changing the user",
            Self::WorkDir => "entering the working directory",
            Self::Exec => "executing the program",
            Self::Mount => "mounting the task's own file systems",
            Self::Root => "changing the root directory",
            Self::Capabilities => "giving up capabilities",
            Self::Filter => "installing the system call filter",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_message_is_read_back_and_rubbish_is_not() {
        for intent in [Intent::Talk, Intent::Upgrade { exe: "/usr/bin/orch".into() }] {
            let hello = Hello { version: 7, intent };
            assert_eq!(Hello::decode(&hello.encode()), Some(hello));
        }
        assert_eq!(Hello::decode(b"GET / HTTP/1.1"), None);
        assert_eq!(Hello::decode(MAGIC), None);
    }

    #[test]
    fn every_stage_has_a_number_that_leads_back_to_it() {
        for stage in Stage::ALL {
            assert_eq!(Stage::from_number(stage as u32), Some(stage));
        }
    }
}
