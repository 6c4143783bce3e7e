//! Reading a log back, and telling the end that a crash tore from damage.

use std::path::PathBuf;

use crate::disk::{self, LogDisk, NamedFile};
use crate::error::Error;
use crate::format::{self, ALIGN, BATCH_HEADER, BatchHeader, Kind, Place, RECORD_HEADER, to_usize};
use crate::segment::{self, ActiveSegment, HeaderBlock, SEGMENT_HEADER, SegmentHeader};
use crate::table::{Bounds, Change, Slot, Table};

/// What was found when a log was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// The first and last index held; `None` if the log is empty.
    pub indexes: Option<(u64, u64)>,
    /// The number of segment files.
    pub segments: usize,
    /// What a crash had left unfinished at the end, and was cut; none of it had been acknowledged.
    pub torn: Option<TornTail>,
}

/// An unfinished write at the end of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// The segment file.
    pub path: PathBuf,
    /// Where it was cut, in bytes.
    pub offset: u64,
    /// What was wrong there.
    pub detail: String,
}

/// A log as read from its segments.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub(crate) table: Table,
    pub(crate) active: ActiveSegment,
    pub(crate) log_id: u64,
    /// The number of the next batch.
    pub(crate) seq: u64,
    pub(crate) torn: Option<TornTail>,
}

/// Reads all segments; `None` if there is none yet. On return everything found is durable.
pub(crate) fn recover(disk: &dyn LogDisk, segment_bytes: u64) -> Result<Option<Recovered>, Error> {
    let mut numbers: Vec<u64> = disk::list(disk)?.iter().filter_map(|name| segment::number_of(name)).collect();
    numbers.sort_unstable();
    if let Some(last) = numbers.last()
        && never_used(disk, *last)?
    {
        disk::remove(disk, &segment::file_name(*last))?;
        disk::sync_dir(disk)?;
        numbers.pop();
    }
    let (Some(first), Some(last)) = (numbers.first().copied(), numbers.last().copied()) else { return Ok(None) };

    let mut replay: Option<Replay> = None;
    for number in first..=last {
        let file = NamedFile::open(disk, &segment::file_name(number)).map_err(|e| missing_segment(e, disk, number))?;
        let mut bytes = vec![0; to_usize(file.size()?)];
        file.read_at(&mut bytes, 0)?;
        let header = valid_header(&file, &bytes)?;
        let mut current = match replay.take() {
            Some(before) => before.continued(&file, number, &header)?,
            None => Replay::begin(&file, number, &header)?,
        };
        current.table.push_segment(number, file.clone());
        let end = current.segment(&file, number, &bytes)?;
        if number == last {
            return current.finish(file, number, &bytes, end, segment_bytes).map(Some);
        }
        if let End::Bad { offset, detail } = end {
            current.bad_end = Some((file, offset as u64, detail));
        }
        replay = Some(current);
    }
    Ok(None)
}

/// True for a segment whose creation was cut short: no usable header, and nothing was written after it.
fn never_used(disk: &dyn LogDisk, number: u64) -> Result<bool, Error> {
    let file = NamedFile::open(disk, &segment::file_name(number))?;
    let size = to_usize(file.size()?);
    let mut header = vec![0; size.min(SEGMENT_HEADER)];
    file.read_at(&mut header, 0)?;
    if segment::read_header(&header) != HeaderBlock::Damaged {
        return Ok(false);
    }
    let mut body = vec![0; size - header.len()];
    file.read_at(&mut body, header.len() as u64)?;
    Ok(format::end_of_content(&body) == 0)
}

fn missing_segment(error: Error, disk: &dyn LogDisk, number: u64) -> Error {
    if error.kind() == std::io::ErrorKind::NotFound {
        Error::Missing { path: disk.path(&segment::file_name(number)) }
    } else {
        error
    }
}

fn valid_header(file: &NamedFile, bytes: &[u8]) -> Result<SegmentHeader, Error> {
    match segment::read_header(bytes) {
        HeaderBlock::Valid(header) => Ok(header),
        HeaderBlock::Newer(found) => Err(segment::newer(file, found)),
        HeaderBlock::Damaged => Err(file.damaged(0, "the segment's header fails its checksum")),
    }
}

/// Where the batches of a segment end.
#[derive(Debug)]
enum End {
    /// Nothing is written there.
    Blank { offset: usize },
    /// A flush mark is there: all batches before it were synced.
    Mark { offset: usize },
    /// Something is there, but no valid batch.
    Bad { offset: usize, detail: String },
}

#[derive(Debug, Default)]
struct Replay {
    table: Table,
    log_id: u64,
    seq: u64,
    /// Records below this index lay in segments that are gone; they must have been purged.
    gone_below: u64,
    /// What follows the last whole batch of the segment before, if it is no batch: a torn flush mark, or damage.
    bad_end: Option<(NamedFile, u64, String)>,
}

impl Replay {
    fn begin(file: &NamedFile, number: u64, header: &SegmentHeader) -> Result<Replay, Error> {
        if header.number != number {
            return Err(file.damaged(0, format!("the segment is number {} by its header", header.number)));
        }
        let bounds = Bounds { start: header.start, next: header.next };
        Ok(Replay {
            table: Table::new(bounds),
            log_id: header.log_id,
            seq: header.first_seq,
            gone_below: header.next,
            bad_end: None,
        })
    }

    /// Goes on to the next segment, which must continue exactly where this one ended.
    fn continued(mut self, file: &NamedFile, number: u64, header: &SegmentHeader) -> Result<Replay, Error> {
        let Bounds { start, next } = self.table.bounds;
        let expected = SegmentHeader { log_id: self.log_id, number, first_seq: self.seq, start, next };
        let bad_end = self.bad_end.take();
        if *header == expected {
            return Ok(self);
        }
        if header.log_id != self.log_id {
            return Err(file.damaged(0, "the segment belongs to another log"));
        }
        if header.number != number {
            return Err(file.damaged(0, format!("the segment is number {} by its header", header.number)));
        }
        let gap = format!(
            "the next segment continues at batch {} and record {}, but the batches before it end at batch {} and record \
             {next}",
            header.first_seq, header.next, self.seq
        );
        match bad_end {
            Some((before, offset, detail)) => Err(before.damaged(offset, format!("{detail}, and {gap}"))),
            None => Err(file.damaged(0, gap)),
        }
    }

    /// Replays the batches of one segment, up to where they end.
    fn segment(&mut self, file: &NamedFile, number: u64, bytes: &[u8]) -> Result<End, Error> {
        let mut offset = SEGMENT_HEADER;
        loop {
            let rest = bytes.get(offset..).unwrap_or(&[]);
            let place = Place { log_id: self.log_id, segment: number, offset: offset as u64 };
            let Some(header) = BatchHeader::decode(rest, place) else {
                let head = &rest[..rest.len().min(BATCH_HEADER)];
                if format::end_of_content(head) == 0 {
                    return Ok(End::Blank { offset });
                }
                return Ok(End::Bad { offset, detail: "a batch header fails its checksum".to_owned() });
            };
            let next = self.table.bounds.next;
            if header.seq != self.seq || header.flushed_next != next {
                let detail = format!(
                    "batch {} follows, flushed up to record {}, where batch {} and record {next} were expected",
                    header.seq, header.flushed_next, self.seq
                );
                return Err(file.damaged(offset as u64, detail));
            }
            if header.count == 0 {
                return Ok(End::Mark { offset });
            }
            let changes = match parse_batch(&header, bytes, offset + BATCH_HEADER) {
                Ok(changes) => changes,
                Err((offset_of_bad, detail)) => {
                    let detail = format!("{detail} (at byte {offset_of_bad}, in a batch of {})", header.count);
                    return Ok(End::Bad { offset, detail });
                }
            };
            for change in changes {
                if !self.table.apply(change) {
                    let detail = format!("record {} does not continue the log", change.index);
                    return Err(file.damaged(u64::from(change.slot.offset), detail));
                }
                if change.kind == Kind::Truncate {
                    self.gone_below = self.gone_below.min(change.index);
                }
            }
            self.seq += 1;
            offset += BATCH_HEADER + to_usize(header.body);
        }
    }

    /// Decides what the end of the last segment is, cuts a torn one, and makes all durable.
    fn finish(
        self,
        file: NamedFile,
        number: u64,
        bytes: &[u8],
        end: End,
        segment_bytes: u64,
    ) -> Result<Recovered, Error> {
        let (offset, skip, detail) = match end {
            End::Blank { offset } => (offset, 0, "a batch without its header".to_owned()),
            End::Mark { offset } => (offset, BATCH_HEADER, "a batch whose header was never written".to_owned()),
            End::Bad { offset, detail } => (offset, 0, detail),
        };
        let after = (offset + skip).min(bytes.len());
        if let Some((at, later)) = self.valid_after(number, bytes, offset + ALIGN) {
            let flushed = later.flushed_next;
            let detail = format!(
                "{detail}, but a valid header follows at byte {at} and says that all before batch {} was flushed, up to \
                 record {flushed}",
                later.seq
            );
            return Err(file.damaged(offset as u64, detail));
        }
        let bounds = self.table.bounds;
        if bounds.start < self.gone_below.min(bounds.next) {
            let detail = format!(
                "records {} to {} are missing: they lay in earlier segments, which are gone",
                bounds.start,
                self.gone_below.min(bounds.next) - 1
            );
            return Err(file.damaged(0, detail));
        }
        let content = after + format::end_of_content(&bytes[after..]);
        let torn = (content > after).then(|| TornTail { path: file.path.to_path_buf(), offset: offset as u64, detail });
        file.write_zeros(after as u64, content as u64)?;
        file.sync_data()?;
        let active = ActiveSegment {
            file,
            number,
            position: offset as u64,
            zeroed_to: bytes.len() as u64,
            capacity: segment_bytes.max(bytes.len() as u64),
        };
        Ok(Recovered { table: self.table, active, log_id: self.log_id, seq: self.seq, torn })
    }

    /// The first valid batch header at or after `from`.
    fn valid_after(&self, number: u64, bytes: &[u8], from: usize) -> Option<(usize, BatchHeader)> {
        (from..bytes.len()).step_by(ALIGN).find_map(|at| {
            let place = Place { log_id: self.log_id, segment: number, offset: at as u64 };
            BatchHeader::decode(&bytes[at..], place).map(|header| (at, header))
        })
    }
}

/// The changes of a batch whose records begin at `from`, or where and why it is not whole.
fn parse_batch(header: &BatchHeader, bytes: &[u8], from: usize) -> Result<Vec<Change>, (usize, &'static str)> {
    let end = usize::try_from(header.body).ok().and_then(|body| from.checked_add(body));
    let Some(end) = end.filter(|end| *end <= bytes.len()) else { return Err((from, "a batch is cut short")) };
    let mut changes = Vec::new();
    let mut at = from;
    while at < end {
        let record = format::decode_record(&bytes[at..end]).map_err(|detail| (at, detail))?;
        let offset = u32::try_from(at).map_err(|_| (at, "a record lies too far in"))?;
        let length = u32::try_from(record.payload.len()).map_err(|_| (at, "a record is too large"))?;
        changes.push(Change { kind: record.kind, index: record.index, slot: Slot { offset, length } });
        at += format::record_size(record.payload.len());
    }
    let whole = at == end && changes.len() as u64 == u64::from(header.count);
    if whole { Ok(changes) } else { Err((from, "a batch has another number of records than its header says")) }
}

const _: () = assert!(SEGMENT_HEADER.is_multiple_of(ALIGN) && BATCH_HEADER.is_multiple_of(ALIGN));
const _: () = assert!(RECORD_HEADER.is_multiple_of(ALIGN));
