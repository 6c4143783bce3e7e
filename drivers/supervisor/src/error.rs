use std::io;
use std::path::PathBuf;

use crate::protocol::Stage;
use crate::spec::TaskKey;

/// What may go wrong between agent and supervisor.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program that should become the supervisor could not be run.
    #[error("cannot start the supervisor {}", exe.display())]
    Launch { exe: PathBuf, source: io::Error },
    /// The program ran, and gave up.
    #[error("the supervisor {} did not start: {message}", exe.display())]
    LaunchRefused { exe: PathBuf, message: String },
    /// The first process of the container did not become the supervisor.
    #[error("process 1, the agent's parent, cannot supervise tasks")]
    Init { source: io::Error },
    /// There is no talking over the socket.
    #[error("cannot reach the supervisor at {}", socket.display())]
    Connect { socket: PathBuf, source: io::Error },
    /// Whoever answers is not ours.
    #[error("the process at {} runs as user {uid}, not as ours: refusing to talk to it", socket.display())]
    Foreign { socket: PathBuf, uid: u32 },
    /// The supervisor is of a version that cannot be talked to, nor asked to replace itself.
    #[error(
        "the running supervisor speaks protocol {theirs} and this agent {ours}: stop it, or use an agent of its version"
    )]
    Version { ours: u16, theirs: u16 },
    /// The connection broke, and no new supervisor could be had within the deadline.
    #[error("the supervisor was lost, and a new one could not be started: {reason}")]
    Lost { reason: String },
    /// The service that carries requests has ended.
    #[error("the connection to the supervisor has been closed by this agent")]
    Closed,
    /// Nobody knows that task.
    #[error("no task {0} is known to the supervisor")]
    UnknownTask(TaskKey),
    /// The process has ended, so there is nothing to signal.
    #[error("task {0} is not running")]
    NotRunning(TaskKey),
    /// The kernel refused what was asked for.
    #[error("{action} task {key} failed")]
    System { action: &'static str, key: TaskKey, source: io::Error },
    /// A message could not be read or is too large.
    #[error("the supervisor's answer cannot be understood: {0}")]
    Protocol(String),
}

/// Why a task was not started. Nothing of it is left behind, except after [`Lost`](Self::Lost).
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// One step on the way into the program failed.
    #[error("{stage} failed{}", detail_of(.detail))]
    Stage {
        stage: Stage,
        /// The path that it was about, where there is one.
        detail: Option<PathBuf>,
        source: io::Error,
    },
    /// A task with this key is there already.
    #[error("a task {0} exists already: forget it first")]
    Exists(TaskKey),
    /// A text holds a zero byte, which no program can be given.
    #[error("{what} of the task holds a zero byte")]
    ZeroByte { what: String },
    /// The supervisor died while starting it. Starting it again with the same key first kills whatever came of the first attempt.
    #[error("the supervisor was lost while it started the task; start it again with the same key")]
    Lost,
    /// The supervisor could not be asked.
    #[error(transparent)]
    Supervisor(#[from] Error),
}

fn detail_of(detail: &Option<PathBuf>) -> String {
    detail.as_ref().map(|path| format!(" for {}", path.display())).unwrap_or_default()
}

impl StartError {
    /// Whether trying again without changing anything may help: false for a missing program and the like.
    pub fn is_recoverable(&self) -> bool {
        match self {
            Self::Stage { stage, .. } => match stage {
                Stage::Pipe | Stage::Fork | Stage::Cgroup | Stage::Descriptors => true,
                Stage::Session | Stage::User | Stage::WorkDir | Stage::Exec | Stage::Limits | Stage::OomScore => false,
                Stage::Mount | Stage::Root | Stage::Capabilities | Stage::Filter => false,
            },
            Self::Exists(_) | Self::ZeroByte { .. } => false,
            Self::Lost | Self::Supervisor(_) => true,
        }
    }
}
