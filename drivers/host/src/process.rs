//! Processes, named so that a reused pid is never mistaken for the one that was meant.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

/// A process for good: a pid alone comes round again, the three together do not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProcessId {
    /// `/proc/sys/kernel/random/boot_id` of the boot in which it ran.
    pub boot_id: String,
    pub pid: i32,
    /// Clock ticks between boot and its start, field 22 of `/proc/<pid>/stat`.
    pub start_time: u64,
}

impl ProcessId {
    /// The process that has `pid` now. `NotFound` if none has.
    pub fn of(pid: i32) -> io::Result<Self> {
        let stat = Stat::read(pid)?;
        Ok(Self { boot_id: boot_id()?.to_owned(), pid, start_time: stat.start_time })
    }

    /// The calling process.
    pub fn current() -> io::Result<Self> {
        let pid = i32::try_from(std::process::id()).map_err(io::Error::other)?;
        Self::of(pid)
    }

    /// Whether this very process still exists. A zombie counts as gone.
    pub fn is_running(&self) -> bool {
        boot_id().is_ok_and(|boot| boot == self.boot_id)
            && Stat::read(self.pid).is_ok_and(|stat| stat.start_time == self.start_time && !stat.is_dead())
    }

    /// A descriptor of this very process, or `None` if it has gone.
    ///
    /// The descriptor is opened first and the identity checked after, so that a pid that came round in between is noticed.
    pub fn open(&self) -> io::Result<Option<PidFd>> {
        let fd = match PidFd::open(self.pid) {
            Ok(fd) => fd,
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(self.is_running().then_some(fd))
    }
}

/// The id of the running boot.
pub fn boot_id() -> io::Result<&'static str> {
    static BOOT_ID: OnceLock<String> = OnceLock::new();
    if let Some(id) = BOOT_ID.get() {
        return Ok(id);
    }
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(BOOT_ID.get_or_init(|| id.trim().to_owned()))
}

/// A descriptor that stays with one process whatever becomes of its pid; readable once that has ended.
#[derive(Debug)]
pub struct PidFd(OwnedFd);

impl PidFd {
    /// Opens the process that has `pid` now (`ESRCH` if none has).
    pub fn open(pid: i32) -> io::Result<Self> {
        // SAFETY: pidfd_open takes two integers and touches no memory of ours.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
        // SAFETY: the kernel has just given us this descriptor, and nobody else knows it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Sends `signal`; 0 only asks whether it could be sent. `ESRCH` if the process has been reaped.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        let info: *const libc::siginfo_t = std::ptr::null();
        // SAFETY: a null siginfo is allowed and means "as kill(2) would fill it"; the descriptor is open.
        let result = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, self.0.as_raw_fd(), signal, info, 0) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Whether the process has ended (a zombie has).
    pub fn has_exited(&self) -> io::Result<bool> {
        self.wait(0)
    }

    /// Waits up to `timeout_ms` milliseconds (-1: without limit) for the end of the process; whether it came.
    pub fn wait(&self, timeout_ms: i32) -> io::Result<bool> {
        let mut poll = libc::pollfd { fd: self.0.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one pollfd is passed with a count of one, and lives through the call.
        match unsafe { libc::poll(&raw mut poll, 1, timeout_ms) } {
            -1 => Err(io::Error::last_os_error()),
            ready => Ok(ready > 0),
        }
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<PidFd> for OwnedFd {
    fn from(fd: PidFd) -> Self {
        fd.0
    }
}

/// What `/proc/<pid>/stat` says about a process, as far as we ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    pub pid: i32,
    /// The kernel's letter: `R`, `S`, `D`, `T`, `Z`, `X`, …
    pub state: char,
    pub parent: i32,
    pub group: i32,
    pub session: i32,
    /// Clock ticks between boot and its start.
    pub start_time: u64,
    /// CPU time spent in user mode, in clock ticks.
    pub user_ticks: u64,
    /// CPU time spent in the kernel, in clock ticks.
    pub system_ticks: u64,
    /// Resident memory in pages.
    pub rss_pages: u64,
}

impl Stat {
    /// Reads the entry of `pid`. `NotFound` if there is no such process.
    pub fn read(pid: i32) -> io::Result<Self> {
        let text = std::fs::read(format!("/proc/{pid}/stat")).map_err(|error| {
            // A process that ends while its entry is being read answers ESRCH.
            if error.raw_os_error() == Some(libc::ESRCH) { io::ErrorKind::NotFound.into() } else { error }
        })?;
        Self::parse(&String::from_utf8_lossy(&text))
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/stat cannot be read")))
    }

    fn parse(text: &str) -> Option<Self> {
        // The name in parentheses may itself hold spaces and parentheses, so the last one counts.
        let (head, tail) = text.rsplit_once(") ")?;
        let pid = head.split_once(' ')?.0.parse().ok()?;
        let fields: Vec<&str> = tail.split_ascii_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        let id = |index: usize| fields.get(index)?.parse::<i32>().ok();
        Some(Self {
            pid,
            state: fields.first()?.chars().next()?,
            parent: id(1)?,
            group: id(2)?,
            session: id(3)?,
            user_ticks: number(11)?,
            system_ticks: number(12)?,
            start_time: number(19)?,
            rss_pages: number(21).unwrap_or(0),
        })
    }

    /// CPU time in either mode, in clock ticks.
    pub fn cpu_ticks(&self) -> u64 {
        self.user_ticks.saturating_add(self.system_ticks)
    }

    /// Whether it has ended and only waits to be reaped.
    pub fn is_dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }
}

/// All processes of this machine that we may see; those that end meanwhile are left out.
pub fn all() -> io::Result<Vec<Stat>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        if let Some(pid) = name.to_str().and_then(|name| name.parse().ok())
            && let Ok(stat) = Stat::read(pid)
        {
            found.push(stat);
        }
    }
    Ok(found)
}

/// The direct children of `pid`, zombies included.
pub fn children(pid: i32) -> io::Result<Vec<Stat>> {
    Ok(all()?.into_iter().filter(|stat| stat.parent == pid).collect())
}

/// Everything below `pid`, in no particular order, without `pid` itself.
pub fn descendants(pid: i32) -> io::Result<Vec<Stat>> {
    Ok(descendants_in(&all()?, pid))
}

/// The same, looked up in a list that is at hand already.
pub fn descendants_in(processes: &[Stat], pid: i32) -> Vec<Stat> {
    let mut by_parent: BTreeMap<i32, Vec<&Stat>> = BTreeMap::new();
    for stat in processes {
        by_parent.entry(stat.parent).or_default().push(stat);
    }
    let mut found = Vec::new();
    let mut seen = BTreeSet::from([pid]);
    let mut next = vec![pid];
    while let Some(parent) = next.pop() {
        for child in by_parent.get(&parent).into_iter().flatten() {
            if seen.insert(child.pid) {
                found.push(**child);
                next.push(child.pid);
            }
        }
    }
    found
}

/// Whether the environment that `pid` was started with holds exactly `NAME=value`.
///
/// Says no where the environment may not be read.
pub fn has_environment(pid: i32, assignment: &str) -> bool {
    std::fs::read(format!("/proc/{pid}/environ"))
        .is_ok_and(|text| text.split(|byte| *byte == 0).any(|entry| entry == assignment.as_bytes()))
}

/// Clock ticks per second, the unit of the times in [`Stat`].
pub fn ticks_per_second() -> u64 {
    // SAFETY: sysconf only reads a constant of the system.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) }).unwrap_or(100).max(1)
}

/// Bytes per page, the unit of [`Stat::rss_pages`].
pub fn page_size() -> u64 {
    // SAFETY: sysconf only reads a constant of the system.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096).max(1)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let line = "42 (a) (b c) S 1 42 42 0 -1 4194560 1 0 0 0 7 5 0 0 20 0 1 0 9000 1000 25 0";
        let stat = Stat::parse(line).unwrap();
        assert_eq!((stat.pid, stat.state, stat.parent, stat.group, stat.session), (42, 'S', 1, 42, 42));
        assert_eq!((stat.user_ticks, stat.system_ticks, stat.start_time, stat.rss_pages), (7, 5, 9000, 25));
    }

    #[test]
    fn a_process_is_known_until_it_ends_and_another_start_time_is_another_process() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let id = ProcessId::of(i32::try_from(child.id()).unwrap()).unwrap();
        assert!(id.is_running());
        let other = ProcessId { start_time: id.start_time + 1, ..id.clone() };
        assert!(!other.is_running());
        assert!(other.open().unwrap().is_none());
        let fd = id.open().unwrap().unwrap();
        assert!(!fd.has_exited().unwrap());
        assert!(children(std::process::id().try_into().unwrap()).unwrap().iter().any(|stat| stat.pid == id.pid));
        fd.signal(libc::SIGKILL).unwrap();
        assert!(fd.wait(-1).unwrap());
        assert!(!id.is_running(), "a zombie is not running");
        child.wait().unwrap();
        assert!(id.open().unwrap().is_none());
    }
}
