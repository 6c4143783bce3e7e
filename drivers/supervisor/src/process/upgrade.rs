//! Replacing the program in place: the same process id, the same children, new code.
//!
//! The state travels in a memory file that stays open over exec, like the lock, the listening socket and the pipes. Everything else is
//! closed by exec; the agent connects again. If exec fails the old program simply goes on. If the new one cannot read the state it ends,
//! and the agent hands its tasks to a fresh supervisor, as after any other loss.

use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::{Deserialize, Serialize};

use super::SupervisorArgs;
use super::args::RESUME;
use super::daemon::{RunError, inherited};
use super::supervisor::Supervisor;
use super::tasks::Phase;
use crate::frame;
use crate::spec::TaskEntry;

/// The version of [`State`]. Version 1 knew no sandboxes, and was of no release.
const STATE_VERSION: u8 = 2;

/// What a supervisor begins with besides its command line.
pub(super) struct Inheritance {
    pub(super) lock: File,
    pub(super) listener: std::os::unix::net::UnixListener,
    pub(super) tasks: Vec<InheritedTask>,
}

pub(super) struct InheritedTask {
    entry: TaskEntry,
    pipes: Vec<OwnedFd>,
    status: Option<OwnedFd>,
    child: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct State {
    lock: RawFd,
    listener: RawFd,
    tasks: Vec<TaskState>,
}

#[derive(Debug, Serialize, Deserialize)]
struct TaskState {
    entry: TaskEntry,
    pipes: Vec<RawFd>,
    status: Option<RawFd>,
    /// Whether it is a child of this process, so that its exit status can be had.
    child: bool,
}

impl Supervisor {
    /// Becomes the next program, if one was asked for and no child is between fork and exec. Returns if that is not so, or fails.
    pub(super) fn upgrade_if_asked(&mut self) {
        if self.upgrade.is_none() || self.tasks.values().any(|task| matches!(task.phase, Phase::Starting(_))) {
            return;
        }
        if let Some(exe) = self.upgrade.take() {
            let kept = self.state();
            let _the_old_program_goes_on = self.execute(&exe, &kept);
            for fd in self.descriptors() {
                let _open_one = fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
            }
            self.hang_up_ungreeted();
        }
    }

    fn state(&self) -> State {
        let task = |task: &super::tasks::Task| {
            let mut entry = task.entry.clone();
            if let Phase::Flushing(status) = &task.phase {
                entry.exit = Some(*status);
            }
            let pipes = task.outputs.iter().map(|output| output.pipe.as_raw_fd()).collect();
            TaskState {
                entry,
                pipes,
                status: task.status.as_ref().map(AsRawFd::as_raw_fd),
                child: self.children.contains_key(&task.entry.process.pid) && task.adopted.is_none(),
            }
        };
        State {
            lock: self.lock.as_raw_fd(),
            listener: self.listener.as_raw_fd(),
            tasks: self.tasks.values().filter(|task| task.is_told()).map(task).collect(),
        }
    }

    fn descriptors(&self) -> impl Iterator<Item = std::os::fd::BorrowedFd<'_>> {
        let pipes = self.tasks.values().flat_map(|task| &task.outputs).map(|output| output.pipe.as_fd());
        let statuses = self.tasks.values().filter_map(|task| task.status.as_ref()).map(AsFd::as_fd);
        [self.lock.as_fd(), self.listener.as_fd()].into_iter().chain(pipes).chain(statuses)
    }

    fn execute(&self, exe: &Path, state: &State) -> io::Result<()> {
        let mut file = File::from(memfd_create(c"orch-supervisor", MFdFlags::empty())?);
        file.write_all(&[STATE_VERSION])?;
        file.write_all(&frame::encode(state)?)?;
        file.rewind()?;
        for fd in self.descriptors() {
            fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty()))?;
        }
        // Our own command line, whatever stands before the arguments that are ours.
        let own = std::env::args_os().skip(1).take_while(|arg| arg != RESUME);
        let resume = [OsString::from(RESUME), file.as_raw_fd().to_string().into()];
        let text = |text: &OsStr| CString::new(text.as_bytes()).map_err(io::Error::other);
        let exe = text(exe.as_os_str())?;
        let mut args = vec![exe.clone()];
        for arg in own.chain(resume) {
            args.push(text(&arg)?);
        }
        // Signals stay blocked over this, so no end of a child is missed.
        nix::unistd::execv(&exe, &args).map(|never| match never {}).map_err(io::Error::from)
    }

    /// Takes the tasks of the program before this one.
    pub(super) fn take_over(&mut self, tasks: Vec<InheritedTask>) {
        for InheritedTask { entry, pipes, status, child } in tasks {
            let key = entry.key.clone();
            if child && entry.exit.is_none() {
                self.children.insert(entry.process.pid, key);
                self.insert(entry, Phase::Running, pipes, status);
            } else if self.adopt(entry, pipes).1 {
                self.first_process_ended(&key, crate::spec::ExitStatus::UNKNOWN);
            }
        }
    }
}

/// Reads what the program before this one left in the memory file `fd`.
pub(super) fn inherit(args: &SupervisorArgs, fd: RawFd) -> Result<Inheritance, RunError> {
    let failed =
        |source| RunError::System { action: format!("taking over the state at {}", args.socket.display()), source };
    let read = || {
        let mut bytes = Vec::new();
        File::from(inherited(fd)?).read_to_end(&mut bytes)?;
        let state = match bytes.split_first() {
            Some((&STATE_VERSION, state)) => frame::decode::<State>(state)?,
            Some((version, _)) => {
                return Err(io::Error::other(format!("the state has version {version}, not {STATE_VERSION}")));
            }
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        };
        let tasks = state.tasks.into_iter().map(|TaskState { entry, pipes, status, child }| {
            let pipes = pipes.into_iter().map(inherited).collect::<io::Result<_>>()?;
            let status = status.map(inherited).transpose()?;
            Ok(InheritedTask { entry, pipes, status, child })
        });
        Ok(Inheritance {
            tasks: tasks.collect::<io::Result<_>>()?,
            lock: inherited(state.lock)?.into(),
            listener: inherited(state.listener)?.into(),
        })
    };
    read().map_err(failed)
}
