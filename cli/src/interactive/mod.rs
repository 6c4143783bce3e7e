//! A command that runs inside a task, at the user's terminal.

mod escape;
mod raw_mode;

use std::io::{self, ErrorKind, IsTerminal as _, Write};
use std::time::Duration;

use anyhow::{Context as _, bail};
use orch_api::client::{Exec, ExecReader, ExecWriter};
use orch_api::exec::PIECE_BYTES;
use orch_api::{ExecInput, ExecOutput, ExecPiece};
use tokio::io::AsyncReadExt as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use crate::commands::{DONE, FAILED, Outcome};
use escape::{Escape, Typed};
use raw_mode::RawMode;

/// How often the agent is told that somebody is still there.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// How the command and the terminal are tied together.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct InteractiveArgs {
    /// Whether the command reads what this one is given to read
    #[arg(short = 'i', value_name = "bool", action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true")]
    input: bool,
    /// Whether the command gets a terminal; by default, if this one is used at a terminal
    #[arg(short = 't', value_name = "bool", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    terminal: Option<bool>,
    /// Both of -i and -t
    #[arg(long = "it", alias = "ti", hide = true)]
    both: bool,
    /// Character that, typed at the beginning of a line and followed by a dot, ends the session; none for no such one
    #[arg(short = 'e', value_name = "character", default_value = "~")]
    escape: String,
}

/// What the flags ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Session {
    input: bool,
    /// Whether the command gets a terminal.
    pub(crate) tty: bool,
    escape: Option<u8>,
}

impl InteractiveArgs {
    /// Makes the flags one wish; an error where they contradict each other.
    pub(crate) fn session(&self) -> anyhow::Result<Session> {
        self.session_at(io::stdin().is_terminal() && io::stdout().is_terminal())
    }

    fn session_at(&self, at_terminal: bool) -> anyhow::Result<Session> {
        let input = self.input || self.both;
        let tty = if self.both { true } else { self.terminal.unwrap_or(at_terminal && input) };
        if tty && !input {
            bail!("-t needs -i: a terminal of which nothing is read is none");
        }
        let escape = match self.escape.as_bytes() {
            b"none" => None,
            [one] => Some(*one),
            _ => bail!("-e takes one ASCII character, or none: {:?} is not one", self.escape),
        };
        Ok(Session { input, tty, escape: escape.filter(|_| tty) })
    }
}

impl Session {
    /// Ties the command to this process until it ends; its exit code.
    pub(crate) async fn run(self, exec: Exec) -> Outcome {
        let raw = if self.tty && io::stdin().is_terminal() { Some(RawMode::enter()?) } else { None };
        let Exec { input, output } = exec;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for signals")?;
        let mut terminate = signal(SignalKind::terminate()).context("cannot wait for signals")?;
        let ended = tokio::select! {
            ended = copy_output(output) => ended,
            ended = self.copy_input(input) => ended,
            _ = interrupt.recv() => Ok(FAILED),
            _ = terminate.recv() => Ok(FAILED),
        };
        drop(raw);
        ended
    }

    /// Sends what is typed until the session is to end; it goes on when there is nothing more to read.
    async fn copy_input(self, mut writer: ExecWriter) -> Outcome {
        let mut stdin = self.input.then(tokio::io::stdin);
        if stdin.is_none() {
            writer.send(&piece(ExecPiece::end())).await?;
        }
        let mut resized = signal(SignalKind::window_change()).context("cannot wait for signals")?;
        self.send_size(&mut writer).await?;
        let mut escape = Escape::new(self.escape);
        let mut beat = interval(HEARTBEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut buffer = vec![0; PIECE_BYTES];
        loop {
            let read = async {
                match &mut stdin {
                    Some(open) => open.read(&mut buffer).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                read = read => {
                    let length = read.context("cannot read the standard input")?;
                    if length == 0 {
                        stdin = None;
                        writer.send(&piece(ExecPiece::end())).await?;
                        continue;
                    }
                    let Typed { passed, ends } = escape.take(buffer.get(..length).unwrap_or_default());
                    if !passed.is_empty() {
                        writer.send(&piece(ExecPiece::data(passed))).await?;
                    }
                    if ends {
                        return Ok(FAILED);
                    }
                }
                () = window_changed(&mut resized) => self.send_size(&mut writer).await?,
                _ = beat.tick() => writer.send(&ExecInput::default()).await?,
            }
        }
    }

    /// Tells the command how large the terminal is, if it has one.
    async fn send_size(self, writer: &mut ExecWriter) -> anyhow::Result<()> {
        if self.tty
            && let Some(tty_size) = raw_mode::size()
        {
            writer.send(&ExecInput { tty_size: Some(tty_size), ..ExecInput::default() }).await?;
        }
        Ok(())
    }
}

fn piece(piece: ExecPiece) -> ExecInput {
    ExecInput { stdin: Some(piece), ..ExecInput::default() }
}

async fn window_changed(resized: &mut Signal) {
    if resized.recv().await.is_none() {
        std::future::pending().await
    }
}

/// Writes what the command writes, until it has ended; its exit code.
async fn copy_output(mut reader: ExecReader) -> Outcome {
    loop {
        let ExecOutput { stdout, stderr, exited, result } = reader.next().await?;
        let written = stdout
            .map_or(Ok(()), |piece| write(io::stdout().lock(), &piece))
            .and_then(|()| stderr.map_or(Ok(()), |piece| write(io::stderr().lock(), &piece)));
        match written {
            Ok(()) => {}
            // Whoever read it wants no more.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(DONE),
            Err(error) => return Err(error).context("cannot write what the command wrote"),
        }
        if exited {
            return Ok(exit_code(result.unwrap_or_default().exit_code));
        }
    }
}

fn write(mut to: impl Write, piece: &ExecPiece) -> io::Result<()> {
    to.write_all(&piece.data.0)?;
    to.flush()
}

/// The command's exit code as this process can pass it on.
fn exit_code(code: i32) -> u8 {
    u8::try_from(code).unwrap_or(FAILED)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: InteractiveArgs,
    }

    #[test]
    fn a_terminal_is_given_where_there_is_one_and_never_without_input() {
        let session = |flags: &[&str], at_terminal| {
            let line = Line::parse_from([&["exec"], flags].concat());
            line.args.session_at(at_terminal).map(|Session { input, tty, escape }| (input, tty, escape))
        };
        assert_eq!(session(&[], true).unwrap(), (true, true, Some(b'~')));
        assert_eq!(session(&[], false).unwrap(), (true, false, None));
        assert_eq!(session(&["-i=false"], true).unwrap(), (false, false, None));
        assert_eq!(session(&["-t=false"], true).unwrap(), (true, false, None));
        assert_eq!(session(&["-i", "-t", "-e=^"], false).unwrap(), (true, true, Some(b'^')));
        assert_eq!(session(&["--it", "-e=none"], false).unwrap(), (true, true, None));
        assert!(session(&["-i=false", "-t"], true).is_err());
        assert!(session(&["-e=ab"], true).is_err());
    }

    #[test]
    fn a_code_that_cannot_be_passed_on_is_a_failure() {
        assert_eq!([0, 3, 255, 256, -1].map(exit_code), [0, 3, 255, 1, 1]);
    }
}
