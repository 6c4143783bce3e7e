//! One small value in a file of two slots.
//!
//! A value is written to the slot that is not known to be durable, and synced; then the other slot gets a copy, which
//! nobody waits for. So a write that a crash tears hits a slot whose fellow holds the last acknowledged value, and once
//! the copy is down, one damaged slot costs nothing either.

use std::sync::Arc;

use crate::disk::{LogDisk, NamedFile, sync_dir};
use crate::error::Error;
use crate::format::{self, VERSION, Version, u32_at, u64_at};

/// The largest value of a [`SlotFile`], in bytes.
pub const MAX_SLOT_BYTES: usize = 4096;

const MAGIC: [u8; 5] = *b"ORSLT";
const HEAD: usize = 32;
const SLOT: usize = 8192;

/// A durable value of at most [`MAX_SLOT_BYTES`], replaced as a whole.
#[derive(Debug)]
pub struct SlotFile {
    file: NamedFile,
    value: Option<Arc<[u8]>>,
    seq: u64,
    /// The slot that the next value goes to: the one whose content need not be durable.
    spare: usize,
}

impl SlotFile {
    /// Creates the file, without a value; it is durable on return.
    pub fn create(disk: &dyn LogDisk, name: &str) -> Result<SlotFile, Error> {
        let file = NamedFile::create(disk, name)?;
        file.write_zeros(0, 2 * SLOT as u64)?;
        file.sync_data()?;
        sync_dir(disk)?;
        Ok(SlotFile { file, value: None, seq: 0, spare: 0 })
    }

    /// Opens the file and repairs a slot that a crash tore.
    ///
    /// An error if both slots are damaged. One damaged slot beside a blank one is the first write, never acknowledged.
    pub fn open(disk: &dyn LogDisk, name: &str) -> Result<SlotFile, Error> {
        let file = NamedFile::open(disk, name)?;
        let size = file.size()?.min(2 * SLOT as u64);
        let mut bytes = vec![0; format::to_usize(size)];
        file.read_at(&mut bytes, 0)?;
        bytes.resize(2 * SLOT, 0);
        let (first, second) = bytes.split_at(SLOT);
        let mut newest: Option<(usize, u64, &[u8])> = None;
        let mut damaged = 0;
        for (slot, content) in [first, second].into_iter().enumerate() {
            match read_slot(content) {
                Slot::Blank => {}
                Slot::Damaged => damaged += 1,
                Slot::Newer(found) => {
                    return Err(Error::Newer { path: file.path.to_path_buf(), found, supported: VERSION });
                }
                Slot::Value(seq, value) if newest.is_none_or(|(_, newest, _)| newest < seq) => {
                    newest = Some((slot, seq, value));
                }
                Slot::Value(..) => {}
            }
        }
        if damaged == 2 {
            return Err(file.damaged(0, "both slots fail their checksum"));
        }
        let Some((slot, seq, value)) = newest else {
            // The first write ever was torn, and so never acknowledged.
            file.write_zeros(0, 2 * SLOT as u64)?;
            file.sync_data()?;
            return Ok(SlotFile { file, value: None, seq: 0, spare: 0 });
        };
        let opened = SlotFile { file, value: Some(value.into()), seq, spare: 1 - slot };
        opened.file.sync_data()?;
        opened.write_slot(opened.spare)?;
        opened.file.sync_data()?;
        Ok(opened)
    }

    /// The last value written.
    pub fn value(&self) -> Option<&Arc<[u8]>> {
        self.value.as_ref()
    }

    /// Replaces the value; it is durable on return. After an error the file must not be used again.
    pub fn write(&mut self, value: Arc<[u8]>) -> Result<(), Error> {
        check_size(&value)?;
        self.value = Some(value);
        self.seq += 1;
        self.write_slot(self.spare)?;
        self.file.sync_data()?;
        self.spare = 1 - self.spare;
        self.write_slot(self.spare)
    }

    fn write_slot(&self, slot: usize) -> Result<(), Error> {
        let value = self.value.as_deref().unwrap_or(&[]);
        let mut bytes = Vec::with_capacity(HEAD + value.len());
        bytes.extend_from_slice(&format::version_mark(MAGIC));
        bytes.extend_from_slice(&self.seq.to_le_bytes());
        bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(value);
        let crc = slot_crc(&bytes);
        bytes[24..28].copy_from_slice(&crc.to_le_bytes());
        self.file.write_at(&bytes, (slot * SLOT) as u64)
    }
}

/// An error if `value` is too large for a slot.
pub(crate) fn check_size(value: &[u8]) -> Result<(), Error> {
    if value.len() > MAX_SLOT_BYTES {
        return Err(Error::TooLarge { what: "a value", bytes: value.len(), limit: MAX_SLOT_BYTES });
    }
    Ok(())
}

enum Slot<'a> {
    Blank,
    Damaged,
    Newer(u8),
    Value(u64, &'a [u8]),
}

fn read_slot(bytes: &[u8]) -> Slot<'_> {
    if format::end_of_content(bytes) == 0 {
        return Slot::Blank;
    }
    match format::read_version(bytes, MAGIC) {
        Version::Newer(found) => return Slot::Newer(found),
        Version::Damaged => return Slot::Damaged,
        Version::Current => {}
    }
    let whole = usize::try_from(u64_at(bytes, 16)).ok().and_then(|length| bytes.get(..HEAD.checked_add(length)?));
    match whole {
        Some(whole) if u32_at(whole, 24) == slot_crc(whole) => Slot::Value(u64_at(whole, 8), &whole[HEAD..]),
        Some(_) | None => Slot::Damaged,
    }
}

/// The checksum of a slot's head, without the checksum's own place, and value.
fn slot_crc(bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..24]);
    hasher.update(&bytes[28..]);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::FaultDisk;

    fn value_of(disk: &FaultDisk) -> Option<Vec<u8>> {
        SlotFile::open(disk, "vote").unwrap().value().map(|value| value.to_vec())
    }

    #[test]
    fn an_acknowledged_value_survives_any_crash() {
        for seed in 0..200 {
            let disk = FaultDisk::new(seed);
            let mut slots = SlotFile::create(&disk, "vote").unwrap();
            disk.power_off_after(seed % 12);
            let mut acknowledged = None;
            for round in 1_u8..10 {
                let value = vec![round; 700 * usize::from(round % 6)];
                if slots.write(value.clone().into()).is_err() {
                    let found = value_of(&disk.crash());
                    assert!(found == acknowledged || found == Some(value), "seed {seed}");
                    break;
                }
                acknowledged = Some(value);
            }
        }
    }

    #[test]
    fn opening_after_a_kill_may_itself_be_cut_short_by_a_crash() {
        for seed in 0..200 {
            let disk = FaultDisk::new(seed);
            let mut slots = SlotFile::create(&disk, "vote").unwrap();
            slots.write(vec![1; 2000].into()).unwrap();
            disk.power_off_after(1);
            assert!(slots.write(vec![2; 2000].into()).is_err(), "written, not synced");
            let killed = disk.restart();
            killed.power_off_after(seed % 4);
            drop(SlotFile::open(&killed, "vote"));
            let found = value_of(&killed.crash()).unwrap();
            assert!(found == vec![1; 2000] || found == vec![2; 2000], "seed {seed}");
        }
    }

    #[test]
    fn any_flipped_bit_in_one_slot_costs_nothing() {
        let disk = FaultDisk::new(1);
        let mut slots = SlotFile::create(&disk, "vote").unwrap();
        slots.write(Arc::from(&b"term 7"[..])).unwrap();
        slots.write(Arc::from(&b"term 8"[..])).unwrap();
        for slot in [0, SLOT as u64] {
            for byte in 0..38 {
                let copy = disk.restart();
                copy.flip_bit("vote", slot + byte, 3);
                assert_eq!(value_of(&copy).as_deref(), Some(&b"term 8"[..]), "slot {slot} byte {byte}");
            }
        }
    }

    #[test]
    fn two_damaged_slots_are_an_error_that_names_the_file() {
        let disk = FaultDisk::new(1);
        SlotFile::create(&disk, "vote").unwrap().write(Arc::from(&b"term 7"[..])).unwrap();
        disk.flip_bit("vote", 33, 0);
        disk.flip_bit("vote", SLOT as u64 + 33, 0);
        let error = SlotFile::open(&disk, "vote").unwrap_err().to_string();
        assert!(error.contains("vote is damaged at byte 0: both slots"), "{error}");
    }
}
