//! Being the first process of a container.
//!
//! An agent that would be process 1 is started as a child instead: the supervisor stays when it dies, and with it the container and its
//! tasks. At first the process only reaps and passes signals on. It becomes the supervisor when the agent asks for one, which it does over
//! a socket that it was born with; the agent knows where everything is, and this process needs no configuration.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SignalFd;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};

use super::SupervisorArgs;
use super::daemon::{self, READY, RunError};

/// How long after it died the agent is started again.
const AGAIN: Duration = Duration::from_secs(1);
/// How long tasks may take to end by themselves when the container ends.
const LEAVE: Duration = Duration::from_secs(5);
/// Most bytes of a command line for the supervisor.
const MAX_ARGS: usize = 64 << 10;
/// What the agent is told to do by signals of the container.
const PASSED_ON: [Signal; 3] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];

/// How the agent of a container is started.
#[derive(Debug, Clone)]
pub struct AgentCommand {
    /// The program.
    pub exe: PathBuf,
    /// The agent's own command line.
    pub args: Vec<OsString>,
    /// Stands before it at the first start, followed by the number of the descriptor that `speak_with_init` takes.
    pub born: OsString,
}

/// The agent, as its parent sees it.
#[derive(Debug)]
pub(super) struct Init {
    command: AgentCommand,
    /// 0 while it does not run.
    pid: i32,
    /// Whether it was told to end.
    told: bool,
    again_at: Option<Instant>,
    /// Set on the way out: when the tasks that are left are killed.
    pub(super) leave_at: Option<Instant>,
    pub(super) code: u8,
}

/// What follows from the end of the agent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It is started again after a moment.
    Again,
    /// The container ends.
    Leave,
}

impl Init {
    fn new(command: AgentCommand, pid: i32) -> Self {
        Self { command, pid, told: false, again_at: None, leave_at: None, code: 0 }
    }

    /// Whether `pid` is the agent.
    pub(super) fn is_agent(&self, pid: i32) -> bool {
        self.pid == pid
    }

    /// Passes on what the container was told.
    pub(super) fn tell(&mut self, signal: i32) {
        self.told |= signal != Signal::SIGHUP as i32;
        if self.pid > 0 {
            // SAFETY: kill takes two integers; our child keeps its number until we reap it.
            unsafe { libc::kill(self.pid, signal) };
        } else if self.told {
            self.again_at = None;
        }
    }

    /// Whether it is down and was told to end in the meantime.
    pub(super) fn is_done(&self) -> bool {
        self.pid == 0 && self.told
    }

    /// Notes that the agent ended with this `wait` status. It is started again if it died while tasks ran.
    pub(super) fn ended(&mut self, raw: i32, tasks_run: bool) -> Next {
        self.pid = 0;
        self.code = exit_code(raw);
        if self.told || self.code == 0 || !tasks_run {
            return Next::Leave;
        }
        self.again_at = Some(Instant::now() + AGAIN);
        Next::Again
    }

    /// How long until it has to be started, or tasks killed.
    pub(super) fn due_in(&self, now: Instant) -> Option<Duration> {
        [self.again_at, self.leave_at].into_iter().flatten().map(|at| at.saturating_duration_since(now)).min()
    }

    /// Starts it again once that is due.
    pub(super) fn start_if_due(&mut self, now: Instant) {
        if self.again_at.is_some_and(|at| at <= now) {
            // Where there is no process to be had now, there may be later.
            self.again_at = Some(now + AGAIN);
            if let Ok(pid) = start(&self.command, None) {
                self.pid = pid;
                self.again_at = None;
            }
        }
    }

    /// Begins the way out.
    pub(super) fn leave(&mut self, now: Instant) {
        self.again_at = None;
        self.leave_at.get_or_insert(now + LEAVE);
    }
}

fn exit_code(raw: i32) -> u8 {
    let status = std::process::ExitStatus::from_raw(raw);
    let code = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}

/// Starts the agent, with the socket over which it may ask for a supervisor if that is not there yet.
fn start(agent: &AgentCommand, socket: Option<OwnedFd>) -> io::Result<i32> {
    let mut command = Command::new(&agent.exe);
    if let Some(socket) = &socket {
        fcntl(socket, FcntlArg::F_SETFD(FdFlag::empty()))?;
        command.arg(&agent.born).arg(socket.as_raw_fd().to_string());
    }
    command.args(&agent.args);
    // SAFETY: between fork and exec it makes one system call.
    unsafe {
        command.pre_exec(|| SigSet::empty().thread_set_mask().map_err(io::Error::from));
    }
    let child = command.spawn()?;
    // It is reaped with all others.
    i32::try_from(child.id()).map_err(io::Error::other)
}

/// Runs an agent as the first process of a container: starts it as a child and becomes its supervisor when asked.
///
/// Returns when the agent has ended for good and nothing of its tasks is left; with the agent's exit code. To be called before any thread
/// exists.
pub fn run_as_init(agent: AgentCommand) -> Result<ExitCode, RunError> {
    daemon::check_threads()?;
    let doing = |action: &'static str| move |source: io::Error| RunError::System { action: action.to_owned(), source };
    let signals = daemon::block_signals()?;
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
        .map_err(|errno| doing("making a socket")(errno.into()))?;
    let pid = start(&agent, Some(theirs)).map_err(doing("starting the agent"))?;
    let mut init = Init::new(agent, pid);
    loop {
        let mut polled =
            [PollFd::new(signals.as_fd(), PollFlags::POLLIN), PollFd::new(ours.as_fd(), PollFlags::POLLIN)];
        match nix::poll::poll(&mut polled, PollTimeout::NONE) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(doing("waiting for events")(errno.into())),
        }
        let asked = polled.get(1).and_then(PollFd::any).unwrap_or(false);
        pass_on(&signals, &mut init);
        if let Some(code) = reap(&mut init) {
            return Ok(ExitCode::from(code));
        }
        if !asked {
            continue;
        }
        match request(&ours) {
            // It will not ask any more; its end is told by a signal.
            Ok(None) => return wait_for_end(&signals, init),
            Ok(Some(args)) => match daemon::take_place(&args) {
                Ok(place) => {
                    reply(&ours, READY);
                    return daemon::serve_as_init(args, init, place);
                }
                Err(error) => reply(&ours, error.to_string().as_bytes()),
            },
            Err(error) => reply(&ours, error.to_string().as_bytes()),
        }
    }
}

/// Reaps and passes signals on until the agent has ended.
fn wait_for_end(signals: &SignalFd, mut init: Init) -> Result<ExitCode, RunError> {
    loop {
        let mut polled = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        let _woken = nix::poll::poll(&mut polled, PollTimeout::NONE);
        pass_on(signals, &mut init);
        if let Some(code) = reap(&mut init) {
            return Ok(ExitCode::from(code));
        }
    }
}

fn pass_on(signals: &SignalFd, init: &mut Init) {
    while let Ok(Some(signal)) = signals.read_signal() {
        let number = i32::try_from(signal.ssi_signo).unwrap_or(0);
        if is_passed_on(number) {
            init.tell(number);
        }
    }
}

/// Whether a signal to the first process of a container is meant for the agent.
pub(super) fn is_passed_on(signal: i32) -> bool {
    PASSED_ON.iter().any(|known| *known as i32 == signal)
}

/// Takes the statuses of all children; the exit code of the agent if it is among them.
fn reap(init: &mut Init) -> Option<u8> {
    loop {
        let mut raw = 0;
        // SAFETY: the status is written to an integer that lives through the call.
        let pid = unsafe { libc::waitpid(-1, &raw mut raw, libc::WNOHANG) };
        if pid <= 0 {
            return None;
        }
        if init.is_agent(pid) {
            return Some(exit_code(raw));
        }
    }
}

/// What the agent asks for; `None` if it has closed its end.
fn request(socket: &OwnedFd) -> io::Result<Option<SupervisorArgs>> {
    let mut text = vec![0; MAX_ARGS];
    let count = recv(socket.as_raw_fd(), &mut text, MsgFlags::MSG_DONTWAIT)?;
    if count == 0 {
        return Ok(None);
    }
    let args = text.get(..count).unwrap_or_default().split(|byte| *byte == 0);
    let args = args.map(|arg| OsString::from_vec(arg.to_vec()));
    SupervisorArgs::parse(args).map(Some).map_err(io::Error::other)
}

fn reply(socket: &OwnedFd, answer: &[u8]) {
    // An agent that has died in the meantime is started again, and asks again.
    let _unheard = send(socket.as_raw_fd(), answer, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL);
}

/// The arguments as one message that [`request`] reads.
pub(crate) fn message(args: &SupervisorArgs) -> Vec<u8> {
    let args = args.to_args();
    let texts: Vec<&[u8]> = args.iter().map(OsString::as_os_str).map(OsStr::as_bytes).collect();
    texts.join(&0)
}
