//! What the supervisor knows of its tasks.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use orch_host::cgroup::TaskCgroup;
use orch_host::{PidFd, ProcessId, Warning};

use super::pump::Output;
use super::spawn::Report;
use crate::spec::{ExitStatus, LogSpec, Place, TaskEntry, TaskKey};

/// One task, from its fork until it is forgotten.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) entry: TaskEntry,
    pub(super) phase: Phase,
    /// Its pipes, as the pump reads them.
    pub(super) outputs: Vec<Arc<Output>>,
    /// Brings the raw status of the task, where our child is the first process of its namespace.
    pub(super) status: Option<OwnedFd>,
    /// Set for tasks that are not our children: their end is seen here, and how they ended by nobody.
    pub(super) adopted: Option<PidFd>,
    /// Who waits until nothing of it is left.
    pub(super) waiting: Vec<Waiter>,
    /// Since when it is being killed; set while somebody waits for that.
    pub(super) killed_at: Option<Instant>,
}

#[derive(Debug)]
pub(super) enum Phase {
    /// Forked, and not in its program yet.
    Starting(Starting),
    Running,
    /// It has ended like this, and what it wrote is being written out before anybody is told.
    Flushing(ExitStatus),
    /// It has ended, and everybody was told.
    Ended,
    /// No task at all, but a control group that one left behind, on its way out.
    Remains,
}

#[derive(Debug)]
pub(super) struct Starting {
    pub(super) report: OwnedFd,
    /// Where the event loop sees `report`.
    pub(super) token: u64,
    /// Which connection asked, and under which number.
    pub(super) connection: u64,
    pub(super) request: u64,
    pub(super) work_dir: PathBuf,
    /// What the steps of its sandbox are about.
    pub(super) steps: Vec<PathBuf>,
    pub(super) warnings: Vec<Warning>,
    pub(super) failure: Option<Report>,
    /// How the child ended, if that was seen before its report was read to the end.
    pub(super) ended: Option<ExitStatus>,
}

/// A request that is answered when nothing of the task is left.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiter {
    pub(super) connection: u64,
    pub(super) request: u64,
    /// Whether the task is dropped then.
    pub(super) forget: bool,
}

impl Task {
    /// Whether its first process has ended (and, for a child of ours, has been reaped).
    pub(super) fn has_ended(&self) -> bool {
        match &self.phase {
            Phase::Starting(starting) => starting.ended.is_some(),
            Phase::Running => false,
            Phase::Flushing(_) | Phase::Ended | Phase::Remains => true,
        }
    }

    /// Whether it has ended and everybody was told.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Ended | Phase::Remains)
    }

    /// Whether the agent knows of it.
    pub(super) fn is_told(&self) -> bool {
        !matches!(self.phase, Phase::Starting(_) | Phase::Remains)
    }

    /// The control group `cgroup`, which a task of this name left behind.
    pub(super) fn remains(key: TaskKey, cgroup: TaskCgroup) -> Self {
        let logs =
            LogSpec { dir: PathBuf::new(), task: String::new(), max_files: 1, max_file_bytes: 1, disabled: true };
        let entry = TaskEntry {
            key,
            process: ProcessId { boot_id: String::new(), pid: 0, start_time: 0 },
            started_at_ms: 0,
            exit: None,
            command: PathBuf::new(),
            logs,
            cgroup,
            place: Place::default(),
        };
        Self {
            entry,
            phase: Phase::Remains,
            outputs: Vec::new(),
            status: None,
            adopted: None,
            waiting: Vec::new(),
            killed_at: None,
        }
    }

    /// How the task ended whose child of ours ended with `raw`.
    pub(super) fn status_of(&self, raw: i32) -> ExitStatus {
        let mut told = [0; size_of::<i32>()];
        let read = self.status.as_ref().map(|status| nix::unistd::read(status, &mut told));
        // Without a word from it, the first process of the namespace was killed, and the task with it.
        exit_status(if read == Some(Ok(told.len())) { i32::from_ne_bytes(told) } else { raw })
    }

    /// Duplicates of the read ends of its pipes, for the agent.
    pub(super) fn pipes(&self) -> io::Result<Vec<OwnedFd>> {
        self.outputs.iter().map(|output| output.pipe.try_clone()).collect()
    }

    /// Sends `signal` to its process group. False if it has ended.
    pub(super) fn signal(&self, signal: i32) -> io::Result<bool> {
        let gone = match &self.adopted {
            Some(pidfd) => pidfd.has_exited()?,
            // A child that has not been reaped keeps its pid, so this cannot hit a stranger.
            None => false,
        };
        if self.has_ended() || gone {
            return Ok(false);
        }
        // SAFETY: kill takes two integers; the group is the task's own, because it began with setsid.
        let group = unsafe { libc::kill(-self.entry.process.pid, signal) };
        if group == 0 {
            return Ok(true);
        }
        match io::Error::last_os_error() {
            // Before its setsid the child has no group of its own.
            error if error.raw_os_error() == Some(libc::ESRCH) => {
                // SAFETY: as above, for the one process.
                Ok(unsafe { libc::kill(self.entry.process.pid, signal) } == 0)
            }
            error => Err(error),
        }
    }

    /// Sends SIGKILL to its first process alone, if that has not ended.
    pub(super) fn kill_first(&self) {
        match &self.adopted {
            // Both fail only if it has ended by itself.
            Some(pidfd) => drop(pidfd.signal(libc::SIGKILL)),
            None if !self.has_ended() => {
                // SAFETY: kill takes two integers; a child that was not reaped keeps its pid.
                unsafe { libc::kill(self.entry.process.pid, libc::SIGKILL) };
            }
            None => {}
        }
    }
}

/// A `wait` status in our words.
pub(super) fn exit_status(raw: i32) -> ExitStatus {
    if libc::WIFSIGNALED(raw) {
        ExitStatus { signal: Some(libc::WTERMSIG(raw)), ..ExitStatus::default() }
    } else {
        ExitStatus { code: Some(libc::WEXITSTATUS(raw)), ..ExitStatus::default() }
    }
}

/// Milliseconds since the epoch, by the host's clock.
pub(super) fn now_ms() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

/// What an event belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    Connection(u64),
    Report(TaskKey),
    Adopted(TaskKey),
}
