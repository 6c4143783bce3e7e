//! The log as its users see it: what is appended can be read at once, and is durable when its callback says so.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::disk::{self, LogDisk, NamedFile};
use crate::error::Error;
use crate::format::{self, Kind, to_usize};
use crate::recovery::{self, Recovered, Recovery};
use crate::segment::{ActiveSegment, SEGMENT_HEADER, SegmentHeader};
use crate::slot_file::{self, SlotFile};
use crate::state::{Place, Shared, State};
use crate::table::{Bounds, Slot, Table};
use crate::writer::{Op, Parts, Writer};

/// Called once, on the writer thread, when an operation is durable or has failed. It must not block, and must not append.
pub type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

/// Called once, on the writer thread, when the log has failed for good.
pub type OnFatal = Arc<dyn Fn(&Error) + Send + Sync>;

/// Records with their indexes.
pub type Records = Vec<(u64, Arc<[u8]>)>;

/// The largest record, in bytes.
pub(crate) const MAX_RECORD_BYTES: usize = 64 << 20;
const MAX_SEGMENT_BYTES: u64 = 1 << 30;
const VOTE_FILE: &str = "vote";
const META_FILE: &str = "meta";

/// The sizes of a log, and what to do when it fails.
#[derive(Clone)]
pub struct Options {
    /// The size at which a segment file is full, in bytes; one larger batch makes a larger file. At most 1 GiB.
    pub segment_bytes: u64,
    /// How far ahead of the records a segment is filled with zeros, in bytes.
    pub grow_bytes: u64,
    /// Durable records kept in memory for readers, in bytes.
    pub tail_bytes: usize,
    /// Records waiting for the disk, in bytes; when there are more, [`Log::append`] blocks.
    pub queue_bytes: usize,
    /// Called when a write or sync fails, after all waiting callbacks; a server ends its process here.
    pub on_fatal: Option<OnFatal>,
}

impl Default for Options {
    /// Sizes for a server.
    fn default() -> Options {
        Options {
            segment_bytes: 16 << 20,
            grow_bytes: 1 << 20,
            tail_bytes: 4 << 20,
            queue_bytes: 64 << 20,
            on_fatal: None,
        }
    }
}

impl Options {
    /// Sizes for a log that holds little.
    pub fn small() -> Options {
        Options {
            segment_bytes: 1 << 20,
            grow_bytes: 64 << 10,
            tail_bytes: 256 << 10,
            queue_bytes: 4 << 20,
            on_fatal: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options { segment_bytes, grow_bytes, tail_bytes, queue_bytes, on_fatal } = self;
        f.debug_struct("Options")
            .field("segment_bytes", segment_bytes)
            .field("grow_bytes", grow_bytes)
            .field("tail_bytes", tail_bytes)
            .field("queue_bytes", queue_bytes)
            .field("on_fatal", &on_fatal.is_some())
            .finish()
    }
}

/// A durable log of records with consecutive indexes, with a vote and a metadata cell beside it.
///
/// Operations take effect for readers when the call returns and reach the disk in the order of the calls, through one
/// writer thread that commits whatever is waiting with one sync. A callback with `Ok` means that this operation and all
/// before it are durable. The first failed write or sync ends the log: every waiting and later operation, reads
/// included, gets that error. Clones are handles of the same log; the last one dropped drains the queue and joins the
/// thread.
#[derive(Debug, Clone)]
pub struct Log {
    owner: Arc<Owner>,
}

impl Log {
    /// Opens the log on `disk`, or begins a new one where there is none.
    ///
    /// What a crash left unfinished at the end is cut, and named in [`Recovery`]. Any other damage is an error that
    /// names file and offset, and nothing is changed.
    pub fn open(disk: Arc<dyn LogDisk>, options: Options) -> Result<(Log, Recovery), Error> {
        let options = Options { segment_bytes: options.segment_bytes.clamp(4096, MAX_SEGMENT_BYTES), ..options };
        let found = recovery::recover(&*disk, options.segment_bytes)?;
        let vote = open_cell(&*disk, VOTE_FILE, found.is_some())?;
        let meta = open_cell(&*disk, META_FILE, found.is_some())?;
        let found = match found {
            Some(found) => found,
            None => begin(&*disk, &options)?,
        };
        disk::sync_dir(&*disk)?;
        let Recovered { table, active, log_id, seq, torn } = found;
        let bounds = table.bounds;
        let recovery = Recovery { indexes: bounds.first().zip(bounds.last()), segments: table.segment_count(), torn };
        let state = State::new(table, vote.value().cloned(), meta.value().cloned());
        let shared = Arc::new(Shared::new(state));
        let path = disk.path("");
        let queue_bytes = options.queue_bytes;
        let parts = Parts { log_id, seq, active, vote, meta };
        let writer = Writer::new(shared.clone(), disk, options, bounds, parts);
        let thread = std::thread::Builder::new()
            .name("wal-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(|source| Error::Io { action: "start the writer thread of", path, source })?;
        let owner = Owner { shared, queue_bytes, thread: Mutex::new(Some(thread)) };
        Ok((Log { owner: Arc::new(owner) }, recovery))
    }

    /// Appends records, readable on return and durable when `done` says so.
    ///
    /// Indexes must be consecutive and continue the log; an empty log may go on at any index not below where it ended
    /// or was purged. Blocks while [`Options::queue_bytes`] or more wait for the disk. On an error nothing was appended
    /// and `done` is dropped without a call.
    pub fn append(&self, records: Vec<(u64, Vec<u8>)>, done: Done) -> Result<(), Error> {
        let records: Records = records.into_iter().map(|(index, bytes)| (index, bytes.into())).collect();
        if let Some((_, large)) = records.iter().find(|(_, bytes)| bytes.len() > MAX_RECORD_BYTES) {
            return Err(Error::TooLarge { what: "a record", bytes: large.len(), limit: MAX_RECORD_BYTES });
        }
        let shared = &self.owner.shared;
        let mut state = shared.lock();
        while state.usable().is_ok() && state.queued_bytes >= self.owner.queue_bytes {
            state = shared.room.wait(state).expect("no panic while the log is locked");
        }
        state.usable()?;
        state.append(records, done)?;
        shared.work.notify_one();
        Ok(())
    }

    /// Removes all records after `last_kept`; all records for `None`.
    pub fn truncate_after(&self, last_kept: Option<u64>, done: Done) {
        let next = last_kept.map_or(0, |index| index.saturating_add(1));
        self.enqueue(done, |state, done| {
            state.cut(Kind::Truncate, next);
            Op::Cut { kind: Kind::Truncate, index: next, done }
        });
    }

    /// Removes all records up to and including `index`, which may lie past the end. Files are freed as whole segments.
    pub fn purge_to(&self, index: u64, done: Done) {
        let start = index.saturating_add(1);
        self.enqueue(done, |state, done| {
            state.cut(Kind::Start, start);
            Op::Cut { kind: Kind::Start, index: start, done }
        });
    }

    /// The records in `range` that exist, in order; at least one of them, then as many as fit in `max_bytes`.
    pub fn read(&self, range: Range<u64>, max_bytes: Option<usize>) -> Result<Records, Error> {
        let mut records = Vec::new();
        let mut on_disk = Vec::new();
        {
            let state = self.owner.shared.lock();
            state.usable()?;
            let mut budget = max_bytes.unwrap_or(usize::MAX);
            for index in range.start.max(state.view.start)..range.end.min(state.view.next) {
                let place = state.place(index).expect("every index between the bounds has a place");
                let bytes = place.bytes();
                if bytes > budget && !(records.is_empty() && on_disk.is_empty()) {
                    break;
                }
                budget = budget.saturating_sub(bytes);
                match place {
                    Place::Memory(bytes) => records.push((index, bytes.clone())),
                    Place::Disk(file, slot) => on_disk.push(Located { index, file: file.clone(), slot }),
                }
            }
        }
        if on_disk.is_empty() {
            return Ok(records);
        }
        let mut read = read_located(&on_disk)?;
        read.append(&mut records);
        Ok(read)
    }

    /// The first index held; `None` if the log is empty.
    pub fn first_index(&self) -> Option<u64> {
        self.owner.shared.lock().view.first()
    }

    /// The last index held, durable or not; `None` if the log is empty.
    pub fn last_index(&self) -> Option<u64> {
        self.owner.shared.lock().view.last()
    }

    /// The last index that was purged, or that lies before the first record ever appended; `None` if that was 0.
    pub fn purged_to(&self) -> Option<u64> {
        self.owner.shared.lock().view.start.checked_sub(1)
    }

    /// The size of the records held, with their headers, in bytes.
    pub fn bytes(&self) -> u64 {
        self.owner.shared.lock().live_bytes
    }

    /// The lowest index from which on the records fit in `max_bytes`; the next index if not even the last one does.
    pub fn oldest_within(&self, max_bytes: u64) -> u64 {
        let state = self.owner.shared.lock();
        let mut bytes = 0;
        let fits = (state.view.start..state.view.next).rev().take_while(|index| {
            bytes += state.bytes_of(*index);
            bytes <= max_bytes
        });
        fits.last().unwrap_or(state.view.next)
    }

    /// Calls `done` when all that was asked for before is durable.
    pub fn sync(&self, done: Done) {
        self.enqueue(done, |_, done| Op::Sync { done });
    }

    /// Replaces the metadata: at most [`crate::MAX_SLOT_BYTES`], visible to [`Log::meta`] at once.
    pub fn set_meta(&self, value: Vec<u8>, done: Done) {
        if let Err(error) = slot_file::check_size(&value) {
            return done(Err(error.to_io()));
        }
        self.enqueue(done, |state, done| {
            let value: Arc<[u8]> = value.into();
            state.meta = Some(value.clone());
            Op::Meta { value, done }
        });
    }

    /// The metadata last set.
    pub fn meta(&self) -> Option<Arc<[u8]>> {
        self.owner.shared.lock().meta.clone()
    }

    /// Replaces the vote: at most [`crate::MAX_SLOT_BYTES`], visible to [`Log::vote`] at once.
    pub fn set_vote(&self, value: Vec<u8>, done: Done) {
        if let Err(error) = slot_file::check_size(&value) {
            return done(Err(error.to_io()));
        }
        self.enqueue(done, |state, done| {
            let value: Arc<[u8]> = value.into();
            state.vote = Some(value.clone());
            Op::Vote { value, done }
        });
    }

    /// The vote last set.
    pub fn vote(&self) -> Option<Arc<[u8]>> {
        self.owner.shared.lock().vote.clone()
    }

    /// Writes what is waiting and ends the log for all handles. Must not be called from a callback.
    pub fn close(self) {
        self.owner.close();
    }

    fn enqueue(&self, done: Done, make: impl FnOnce(&mut State, Done) -> Op) {
        let shared = &self.owner.shared;
        let mut state = shared.lock();
        if let Err(error) = state.usable() {
            drop(state);
            return done(Err(error.to_io()));
        }
        let op = make(&mut state, done);
        state.queue.push_back(op);
        shared.work.notify_one();
    }
}

fn open_cell(disk: &dyn LogDisk, name: &str, must_exist: bool) -> Result<SlotFile, Error> {
    if disk::list(disk)?.iter().any(|found| found == name) {
        SlotFile::open(disk, name)
    } else if must_exist {
        Err(Error::Missing { path: disk.path(name) })
    } else {
        SlotFile::create(disk, name)
    }
}

fn begin(disk: &dyn LogDisk, options: &Options) -> Result<Recovered, Error> {
    let log_id = RandomState::new().hash_one("log id");
    let header = SegmentHeader { log_id, number: 1, first_seq: 1, start: 0, next: 0 };
    let active = ActiveSegment::create(disk, &header, options.segment_bytes, options.grow_bytes)?;
    let mut table = Table::new(Bounds::default());
    table.push_segment(1, active.file.clone());
    debug_assert_eq!(active.position, SEGMENT_HEADER as u64);
    Ok(Recovered { table, active, log_id, seq: 1, torn: None })
}

struct Located {
    index: u64,
    file: NamedFile,
    slot: Slot,
}

impl Located {
    fn end(&self) -> u64 {
        u64::from(self.slot.offset) + format::record_size(to_usize(u64::from(self.slot.length))) as u64
    }
}

/// Reads records, with one read for each stretch of neighbours.
fn read_located(records: &[Located]) -> Result<Records, Error> {
    const STRETCH: u64 = 1 << 20;
    let mut found = Vec::with_capacity(records.len());
    let mut rest = records;
    while let Some(first) = rest.first() {
        let from = u64::from(first.slot.offset);
        let near = |next: &&Located| {
            Arc::ptr_eq(&next.file.path, &first.file.path) && next.end() > from && next.end() - from <= STRETCH
        };
        let count = 1 + rest[1..].iter().take_while(near).count();
        let (stretch, after) = rest.split_at(count);
        let end = stretch.iter().map(Located::end).max().unwrap_or(from);
        let mut buffer = vec![0; to_usize(end - from)];
        first.file.read_at(&mut buffer, from)?;
        for record in stretch {
            let offset = u64::from(record.slot.offset);
            let parsed = format::decode_record(&buffer[to_usize(offset - from)..]).map_err(|detail| {
                record.file.damaged(offset, format!("{detail}, and it is record {}", record.index))
            })?;
            if parsed.kind != Kind::Record || parsed.index != record.index {
                let detail = format!("record {} was expected, and {} is there", record.index, parsed.index);
                return Err(record.file.damaged(offset, detail));
            }
            found.push((record.index, parsed.payload.into()));
        }
        rest = after;
    }
    Ok(found)
}

#[derive(Debug)]
struct Owner {
    shared: Arc<Shared>,
    queue_bytes: usize,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Owner {
    fn close(&self) {
        self.shared.lock().closed = true;
        self.shared.work.notify_one();
        self.shared.room.notify_all();
        let thread = self.thread.lock().expect("nothing panics with the thread's handle").take();
        let Some(thread) = thread else { return };
        // The last handle may be dropped by a callback: then the thread is this one, and ends by itself.
        if thread.thread().id() != std::thread::current().id() && thread.join().is_err() {
            tracing::error!("the log's writer thread panicked");
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.close();
    }
}
