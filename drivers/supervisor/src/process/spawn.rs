//! From a description of a task to a process in its program.
//!
//! Everything that the child needs is allocated before `clone3`. Between there and `execve` it makes async-signal-safe calls only: system
//! calls, on memory that is there already. It reports through a pipe that closes by itself when the program begins.

use std::ffi::{CString, NulError, c_char};
use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;

use nix::fcntl::OFlag;
use orch_host::cgroup::TaskCgroup;
use orch_host::limits::OriginalLimits;
use orch_host::oom;

use super::reaper;
use super::sandbox::{Failed, Prepared};
use super::slots::Slots;
use crate::privileges;
use crate::protocol::Stage;
use crate::spec::{SpawnSpec, UserIds};
use crate::sys::errno;

/// The name of the variable that marks what belongs to a task without a control group.
pub(super) const MARK_VARIABLE: &str = "ORCH_TASK";
/// Where a bare command is looked for if the environment has no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// The child as text and numbers, ready for the kernel.
pub(super) struct Plan {
    programs: Vec<CString>,
    arguments: Vec<CString>,
    environment: Vec<CString>,
    work_dir: CString,
    user: Option<UserIds>,
    oom_score: Option<CString>,
    sandbox: Option<Prepared>,
}

impl Plan {
    /// Fails with what holds a zero byte. `marked` adds the variable by which processes without a control group are found.
    pub(super) fn new(spec: &SpawnSpec, marked: bool) -> Result<Self, String> {
        let text = |what: &str, bytes: &[u8]| CString::new(bytes).map_err(|_: NulError| what.to_owned());
        let command = spec.command.as_os_str().as_bytes();
        let mut arguments = vec![text("the command", command)?];
        for (index, argument) in spec.args.iter().enumerate() {
            arguments.push(text(&format!("argument {}", index + 1), argument.as_bytes())?);
        }
        let mut environment = Vec::with_capacity(spec.env.len() + 1);
        for (name, value) in &spec.env {
            environment.push(text(&format!("the variable {name}"), format!("{name}={value}").as_bytes())?);
        }
        if marked {
            environment.push(text("the key", mark_of(spec.key.as_str()).as_bytes())?);
        }
        let inside = spec.sandbox.iter().flat_map(|sandbox| &sandbox.programs);
        let inside: Vec<CString> =
            inside.map(|program| text("the command", program.as_os_str().as_bytes())).collect::<Result<_, _>>()?;
        let programs = if !inside.is_empty() {
            inside
        } else if command.contains(&b'/') {
            vec![text("the command", command)?]
        } else {
            let path = spec.env.iter().find(|(name, _)| name == "PATH").map_or(DEFAULT_PATH, |(_, value)| value);
            let directories = path.split(':').map(|directory| if directory.is_empty() { "." } else { directory });
            directories
                .map(|directory| text("the variable PATH", &[directory.as_bytes(), b"/", command].concat()))
                .collect::<Result<_, _>>()?
        };
        Ok(Self {
            programs,
            arguments,
            environment,
            work_dir: text("the working directory", spec.work_dir.as_os_str().as_bytes())?,
            user: spec.user.clone(),
            oom_score: spec
                .oom_score_adj
                .map(|score| text("the score", oom::clamp(score).to_string().as_bytes()))
                .transpose()?,
            sandbox: spec.sandbox.as_deref().map(Prepared::new).transpose()?,
        })
    }
}

/// The assignment that marks the processes of `key`.
pub(super) fn mark_of(key: &str) -> String {
    format!("{MARK_VARIABLE}={key}")
}

/// What the supervisor lends to every child.
pub(super) struct Surroundings<'a> {
    pub(super) null: BorrowedFd<'a>,
    /// Closed first of all: a child that hangs before its program must not keep the next supervisor out.
    pub(super) lock: BorrowedFd<'a>,
    pub(super) limits: &'a OriginalLimits,
    pub(super) slots: &'a mut Slots,
}

/// A child that may or may not have reached its program yet.
pub(super) struct Child {
    pub(super) pid: i32,
    /// Brings [`Report`]s, and ends when the program begins or the child gives up.
    pub(super) report: OwnedFd,
    /// The read ends of stdout and stderr, unless they go nowhere. They do not block.
    pub(super) pipes: Vec<OwnedFd>,
    /// Brings the status of the task, where the child is not the task but the first process of its namespace. Does not block.
    pub(super) status: Option<OwnedFd>,
}

/// What a child had to say on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) stage: Stage,
    pub(super) errno: i32,
    /// Whether it gave up.
    pub(super) fatal: bool,
    /// Which step of the sandbox it is about.
    pub(super) step: Option<u16>,
}

impl Report {
    /// How many bytes one takes in the pipe.
    pub(super) const SIZE: usize = 12;

    pub(super) fn decode(bytes: &[u8; Self::SIZE]) -> Option<Self> {
        let [a, b, c, d, e, f, g, h, fatal, has_step, low, high] = *bytes;
        let stage = Stage::from_number(u32::from_ne_bytes([a, b, c, d]))?;
        let step = (has_step != 0).then(|| u16::from_ne_bytes([low, high]));
        Some(Self { stage, errno: i32::from_ne_bytes([e, f, g, h]), fatal: fatal != 0, step })
    }
}

/// Forks. On an error nothing is left behind.
pub(super) fn spawn(
    plan: &Plan,
    cgroup: &TaskCgroup,
    logged: bool,
    around: &mut Surroundings<'_>,
) -> Result<Child, (Stage, io::Error)> {
    let at = |stage: Stage| move |error: nix::errno::Errno| (stage, io::Error::from(error));
    let (report, report_end) = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).map_err(at(Stage::Pipe))?;
    let mut pipes = Vec::new();
    let mut ends = Vec::new();
    for _ in 0..if logged { 2 } else { 0 } {
        let (pipe, end) = nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(at(Stage::Pipe))?;
        nix::fcntl::fcntl(&pipe, nix::fcntl::FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(at(Stage::Pipe))?;
        pipes.push(pipe);
        ends.push(end);
    }
    let split = plan.sandbox.as_ref().is_some_and(|sandbox| sandbox.namespaces.pid);
    let status = split.then(|| nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)).transpose();
    let (status, status_end) = status.map_err(at(Stage::Pipe))?.unzip();
    let null = around.null;
    let output = |index: usize| ends.get(index).map_or(null, AsFd::as_fd);
    let v2 = cgroup.open_v2().map_err(|error| (Stage::Cgroup, error))?;
    let mut into = v2.as_ref();
    let pid = loop {
        // A tree that the child is not born into it joins by itself, as it does those of version 1.
        let join = cgroup.open_join_files(into.is_none()).map_err(|error| (Stage::Cgroup, error))?;
        let status = status_end.as_ref().map_or(null, AsFd::as_fd);
        let own = [output(0), output(1), report_end.as_fd(), status];
        let needed: Vec<BorrowedFd<'_>> = own.into_iter().chain(join.iter().map(AsFd::as_fd)).collect();
        let lent = around.slots.lend(&needed).map_err(|error| (Stage::Descriptors, error))?;
        let part_at = lent.is_some().then(|| (around.slots.end(), around.slots.parted()));
        let numbers = lent.unwrap_or_else(|| needed.iter().map(AsRawFd::as_raw_fd).collect());
        let forked = fork_with(plan, &numbers, part_at, into.map(AsFd::as_fd), around);
        let parted = match &forked {
            Ok(pid) if part_at.is_some() => around.slots.wait_until_parted(*pid),
            Ok(_) | Err(_) => Ok(()),
        };
        around.slots.take_back(null);
        match forked {
            Ok(pid) => break parted.map(|()| pid).map_err(|error| (Stage::Fork, error))?,
            Err(_) if into.is_some() => into = None,
            Err(error) => return Err((Stage::Fork, error)),
        }
    };
    Ok(Child { pid, report, pipes, status })
}

/// Forks a child that finds its two outputs, its report, where its status goes and the files to join under these numbers.
fn fork_with(
    plan: &Plan,
    numbers: &[RawFd],
    part_at: Option<(RawFd, RawFd)>,
    into: Option<BorrowedFd<'_>>,
    around: &Surroundings<'_>,
) -> io::Result<i32> {
    let [stdout, stderr, report, status, join @ ..] = numbers else { return Err(io::ErrorKind::InvalidInput.into()) };
    let programs = pointers(&plan.programs);
    let arguments = pointers(&plan.arguments);
    let environment = pointers(&plan.environment);
    let child = Entry {
        plan,
        programs: &programs,
        arguments: &arguments,
        environment: &environment,
        join,
        stdio: [around.null.as_raw_fd(), *stdout, *stderr],
        report: *report,
        status: *status,
        lock: around.lock.as_raw_fd(),
        part_at,
        limits: around.limits,
    };
    let namespaces = plan.sandbox.as_ref().map_or(0, Prepared::clone_flags);
    // SAFETY: the child calls only `Entry::run`, which keeps to system calls and never returns.
    match unsafe { fork_into(into.map(|into| into.as_raw_fd()), part_at.is_some(), namespaces) } {
        Ok(0) => child.run(),
        forked => forked,
    }
}

fn pointers(texts: &[CString]) -> Vec<*const c_char> {
    texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
}

/// `clone3`, or `clone` where there is none: 0 in the child. With `one_table` the child has our descriptors, not copies of them;
/// `namespaces` are the flags of those that are new to it.
///
/// # Safety
/// The child has one thread and whatever locks the other one held: it may make system calls, and nothing else. With `one_table` it changes
/// no descriptor before it has a table of its own.
unsafe fn fork_into(cgroup: Option<RawFd>, one_table: bool, namespaces: u64) -> io::Result<i32> {
    #[repr(C)]
    #[derive(Default)]
    struct CloneArgs {
        flags: u64,
        pidfd: u64,
        child_tid: u64,
        parent_tid: u64,
        exit_signal: u64,
        stack: u64,
        stack_size: u64,
        tls: u64,
        set_tid: u64,
        set_tid_size: u64,
        cgroup: u64,
    }
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    const SIGCHLD: u64 = libc::SIGCHLD as u64;
    const CLONE_FILES: u64 = libc::CLONE_FILES as u64;
    let flags = namespaces | if one_table { CLONE_FILES } else { 0 };
    let mut args = CloneArgs { flags, exit_signal: SIGCHLD, ..CloneArgs::default() };
    if let Some(fd) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::try_from(fd).map_err(io::Error::other)?;
    }
    // SAFETY: the structure is as the kernel describes it and lives through the call; without CLONE_VM the child has its own memory.
    let mut result = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) };
    if result < 0 && cgroup.is_none() && io::Error::last_os_error().raw_os_error() == Some(libc::ENOSYS) {
        // SAFETY: zeros for stack, ids and thread storage mean a plain fork on every architecture.
        result = unsafe { libc::syscall(libc::SYS_clone, SIGCHLD | flags, 0, 0, 0, 0) };
    }
    if result < 0 { Err(io::Error::last_os_error()) } else { i32::try_from(result).map_err(io::Error::other) }
}

/// All that the child looks at.
struct Entry<'a> {
    plan: &'a Plan,
    programs: &'a [*const c_char],
    arguments: &'a [*const c_char],
    environment: &'a [*const c_char],
    join: &'a [RawFd],
    stdio: [RawFd; 3],
    report: RawFd,
    status: RawFd,
    lock: RawFd,
    /// Set where the table of descriptors is the parent's still: the first one that is not needed, and where to tell of the parting.
    part_at: Option<(RawFd, RawFd)>,
    limits: &'a OriginalLimits,
}

impl Entry<'_> {
    /// The child's whole life up to its program. Allocates nothing, locks nothing, cannot panic.
    fn run(&self) -> ! {
        let Err((stage, errno, step)) = self.become_task();
        self.report(Report { stage, errno, fatal: true, step });
        // SAFETY: ends the process without running anything of the parent's.
        unsafe { libc::_exit(127) }
    }

    fn become_task(&self) -> Result<std::convert::Infallible, Failed> {
        // SAFETY: system calls on descriptors and memory that the parent prepared and this copy of it still has.
        unsafe {
            self.part()?;
            libc::close(self.lock);
            // Raw too: the C library hides two signals that may have been inherited as ignored. Zeros mean the default action.
            let default = [0u64; 8];
            for signal in 1..=64 {
                let old: *mut u64 = std::ptr::null_mut();
                libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), old, size_of::<u64>());
            }
            check(Stage::Session, i64::from(libc::setsid()))?;
            for fd in self.join {
                if libc::write(*fd, b"0".as_ptr().cast(), 1) < 0 {
                    self.tell(Stage::Cgroup, errno());
                }
            }
            self.set_oom_score();
            self.limits.restore(|errno| self.tell(Stage::Limits, errno));
            for (target, source) in (0..).zip(self.stdio) {
                check(Stage::Descriptors, i64::from(libc::dup2(source, target)))?;
            }
            // Every descriptor of ours is close-on-exec already; this is for what somebody else may have left open.
            libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
            let sandbox = self.plan.sandbox.as_ref();
            if let Some(sandbox) = sandbox {
                sandbox.build()?;
                if sandbox.namespaces.pid {
                    self.split(sandbox)?;
                }
            }
            let privileges = sandbox.map(|sandbox| sandbox.privileges);
            privileges::become_user(self.plan.user.as_ref(), privileges).map_err(without_step)?;
            check(Stage::WorkDir, i64::from(libc::chdir(self.plan.work_dir.as_ptr())))?;
            if let Some(sandbox) = sandbox {
                privileges::close_in(sandbox.privileges, &sandbox.filter).map_err(without_step)?;
            }
            let mut none = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
            libc::sigemptyset(none.as_mut_ptr());
            libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
            Err((Stage::Exec, self.execute(), None))
        }
    }

    /// As the first process of its namespace, forks the task: returns there, and only reaps here.
    unsafe fn split(&self, sandbox: &Prepared) -> Result<(), Failed> {
        // SAFETY: system calls on numbers and on an integer that lives through the call; this process has one thread.
        unsafe {
            let all = u64::MAX;
            let old: *mut u64 = std::ptr::null_mut();
            let set = libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const all, old, size_of::<u64>());
            check(Stage::Fork, set)?;
            let forked = libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0);
            check(Stage::Fork, forked)?;
            match i32::try_from(forked) {
                Ok(0) | Err(_) => check(Stage::Session, i64::from(libc::setsid())),
                Ok(task) => reaper::run(task, self.status, &sandbox.spare),
            }
        }
    }

    /// Takes a table of descriptors of its own, and tells the parent.
    unsafe fn part(&self) -> Result<(), Failed> {
        let Some((end, parted)) = self.part_at else { return Ok(()) };
        let one = 1u64;
        // SAFETY: system calls on numbers and on an integer that lives through the call.
        unsafe {
            let unshare = libc::CLOSE_RANGE_UNSHARE;
            if libc::syscall(libc::SYS_close_range, end, libc::c_uint::MAX, unshare) < 0 {
                // Linux before 5.9: all of them are copied.
                check(Stage::Descriptors, i64::from(libc::unshare(libc::CLONE_FILES)))?;
            }
            libc::write(parted, (&raw const one).cast(), size_of::<u64>());
        }
        Ok(())
    }

    /// Tries each program in turn; the errno that says most, if none could be executed.
    unsafe fn execute(&self) -> i32 {
        let mut worst = libc::ENOENT;
        for program in self.programs {
            if program.is_null() {
                break;
            }
            // SAFETY: strings and lists end in zeros and live in this process's copy of the parent's memory.
            unsafe { libc::execve(*program, self.arguments.as_ptr(), self.environment.as_ptr()) };
            match errno() {
                libc::ENOENT | libc::ENOTDIR => {}
                libc::EACCES => worst = libc::EACCES,
                other => return other,
            }
        }
        worst
    }

    unsafe fn set_oom_score(&self) {
        let Some(score) = &self.plan.oom_score else { return };
        // SAFETY: both strings end in a zero; the descriptor is closed by execve at the latest.
        let written = unsafe {
            let fd = libc::open(oom::OWN_FILE.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
            let bytes = score.as_bytes();
            libc::write(fd, bytes.as_ptr().cast(), bytes.len())
        };
        if written < 0 {
            self.tell(Stage::OomScore, errno());
        }
    }

    /// Tells what the task does without.
    fn tell(&self, stage: Stage, errno: i32) {
        self.report(Report { stage, errno, fatal: false, step: None });
    }

    fn report(&self, report: Report) {
        let Report { stage, errno, fatal, step } = report;
        let [s0, s1, s2, s3] = (stage as u32).to_ne_bytes();
        let [e0, e1, e2, e3] = errno.to_ne_bytes();
        let [low, high] = step.unwrap_or(0).to_ne_bytes();
        let (fatal, has_step) = (u8::from(fatal), u8::from(step.is_some()));
        let bytes: [u8; Report::SIZE] = [s0, s1, s2, s3, e0, e1, e2, e3, fatal, has_step, low, high];
        // SAFETY: writes from an array on the stack; a pipe takes so few bytes whole or not at all.
        unsafe { libc::write(self.report, bytes.as_ptr().cast(), bytes.len()) };
    }
}

fn without_step((stage, errno): (Stage, i32)) -> Failed {
    (stage, errno, None)
}

fn check(stage: Stage, result: i64) -> Result<(), Failed> {
    if result < 0 { Err((stage, errno(), None)) } else { Ok(()) }
}
