//! The client part of an agent, as the router needs it: files, logs and tasks of this machine, and a way to the servers.

use std::collections::BTreeMap;
use std::pin::Pin;

use async_trait::async_trait;
use bytes::Bytes;
use futures::Stream;
use orch_api::{AllocResourceUsage, FileInfo, HostStats, NodeMetadata, PartHealth, StreamFrame};
use orch_model::{AllocId, NodeId};

use crate::error::Error;
use crate::{Request, Response};

/// Pieces of a file, in order.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, Error>> + Send>>;

/// Frames of a file that is being followed, in order and without signs of life, which the router adds.
pub type FrameStream = Pin<Box<dyn Stream<Item = Result<StreamFrame, Error>> + Send>>;

/// The client part of this agent.
///
/// Paths are relative to the allocation's directory, with or without a leading slash. Every method that takes one
/// answers `NotFound` for what is not there, `Invalid` for a path that leads out of the directory, and `Forbidden` for
/// the secret directories. An allocation that is not on this machine is `NotFound`, `Unknown allocation "…"`.
#[async_trait]
pub trait LocalNode: Send + Sync + 'static {
    /// This node.
    fn node_id(&self) -> NodeId;

    /// Whether the allocation has a directory on this machine.
    fn has_alloc(&self, alloc: AllocId) -> bool;

    /// What is in a directory, by name.
    async fn list(&self, alloc: AllocId, path: &str) -> Result<Vec<FileInfo>, Error>;

    /// One file or directory.
    async fn stat(&self, alloc: AllocId, path: &str) -> Result<FileInfo, Error>;

    /// The bytes of a file from `offset` on, at most `limit` of them; it ends at the end of the file.
    async fn read(&self, alloc: AllocId, path: &str, offset: u64, limit: Option<u64>) -> Result<ByteStream, Error>;

    /// A file as frames of at most 64 KiB, each with the position after it.
    async fn stream(&self, alloc: AllocId, path: &str, from: Position, follow: bool) -> Result<FrameStream, Error>;

    /// A task's output across its rotated files, as frames of at most 64 KiB.
    ///
    /// With `Origin::End` the offset counts back from the end of the newest file across older ones. Without `follow` it
    /// ends where the log ends now; with it, when the task has ended and all was read.
    async fn logs(&self, alloc: AllocId, request: LogRequest) -> Result<FrameStream, Error>;

    /// What an allocation uses; of one task only, if `task` names it.
    async fn alloc_stats(&self, alloc: AllocId, task: Option<&str>) -> Result<AllocResourceUsage, Error>;

    /// Starts tasks again.
    async fn restart(&self, alloc: AllocId, which: RestartTarget) -> Result<(), Error>;

    /// Sends a signal, by name such as `SIGHUP`, to one task or to all that run.
    async fn signal(&self, alloc: AllocId, task: Option<&str>, signal: &str) -> Result<(), Error>;

    /// Removes the directory of an allocation that has ended.
    async fn gc_alloc(&self, alloc: AllocId) -> Result<(), Error>;

    /// Removes the directories of all allocations that have ended.
    async fn gc(&self) -> Result<(), Error>;

    /// What the machine uses.
    async fn host_stats(&self) -> Result<HostStats, Error>;

    /// This node's metadata.
    fn metadata(&self) -> NodeMetadata;

    /// The RPC addresses of the servers that this client knows.
    fn servers(&self) -> Vec<String>;

    /// Passes a request to a server over this client's session; bodies stream both ways.
    ///
    /// Errors: `Unavailable` while there is no session.
    async fn tunnel(&self, request: Request) -> Result<Response, Error>;

    /// Whether this client is well.
    async fn health(&self) -> PartHealth;

    /// Counters for `agent info`, by group and name.
    fn stats(&self) -> BTreeMap<String, BTreeMap<String, String>>;
}

/// Where an offset counts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Origin {
    /// From the beginning, forwards.
    #[default]
    Start,
    /// From the end, backwards.
    End,
}

/// A place in a file or log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// Where `offset` counts from.
    pub origin: Origin,
    /// Bytes.
    pub offset: u64,
}

/// One of a task's two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogKind {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl LogKind {
    /// The name in the API and in file names.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Which log, from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRequest {
    /// The task.
    pub task: String,
    /// Which of its outputs.
    pub kind: LogKind,
    /// From where.
    pub from: Position,
    /// Whether to wait for more.
    pub follow: bool,
}

/// Which tasks are started again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RestartTarget {
    /// This one.
    Task(String),
    /// All that run.
    Running,
    /// All, also those that have ended.
    All,
}
