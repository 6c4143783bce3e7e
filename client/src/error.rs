//! Why the agent could not start or do what it was asked.

use std::io;
use std::path::PathBuf;

/// Why the agent could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory of the agent cannot be used.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The local state cannot be opened at all.
    #[error("cannot open the client's local state in {}", path.display())]
    State {
        /// Its directory.
        path: PathBuf,
        /// What the journal said.
        #[source]
        source: orch_wal::Error,
    },
    /// The local state was written by a newer version.
    #[error("the client's local state in {} has format {found}, and this version knows up to {known}: use a newer orch", path.display())]
    NewerState {
        /// Its directory.
        path: PathBuf,
        /// The format it has.
        found: u32,
        /// The newest format known.
        known: u32,
    },
}

impl Error {
    /// A failure to `action` the file at `path`.
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}

/// An error and its causes as one sentence, for events that people read.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Why a task was not signalled or started again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// The allocation has no such task.
    #[error("Could not find task named: {0}")]
    UnknownTask(String),
    /// It is not running.
    #[error("Task not running")]
    NotRunning,
    /// The allocation has ended, or the agent is shutting down.
    #[error("Allocation is not running")]
    Ended,
    /// The driver refused.
    #[error("{0}")]
    Driver(String),
}
