//! Finding a supervisor that answers, or starting one.

use std::io;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::Options;
use super::connection::Connection;
use super::init;
use crate::error::Error;
use crate::process::SupervisorArgs;
use crate::protocol::{Hello, Intent, VERSION};
use crate::socket;

/// How long all attempts together may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long a supervisor may take to greet.
const GREETING: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// A greeted connection to a supervisor of our version.
pub(super) async fn establish(options: &Options) -> Result<Connection, Error> {
    let deadline = Instant::now() + DEADLINE;
    let mut pause = FIRST_PAUSE;
    let mut upgrade_asked = false;
    loop {
        let reason = match socket::connect(&options.socket, &options.node_mark) {
            Ok(stream) => match greet(options, stream).await {
                Ok(Greeting::Ours(connection)) => return Ok(connection),
                Ok(Greeting::Other(theirs)) if Instant::now() >= deadline => {
                    return Err(Error::Version { ours: VERSION, theirs });
                }
                Ok(Greeting::Other(_)) => {
                    if !upgrade_asked {
                        upgrade_asked = true;
                        ask_for_upgrade(options).await?;
                    }
                    io::Error::other("it is being replaced by its next version")
                }
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Passing(error)) => error,
            },
            Err(error) if is_absent(&error) => {
                let result = timeout_at(deadline, launch(options)).await;
                result.unwrap_or_else(|_| {
                    Err(Error::Launch { exe: options.exe.clone(), source: io::ErrorKind::TimedOut.into() })
                })?;
                error
            }
            Err(error) => error,
        };
        if Instant::now() >= deadline {
            return Err(Error::Connect { socket: options.socket.clone(), source: reason });
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Nobody listens there: the file is missing, or left over from a supervisor that has ended.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

enum Greeting {
    Ours(Connection),
    Other(u16),
}

enum Failure {
    /// The supervisor went away; another attempt may find the next one.
    Passing(io::Error),
    Final(Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Passing(error)
    }
}

async fn greet(options: &Options, stream: UnixStream) -> Result<Greeting, Failure> {
    let uid = socket::peer_uid(&stream)?;
    if uid != socket::own_uid() {
        return Err(Failure::Final(Error::Foreign { socket: options.socket.clone(), uid }));
    }
    let mut connection = Connection::new(stream)?;
    connection.push(&Hello { version: VERSION, intent: Intent::Talk }.encode(), Vec::new())?;
    let (body, _) = timeout(GREETING, connection.next()).await.map_err(io::Error::from)??;
    let Some(hello) = Hello::decode(&body) else {
        let message = format!("{} does not greet as a supervisor", options.socket.display());
        return Err(Failure::Final(Error::Protocol(message)));
    };
    Ok(if hello.version == VERSION { Greeting::Ours(connection) } else { Greeting::Other(hello.version) })
}

/// Asks a supervisor to become the program of the options; it hangs up when it does.
pub(super) async fn ask_for_upgrade(options: &Options) -> Result<(), Error> {
    let failed = |source| Error::Connect { socket: options.socket.clone(), source };
    let stream = socket::connect(&options.socket, &options.node_mark).map_err(failed)?;
    let mut connection = Connection::new(stream).map_err(failed)?;
    let hello = Hello { version: VERSION, intent: Intent::Upgrade { exe: options.exe.clone() } };
    connection.push(&hello.encode(), Vec::new()).map_err(failed)?;
    // Whether it obeys shows in the version of the next greeting; here only its hanging up is waited for.
    while let Ok(Ok(_)) = timeout(GREETING, connection.next()).await {}
    Ok(())
}

/// Runs the program, which returns once the supervisor listens or another one holds the lock.
async fn launch(options: &Options) -> Result<(), Error> {
    let failed = |source| Error::Launch { exe: options.exe.clone(), source };
    if init::is_there() {
        let args = SupervisorArgs::of(options);
        let asked = tokio::task::spawn_blocking(move || init::ask(&args)).await;
        return asked.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(|source| Error::Init { source });
    }
    let mut command = tokio::process::Command::new(&options.exe);
    command.args(&options.args).args(SupervisorArgs::of(options).to_args());
    command.stdin(std::process::Stdio::null()).kill_on_drop(true);
    let output = command.output().await.map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let message = if text.trim().is_empty() { output.status.to_string() } else { text.trim().to_owned() };
    Err(Error::LaunchRefused { exe: options.exe.clone(), message })
}
