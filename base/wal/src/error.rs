//! What can go wrong, in sentences for the person who has to act.

use std::io;
use std::path::PathBuf;

/// A failure of a log, journal or cell.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused an operation.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, as a verb: "open", "sync".
        action: &'static str,
        /// The file or directory concerned.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file holds something that a crash alone cannot have left there.
    #[error(
        "{} is damaged at byte {offset}: {detail}; this is not the trace of a crash, so nothing was changed: \
         restore the directory from a backup, or move it away and let this machine join again as a new one",
        path.display()
    )]
    Damaged {
        /// The damaged file.
        path: PathBuf,
        /// Where in it the damage begins, in bytes.
        offset: u64,
        /// What is wrong there.
        detail: String,
    },
    /// A file that must exist does not.
    #[error(
        "{} is missing although the log beside it is not new: restore the directory from a backup, or move it away \
         and let this machine join again as a new one",
        path.display()
    )]
    Missing {
        /// The file that should be there.
        path: PathBuf,
    },
    /// A file has a format that only a newer version of the program reads.
    #[error(
        "{} was written by a newer version (format {found}, this version reads up to {supported}): \
         start that version again",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format version.
        found: u8,
        /// The newest format version that is understood here.
        supported: u8,
    },
    /// Another process has the directory open.
    #[error("{} is in use by another process: stop it, or choose another directory", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// An append does not continue the log.
    #[error("record {found} does not continue the log: the next index is {expected}")]
    NotConsecutive {
        /// The index that the next record must have.
        expected: u64,
        /// The index that was given.
        found: u64,
    },
    /// A record or value is larger than the format carries.
    #[error("{what} of {bytes} bytes is too large: the limit is {limit}")]
    TooLarge {
        /// "a record", "a value".
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The largest size accepted.
        limit: usize,
    },
    /// An earlier write or sync failed; nothing is accepted since.
    #[error("storage failed: {message}")]
    Failed {
        /// The kind of the first failure.
        kind: io::ErrorKind,
        /// The first failure, with its causes.
        message: String,
    },
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
}

impl Error {
    /// The same failure as an `io::Error`, whose text is the whole chain of causes.
    pub fn to_io(&self) -> io::Error {
        io::Error::new(self.kind(), self.chain())
    }

    pub(crate) fn kind(&self) -> io::ErrorKind {
        match self {
            Error::Io { source, .. } => source.kind(),
            Error::Damaged { .. } | Error::Newer { .. } => io::ErrorKind::InvalidData,
            Error::Missing { .. } => io::ErrorKind::NotFound,
            Error::InUse { .. } => io::ErrorKind::ResourceBusy,
            Error::NotConsecutive { .. } | Error::TooLarge { .. } => io::ErrorKind::InvalidInput,
            Error::Failed { kind, .. } => *kind,
            Error::Closed => io::ErrorKind::BrokenPipe,
        }
    }

    pub(crate) fn chain(&self) -> String {
        match self {
            Error::Io { source, .. } => format!("{self}: {source}"),
            Error::Damaged { .. }
            | Error::Missing { .. }
            | Error::Newer { .. }
            | Error::InUse { .. }
            | Error::NotConsecutive { .. }
            | Error::TooLarge { .. }
            | Error::Failed { .. }
            | Error::Closed => self.to_string(),
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        error.to_io()
    }
}
