//! The thread that moves output from pipes to log files.
//!
//! `splice` moves it within the kernel: nothing is ever held in this process, so nothing is lost when it is killed. A file system that
//! cannot do that gets the output of each stream by reading and writing; what is between the two is lost if the process is killed there.
//!
//! A disk that refuses (full, quota, I/O error) makes the pump read and drop what arrives, and count it; the next bytes are tried again.
//! A disk that does not answer holds the pump in one call. The main thread notices within two seconds and then drains all
//! pipes but the one in that call ([`Pump::drain_while_stalled`]). So no task waits longer than that for a full pipe of 64 KiB, except the one whose
//! output is being written at that moment: the kernel keeps its pipe locked, and it waits like any program that writes a file itself.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use orch_host::logs::Stream;

use super::log_file::LogFile;
use crate::spec::{LogSpec, TaskKey};

/// What a pipe holds by default, and the most that is moved or dropped at once.
const CHUNK: usize = 64 << 10;
/// Moves for one stream before the others get their turn.
const TURNS: usize = 4;
/// Moves for one stream whose writers should all have ended; one that still writes is cut off there.
const LAST_TURNS: usize = 64;
/// After this long in one call the disk counts as stalled.
const STALLED: Duration = Duration::from_secs(1);
const WAKE: u64 = 0;

/// One pipe, shared by the two threads.
#[derive(Debug)]
pub(super) struct Output {
    pub(super) pipe: OwnedFd,
    id: u64,
    dropped: AtomicU64,
}

impl Output {
    /// Bytes that did not reach the log.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Reads once and forgets it; whether anything was there.
    fn drop_once(&self, scratch: &mut [u8]) -> bool {
        match nix::unistd::read(&self.pipe, scratch) {
            Ok(count @ 1..) => {
                self.dropped.fetch_add(u64::try_from(count).unwrap_or(0), Ordering::Relaxed);
                true
            }
            Ok(0) | Err(_) => false,
        }
    }
}

/// The main thread's end of the pump.
#[derive(Debug)]
pub(super) struct Pump {
    shared: Arc<Shared>,
    next_id: u64,
}

#[derive(Debug)]
struct Shared {
    orders: Mutex<Vec<Order>>,
    flushed: Mutex<Vec<TaskKey>>,
    /// Every pipe that the pump reads: for the main thread while the pump is stalled.
    outputs: Mutex<BTreeMap<u64, Arc<Output>>>,
    /// Wakes the pump.
    wake: EventFd,
    /// Wakes the main thread.
    notify: EventFd,
    started: Instant,
    /// Milliseconds after `started`, plus one, at which the pump began with what it is at; 0 while it waits.
    busy_since: AtomicU64,
    /// The output it is at.
    busy_with: AtomicU64,
}

#[derive(Debug)]
enum Order {
    Add {
        output: Arc<Output>,
        log: LogFile,
    },
    /// Write out what the pipes hold, then tell.
    Flush {
        key: TaskKey,
        outputs: Vec<u64>,
    },
    /// Write out what the pipe holds, then let go of it.
    Remove(u64),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that holds one of these locks can leave its map half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pump {
    /// Starts the thread.
    pub(super) fn start() -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let shared = Arc::new(Shared {
            orders: Mutex::default(),
            flushed: Mutex::default(),
            outputs: Mutex::default(),
            wake: EventFd::from_flags(flags)?,
            notify: EventFd::from_flags(flags)?,
            started: Instant::now(),
            busy_since: AtomicU64::new(0),
            busy_with: AtomicU64::new(0),
        });
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&shared.wake, EpollEvent::new(EpollFlags::EPOLLIN, WAKE))?;
        let thread = Thread { shared: shared.clone(), epoll, streams: BTreeMap::new(), scratch: vec![0; CHUNK] };
        std::thread::Builder::new().name("log-pump".to_owned()).stack_size(256 << 10).spawn(move || thread.run())?;
        Ok(Self { shared, next_id: WAKE + 1 })
    }

    /// Takes over the read end of a pipe, which must not block.
    pub(super) fn add(&mut self, pipe: OwnedFd, spec: &LogSpec, stream: Stream) -> Arc<Output> {
        let output = Arc::new(Output { pipe, id: self.next_id, dropped: AtomicU64::new(0) });
        self.next_id += 1;
        lock(&self.shared.outputs).insert(output.id, output.clone());
        self.order(Order::Add { output: output.clone(), log: LogFile::new(spec.clone(), stream) });
        output
    }

    /// Has what the pipes hold now written out; [`Self::flushed`] tells when it is.
    pub(super) fn flush(&self, key: TaskKey, outputs: &[Arc<Output>]) {
        self.order(Order::Flush { key, outputs: outputs.iter().map(|output| output.id).collect() });
    }

    /// Has what the pipe holds written out, and lets go of it.
    pub(super) fn remove(&self, output: &Output) {
        self.order(Order::Remove(output.id));
    }

    /// Readable when [`Self::flushed`] has something to tell.
    pub(super) fn notices(&self) -> &EventFd {
        &self.shared.notify
    }

    /// The tasks whose output has been written out since last asked.
    pub(super) fn flushed(&self) -> Vec<TaskKey> {
        // The counter is only there to wake us.
        let _count = self.shared.notify.read();
        std::mem::take(&mut *lock(&self.shared.flushed))
    }

    /// Whether any pipe is open: then [`Self::drain_while_stalled`] has to be called about once a second.
    pub(super) fn is_in_use(&self) -> bool {
        !lock(&self.shared.outputs).is_empty()
    }

    /// If the pump hangs in a call to the disk, drops what the other pipes hold; whether it did.
    pub(super) fn drain_while_stalled(&self) -> bool {
        let since = self.shared.busy_since.load(Ordering::Relaxed);
        let Some(since) = since.checked_sub(1) else { return false };
        if self.shared.started.elapsed().saturating_sub(Duration::from_millis(since)) < STALLED {
            return false;
        }
        self.drain_all_but(self.shared.busy_with.load(Ordering::Relaxed));
        true
    }

    fn drain_all_but(&self, busy_with: u64) {
        let mut scratch = vec![0; CHUNK];
        for output in lock(&self.shared.outputs).values().filter(|output| output.id != busy_with) {
            (0..TURNS).take_while(|_| output.drop_once(&mut scratch)).for_each(drop);
        }
    }

    fn order(&self, order: Order) {
        lock(&self.shared.orders).push(order);
        // It fails only when the counter is full, and then the pump is awake.
        let _woken = self.shared.wake.write(1);
    }
}

struct Thread {
    shared: Arc<Shared>,
    epoll: Epoll,
    streams: BTreeMap<u64, Flow>,
    scratch: Vec<u8>,
}

/// One stream of a task on its way to the disk.
struct Flow {
    output: Arc<Output>,
    log: LogFile,
    /// Whether its file does not take what is spliced.
    copies: bool,
}

/// What became of the content of a pipe.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// There may be more.
    Moved,
    Empty,
    /// Nobody can write to it any more.
    Ended,
}

impl Thread {
    fn run(mut self) {
        let mut events = [EpollEvent::empty(); 64];
        loop {
            self.shared.busy_since.store(0, Ordering::Relaxed);
            let count = self.epoll.wait(&mut events, EpollTimeout::NONE).unwrap_or(0);
            for event in events.iter().take(count) {
                match event.data() {
                    WAKE => self.obey(),
                    id => {
                        if self.turn(id, TURNS) == Outcome::Ended {
                            self.close(id);
                        }
                    }
                }
            }
        }
    }

    fn obey(&mut self) {
        let _count = self.shared.wake.read();
        let orders = std::mem::take(&mut *lock(&self.shared.orders));
        for order in orders {
            match order {
                Order::Add { output, log } => {
                    let id = output.id;
                    let added = self.epoll.add(output.pipe.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, id));
                    self.streams.insert(id, Flow { output, log, copies: false });
                    if added.is_err() {
                        self.close(id);
                    }
                }
                Order::Flush { key, outputs } => {
                    for id in outputs {
                        if self.turn(id, LAST_TURNS) == Outcome::Ended {
                            self.close(id);
                        }
                    }
                    lock(&self.shared.flushed).push(key);
                    let _woken = self.shared.notify.write(1);
                }
                Order::Remove(id) => {
                    self.turn(id, LAST_TURNS);
                    self.close(id);
                }
            }
        }
    }

    fn close(&mut self, id: u64) {
        if let Some(Flow { output, .. }) = self.streams.remove(&id) {
            // The agent holds a duplicate, so closing ours would not end the registration.
            let _was_never_added = self.epoll.delete(output.pipe.as_fd());
        }
        lock(&self.shared.outputs).remove(&id);
    }

    fn begin(&self, id: u64) {
        let now = u64::try_from(self.shared.started.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        self.shared.busy_with.store(id, Ordering::Relaxed);
        self.shared.busy_since.store(now + 1, Ordering::Relaxed);
    }

    fn turn(&mut self, id: u64, turns: usize) -> Outcome {
        for _ in 0..turns {
            self.begin(id);
            let Some(flow) = self.streams.get_mut(&id) else { return Outcome::Ended };
            match flow.move_once(&mut self.scratch) {
                Outcome::Moved => {}
                outcome => return outcome,
            }
        }
        Outcome::Moved
    }
}

impl Flow {
    fn move_once(&mut self, scratch: &mut [u8]) -> Outcome {
        // A file is begun by its first byte: a silent task costs none, and the end of the output makes no empty one.
        if self.log.needs_file()
            && let Some(outcome) = nothing_to_move(&self.output)
        {
            return outcome;
        }
        if !self.copies {
            match self.splice_once() {
                Err(Errno::EINVAL) => self.copies = true,
                Ok(0) => return Outcome::Ended,
                Ok(_) | Err(Errno::EINTR) => return Outcome::Moved,
                Err(Errno::EAGAIN) => return Outcome::Empty,
                Err(_) => return drop_instead(&self.output, scratch),
            }
        }
        self.copy_once(scratch)
    }

    /// Moves what is there within the kernel; says how many bytes.
    fn splice_once(&mut self) -> Result<u64, Errno> {
        let room = self.log.room().map_err(errno_of)?;
        let mut offset = i64::try_from(room.offset).map_err(|_| Errno::EFBIG)?;
        let length = usize::try_from(room.bytes).unwrap_or(CHUNK).min(CHUNK);
        let none: *mut libc::loff_t = std::ptr::null_mut();
        // SAFETY: both descriptors are open; the offset lives through the call, and a pipe takes none.
        let count = unsafe {
            libc::splice(
                self.output.pipe.as_raw_fd(),
                none,
                room.file.as_raw_fd(),
                &raw mut offset,
                length,
                libc::SPLICE_F_NONBLOCK | libc::SPLICE_F_MOVE,
            )
        };
        let count = u64::try_from(Errno::result(count)?).unwrap_or(0);
        self.log.advance(count);
        Ok(count)
    }

    /// Reads what is there and writes it.
    fn copy_once(&mut self, scratch: &mut [u8]) -> Outcome {
        let Ok(room) = self.log.room() else { return drop_instead(&self.output, scratch) };
        let length = usize::try_from(room.bytes).unwrap_or(CHUNK).min(scratch.len());
        let read = scratch.get_mut(..length).map_or(Ok(0), |space| nix::unistd::read(&self.output.pipe, space));
        let count = match read {
            Ok(0) => return Outcome::Ended,
            Ok(count) => count,
            Err(Errno::EINTR) => return Outcome::Moved,
            Err(_) => return Outcome::Empty,
        };
        let mut left = scratch.get(..count).unwrap_or_default();
        let mut written = 0u64;
        while !left.is_empty() {
            let at = i64::try_from(room.offset.saturating_add(written)).unwrap_or(i64::MAX);
            match nix::sys::uio::pwrite(room.file, left, at) {
                Ok(taken @ 1..) => {
                    left = left.get(taken..).unwrap_or_default();
                    written += u64::try_from(taken).unwrap_or(0);
                }
                Err(Errno::EINTR) => {}
                Ok(0) | Err(_) => break,
            }
        }
        self.log.advance(written);
        self.output.dropped.fetch_add(u64::try_from(left.len()).unwrap_or(0), Ordering::Relaxed);
        Outcome::Moved
    }
}

fn errno_of(error: io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}

/// What an empty pipe is, or `None` if it holds something.
fn nothing_to_move(output: &Output) -> Option<Outcome> {
    let mut polled = [PollFd::new(output.pipe.as_fd(), PollFlags::POLLIN)];
    // An error is told by the attempt to move something.
    nix::poll::poll(&mut polled, PollTimeout::ZERO).ok()?;
    let events = polled.first().and_then(PollFd::revents)?;
    if events.contains(PollFlags::POLLIN) {
        None
    } else if events.contains(PollFlags::POLLHUP) {
        Some(Outcome::Ended)
    } else {
        Some(Outcome::Empty)
    }
}

/// The disk refuses: takes what the pipe holds, so that its task does not wait.
fn drop_instead(output: &Output, scratch: &mut [u8]) -> Outcome {
    match nix::unistd::read(&output.pipe, scratch) {
        Ok(0) => Outcome::Ended,
        Ok(count) => {
            output.dropped.fetch_add(u64::try_from(count).unwrap_or(0), Ordering::Relaxed);
            Outcome::Moved
        }
        Err(Errno::EINTR) => Outcome::Moved,
        Err(_) => Outcome::Empty,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use nix::fcntl::{FcntlArg, OFlag, fcntl};

    use super::*;

    #[test]
    fn a_stream_whose_file_takes_nothing_spliced_is_copied_in_order_and_within_bounds() {
        let directory = tempfile::tempdir().unwrap();
        let (pipe, end) = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).unwrap();
        let mut end = std::fs::File::from(end);
        let spec = LogSpec {
            dir: directory.path().to_owned(),
            task: "t".to_owned(),
            max_files: 9,
            max_file_bytes: 16,
            disabled: false,
        };
        let output = Arc::new(Output { pipe, id: 1, dropped: AtomicU64::new(0) });
        let mut flow = Flow { output, log: LogFile::new(spec, Stream::Stdout), copies: false };
        let mut scratch = vec![0; CHUNK];
        end.write_all(b"spliced;").unwrap();
        assert_eq!(flow.move_once(&mut scratch), Outcome::Moved);
        assert!(!flow.copies);
        // In append mode a file takes no offset, and so nothing that is spliced.
        fcntl(flow.log.room().unwrap().file, FcntlArg::F_SETFL(OFlag::O_APPEND)).unwrap();
        end.write_all(b"copied and rotated").unwrap();
        for _ in 0..2 {
            assert_eq!(flow.move_once(&mut scratch), Outcome::Moved);
            assert!(flow.copies);
        }
        assert_eq!(flow.move_once(&mut scratch), Outcome::Empty);
        let log = |index| std::fs::read(orch_host::logs::path(directory.path(), "t", Stream::Stdout, index)).unwrap();
        assert_eq!((log(0).as_slice(), log(1).as_slice()), (&b"spliced;copied a"[..], &b"nd rotated"[..]));
        drop(end);
        assert_eq!(flow.move_once(&mut scratch), Outcome::Ended);
        assert_eq!(flow.output.dropped(), 0);
    }
}
