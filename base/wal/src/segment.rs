//! One file of the log: its name, its header, its zero-filled growth.

use crate::disk::{LogDisk, NamedFile, sync_dir};
use crate::error::Error;
use crate::format::{self, VERSION, Version, u32_at, u64_at};

/// Batches begin here; the header has the first sector for itself and is written once.
pub(crate) const SEGMENT_HEADER: usize = 512;
const MAGIC: [u8; 5] = *b"ORLOG";
const FIELDS: usize = 56;

/// The log as it stood when the segment was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// Minted with the log; a segment of another log is not accepted.
    pub(crate) log_id: u64,
    pub(crate) number: u64,
    /// The number of its first batch: all earlier ones were synced.
    pub(crate) first_seq: u64,
    /// The first index that the log may hold.
    pub(crate) start: u64,
    /// The index of the next record.
    pub(crate) next: u64,
}

impl SegmentHeader {
    fn encode(&self) -> [u8; SEGMENT_HEADER] {
        let mut bytes = [0; SEGMENT_HEADER];
        bytes[..8].copy_from_slice(&format::version_mark(MAGIC));
        let fields = [self.log_id, self.number, self.first_seq, self.start, self.next];
        for (slot, field) in bytes[8..48].chunks_exact_mut(8).zip(fields) {
            slot.copy_from_slice(&field.to_le_bytes());
        }
        let crc = crc32fast::hash(&bytes[..48]);
        bytes[48..52].copy_from_slice(&crc.to_le_bytes());
        bytes
    }
}

/// What the header block of a file turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeaderBlock {
    Valid(SegmentHeader),
    Newer(u8),
    Damaged,
}

pub(crate) fn read_header(bytes: &[u8]) -> HeaderBlock {
    match format::read_version(bytes, MAGIC) {
        Version::Newer(found) => return HeaderBlock::Newer(found),
        Version::Damaged => return HeaderBlock::Damaged,
        Version::Current => {}
    }
    if bytes.len() < FIELDS || u32_at(bytes, 48) != crc32fast::hash(&bytes[..48]) {
        return HeaderBlock::Damaged;
    }
    HeaderBlock::Valid(SegmentHeader {
        log_id: u64_at(bytes, 8),
        number: u64_at(bytes, 16),
        first_seq: u64_at(bytes, 24),
        start: u64_at(bytes, 32),
        next: u64_at(bytes, 40),
    })
}

pub(crate) fn newer(file: &NamedFile, found: u8) -> Error {
    Error::Newer { path: file.path.to_path_buf(), found, supported: VERSION }
}

pub(crate) fn file_name(number: u64) -> String {
    format!("log-{number:012}.seg")
}

/// The number in a segment's file name; `None` for other files.
pub(crate) fn number_of(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("log-")?.strip_suffix(".seg")?;
    let number = digits.parse().ok()?;
    (file_name(number) == name).then_some(number)
}

/// The segment that is written to.
#[derive(Debug)]
pub(crate) struct ActiveSegment {
    pub(crate) file: NamedFile,
    pub(crate) number: u64,
    /// Where the next batch goes.
    pub(crate) position: u64,
    /// Up to here the file exists and, past `position`, is zero (a flush mark at `position` apart).
    pub(crate) zeroed_to: u64,
    /// The file never grows past this.
    pub(crate) capacity: u64,
}

impl ActiveSegment {
    /// Makes a new segment that is durable, with its name, on return.
    pub(crate) fn create(
        disk: &dyn LogDisk,
        header: &SegmentHeader,
        capacity: u64,
        grow: u64,
    ) -> Result<ActiveSegment, Error> {
        let file = NamedFile::create(disk, &file_name(header.number))?;
        file.write_at(&header.encode(), 0)?;
        let zeroed_to = capacity.min(SEGMENT_HEADER as u64 + grow);
        file.write_zeros(SEGMENT_HEADER as u64, zeroed_to)?;
        file.sync_data()?;
        sync_dir(disk)?;
        Ok(ActiveSegment { file, number: header.number, position: SEGMENT_HEADER as u64, zeroed_to, capacity })
    }

    pub(crate) fn fits(&self, bytes: u64) -> bool {
        self.position + bytes <= self.capacity
    }

    /// Writes a batch, and zeros ahead of it where it reaches the end of those; nothing is synced.
    pub(crate) fn write(&mut self, batch: &[u8], grow: u64) -> Result<(), Error> {
        self.file.write_at(batch, self.position)?;
        let end = self.position + batch.len() as u64;
        if end + format::BATCH_HEADER as u64 > self.zeroed_to {
            let target = self.capacity.min(end + grow).max(end);
            self.file.write_zeros(end.max(self.zeroed_to), target)?;
            self.zeroed_to = target;
        }
        self.position = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_carry_the_number_and_nothing_else_is_a_segment() {
        assert_eq!(number_of(&file_name(42)), Some(42));
        for other in ["log-42.seg", "log-000000000042.seg.bak", "vote", "log-00000000004x.seg"] {
            assert_eq!(number_of(other), None, "{other}");
        }
    }

    #[test]
    fn a_header_with_any_flipped_bit_in_its_fields_is_damaged() {
        let header = SegmentHeader { log_id: 1, number: 2, first_seq: 3, start: 4, next: 5 };
        let bytes = header.encode();
        assert_eq!(read_header(&bytes), HeaderBlock::Valid(header));
        for bit in 0..52 * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read_header(&flipped), HeaderBlock::Damaged, "bit {bit}");
        }
    }
}
