use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use orch_driver::{Error, ExecControl, ExecSession, ExecSpec, TerminalSize};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::config::{Exit, Output};
use crate::task::Task;

/// How much output of a command may wait for its reader.
const BUFFER: usize = 64 * 1024;
/// What a command ends with whose task ended before it.
const KILLED: i32 = 137;

/// What every command does that is run inside a task; nothing at all, and that well, unless the task's `config` says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Command {
    pub(crate) run_for: Duration,
    pub(crate) exit: Exit,
    pub(crate) stdout: Output,
    pub(crate) stderr: Output,
}

impl Command {
    /// Begins a command inside `task`; what it is called makes no difference.
    pub(crate) fn start(&self, task: Arc<Task>, spec: &ExecSpec) -> ExecSession {
        let (stdout, out) = tokio::io::duplex(BUFFER);
        let (stderr, err) = tokio::io::duplex(BUFFER);
        let terminal = spec.terminal.is_some();
        let (ended, end) = watch::channel(None);
        let command = self.clone();
        let fake = AbortOnDropHandle::new(tokio::spawn(async move {
            let code = tokio::select! {
                biased;
                _status = task.ended() => KILLED,
                code = command.run(out, err, terminal) => code,
            };
            ended.send_replace(Some(code));
        }));
        let control = Control { end, _fake: fake };
        ExecSession {
            stdin: Box::new(tokio::io::sink()),
            stdout: Box::new(stdout),
            stderr: Box::new(stderr),
            control: Box::new(control),
        }
    }

    async fn run(&self, out: impl AsyncWrite + Unpin, err: impl AsyncWrite + Unpin, terminal: bool) -> i32 {
        let output = async {
            if terminal {
                // A terminal has one output.
                let mut out = out;
                write(&self.stderr, &mut out).await;
                write(&self.stdout, &mut out).await;
            } else {
                tokio::join!(write(&self.stdout, out), write(&self.stderr, err));
            }
        };
        tokio::join!(output, tokio::time::sleep(self.run_for));
        self.exit.signal.map_or(self.exit.code, |signal| 128 + signal)
    }
}

/// Writes until all is written or nobody reads any more.
async fn write(output: &Output, mut to: impl AsyncWrite + Unpin) {
    for round in 0..=output.repeat {
        if round > 0 {
            tokio::time::sleep(output.every).await;
        }
        if to.write_all(output.text.as_bytes()).await.is_err() {
            return;
        }
    }
}

struct Control {
    end: watch::Receiver<Option<i32>>,
    _fake: AbortOnDropHandle<()>,
}

#[async_trait]
impl ExecControl for Control {
    async fn resize(&mut self, _: TerminalSize) -> Result<(), Error> {
        Ok(())
    }

    async fn wait(&mut self) -> Result<i32, Error> {
        match self.end.wait_for(Option::is_some).await.map(|code| *code) {
            Ok(Some(code)) => Ok(code),
            Ok(None) | Err(_) => Err(Error::Failed { message: "the command was cut short".to_owned(), source: None }),
        }
    }
}
