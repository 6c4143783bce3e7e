//! The agent's half of a command inside of a task.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use nix::fcntl::OFlag;
use orch_driver::{Error, ExecControl, ExecSession, ExecSpec, TerminalSize};
use orch_host::limits::OriginalLimits;
use tokio::net::unix::pipe::{Receiver, Sender};

use super::terminal::{Input, Output, Terminal};
use super::{Answer, MODE, Order, Size};
use crate::client::Connection;
use crate::frame;
use crate::spec::TaskEntry;

/// How long it may take until a command runs.
const START: Duration = Duration::from_secs(10);

/// The program that runs commands, and what it gives them.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) exe: PathBuf,
    pub(crate) limits: OriginalLimits,
}

/// Runs a command inside of the task `entry`; every system call of it passes `filter` where the task has a sandbox.
pub(crate) async fn open(
    program: &Program,
    entry: &TaskEntry,
    spec: ExecSpec,
    filter: Vec<u64>,
) -> Result<ExecSession, Error> {
    let ExecSpec { command, terminal, env } = spec;
    let order = Order {
        process: entry.process.clone(),
        cgroup: entry.cgroup.clone(),
        place: entry.place.clone(),
        filter,
        command,
        env,
        terminal: terminal.map(|TerminalSize { rows, columns }| Size { rows, columns }),
        limits: program.limits.clone(),
    };
    let begun = tokio::time::timeout(START, begin(program, &order)).await;
    let Begun { connection, streams } = begun.unwrap_or_else(|_| {
        let message = "the command did not begin within 10 s".to_owned();
        Err(Error::Failed { message, source: None })
    })?;
    let terminal = match &streams {
        Streams::Terminal(terminal) => Some(Arc::clone(terminal)),
        Streams::Pipes { .. } => None,
    };
    let control = Box::new(Control { connection, terminal, ended: None });
    Ok(match streams {
        Streams::Terminal(terminal) => ExecSession {
            stdin: Box::new(Input::new(Arc::clone(&terminal))),
            stdout: Box::new(Output::new(terminal)),
            stderr: Box::new(tokio::io::empty()),
            control,
        },
        Streams::Pipes { stdin, stdout, stderr } => {
            ExecSession { stdin: Box::new(stdin), stdout: Box::new(stdout), stderr: Box::new(stderr), control }
        }
    })
}

struct Begun {
    connection: Connection,
    streams: Streams,
}

enum Streams {
    Pipes { stdin: Sender, stdout: Receiver, stderr: Receiver },
    Terminal(Arc<Terminal>),
}

async fn begin(program: &Program, order: &Order) -> Result<Begun, Error> {
    let failed = |what: &str| {
        let what = what.to_owned();
        move |error: io::Error| Error::failed(what, error)
    };
    let (ours, theirs) = UnixStream::pair().map_err(failed("making a socket failed"))?;
    ours.set_nonblocking(true).map_err(failed("making a socket failed"))?;
    let mut command = tokio::process::Command::new(&program.exe);
    command.arg(MODE).env_clear().current_dir("/");
    command.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::null()).stderr(Stdio::null());
    // It ends when the connection does; until it has, somebody reaps it.
    let child = command.spawn().map_err(failed(&format!("{} cannot be run", program.exe.display())))?;
    drop((command, child));
    let (pipes, ends) = if order.terminal.is_some() {
        (None, Vec::new())
    } else {
        make_pipes().map(|(ours, theirs)| (Some(ours), theirs)).map_err(failed("making pipes failed"))?
    };
    let mut connection = Connection::new(ours).map_err(failed("making a socket failed"))?;
    let body = frame::encode(order).map_err(failed("the command is too long"))?;
    connection.push(&body, ends).map_err(failed("the command cannot be passed on"))?;
    let (body, mut fds) = connection.next().await.map_err(failed("the command could not be begun"))?;
    match frame::decode(&body).map_err(failed("the command could not be begun"))? {
        Answer::Started => {}
        Answer::Refused { doing, path, errno } => {
            let path = path.map(|path| format!(" for {}", path.display())).unwrap_or_default();
            return Err(failed(&format!("{doing} failed{path}"))(io::Error::from_raw_os_error(errno)));
        }
        Answer::Ended(code) => {
            let message = format!("the command told its end, {code}, before its beginning");
            return Err(Error::Failed { message, source: None });
        }
    }
    let streams = match (pipes, fds.pop()) {
        (Some([stdin, stdout, stderr]), _) => Streams::Pipes {
            stdin: Sender::from_owned_fd(stdin).map_err(failed("opening a pipe failed"))?,
            stdout: Receiver::from_owned_fd(stdout).map_err(failed("opening a pipe failed"))?,
            stderr: Receiver::from_owned_fd(stderr).map_err(failed("opening a pipe failed"))?,
        },
        (None, Some(master)) => {
            Streams::Terminal(Arc::new(Terminal::new(master).map_err(failed("opening the terminal failed"))?))
        }
        (None, None) => {
            let message = "the command began without its terminal".to_owned();
            return Err(Error::Failed { message, source: None });
        }
    };
    Ok(Begun { connection, streams })
}

/// Our ends of three pipes, which do not block, and those of the command.
fn make_pipes() -> io::Result<([OwnedFd; 3], Vec<OwnedFd>)> {
    let pipe = || nix::unistd::pipe2(OFlag::O_CLOEXEC);
    let (stdin, stdout, stderr) = (pipe()?, pipe()?, pipe()?);
    let ours = [stdin.1, stdout.0, stderr.0];
    for end in &ours {
        nix::fcntl::fcntl(end.as_fd(), nix::fcntl::FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    }
    Ok((ours, vec![stdin.0, stdout.1, stderr.1]))
}

/// Holds the command: it is ended when this is dropped.
#[derive(Debug)]
struct Control {
    connection: Connection,
    terminal: Option<Arc<Terminal>>,
    ended: Option<i32>,
}

#[async_trait]
impl ExecControl for Control {
    async fn resize(&mut self, size: TerminalSize) -> Result<(), Error> {
        let Some(terminal) = &self.terminal else { return Ok(()) };
        terminal.resize(size).map_err(|error| Error::failed("changing the size of the terminal failed", error))
    }

    async fn wait(&mut self) -> Result<i32, Error> {
        while self.ended.is_none() {
            let failed = |error| Error::failed("how the command ended was not told", error);
            let (body, _) = self.connection.next().await.map_err(failed)?;
            if let Answer::Ended(code) = frame::decode(&body).map_err(failed)? {
                self.ended = Some(code);
            }
        }
        Ok(self.ended.unwrap_or_default())
    }
}
