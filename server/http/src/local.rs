//! The client part of an agent, as the router needs it: files, logs and tasks of this machine, and a way to the servers.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::Stream;
pub use orch_api::volume::{HostVolumeInfo, HostVolumeRequest};
use orch_api::{AllocResourceUsage, FileInfo, HostStats, NodeMetadata, PartHealth, StreamFrame};
use orch_model::{AllocId, HostVolumeId, NodeId};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::error::{Error, Kind};
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

    /// Runs a command inside a task that runs.
    ///
    /// Errors: `NotFound` for a task that the allocation does not have, `Conflict` for one that does not run,
    /// `NotImplemented` where its driver cannot, `Invalid` for a command that cannot be started.
    async fn exec(&self, alloc: AllocId, request: ExecRequest) -> Result<ExecSession, Error>;

    /// Connects to a port of an allocation, as its neighbours on the network would.
    ///
    /// Errors: `NotFound` for a port or a task that the allocation does not have, `Conflict` where nothing of it runs,
    /// `Unavailable` where nobody listens there.
    async fn connect_port(&self, alloc: AllocId, request: PortRequest) -> Result<Connection, Error>;

    /// What an allocation leaves to the one that replaces it elsewhere: a tar archive of `alloc/data` and of the
    /// `local` directory of each task, with paths from the allocation's directory.
    ///
    /// Errors: `Conflict` while a task of it may still write there. An archive that ends early ends with an error.
    async fn snapshot(&self, alloc: AllocId) -> Result<ByteStream, Error>;

    /// Removes the directory of an allocation that has ended.
    async fn gc_alloc(&self, alloc: AllocId) -> Result<(), Error>;

    /// Removes the directories of all allocations that have ended.
    async fn gc(&self) -> Result<(), Error>;

    /// Makes a directory for a dynamic host volume, or takes over the one that `request.host_path` names, and lists the
    /// volume among the node's `host_volumes` from then on, also after a restart of the agent.
    ///
    /// May be repeated: a volume of that id that is there is answered as the first time. Errors: `Invalid` for a plugin
    /// that is not here, for parameters that it refuses, and for a directory that is not there; `Conflict` for a name
    /// that another volume of this machine has.
    async fn create_host_volume(&self, request: HostVolumeRequest) -> Result<HostVolumeInfo, Error> {
        Err(no_host_volumes(&request.name))
    }

    /// Removes the directory of a dynamic host volume with all that is in it; one that was taken over is left as it is.
    ///
    /// May be repeated: a volume that is not here counts as removed.
    async fn delete_host_volume(&self, id: HostVolumeId) -> Result<(), Error> {
        Err(no_host_volumes(&id.to_string()))
    }

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

    /// What each task that runs uses, as lines that Prometheus reads; empty where that is not measured.
    fn task_metrics(&self) -> Arc<str>;
}

fn no_host_volumes(which: &str) -> Error {
    let message = format!("volume {which:?}: this agent keeps no dynamic host volumes");
    Error::new(Kind::NotImplemented, message)
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

/// A command to run inside a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecRequest {
    /// The task.
    pub task: String,
    /// The program and its arguments; never empty.
    pub command: Vec<String>,
    /// Whether it gets a terminal, of this size at first.
    pub terminal: Option<TerminalSize>,
}

/// The size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalSize {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// A command that runs inside a task. Dropping it ends the command.
pub struct ExecSession {
    /// What the command reads; it sees the end when this is shut down or dropped.
    pub stdin: Box<dyn AsyncWrite + Send + Unpin>,
    /// What it writes; with a terminal everything.
    pub stdout: Box<dyn AsyncRead + Send + Unpin>,
    /// What it writes as errors; with a terminal this ends at once.
    pub stderr: Box<dyn AsyncRead + Send + Unpin>,
    /// Its terminal and its end.
    pub control: Box<dyn ExecControl>,
}

impl fmt::Debug for ExecSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecSession").finish_non_exhaustive()
    }
}

/// The terminal and the end of a command that runs inside a task. Dropping it ends the command.
#[async_trait]
pub trait ExecControl: Send {
    /// Gives the terminal another size; nothing without a terminal.
    async fn resize(&mut self, size: TerminalSize) -> Result<(), Error>;

    /// Waits until the command has ended; its exit code as a shell would tell it. May be dropped and called again.
    async fn wait(&mut self) -> Result<i32, Error>;
}

/// Which port of an allocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortRequest {
    /// The port's label, or its number on the host or inside the task. A number that is no port of the allocation is
    /// refused: the way leads to the allocation, not to the machine.
    pub port: String,
    /// A task that must run for it; `None` is any.
    pub task: Option<String>,
}

/// Bytes both ways; shutting it down ends one of the ways.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection to a port of an allocation.
pub type Connection = Box<dyn Duplex>;
