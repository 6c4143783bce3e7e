//! The command line, run to its end.

use std::ffi::OsStr;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::wait::wait_within;

/// How long a command may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The binary under test.
///
/// # Panics
///
/// When `ORCH_BIN` is unset or names no file.
pub fn binary() -> PathBuf {
    #[expect(clippy::disallowed_methods, reason = "the one setting of the tests")]
    let path = std::env::var("ORCH_BIN").unwrap_or_default();
    assert!(!path.is_empty(), "ORCH_BIN is unset: name the binary under test, as `make test` does");
    let path = PathBuf::from(path);
    assert!(path.is_file(), "ORCH_BIN names no file: {}", path.display());
    path
}

/// Commands that go to one agent.
#[derive(Debug, Clone)]
pub struct Cli {
    address: String,
}

/// What a command said.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its exit status; `None` if a signal ended it.
    pub status: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Cli {
    /// Commands for the agent at `address`, `http://ip:port`.
    pub fn new(address: &str) -> Self {
        Self { address: address.to_owned() }
    }

    /// The command `orch` with `args`, not run yet.
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(binary());
        command.args(args).env("ORCH_ADDR", &self.address).env("ORCH_CLI_NO_COLOR", "1");
        command
    }

    /// Runs `orch` with `args`.
    #[track_caller]
    pub fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Output {
        output(&mut self.command(args))
    }

    /// Runs `orch` with `args` and returns its standard output; anything but success fails the test.
    #[track_caller]
    pub fn ok<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> String {
        let output = self.run(args);
        assert_eq!(output.status, Some(0), "{output:?}");
        output.stdout
    }
}

/// Runs `command` to its end.
///
/// # Panics
///
/// When it takes longer than a minute.
#[track_caller]
pub fn output(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("running {command:?}: {error}"));
    let stdout = drain(child.stdout.take());
    let stderr = drain(child.stderr.take());
    let status = wait(&mut child, PATIENCE);
    if status.is_none() {
        // An error means that it has ended by now.
        let _ended = child.kill();
    }
    let [stdout, stderr] = [stdout, stderr].map(|thread| thread.join().expect("reading a pipe does not panic"));
    let Some(status) = status else {
        panic!("{command:?} did not end within {PATIENCE:?}\nstdout: {stdout}\nstderr: {stderr}");
    };
    Output { status: status.code(), stdout, stderr }
}

/// Waits for `child` to end.
pub(crate) fn wait(child: &mut Child, within: Duration) -> Option<std::process::ExitStatus> {
    wait_within(within, || match child.try_wait() {
        Ok(Some(status)) => Ok(status),
        Ok(None) | Err(_) => Err(()),
    })
    .ok()
}

fn drain(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // What was read before an error is still worth showing.
            let _incomplete = pipe.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
