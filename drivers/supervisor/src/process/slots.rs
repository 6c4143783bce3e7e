//! Low descriptors through which a child gets what it needs.
//!
//! The supervisor has two pipes for each task. A fork that copies them all, and an exec that closes them all again, would make every start
//! dearer by those before it. So a child begins with the table of its parent, and at once takes a copy of the lowest part of it alone.
//! What it needs has been put there; until it has its copy the parent waits, which takes the child no more than being scheduled.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::{Pid, dup3};

/// Two outputs, the report, and the control groups of a host with every controller.
const COUNT: usize = 16;
/// How often a child that does not come forward is looked at.
const LOOK: u16 = 20;
/// After this long it is given up: somebody has frozen the groups above it.
const PATIENCE: Duration = Duration::from_secs(5);

/// The reserved descriptors. While nothing is lent they lead to `/dev/null`.
#[derive(Debug)]
pub(super) struct Slots {
    slots: Vec<OwnedFd>,
    lent: usize,
    /// Written by the child when it has its own table.
    parted: EventFd,
}

impl Slots {
    /// Reserves the lowest descriptors that are free.
    pub(super) fn reserve(null: BorrowedFd<'_>) -> io::Result<Self> {
        let parted = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let slot = |_| {
            let fd = fcntl(null, FcntlArg::F_DUPFD_CLOEXEC(3))?;
            super::daemon::inherited(fd)
        };
        Ok(Self { slots: (0..COUNT).map(slot).collect::<io::Result<_>>()?, lent: 0, parted })
    }

    /// Lends copies of `fds` to the next child, and tells their numbers; `None` if they do not all fit.
    pub(super) fn lend(&mut self, fds: &[BorrowedFd<'_>]) -> io::Result<Option<Vec<RawFd>>> {
        if fds.len() > self.slots.len() {
            return Ok(None);
        }
        self.lent = fds.len();
        let pairs = fds.iter().zip(&mut self.slots);
        pairs
            .map(|(fd, slot)| dup3(fd, slot, OFlag::O_CLOEXEC).map(|()| slot.as_raw_fd()))
            .collect::<Result<_, _>>()
            .map(Some)
            .map_err(io::Error::from)
    }

    /// Ends the loan.
    pub(super) fn take_back(&mut self, null: BorrowedFd<'_>) {
        for slot in self.slots.iter_mut().take(std::mem::take(&mut self.lent)) {
            // Both are open, so nothing but a signal stands against it, and none is let through.
            let _replaced = dup3(null, slot, OFlag::O_CLOEXEC);
        }
    }

    /// The first descriptor that a child needs not keep.
    pub(super) fn end(&self) -> RawFd {
        let last = self.slots.iter().map(AsRawFd::as_raw_fd).chain([self.parted.as_raw_fd()]).max();
        last.map_or(RawFd::MAX, |last| last + 1)
    }

    /// Where the child says that it has its own table, by writing eight bytes.
    pub(super) fn parted(&self) -> RawFd {
        self.parted.as_raw_fd()
    }

    /// Waits until `child` has its own table, or has ended.
    ///
    /// # Errors
    /// `TimedOut` if it did neither: it has been killed then.
    pub(super) fn wait_until_parted(&self, child: i32) -> io::Result<()> {
        let begun = Instant::now();
        let mut given_up = false;
        loop {
            let mut polled = [PollFd::new(self.parted.as_fd(), PollFlags::POLLIN)];
            let ready = nix::poll::poll(&mut polled, PollTimeout::from(LOOK)).unwrap_or(0);
            if ready > 0 && self.parted.read().is_ok() {
                return if given_up { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) };
            }
            if has_ended(child) {
                return if given_up { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) };
            }
            if begun.elapsed() > PATIENCE && !given_up {
                given_up = true;
                // SAFETY: kill takes two integers; the child has not been reaped, so the number is its own.
                unsafe { libc::kill(child, libc::SIGKILL) };
            }
        }
    }
}

/// Whether a child has ended; leaves its status for whoever reaps it.
fn has_ended(child: i32) -> bool {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    match waitid(Id::Pid(Pid::from_raw(child)), flags) {
        Ok(WaitStatus::StillAlive) => false,
        Ok(_) | Err(Errno::ECHILD) => true,
        Err(_) => false,
    }
}
