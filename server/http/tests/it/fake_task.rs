//! Commands and ports of a task in memory.

use std::sync::Arc;

use async_trait::async_trait;
use orch_http::local::{Connection, ExecControl, ExecRequest, ExecSession, PortRequest, TerminalSize};
use orch_http::{Error, Kind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::sync::{Notify, watch};

/// The commands of one task; `left` is told when one is dropped before its end.
#[derive(Debug, Default)]
pub struct FakeTask {
    pub left: Arc<Notify>,
}

struct Running {
    exited: watch::Receiver<Option<i32>>,
    terminal: Option<DuplexStream>,
    left: Arc<Notify>,
}

impl FakeTask {
    /// Runs `cat`; `fail`, which ends with 3; `sizes`, which prints the sizes of its terminal; `sleep`, which never
    /// ends; `daemon`, whose outputs stay open after its end.
    pub fn exec(&self, request: &ExecRequest) -> Result<ExecSession, Error> {
        if request.task != "app" {
            return Err(Error::not_found(format!("the allocation has no task {:?}", request.task)));
        }
        let (end, exited) = watch::channel(None);
        let (stdin, mut input) = duplex(64);
        let (stdout, mut output) = duplex(64);
        let (stderr, mut errors) = duplex(64);
        let mut terminal = None;
        match request.command[0].as_str() {
            "cat" => drop(tokio::spawn(async move {
                let copied = tokio::io::copy(&mut input, &mut output).await;
                drop(output);
                end.send(Some(i32::from(copied.is_err())))
            })),
            "fail" => drop(tokio::spawn(async move {
                errors.write_all(b"no\n").await.unwrap();
                drop((errors, output));
                end.send(Some(3))
            })),
            "sizes" => {
                let size = request.terminal.unwrap();
                terminal = Some(output);
                tokio::spawn(async move {
                    // It ends when its input does.
                    drop(input.read_to_end(&mut Vec::new()).await);
                    end.send(Some(i32::from(size.rows)))
                });
            }
            "sleep" => drop(tokio::spawn(async move {
                end.closed().await;
                drop((input, output, errors));
            })),
            "daemon" => drop(tokio::spawn(async move {
                end.send_replace(Some(0));
                end.closed().await;
                std::future::pending::<()>().await;
                drop((output, errors));
            })),
            other => {
                return Err(Error::invalid(format!("cannot run {other:?} in the task: no such file or directory")));
            }
        }
        Ok(ExecSession {
            stdin: Box::new(stdin),
            stdout: Box::new(stdout),
            stderr: Box::new(stderr),
            control: Box::new(Running { exited, terminal, left: self.left.clone() }),
        })
    }

    /// `http` answers what it was sent once that has ended; nobody listens at `shut`.
    pub fn connect(&self, request: &PortRequest) -> Result<Connection, Error> {
        match request.port.as_str() {
            "http" | "8080" => {}
            "shut" => return Err(Error::new(Kind::Unavailable, "nobody listens at port \"shut\"")),
            other => return Err(Error::not_found(format!("the allocation has no port {other:?}"))),
        }
        let (here, mut there) = duplex(64);
        tokio::spawn(async move {
            let mut sent = Vec::new();
            there.read_to_end(&mut sent).await.unwrap();
            there.write_all(format!("{} bytes", sent.len()).as_bytes()).await.unwrap();
        });
        Ok(Box::new(here))
    }
}

#[async_trait]
impl ExecControl for Running {
    async fn resize(&mut self, size: TerminalSize) -> Result<(), Error> {
        if let Some(terminal) = &mut self.terminal {
            terminal.write_all(format!("{}x{}\n", size.rows, size.columns).as_bytes()).await.unwrap();
        }
        Ok(())
    }

    async fn wait(&mut self) -> Result<i32, Error> {
        let ended = self.exited.wait_for(Option::is_some).await;
        let code = ended.map(|code| code.unwrap()).map_err(|_| Error::internal("the command was lost"))?;
        self.terminal = None;
        Ok(code)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.exited.borrow().is_none() {
            self.left.notify_one();
        }
    }
}
