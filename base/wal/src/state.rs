//! The log in memory: what users see at once, and the queue by which the disk follows.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use crate::disk::NamedFile;
use crate::error::Error;
use crate::format::{self, Kind, to_usize};
use crate::log::{Done, Records};
use crate::table::{Bounds, Slot, Table};
use crate::writer::Op;

/// What handles and the writer share.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    pub(crate) work: Condvar,
    pub(crate) room: Condvar,
}

impl Shared {
    pub(crate) fn new(state: State) -> Shared {
        Shared { state: Mutex::new(state), work: Condvar::new(), room: Condvar::new() }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while the log is locked")
    }
}

/// The log as of the last call, which the disk follows.
#[derive(Debug)]
pub(crate) struct State {
    /// The bounds that users see; the table's own are those of the disk.
    pub(crate) view: Bounds,
    pub(crate) table: Table,
    /// The newest records, ending at `view.next`: all that are not durable, and some that are.
    tail: VecDeque<TailRecord>,
    tail_bytes: usize,
    /// The bytes of the records that users see, with their headers.
    pub(crate) live_bytes: u64,
    /// Counts appended records, so that one of an index is told from its predecessor that was truncated.
    appended: u64,
    pub(crate) queue: VecDeque<Op>,
    pub(crate) queued_bytes: usize,
    pub(crate) vote: Option<Arc<[u8]>>,
    pub(crate) meta: Option<Arc<[u8]>>,
    pub(crate) closed: bool,
    pub(crate) failed: Option<(io::ErrorKind, String)>,
}

#[derive(Debug)]
struct TailRecord {
    number: u64,
    bytes: Arc<[u8]>,
}

/// Where a record can be had.
pub(crate) enum Place<'a> {
    Memory(&'a Arc<[u8]>),
    Disk(&'a NamedFile, Slot),
}

impl Place<'_> {
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Place::Memory(bytes) => bytes.len(),
            Place::Disk(_, slot) => to_usize(u64::from(slot.length)),
        }
    }
}

impl State {
    pub(crate) fn new(table: Table, vote: Option<Arc<[u8]>>, meta: Option<Arc<[u8]>>) -> State {
        let Bounds { start, next } = table.bounds;
        State {
            view: table.bounds,
            live_bytes: (start..next).map(|index| table.bytes_of(index)).sum(),
            table,
            tail: VecDeque::new(),
            tail_bytes: 0,
            appended: 0,
            queue: VecDeque::new(),
            queued_bytes: 0,
            vote,
            meta,
            closed: false,
            failed: None,
        }
    }

    pub(crate) fn usable(&self) -> Result<(), Error> {
        match &self.failed {
            Some((kind, message)) => Err(Error::Failed { kind: *kind, message: message.clone() }),
            None if self.closed => Err(Error::Closed),
            None => Ok(()),
        }
    }

    pub(crate) fn append(&mut self, records: Records, done: Done) -> Result<(), Error> {
        let mut expected = self.view.next;
        if let Some((first, _)) = records.first()
            && self.view.is_empty()
        {
            expected = expected.max(*first);
        }
        for (offset, (index, _)) in records.iter().enumerate() {
            if *index != expected + offset as u64 {
                return Err(Error::NotConsecutive { expected: expected + offset as u64, found: *index });
            }
        }
        if expected > self.view.next {
            self.cut(Kind::Start, expected);
        }
        let before = self.live_bytes;
        for (_, bytes) in &records {
            self.appended += 1;
            self.tail_bytes += bytes.len();
            self.live_bytes += (bytes.len() + format::RECORD_HEADER) as u64;
            self.tail.push_back(TailRecord { number: self.appended, bytes: bytes.clone() });
        }
        self.view.next += records.len() as u64;
        let weight = to_usize(self.live_bytes - before);
        self.queued_bytes += weight;
        self.queue.push_back(Op::Append { records, last_number: self.appended, weight, done });
        Ok(())
    }

    /// Applies a truncation or purge to what users see.
    pub(crate) fn cut(&mut self, kind: Kind, index: u64) {
        let Bounds { start, next } = self.view;
        let bounds = self.view.after(kind, index).expect("cuts fit any bounds");
        let dropped = (start..bounds.start.min(next)).chain(bounds.next.min(next)..next);
        self.live_bytes -= dropped.map(|index| self.bytes_of(index)).sum::<u64>();
        let tail_first = next - self.tail.len() as u64;
        for _ in tail_first..bounds.start.min(next) {
            self.drop_oldest();
        }
        for _ in bounds.next.max(tail_first).min(next)..next {
            let newest = self.tail.pop_back();
            self.tail_bytes -= newest.map_or(0, |record| record.bytes.len());
        }
        self.view = bounds;
    }

    fn drop_oldest(&mut self) {
        let oldest = self.tail.pop_front();
        self.tail_bytes -= oldest.map_or(0, |record| record.bytes.len());
    }

    pub(crate) fn place(&self, index: u64) -> Option<Place<'_>> {
        let tail_first = self.view.next - self.tail.len() as u64;
        match index.checked_sub(tail_first) {
            Some(offset) => self.tail.get(usize::try_from(offset).ok()?).map(|record| Place::Memory(&record.bytes)),
            None => self.table.find(index).map(|(segment, slot)| Place::Disk(&segment.file, slot)),
        }
    }

    pub(crate) fn bytes_of(&self, index: u64) -> u64 {
        self.place(index).map_or(0, |place| (place.bytes() + format::RECORD_HEADER) as u64)
    }

    /// Lets go of cached records that are durable: those numbered up to `durable`, down to `keep` bytes.
    pub(crate) fn trim_tail(&mut self, durable: u64, keep: usize) {
        while self.tail_bytes > keep && self.tail.front().is_some_and(|record| record.number <= durable) {
            self.drop_oldest();
        }
    }
}
