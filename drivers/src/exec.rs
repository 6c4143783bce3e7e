//! Commands that people run inside a task.

use std::fmt;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::error::Error;

/// A command to run inside a task, as the task's user, with its environment, files and limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecSpec {
    /// The program and its arguments; never empty.
    pub command: Vec<String>,
    /// Whether it gets a terminal, of this size at first.
    pub terminal: Option<TerminalSize>,
    /// The task's environment.
    pub env: Vec<(String, String)>,
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
    /// What the command reads; shut it down or drop it to let the command see the end.
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
