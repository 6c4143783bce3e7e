//! Commands inside containers.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bollard::Docker;
use bollard::container::LogOutput;
use bollard::errors::Error as EngineError;
use bollard::exec::{ResizeExecOptions, StartExecOptions, StartExecResults};
use bollard::models::ExecConfig;
use futures::{Stream, StreamExt};
use orch_driver::{Error, ExecControl, ExecSession, ExecSpec, TerminalSize};
use orch_host::process::{self, Stat};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio::task::spawn_blocking;
use tokio_util::task::AbortOnDropHandle;
use tracing::debug;

use crate::engine;

/// How much may be on its way in each direction.
const BUFFER: usize = 64 * 1024;
/// How often the engine is asked whether a command has ended whose output is still open.
const GLANCE: Duration = Duration::from_millis(100);
/// How often a command is looked for that is to be killed; one on an engine elsewhere is never found.
const KILL_ATTEMPTS: u32 = 50;
const SIGKILL: i32 = 9;

/// Runs a command in `container`, as its user.
pub(crate) async fn run(docker: Docker, container: &str, spec: ExecSpec) -> Result<ExecSession, Error> {
    let terminal = spec.terminal.is_some();
    let config = ExecConfig {
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(terminal),
        env: Some(spec.env.iter().map(|(name, value)| format!("{name}={value}")).collect()),
        cmd: Some(spec.command),
        ..ExecConfig::default()
    };
    let failed = |error| engine::failed("running a command in the container", &error);
    let id = docker.create_exec(container, config).await.map_err(failed)?.id;
    let options = StartExecOptions { detach: false, tty: terminal, output_capacity: Some(BUFFER) };
    let (output, input) = match docker.start_exec(&id, Some(options)).await.map_err(failed)? {
        StartExecResults::Attached { output, input } => (output, input),
        StartExecResults::Detached => {
            return Err(Error::Failed { message: "the engine did not attach to the command".to_owned(), source: None });
        }
    };
    let (stdin, typed) = duplex(BUFFER);
    let (stdout, written) = duplex(BUFFER);
    let (stderr, complained) = duplex(BUFFER);
    let pumps = tokio::spawn(async move {
        tokio::join!(feed(typed, input), spread(output, written, complained));
    });
    let pumps = Arc::new(AbortOnDropHandle::new(pumps));
    let mut control = Control { docker, id, container: container.to_owned(), pumps: Arc::clone(&pumps), code: None };
    if let Some(size) = spec.terminal {
        control.resize(size).await?;
    }
    Ok(ExecSession {
        stdin: Box::new(stdin),
        stdout: Box::new(Pumped { stream: stdout, _pumps: Arc::clone(&pumps) }),
        stderr: Box::new(Pumped { stream: stderr, _pumps: pumps }),
        control: Box::new(control),
    })
}

/// Gives the command what is typed, and then the end.
async fn feed(mut typed: DuplexStream, mut input: Pin<Box<dyn AsyncWrite + Send>>) {
    // A command that reads no more is no failure.
    let _read_to_end = tokio::io::copy(&mut typed, &mut input).await;
    let _closed = input.shutdown().await;
}

/// Takes the output apart; a reader that is gone misses its part, the other goes on.
async fn spread(
    mut output: Pin<Box<dyn Stream<Item = Result<LogOutput, EngineError>> + Send>>,
    stdout: DuplexStream,
    stderr: DuplexStream,
) {
    let (mut stdout, mut stderr) = (Some(stdout), Some(stderr));
    while let Some(Ok(piece)) = output.next().await {
        let (to, bytes) = match piece {
            LogOutput::StdErr { message } => (&mut stderr, message),
            LogOutput::StdOut { message } | LogOutput::StdIn { message } | LogOutput::Console { message } => {
                (&mut stdout, message)
            }
        };
        if let Some(open) = to
            && open.write_all(&bytes).await.is_err()
        {
            *to = None;
        }
        if stdout.is_none() && stderr.is_none() {
            return;
        }
    }
}

/// A stream that keeps what fills it going, for what a command wrote last is read after its end.
struct Pumped {
    stream: DuplexStream,
    _pumps: Arc<AbortOnDropHandle<()>>,
}

impl AsyncRead for Pumped {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

struct Control {
    docker: Docker,
    id: String,
    container: String,
    pumps: Arc<AbortOnDropHandle<()>>,
    code: Option<i32>,
}

#[async_trait]
impl ExecControl for Control {
    async fn resize(&mut self, size: TerminalSize) -> Result<(), Error> {
        let options = ResizeExecOptions { height: size.rows, width: size.columns };
        match self.docker.resize_exec(&self.id, options).await {
            Ok(()) => Ok(()),
            // One that has ended, or never began, has no terminal any more; its code tells more.
            Err(error) if engine::status(&error).is_some() => {
                debug!(error = engine::words(&error), "a terminal could not be resized");
                Ok(())
            }
            Err(error) => Err(engine::failed("resizing the terminal", &error)),
        }
    }

    async fn wait(&mut self) -> Result<i32, Error> {
        loop {
            if let Some(code) = self.code {
                return Ok(code);
            }
            let found = self.docker.inspect_exec(&self.id).await;
            let found = found.map_err(|error| engine::failed("waiting for a command in the container", &error))?;
            if let Some(code) = found.exit_code.filter(|_| found.running != Some(true)) {
                self.code = i32::try_from(code).ok();
                continue;
            }
            if self.pumps.is_finished() {
                tokio::time::sleep(GLANCE / 10).await;
            } else {
                let finished = async {
                    while !self.pumps.is_finished() {
                        tokio::time::sleep(GLANCE / 10).await;
                    }
                };
                let _open_still = tokio::time::timeout(GLANCE, finished).await;
            }
        }
    }
}

impl Drop for Control {
    /// Ends the command, if nobody has seen its end: the engine has no call for that.
    fn drop(&mut self) {
        if self.code.is_some() {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (docker, id, container) = (self.docker.clone(), self.id.clone(), self.container.clone());
        // It owns all it needs and ends by itself.
        drop(runtime.spawn(async move {
            for _ in 0..KILL_ATTEMPTS {
                let Ok(found) = docker.inspect_exec(&id).await else { return };
                if found.running != Some(true) {
                    return;
                }
                // A command may be at work before the engine has noted its number.
                if let Some(pid) = found.pid.and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 0) {
                    let container = container.clone();
                    let _panicked = spawn_blocking(move || kill_session(&container, pid)).await;
                }
                tokio::time::sleep(GLANCE).await;
            }
        }));
    }
}

/// Kills the processes of `container` that are in the session of the one which the engine calls `engine_pid`.
///
/// The engine may count processes in a namespace of its own: the process is looked for among those of the container's control group, by
/// the number it has in any namespace. Where they cannot be seen from here nothing is killed; the command then has only lost its streams.
fn kill_session(container: &str, engine_pid: i32) {
    let Ok(all) = process::all() else { return };
    let inside: Vec<Stat> = all.into_iter().filter(|stat| is_in(container, stat.pid)).collect();
    let leader = inside.iter().find(|stat| numbers(stat.pid).contains(&engine_pid)).map(|stat| stat.pid);
    let Some(leader) = leader else { return };
    // The leader last: while it is there, its number names its session.
    let others = inside.iter().filter(|stat| stat.session == leader && stat.pid != leader).map(|stat| stat.pid);
    for pid in others.chain([leader]) {
        let Ok(process) = orch_host::PidFd::open(pid) else { continue };
        // The number may have gone to another process since.
        if is_in(container, pid) {
            let _gone = process.signal(SIGKILL);
        }
    }
}

fn is_in(container: &str, pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|groups| groups.contains(container))
}

/// The numbers of a process in the namespaces that see it, from here inwards.
fn numbers(pid: i32) -> Vec<i32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    line.split_whitespace().filter_map(|number| number.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_a_number_here_before_those_of_namespaces_inside() {
        let pid = i32::try_from(std::process::id()).unwrap();
        assert_eq!(numbers(pid).first(), Some(&pid));
        assert_eq!(numbers(-1), [0; 0]);
    }
}
