//! What can go wrong with a fetch.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why an artifact is not at its destination. Nothing of it is there then, except after [`Error::Place`].
///
/// `source` is the artifact's source without its query and without a password.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request itself is at fault: it fails the same way each time.
    #[error("the artifact {source_text} cannot be fetched: {reason}")]
    Malformed { source_text: String, reason: String },
    #[error("the artifact destination {path:?} leads out of the allocation's directory: name a path below the task's")]
    Destination { path: String },
    /// The source did not deliver: not found, refused, unreachable, broken off.
    #[error("cannot fetch {source_text}: {reason}")]
    Fetch { source_text: String, reason: String },
    #[error("{source_text} is not what was asked for: {reason}")]
    Checksum { source_text: String, reason: String },
    /// The content is broken, or tries to leave its destination.
    #[error("what {source_text} contains is refused: {reason}")]
    Content { source_text: String, reason: String },
    #[error("{source_text} is too large: {reason}")]
    TooLarge { source_text: String, reason: String },
    #[error("fetching {source_text} took longer than {limit:?}")]
    TooSlow { source_text: String, limit: Duration },
    #[error("cannot put what {source_text} contains at {}", destination.display())]
    Place { source_text: String, destination: PathBuf, source: io::Error },
    /// The process that fetches could not do its work.
    #[error("the process that fetches {source_text} failed: {reason}")]
    Child { source_text: String, reason: String },
    #[error("cannot use {} for fetching artifacts", path.display())]
    Scratch { path: PathBuf, source: io::Error },
}

impl Error {
    /// Whether the same request may succeed later, so that the task's restart policy decides.
    pub fn is_recoverable(&self) -> bool {
        match self {
            Self::Malformed { .. } | Self::Destination { .. } => false,
            Self::Fetch { .. }
            | Self::Checksum { .. }
            | Self::Content { .. }
            | Self::TooLarge { .. }
            | Self::TooSlow { .. }
            | Self::Place { .. }
            | Self::Child { .. }
            | Self::Scratch { .. } => true,
        }
    }
}
