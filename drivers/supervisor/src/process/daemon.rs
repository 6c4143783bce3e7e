//! Becoming the supervisor: alone, detached, locked, listening.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::ExitCode;

use nix::fcntl::OFlag;
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::ForkResult;
use orch_host::cgroup::{CgroupLayout, Hierarchies};

use super::SupervisorArgs;
use super::init::Init;
use super::pump::Pump;
use super::slots::Slots;
use super::supervisor::{Parts, Supervisor};
use super::upgrade::{self, Inheritance};
use crate::socket;
use crate::spec::Lifetime;

/// Why a supervisor could not begin, or go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A call without which there is no supervisor failed.
    #[error("the supervisor cannot run: {action} failed: {source}")]
    System { action: String, source: io::Error },
    /// It was called too late.
    #[error("the supervisor has to be started before any thread: there are {threads}")]
    Threads { threads: usize },
    /// The process that was to become the supervisor told why it did not.
    #[error("{0}")]
    Told(String),
}

fn doing(action: impl Into<String>) -> impl FnOnce(io::Error) -> RunError {
    let action = action.into();
    move |source| RunError::System { action, source }
}

/// What the detached process tells the one that was started, which passes it on by its exit status.
pub(crate) const READY: &[u8] = b"ready";
const LOCKED: &[u8] = b"another one runs";

/// Becomes the supervisor of this node.
///
/// Returns at once in the process that was started: with success when the supervisor, a child of it that has detached itself, listens or
/// another one holds the lock. In the detached process it returns when the supervisor ends. To be called before any thread exists.
pub fn run_supervisor(args: SupervisorArgs) -> Result<ExitCode, RunError> {
    check_threads()?;
    if let Some(fd) = args.resume {
        return serve(args, None, |args| upgrade::inherit(args, fd));
    }
    let (ready, tell) = nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(|errno| doing("making a pipe")(errno.into()))?;
    // SAFETY: there is one thread, as was just checked, so the child may do whatever this process may.
    match unsafe { nix::unistd::fork() }.map_err(|errno| doing("forking")(errno.into()))? {
        ForkResult::Parent { .. } => {
            drop(tell);
            wait_until_ready(ready)
        }
        ForkResult::Child => {
            drop(ready);
            detached(args, File::from(tell))
        }
    }
}

/// Fails where forking would leave a thread behind.
pub(super) fn check_threads() -> Result<(), RunError> {
    let threads = std::fs::read_dir("/proc/self/task").map_err(doing("counting the threads"))?.count();
    if threads > 1 { Err(RunError::Threads { threads }) } else { Ok(()) }
}

/// From now on signals wait to be read from the descriptor.
pub(super) fn block_signals() -> Result<SignalFd, RunError> {
    let call = |action: &'static str| move |errno: nix::errno::Errno| doing(action)(errno.into());
    let signals: SigSet =
        [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGPIPE].into_iter().collect();
    signals.thread_block().map_err(call("blocking signals"))?;
    SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .map_err(call("opening a signal descriptor"))
}

/// What makes a process the supervisor of a node.
pub(super) struct Place {
    lock: File,
    listener: UnixListener,
}

/// Takes the place of the node's supervisor.
pub(super) fn take_place(args: &SupervisorArgs) -> Result<Place, RunError> {
    let held = || RunError::Told(format!("another supervisor holds {}", socket::lock_path(&args.socket).display()));
    let lock = take_lock(&args.socket)?.ok_or_else(held)?;
    Ok(Place { lock, listener: listen(args)? })
}

/// The supervisor's life as the first process of a container.
pub(super) fn serve_as_init(args: SupervisorArgs, init: Init, place: Place) -> Result<ExitCode, RunError> {
    let Place { lock, listener } = place;
    serve(args, Some(init), |_| Ok(Inheritance { lock, listener, tasks: Vec::new() }))
}

fn listen(args: &SupervisorArgs) -> Result<UnixListener, RunError> {
    socket::listen(&args.socket, &args.node_mark).map_err(doing(format!("listening at {}", args.socket.display())))
}

fn wait_until_ready(ready: OwnedFd) -> Result<ExitCode, RunError> {
    let mut told = Vec::new();
    File::from(ready).read_to_end(&mut told).map_err(doing("waiting for the supervisor"))?;
    match told.as_slice() {
        READY | LOCKED => Ok(ExitCode::SUCCESS),
        [] => Err(RunError::Told("the supervisor died before it listened".to_owned())),
        error => Err(RunError::Told(String::from_utf8_lossy(error).into_owned())),
    }
}

/// The supervisor's life in its own session, without anything of the process that started it.
fn detached(args: SupervisorArgs, mut tell: File) -> Result<ExitCode, RunError> {
    let begun = detach(&tell).and_then(|()| take_lock(&args.socket));
    let lock = match begun {
        Ok(Some(lock)) => lock,
        Ok(None) => {
            let _starter_has_gone = tell.write_all(LOCKED);
            return Ok(ExitCode::SUCCESS);
        }
        Err(error) => {
            let _starter_has_gone = tell.write_all(error.to_string().as_bytes());
            return Err(error);
        }
    };
    let mut pending = Some(tell);
    let result = serve(args, None, |args| {
        let listener = listen(args)?;
        if let Some(mut tell) = pending.take() {
            let _starter_has_gone = tell.write_all(READY);
        }
        Ok(Inheritance { lock, listener, tasks: Vec::new() })
    });
    if let (Err(error), Some(mut tell)) = (&result, pending) {
        let _starter_has_gone = tell.write_all(error.to_string().as_bytes());
    }
    result
}

fn detach(tell: &File) -> Result<(), RunError> {
    let call = |action: &'static str| move |errno: nix::errno::Errno| doing(action)(errno.into());
    nix::unistd::setsid().map_err(call("making a session"))?;
    nix::unistd::chdir("/").map_err(call("entering the root directory"))?;
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    let null = OpenOptions::new().read(true).write(true).open("/dev/null").map_err(doing("opening /dev/null"))?;
    for target in 0..=2 {
        // SAFETY: both are descriptors of this process; the target is replaced, which is what is wanted.
        if unsafe { libc::dup2(null.as_raw_fd(), target) } < 0 {
            return Err(doing("redirecting the standard streams")(io::Error::last_os_error()));
        }
    }
    let kept = tell.as_raw_fd();
    // Whatever else the agent had open and forgot to close on exec. `null` is among it, and closed again by its owner: it is kept too.
    let (low, high) = (kept.min(null.as_raw_fd()), kept.max(null.as_raw_fd()));
    for (first, last) in [(3, low - 1), (low + 1, high - 1), (high + 1, i32::MAX)] {
        if first <= last {
            // SAFETY: closes descriptors that nothing in this process owns: it has only just been forked from one that had not begun.
            unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        }
    }
    Ok(())
}

fn take_lock(socket: &Path) -> Result<Option<File>, RunError> {
    let path = socket::lock_path(socket);
    let mut options = OpenOptions::new();
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let lock = options.write(true).create(true).truncate(false).open(&path);
    let lock = lock.map_err(doing(format!("opening the lock file {}", path.display())))?;
    // SAFETY: flock takes an open descriptor and a constant.
    if unsafe { libc::flock(lock.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
        return Ok(Some(lock));
    }
    match io::Error::last_os_error() {
        error if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        error => Err(doing(format!("locking {}", path.display()))(error)),
    }
}

/// Sets up and runs the loop; `begin` brings lock, listener and inherited tasks once everything else stands.
fn serve(
    mut args: SupervisorArgs,
    init: Option<Init>,
    begin: impl FnOnce(&SupervisorArgs) -> Result<Inheritance, RunError>,
) -> Result<ExitCode, RunError> {
    let call = |action: &'static str| move |errno: nix::errno::Errno| doing(action)(errno.into());
    // Before anything else is opened, so that they are low.
    let null = OpenOptions::new().read(true).write(true).open("/dev/null").map_err(doing("opening /dev/null"))?;
    let slots = Slots::reserve(null.as_fd()).map_err(doing("reserving descriptors"))?;
    prctl::set_child_subreaper(true).map_err(call("becoming the reaper of orphans"))?;
    prctl::set_name(c"orch-supervisor").map_err(call("naming the process"))?;
    let signals = block_signals()?;
    let hierarchies = Hierarchies::detect().map_err(doing("reading the mounts"))?;
    let layout = CgroupLayout::new(hierarchies, &args.cgroup_parent, &args.node_mark);
    let pump = Pump::start().map_err(doing("starting the log thread"))?;
    let Inheritance { lock, listener, tasks } = begin(&args)?;
    // Children inherit ours, so only what differs has to be restored in them.
    args.limits.forget_current();
    let parts = Parts { args, init, layout, pump, null, slots, lock, listener, signals };
    let mut supervisor = Supervisor::new(parts).map_err(doing("setting up the event loop"))?;
    supervisor.take_over(tasks);
    supervisor.run().map_err(doing("waiting for events"))?;
    clean_up(&supervisor);
    Ok(supervisor.init.as_ref().map_or(ExitCode::SUCCESS, |init| ExitCode::from(init.code)))
}

/// Removes what is ours alone, except for the lock file: somebody may be about to lock it, and must not hold one that has no name.
///
/// Nothing here can be reported any more, nor does anything depend on it.
fn clean_up(supervisor: &Supervisor) {
    let listener: &UnixListener = &supervisor.listener;
    if let Some(path) = listener.local_addr().ok().as_ref().and_then(|address| address.as_pathname()) {
        let _gone_already = std::fs::remove_file(path);
    }
    supervisor.layout.remove_roots();
    if let (Lifetime::StopsWithAgent { remove_dir: Some(directory), .. }, Some(ending)) =
        (&supervisor.args.lifetime, &supervisor.ending)
        && ending.kill
    {
        // Tasks' secrets are on file systems of their own, which nobody else is left to unmount.
        let _kept_if_busy = orch_host::mounts::unmount_below(directory);
        let _kept_if_in_use = std::fs::remove_dir_all(directory);
    }
}

/// Wraps a descriptor that came through exec, and closes it on the next one again.
pub(super) fn inherited(fd: i32) -> io::Result<OwnedFd> {
    // SAFETY: the program before this one left the descriptor open for us and named it; nothing else in this process uses it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    nix::fcntl::fcntl(&fd, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))?;
    Ok(fd)
}
