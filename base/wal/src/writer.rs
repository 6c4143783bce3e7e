//! The one thread that writes: it drains the queue, commits once, then calls everyone back.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use crate::disk::{self, LogDisk};
use crate::error::Error;
use crate::format::{self, BATCH_HEADER, BatchHeader, Kind, Place};
use crate::log::{Done, Options, Records};
use crate::segment::{self, ActiveSegment, SEGMENT_HEADER, SegmentHeader};
use crate::slot_file::SlotFile;
use crate::state::Shared;
use crate::table::{Bounds, Change, Slot};

/// A batch is committed when it reaches this size, even if more is waiting.
const BATCH_BYTES: usize = 4 << 20;
/// The buffer is given back when it has grown beyond this and the queue is empty.
const IDLE_BUFFER_BYTES: usize = 256 << 10;

/// Something to be made durable, in the order of the queue.
pub(crate) enum Op {
    Append {
        records: Records,
        /// The number of the last of them, counting all records ever appended.
        last_number: u64,
        /// What it adds to the queue's bytes.
        weight: usize,
        done: Done,
    },
    /// A truncation or purge.
    Cut {
        kind: Kind,
        index: u64,
        done: Done,
    },
    Sync {
        done: Done,
    },
    Vote {
        value: Arc<[u8]>,
        done: Done,
    },
    Meta {
        value: Arc<[u8]>,
        done: Done,
    },
}

impl std::fmt::Debug for Op {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Op::Append { last_number, .. } => f.debug_struct("Append").field("last_number", last_number).finish(),
            Op::Cut { kind, index, .. } => f.debug_struct("Cut").field("kind", kind).field("index", index).finish(),
            Op::Sync { .. } => f.write_str("Sync"),
            Op::Vote { .. } => f.write_str("Vote"),
            Op::Meta { .. } => f.write_str("Meta"),
        }
    }
}

impl Op {
    fn weight(&self) -> usize {
        match self {
            Op::Append { weight, .. } => *weight,
            Op::Cut { .. } | Op::Sync { .. } | Op::Vote { .. } | Op::Meta { .. } => 0,
        }
    }

    fn into_done(self) -> Done {
        match self {
            Op::Append { done, .. }
            | Op::Cut { done, .. }
            | Op::Sync { done }
            | Op::Vote { done, .. }
            | Op::Meta { done, .. } => done,
        }
    }
}

/// The files that the writer has for itself, as opening found or made them.
pub(crate) struct Parts {
    pub(crate) log_id: u64,
    /// The number of the next batch.
    pub(crate) seq: u64,
    pub(crate) active: ActiveSegment,
    pub(crate) vote: SlotFile,
    pub(crate) meta: SlotFile,
}

pub(crate) struct Writer {
    shared: Arc<Shared>,
    disk: Arc<dyn LogDisk>,
    options: Options,
    log_id: u64,
    /// The number of the next batch.
    seq: u64,
    active: ActiveSegment,
    /// The bounds as of the last commit.
    durable: Bounds,
    vote: SlotFile,
    meta: SlotFile,
    batch: Batch,
    /// True if a flush mark stands where the next batch goes.
    marked: bool,
}

/// What is gathered for the next commit.
#[derive(Default)]
struct Batch {
    /// Room for the header, then records.
    bytes: Vec<u8>,
    /// Offsets are within `bytes` until the batch has its place.
    changes: Vec<Change>,
    bounds: Bounds,
    last_number: u64,
    done: Vec<Done>,
}

impl Batch {
    fn add(&mut self, kind: Kind, index: u64, payload: &[u8]) {
        if self.bytes.is_empty() {
            self.bytes.resize(BATCH_HEADER, 0);
        }
        let offset = u32::try_from(self.bytes.len()).expect("a batch is far below 4 GiB");
        let length = u32::try_from(payload.len()).expect("append refuses larger records");
        format::encode_record(&mut self.bytes, kind, index, payload);
        self.changes.push(Change { kind, index, slot: Slot { offset, length } });
        self.bounds = self.bounds.after(kind, index).expect("the handle checks that records are consecutive");
    }
}

impl Writer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        disk: Arc<dyn LogDisk>,
        options: Options,
        bounds: Bounds,
        parts: Parts,
    ) -> Writer {
        let Parts { log_id, seq, active, vote, meta } = parts;
        let batch = Batch { bounds, ..Batch::default() };
        Writer { shared, disk, options, log_id, seq, active, durable: bounds, vote, meta, batch, marked: false }
    }

    pub(crate) fn run(mut self) {
        let guard = PanicGuard { shared: self.shared.clone() };
        while let Some(mut ops) = self.take() {
            let weight: usize = ops.iter().map(Op::weight).sum();
            if let Err(error) = self.process(&mut ops) {
                self.fail(&error, ops);
                break;
            }
            self.shared.lock().queued_bytes -= weight;
            self.shared.room.notify_all();
        }
        drop(guard);
    }

    /// Everything that is waiting; marks the log as flushed before it sleeps. `None` when closed and drained.
    fn take(&mut self) -> Option<VecDeque<Op>> {
        let shared = self.shared.clone();
        let mut state = shared.lock();
        loop {
            if !state.queue.is_empty() {
                return Some(std::mem::take(&mut state.queue));
            }
            if !self.marked {
                drop(state);
                if let Err(error) = self.mark() {
                    self.fail(&error, VecDeque::new());
                    return None;
                }
                state = shared.lock();
                continue;
            }
            if state.closed {
                drop(state);
                if let Err(error) = self.active.file.sync_data() {
                    self.fail(&error, VecDeque::new());
                }
                return None;
            }
            state = shared.work.wait(state).expect("no panic while the log is locked");
        }
    }

    fn process(&mut self, ops: &mut VecDeque<Op>) -> Result<(), Error> {
        while let Some(op) = ops.pop_front() {
            match op {
                Op::Append { records, last_number, weight: _, done } => {
                    if let Err(error) = self.gather(&records) {
                        self.batch.done.push(done);
                        return Err(error);
                    }
                    self.batch.last_number = last_number;
                    self.batch.done.push(done);
                }
                Op::Cut { kind, index, done } => {
                    self.batch.add(kind, index, &[]);
                    self.batch.done.push(done);
                }
                Op::Sync { done } => self.batch.done.push(done),
                Op::Vote { value, done } => self.replace(Cell::Vote, value, done)?,
                Op::Meta { value, done } => self.replace(Cell::Meta, value, done)?,
            }
        }
        self.commit()
    }

    fn gather(&mut self, records: &[(u64, Arc<[u8]>)]) -> Result<(), Error> {
        for (index, bytes) in records {
            if *index > self.batch.bounds.next {
                self.batch.add(Kind::Start, *index, &[]);
            }
            if self.batch.bytes.len() > BATCH_HEADER
                && self.batch.bytes.len() + format::record_size(bytes.len()) > BATCH_BYTES
            {
                self.commit()?;
            }
            self.batch.add(Kind::Record, *index, bytes);
        }
        Ok(())
    }

    /// Writes a cell after everything before it, so that the order of the queue is that of durability.
    fn replace(&mut self, cell: Cell, value: Arc<[u8]>, done: Done) -> Result<(), Error> {
        let written = self.commit().and_then(|()| match cell {
            Cell::Vote => self.vote.write(value),
            Cell::Meta => self.meta.write(value),
        });
        match written {
            Ok(()) => {
                done(Ok(()));
                Ok(())
            }
            Err(error) => {
                self.batch.done.push(done);
                Err(error)
            }
        }
    }

    /// Makes the batch durable and calls back.
    fn commit(&mut self) -> Result<(), Error> {
        if !self.batch.changes.is_empty() {
            self.write_batch()?;
            self.publish();
            self.free_segments()?;
        }
        for done in self.batch.done.drain(..) {
            done(Ok(()));
        }
        Ok(())
    }

    fn write_batch(&mut self) -> Result<(), Error> {
        let size = self.batch.bytes.len() as u64;
        if !self.active.fits(size) {
            self.next_segment(size)?;
        }
        let header = BatchHeader {
            seq: self.seq,
            flushed_next: self.durable.next,
            count: u32::try_from(self.batch.changes.len()).expect("a batch is far below 4 GiB"),
            body: size - BATCH_HEADER as u64,
        };
        let head = header.encode(self.place());
        self.batch.bytes[..BATCH_HEADER].copy_from_slice(&head);
        let base = u32::try_from(self.active.position).expect("segments are at most 1 GiB and one batch long");
        for change in &mut self.batch.changes {
            change.slot.offset += base;
        }
        self.marked = false;
        self.active.write(&self.batch.bytes, self.options.grow_bytes)?;
        self.active.file.sync_data()?;
        self.seq += 1;
        self.durable = self.batch.bounds;
        Ok(())
    }

    fn next_segment(&mut self, batch: u64) -> Result<(), Error> {
        let Bounds { start, next } = self.durable;
        let number = self.active.number + 1;
        let header = SegmentHeader { log_id: self.log_id, number, first_seq: self.seq, start, next };
        let capacity = self.options.segment_bytes.max(SEGMENT_HEADER as u64 + batch);
        self.active = ActiveSegment::create(&*self.disk, &header, capacity, self.options.grow_bytes)?;
        self.shared.lock().table.push_segment(number, self.active.file.clone());
        Ok(())
    }

    /// Lets readers find the batch on disk.
    fn publish(&mut self) {
        let mut state = self.shared.lock();
        for change in self.batch.changes.drain(..) {
            assert!(state.table.apply(change), "the batch was gathered within the bounds");
        }
        state.trim_tail(self.batch.last_number, self.options.tail_bytes);
        drop(state);
        self.batch.bytes.clear();
    }

    /// Removes segments that a durable purge has emptied, oldest first, each for good before the next.
    fn free_segments(&mut self) -> Result<(), Error> {
        loop {
            let unneeded = self.shared.lock().table.pop_unneeded();
            let Some(number) = unneeded else { return Ok(()) };
            disk::remove(&*self.disk, &segment::file_name(number))?;
            disk::sync_dir(&*self.disk)?;
        }
    }

    /// Notes, where the next batch will go, that all before it is durable; so later damage is not taken for a torn end.
    fn mark(&mut self) -> Result<(), Error> {
        self.marked = true;
        if self.batch.bytes.capacity() > IDLE_BUFFER_BYTES {
            self.batch.bytes = Vec::new();
        }
        if self.active.position + BATCH_HEADER as u64 > self.active.zeroed_to {
            return Ok(());
        }
        let mark = BatchHeader { seq: self.seq, flushed_next: self.durable.next, count: 0, body: 0 };
        self.active.file.write_at(&mark.encode(self.place()), self.active.position)
    }

    fn place(&self) -> Place {
        Place { log_id: self.log_id, segment: self.active.number, offset: self.active.position }
    }

    /// Ends the log: refuses what comes, answers what waits, tells the owner.
    fn fail(&mut self, error: &Error, ops: VecDeque<Op>) {
        let failure = (error.kind(), error.chain());
        let waiting = self.shared.refuse(failure.clone());
        let (kind, message) = failure;
        let error = Error::Failed { kind, message };
        let done = self.batch.done.drain(..).chain(ops.into_iter().chain(waiting).map(Op::into_done));
        for done in done {
            done(Err(error.to_io()));
        }
        if let Some(on_fatal) = &self.options.on_fatal {
            on_fatal(&error);
        }
    }
}

#[derive(Clone, Copy)]
enum Cell {
    Vote,
    Meta,
}

impl Shared {
    /// Refuses everything from now on; what was waiting is handed out.
    fn refuse(&self, failure: (io::ErrorKind, String)) -> VecDeque<Op> {
        let mut state = self.lock();
        state.failed = Some(failure);
        let waiting = std::mem::take(&mut state.queue);
        drop(state);
        self.room.notify_all();
        waiting
    }
}

/// Fails the log if a callback panics on the writer thread, so that nobody waits for it for ever.
struct PanicGuard {
    shared: Arc<Shared>,
}

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let failure = (io::ErrorKind::Other, "the log's writer thread panicked".to_owned());
            for op in self.shared.refuse(failure.clone()) {
                let error = Error::Failed { kind: failure.0, message: failure.1.clone() };
                op.into_done()(Err(error.to_io()));
            }
        }
    }
}
