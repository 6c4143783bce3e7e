//! What agent and child say to each other: one line of JSON each way.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::ExtraPath;
use crate::request::Mode;
use crate::source::Source;

/// What the child is to do.
#[derive(Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) source: Source,
    pub(crate) mode: Mode,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) insecure: bool,
    /// The child's own directory, absolute.
    pub(crate) scratch: PathBuf,
    pub(crate) limits: Limits,
    pub(crate) confinement: Confinement,
    pub(crate) allow_file: bool,
}

/// Zero is no limit.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Limits {
    pub(crate) download_bytes: u64,
    pub(crate) unpacked_bytes: u64,
    pub(crate) unpacked_entries: u64,
    pub(crate) http_timeout: Duration,
    pub(crate) git_timeout: Duration,
    pub(crate) s3_timeout: Duration,
    pub(crate) attempts: u32,
    pub(crate) backoff: Duration,
}

/// Which rights the child gives up.
#[derive(Serialize, Deserialize)]
pub(crate) struct Confinement {
    /// Whether Landlock confines it.
    pub(crate) isolate: bool,
    pub(crate) extra: Vec<ExtraPath>,
    /// Whom it becomes: user and group.
    pub(crate) user: Option<(u32, u32)>,
}

/// What the child has done.
#[derive(Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) notes: Vec<Note>,
    pub(crate) result: Result<Product, Failure>,
}

/// A right that the child could not give up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Note {
    /// Landlock is not there, or knows less than is asked of it.
    Isolation(String),
    /// It still runs as the agent's user.
    User(String),
}

/// What stands in the directory [`OUT`] of the scratch directory.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Product {
    /// One file, by its path.
    File { path: String },
    /// What is in a directory, by its path; empty is all.
    Tree { path: String },
}

/// Where the child leaves what it made, below its scratch directory.
pub(crate) const OUT: &str = "out";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) kind: FailureKind,
    /// A part of a sentence.
    pub(crate) reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum FailureKind {
    Malformed,
    /// Worth another attempt at once.
    Transient,
    Fetch,
    Checksum,
    Content,
    TooLarge,
    TooSlow {
        limit: Duration,
    },
    /// The child's own machine is at fault.
    Local,
}

impl Failure {
    pub(crate) fn new(kind: FailureKind, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into() }
    }

    pub(crate) fn content(reason: impl Into<String>) -> Self {
        Self::new(FailureKind::Content, reason)
    }

    pub(crate) fn fetch(reason: impl Into<String>) -> Self {
        Self::new(FailureKind::Fetch, reason)
    }

    /// For `map_err`: what could not be done on the child's own disk.
    pub(crate) fn local(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |error| Self::new(FailureKind::Local, format!("{what}: {error}"))
    }
}

/// An error with its causes, each once.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = error.to_string();
        if !text.contains(&part) {
            text = format!("{text}: {part}");
        }
        cause = error.source();
    }
    text
}
