//! The process that stands between agent and command.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::ExitCode;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid};
use orch_host::PidFd;

use super::{Answer, Order, Size};
use crate::frame::{self, Frame, Reader, Writer};
use crate::privileges;
use crate::protocol::Stage;
use crate::sandbox::Privileges;
use crate::sys;

/// Where a bare command is looked for if the environment has no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The Landlock scope of signals: people may signal the task, which is outside of what the command confines itself to.
const SIGNALS: u64 = 1 << 1;

/// Runs a command inside of a task, as told over standard input. To be called before any thread exists.
pub fn main() -> ExitCode {
    // SAFETY: whoever started this program gave it the socket as standard input, and nothing else in this process uses that.
    let control = unsafe { OwnedFd::from_raw_fd(0) };
    match run(&control) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed { doing, path, errno }) => {
            // Where nobody listens any more nobody wants to know.
            let _told = tell(&control, &Answer::Refused { doing, path, errno }, Vec::new());
            ExitCode::FAILURE
        }
    }
}

/// What did not work.
struct Failed {
    doing: String,
    path: Option<PathBuf>,
    errno: i32,
}

fn doing<E: Into<io::Error>>(doing: &str) -> impl FnOnce(E) -> Failed {
    let doing = doing.to_owned();
    move |error| Failed { doing, path: None, errno: error.into().raw_os_error().unwrap_or(libc::EIO) }
}

fn run(control: &OwnedFd) -> Result<(), Failed> {
    let (body, fds) = receive(control).map_err(doing("reading what to run"))?;
    let order: Order = frame::decode(&body).map_err(doing("reading what to run"))?;
    let texts = Texts::new(&order)?;
    let task = order.process.open().map_err(doing("finding the task"))?;
    let task = task.ok_or(Failed { doing: "finding the task".to_owned(), path: None, errno: libc::ESRCH })?;
    // By paths of the host, so before anything else.
    let groups = order.cgroup.open_join_files(true).map_err(doing("opening the task's control groups"))?;
    // Nothing of the task can look into this process or at its program.
    sys::hide_process().map_err(|errno| Failed { doing: "hiding".to_owned(), path: None, errno })?;
    join(&order, &task)?;
    let terminal = order.terminal.map(open_terminal).transpose().map_err(doing("opening a terminal"))?;
    let (report, report_end) = nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(doing("making a pipe"))?;
    let (master, slave) = terminal.unzip();
    let stdio = Stdio { pipes: fds, terminal: slave };
    // SAFETY: there is one thread, so the child may do whatever this process may.
    let child = match unsafe { nix::unistd::fork() }.map_err(doing("forking"))? {
        ForkResult::Child => become_command(&order, &texts, &groups, &stdio, File::from(report_end)),
        ForkResult::Parent { child } => child,
    };
    drop((stdio, groups, report_end));
    let pidfd = PidFd::open(child.as_raw()).map_err(doing("watching the command"))?;
    read_report(report, &order)?;
    tell(control, &Answer::Started, master.into_iter().collect()).map_err(doing("answering"))?;
    attend(control, child, &pidfd);
    Ok(())
}

/// Takes the namespaces of the task, the one for processes for children only.
fn join(order: &Order, task: &PidFd) -> Result<(), Failed> {
    let Some((namespaces, _)) = order.place.confinement else { return Ok(()) };
    let mut flags = CloneFlags::CLONE_NEWNS;
    flags.set(CloneFlags::CLONE_NEWPID, namespaces.pid);
    flags.set(CloneFlags::CLONE_NEWIPC, namespaces.ipc);
    flags.set(CloneFlags::CLONE_NEWUTS, namespaces.uts);
    setns(task, flags).map_err(doing("joining the task's namespaces"))
}

/// A terminal among those of the task: master and slave.
fn open_terminal(size: Size) -> io::Result<(OwnedFd, OwnedFd)> {
    let master = File::options().read(true).write(true).open("/dev/ptmx")?;
    let unlocked: libc::c_int = 0;
    let window = libc::winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: each call takes an open descriptor, and a number or a structure that lives through the call. The descriptor that the
    // second one returns is new, and nobody else knows it.
    unsafe {
        Errno::result(libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked))?;
        let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
        let slave = OwnedFd::from_raw_fd(Errno::result(libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags))?);
        Errno::result(libc::ioctl(slave.as_raw_fd(), libc::TIOCSWINSZ, &raw const window))?;
        Ok((master.into(), slave))
    }
}

/// The command line as the kernel takes it.
struct Texts {
    programs: Vec<CString>,
    arguments: Vec<CString>,
    environment: Vec<CString>,
    work_dir: CString,
}

impl Texts {
    fn new(order: &Order) -> Result<Self, Failed> {
        let text = |bytes: &[u8]| CString::new(bytes).map_err(|_| doing::<Errno>("reading the command")(Errno::EINVAL));
        let program = order.command.first().ok_or(Errno::EINVAL).map_err(doing("reading the command"))?;
        let path = order.env.iter().find(|(name, _)| name == "PATH").map_or(DEFAULT_PATH, |(_, value)| value);
        let programs = if program.contains('/') {
            vec![text(program.as_bytes())?]
        } else {
            let directories = path.split(':').filter(|directory| !directory.is_empty());
            directories.map(|directory| text(format!("{directory}/{program}").as_bytes())).collect::<Result<_, _>>()?
        };
        let mut environment: Vec<CString> = order
            .env
            .iter()
            .map(|(name, value)| text(format!("{name}={value}").as_bytes()))
            .collect::<Result<_, _>>()?;
        if order.terminal.is_some() && !order.env.iter().any(|(name, _)| name == "TERM") {
            environment.push(c"TERM=xterm".to_owned());
        }
        Ok(Self {
            programs,
            arguments: order.command.iter().map(|word| text(word.as_bytes())).collect::<Result<_, _>>()?,
            environment,
            work_dir: text(order.place.work_dir.as_os_str().as_bytes())?,
        })
    }
}

/// What becomes the standard streams of the command.
struct Stdio {
    pipes: Vec<OwnedFd>,
    terminal: Option<OwnedFd>,
}

/// The child: says in `report` why it gives up, if it does.
fn become_command(order: &Order, texts: &Texts, groups: &[OwnedFd], stdio: &Stdio, mut report: File) -> ! {
    let Err((stage, errno)) = try_command(order, texts, groups, stdio);
    let [a, b, c, d] = errno.to_ne_bytes();
    let [s, ..] = (stage as u32).to_le_bytes();
    // Whoever reads this knows of the end in any case.
    let _told = report.write_all(&[s, a, b, c, d]);
    // SAFETY: ends the process without running anything of the parent's.
    unsafe { libc::_exit(127) }
}

fn try_command(
    order: &Order,
    texts: &Texts,
    groups: &[OwnedFd],
    stdio: &Stdio,
) -> Result<std::convert::Infallible, (Stage, i32)> {
    let at = |stage: Stage| move |errno: Errno| (stage, errno as i32);
    let sys_at = |stage: Stage| move |errno: i32| (stage, errno);
    for group in groups {
        nix::unistd::write(group, b"0").map_err(at(Stage::Cgroup))?;
    }
    nix::unistd::setsid().map_err(at(Stage::Session))?;
    // Limits that the host does not let us have stay the agent's.
    order.limits.restore(|_| {});
    for (index, target) in (0..=2).enumerate() {
        let source =
            stdio.terminal.as_ref().or_else(|| stdio.pipes.get(index)).ok_or((Stage::Descriptors, libc::EBADF))?;
        // SAFETY: both are numbers of descriptors; the target is replaced, which is what is wanted.
        Errno::result(unsafe { libc::dup2(source.as_raw_fd(), target) }).map_err(at(Stage::Descriptors))?;
    }
    // SAFETY: system calls on numbers.
    unsafe {
        if stdio.terminal.is_some() {
            Errno::result(libc::ioctl(0, libc::TIOCSCTTY, 0)).map_err(at(Stage::Session))?;
        }
        libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
    }
    let privileges = order.place.confinement.map(|(_, privileges)| privileges);
    privileges::become_user(order.place.user.as_ref(), privileges)?;
    sys::die_with_parent().map_err(sys_at(Stage::User))?;
    nix::unistd::chdir(texts.work_dir.as_c_str()).map_err(at(Stage::WorkDir))?;
    if let Some(privileges) = privileges {
        let own = Privileges { scopes: privileges.scopes & !SIGNALS, ..privileges };
        privileges::close_in(own, &order.filter)?;
    }
    // SAFETY: the runtime of this program ignores the signal, which would be inherited.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    let mut worst = Errno::ENOENT;
    for program in &texts.programs {
        let Err(errno) = nix::unistd::execve(program, &texts.arguments, &texts.environment);
        match errno {
            Errno::ENOENT | Errno::ENOTDIR => {}
            Errno::EACCES => worst = errno,
            errno => return Err((Stage::Exec, errno as i32)),
        }
    }
    Err((Stage::Exec, worst as i32))
}

/// Waits until the child is in its program, or has given up.
fn read_report(report: OwnedFd, order: &Order) -> Result<(), Failed> {
    let mut told = Vec::new();
    File::from(report).read_to_end(&mut told).map_err(doing("waiting for the command"))?;
    let [stage, a, b, c, d] = *told.as_slice() else { return Ok(()) };
    let stage = Stage::from_number(u32::from(stage)).unwrap_or(Stage::Exec);
    let path = match stage {
        Stage::Exec => order.command.first().map(PathBuf::from),
        Stage::WorkDir => Some(order.place.work_dir.clone()),
        _ => None,
    };
    Err(Failed { doing: stage.to_string(), path, errno: i32::from_ne_bytes([a, b, c, d]) })
}

/// Waits for the end of the command, and tells it; if the agent hangs up first, ends it.
fn attend(control: &OwnedFd, child: Pid, pidfd: &PidFd) {
    let mut hung_up = false;
    loop {
        let mut polled = vec![PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        if !hung_up {
            polled.push(PollFd::new(control.as_fd(), PollFlags::POLLIN));
        }
        match poll(&mut polled, PollTimeout::NONE) {
            Ok(_) => {}
            Err(Errno::EINTR) => continue,
            Err(_) => break,
        }
        let happened = |index: usize| polled.get(index).and_then(PollFd::any).unwrap_or(false);
        if happened(0) {
            break;
        }
        if happened(1) {
            hung_up = true;
            end(child);
        }
    }
    let code = match waitpid(child, None) {
        Ok(WaitStatus::Exited(_, code)) => code,
        Ok(WaitStatus::Signaled(_, signal, _)) => 128 + signal as i32,
        Ok(_) | Err(_) => 128 + libc::SIGKILL,
    };
    // What it left in its session would wait for a terminal or pipes that nobody serves any more.
    end(child);
    let _nobody_listens = tell(control, &Answer::Ended(code), Vec::new());
}

/// Kills the session's first process group.
fn end(child: Pid) {
    let _ended_by_itself = nix::sys::signal::killpg(child, nix::sys::signal::Signal::SIGKILL);
}

fn receive(control: &OwnedFd) -> io::Result<Frame> {
    let mut reader = Reader::default();
    loop {
        if let Some(frame) = reader.next()? {
            return Ok(frame);
        }
        wait_for(control.as_fd(), PollFlags::POLLIN)?;
        match reader.fill(control.as_fd()) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

fn tell(control: &OwnedFd, answer: &Answer, fds: Vec<OwnedFd>) -> io::Result<()> {
    let mut writer = Writer::default();
    writer.push(&frame::encode(answer)?, fds)?;
    while !writer.flush(control.as_fd())? {
        wait_for(control.as_fd(), PollFlags::POLLOUT)?;
    }
    Ok(())
}

fn wait_for(fd: BorrowedFd<'_>, event: PollFlags) -> io::Result<()> {
    match poll(&mut [PollFd::new(fd, event)], PollTimeout::NONE) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
