//! The bytes of a log on disk: version marks, batch headers, record headers.
//!
//! A segment is one header block, then batches. A batch is what one write and one sync make durable: a header that
//! repeats how far the log was flushed before, then records. Everything is little-endian and 8-byte aligned.

use crc32fast::Hasher;

/// The newest format of any file of this crate.
pub(crate) const VERSION: u8 = 1;

pub(crate) const ALIGN: usize = 8;
pub(crate) const BATCH_HEADER: usize = 40;
pub(crate) const RECORD_HEADER: usize = 24;
const BATCH_MAGIC: [u8; 4] = *b"oBt1";

/// What the first bytes of a file say about its format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    Current,
    Newer(u8),
    Damaged,
}

/// The first 8 bytes of a file: what it is, and the version three times, so that one flipped bit is not a new version.
pub(crate) fn version_mark(magic: [u8; 5]) -> [u8; 8] {
    let [a, b, c, d, e] = magic;
    [a, b, c, d, e, VERSION, VERSION, VERSION]
}

pub(crate) fn read_version(bytes: &[u8], magic: [u8; 5]) -> Version {
    let Some((head, _)) = bytes.split_first_chunk::<8>() else { return Version::Damaged };
    let [.., x, y, z] = *head;
    let version = if x == y || x == z { x } else { y };
    let agreed = [x, y, z].iter().filter(|copy| **copy == version).count() >= 2;
    if head[..5] != magic || !agreed || version == 0 {
        Version::Damaged
    } else if version > VERSION {
        Version::Newer(version)
    } else {
        Version::Current
    }
}

/// What a record of a batch does to the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The record at its index.
    Record,
    /// Records at and after the index are dropped.
    Truncate,
    /// Records before the index are dropped; an empty log continues there.
    Start,
}

impl Kind {
    fn code(self) -> u32 {
        match self {
            Kind::Record => 1,
            Kind::Truncate => 2,
            Kind::Start => 3,
        }
    }

    fn from_code(code: u32) -> Option<Kind> {
        [Kind::Record, Kind::Truncate, Kind::Start].into_iter().find(|kind| kind.code() == code)
    }
}

/// Where a batch lies; part of its checksum, so that a copy of its bytes elsewhere is not a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) log_id: u64,
    pub(crate) segment: u64,
    pub(crate) offset: u64,
}

/// The head of a batch. With no records it is a flush mark: it says that every batch before it was synced, and the next
/// batch takes its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    /// Batches are numbered through all segments.
    pub(crate) seq: u64,
    /// Records below this index were durable when the batch was written.
    pub(crate) flushed_next: u64,
    pub(crate) count: u32,
    /// Bytes of the records that follow.
    pub(crate) body: u64,
}

impl BatchHeader {
    pub(crate) fn encode(&self, place: Place) -> [u8; BATCH_HEADER] {
        let mut bytes = [0; BATCH_HEADER];
        bytes[..4].copy_from_slice(&BATCH_MAGIC);
        bytes[8..16].copy_from_slice(&self.seq.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.flushed_next.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.count.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.body.to_le_bytes());
        let crc = header_crc(&bytes, place);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The header at the start of `bytes`, if there is a valid one.
    pub(crate) fn decode(bytes: &[u8], place: Place) -> Option<BatchHeader> {
        let (bytes, _) = bytes.split_first_chunk::<BATCH_HEADER>()?;
        if bytes[..4] != BATCH_MAGIC || u32_at(bytes, 4) != header_crc(bytes, place) {
            return None;
        }
        Some(BatchHeader {
            seq: u64_at(bytes, 8),
            flushed_next: u64_at(bytes, 16),
            count: u32_at(bytes, 24),
            body: u64_at(bytes, 32),
        })
    }
}

fn header_crc(bytes: &[u8; BATCH_HEADER], place: Place) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&place.log_id.to_le_bytes());
    hasher.update(&place.segment.to_le_bytes());
    hasher.update(&place.offset.to_le_bytes());
    hasher.update(&bytes[8..]);
    hasher.finalize()
}

/// A record as found in a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parsed<'a> {
    pub(crate) kind: Kind,
    pub(crate) index: u64,
    pub(crate) payload: &'a [u8],
}

/// Appends a record to `buffer`, padded to the alignment.
pub(crate) fn encode_record(buffer: &mut Vec<u8>, kind: Kind, index: u64, payload: &[u8]) {
    let mut head = [0; RECORD_HEADER];
    head[4..8].copy_from_slice(&kind.code().to_le_bytes());
    head[8..16].copy_from_slice(&(payload.len() as u64).to_le_bytes());
    head[16..24].copy_from_slice(&index.to_le_bytes());
    let crc = record_crc(&head, payload);
    head[..4].copy_from_slice(&crc.to_le_bytes());
    buffer.extend_from_slice(&head);
    buffer.extend_from_slice(payload);
    buffer.resize(buffer.len().next_multiple_of(ALIGN), 0);
}

/// The record at the start of `bytes`, or what is wrong with it.
pub(crate) fn decode_record(bytes: &[u8]) -> Result<Parsed<'_>, &'static str> {
    let Some((head, rest)) = bytes.split_first_chunk::<RECORD_HEADER>() else { return Err("a record is cut short") };
    let payload = usize::try_from(u64_at(head, 8)).ok().and_then(|length| rest.get(..length));
    let Some(payload) = payload else { return Err("a record's length is impossible") };
    if u32_at(head, 0) != record_crc(head, payload) {
        return Err("a record fails its checksum");
    }
    let Some(kind) = Kind::from_code(u32_at(head, 4)) else { return Err("a record is of an unknown kind") };
    Ok(Parsed { kind, index: u64_at(head, 16), payload })
}

fn record_crc(head: &[u8; RECORD_HEADER], payload: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&head[4..]);
    hasher.update(payload);
    hasher.finalize()
}

/// The bytes that a record of `payload` bytes takes on disk.
pub(crate) fn record_size(payload: usize) -> usize {
    (RECORD_HEADER + payload).next_multiple_of(ALIGN)
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

/// `value` as a buffer size; file offsets beyond the address space cannot occur because whole segments fit in memory.
pub(crate) fn to_usize(value: u64) -> usize {
    usize::try_from(value).expect("a segment fits in the address space")
}

/// One past the last byte that is not zero.
pub(crate) fn end_of_content(bytes: &[u8]) -> usize {
    let blank = bytes.rchunks(4096).take_while(|chunk| chunk.iter().fold(0, |all, byte| all | byte) == 0).count();
    let rest = &bytes[..bytes.len().saturating_sub(blank * 4096)];
    rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_header_is_valid_only_where_it_was_written() {
        let place = Place { log_id: 7, segment: 1, offset: 512 };
        let header = BatchHeader { seq: 3, flushed_next: 9, count: 1, body: 32 };
        let bytes = header.encode(place);
        assert_eq!(BatchHeader::decode(&bytes, place), Some(header));
        assert_eq!(BatchHeader::decode(&bytes, Place { offset: 520, ..place }), None);
        assert_eq!(BatchHeader::decode(&bytes, Place { log_id: 8, ..place }), None);
    }

    #[test]
    fn one_flipped_bit_is_never_a_newer_version() {
        let mark = version_mark(*b"ORTST");
        assert_eq!(read_version(&mark, *b"ORTST"), Version::Current);
        for bit in 0..64 {
            let mut flipped = mark;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches!(read_version(&flipped, *b"ORTST"), Version::Newer(_)), "bit {bit}");
        }
        let newer = [b'O', b'R', b'T', b'S', b'T', 2, 2, 2];
        assert_eq!(read_version(&newer, *b"ORTST"), Version::Newer(2));
    }

    #[test]
    fn the_end_of_content_is_found_past_blank_blocks() {
        let mut bytes = vec![0; 10_000];
        assert_eq!(end_of_content(&bytes), 0);
        bytes[5_001] = 1;
        assert_eq!(end_of_content(&bytes), 5_002);
        bytes[9_999] = 1;
        assert_eq!(end_of_content(&bytes), 10_000);
    }
}
