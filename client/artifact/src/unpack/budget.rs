//! How much may still be unfolded.

use std::fs::File;
use std::io::{self, Read, Write};

use crate::order::{Failure, FailureKind, Limits};

/// Counts entries and bytes down.
#[derive(Debug)]
pub(crate) struct Budget {
    entries: Option<u64>,
    bytes: Option<u64>,
    of_entries: u64,
    of_bytes: u64,
}

impl Budget {
    pub(crate) fn new(limits: &Limits) -> Self {
        let (of_entries, of_bytes) = (limits.unpacked_entries, limits.unpacked_bytes);
        let some = |limit: u64| (limit > 0).then_some(limit);
        Self { entries: some(of_entries), bytes: some(of_bytes), of_entries, of_bytes }
    }

    /// Takes one entry.
    pub(crate) fn entry(&mut self) -> Result<(), Failure> {
        match &mut self.entries {
            None => Ok(()),
            Some(0) => {
                let reason = format!("it has more than {} entries (decompression_file_count_limit)", self.of_entries);
                Err(Failure::new(FailureKind::TooLarge, reason))
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }

    pub(crate) fn bytes(&mut self, count: u64) -> Result<(), Failure> {
        let Some(left) = &mut self.bytes else { return Ok(()) };
        *left = left.checked_sub(count).ok_or_else(|| {
            let reason = format!("it unfolds to more than {} bytes (decompression_size_limit)", self.of_bytes);
            Failure::new(FailureKind::TooLarge, reason)
        })?;
        Ok(())
    }

    /// Copies what an archive has to a file.
    pub(crate) fn copy(&mut self, from: &mut dyn Read, to: &mut File) -> Result<(), Failure> {
        let mut buffer = vec![0; 128 * 1024];
        loop {
            let count = match from.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failure::content(format!("it is damaged ({error})"))),
            };
            self.bytes(count as u64)?;
            to.write_all(&buffer[..count]).map_err(Failure::local("cannot write what was fetched"))?;
        }
    }
}
