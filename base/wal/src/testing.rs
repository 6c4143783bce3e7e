//! A disk in memory that loses power, lies and fails on command.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::disk::{DiskFile, LogDisk};

const SECTOR: usize = 512;

/// How an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The device reports an error. A failed sync loses what it should have made durable, for good.
    Eio,
    /// The disk is full: a write lands half, a creation not at all.
    Enospc,
}

/// An in-memory [`LogDisk`] that keeps what is durable apart from what is merely written.
///
/// Operations that change something (write, sync, create, remove, rename, directory sync) are counted; faults are set
/// relative to that count. Clones are the same disk.
#[derive(Debug, Clone)]
pub struct FaultDisk {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Clone, Default)]
struct Inner {
    seed: u64,
    files: Vec<File>,
    /// Names as the running system sees them.
    names: BTreeMap<String, usize>,
    /// Names as of the last directory sync.
    durable_names: BTreeMap<String, usize>,
    /// Changes of names since then, in order; each happens whole or not at all.
    renames: Vec<NameChange>,
    operations: u64,
    power_off_at: Option<u64>,
    fault_at: Option<(u64, Fault)>,
    lose_syncs: bool,
}

/// Names with the file that each now has, or `None` where it is gone.
type NameChange = Vec<(String, Option<usize>)>;

#[derive(Debug, Clone, Default)]
struct File {
    written: Vec<u8>,
    durable: Vec<u8>,
    /// Writes since the last sync, in order.
    unsynced: Vec<(usize, Vec<u8>)>,
}

impl FaultDisk {
    /// An empty disk; `seed` decides what a crash leaves.
    pub fn new(seed: u64) -> FaultDisk {
        FaultDisk::from_inner(Inner { seed, ..Inner::default() })
    }

    /// The number of changing operations so far.
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// Makes every operation fail once `operations` more have been done.
    pub fn power_off_after(&self, operations: u64) {
        let mut inner = self.lock();
        inner.power_off_at = Some(inner.operations + operations);
    }

    /// Makes the changing operation after `operations` more ones fail, once.
    pub fn fail_after(&self, operations: u64, fault: Fault) {
        let mut inner = self.lock();
        inner.fault_at = Some((inner.operations + operations, fault));
    }

    /// While true, syncs of files report success and do nothing.
    pub fn lose_syncs(&self, lose: bool) {
        self.lock().lose_syncs = lose;
    }

    /// The disk after a power failure: of each file's unsynced writes some sectors, of the unsynced names some.
    pub fn crash(&self) -> FaultDisk {
        let inner = self.lock();
        let mut random = Random(inner.seed ^ inner.operations.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut after = Inner { seed: random.next(), ..Inner::default() };
        let mut names = inner.durable_names.clone();
        let kept = random.below(inner.renames.len() + 1);
        for (name, file) in inner.renames[..kept].iter().flatten() {
            set_name(&mut names, name, *file);
        }
        for (name, file) in names {
            let content = inner.files[file].after_crash(&mut random);
            after.add(name, content);
        }
        FaultDisk::from_inner(after)
    }

    /// The disk as a new process finds it: all that was written, no faults, and still nothing unsynced is durable.
    pub fn restart(&self) -> FaultDisk {
        let inner = self.lock().clone();
        FaultDisk::from_inner(Inner { power_off_at: None, fault_at: None, lose_syncs: false, ..inner })
    }

    /// Flips one bit of a file, durably.
    ///
    /// # Panics
    /// If there is no such file or byte.
    pub fn flip_bit(&self, name: &str, byte: u64, bit: u32) {
        let mut inner = self.lock();
        let file = inner.names[name];
        let byte = usize::try_from(byte).expect("an offset in memory");
        let file = &mut inner.files[file];
        file.written[byte] ^= 1 << (bit % 8);
        if let Some(durable) = file.durable.get_mut(byte) {
            *durable ^= 1 << (bit % 8);
        }
    }

    /// What a file holds, synced or not; `None` if it does not exist.
    pub fn content(&self, name: &str) -> Option<Vec<u8>> {
        let inner = self.lock();
        inner.names.get(name).map(|file| inner.files[*file].written.clone())
    }

    /// Puts a file on the disk, durably.
    pub fn put(&self, name: &str, content: Vec<u8>) {
        self.lock().add(name.to_owned(), content);
    }

    fn from_inner(inner: Inner) -> FaultDisk {
        FaultDisk { inner: Arc::new(Mutex::new(inner)) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no panic while the disk is locked")
    }

    fn handle(&self, file: usize) -> Arc<dyn DiskFile> {
        Arc::new(Handle { disk: self.clone(), file })
    }
}

impl Inner {
    fn add(&mut self, name: String, content: Vec<u8>) {
        self.files.push(File { written: content.clone(), durable: content, unsynced: Vec::new() });
        self.names.insert(name.clone(), self.files.len() - 1);
        self.durable_names.insert(name, self.files.len() - 1);
    }

    fn powered(&self) -> io::Result<()> {
        let off = self.power_off_at.is_some_and(|at| self.operations >= at);
        if off { Err(io::Error::other("the power is off")) } else { Ok(()) }
    }

    /// Counts a changing operation; `Some` if it is to fail.
    fn change(&mut self) -> io::Result<Option<Fault>> {
        self.powered()?;
        let due = self.fault_at.filter(|(at, _)| self.operations >= *at).map(|(_, fault)| fault);
        if due.is_some() {
            self.fault_at = None;
        }
        self.operations += 1;
        Ok(due)
    }

    fn change_name(&mut self, change: NameChange) -> io::Result<()> {
        if let Some(fault) = self.change()? {
            return Err(fault.to_io());
        }
        for (name, file) in &change {
            set_name(&mut self.names, name, *file);
        }
        self.renames.push(change);
        Ok(())
    }

    fn find(&self, name: &str) -> io::Result<usize> {
        self.powered()?;
        self.names.get(name).copied().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }
}

impl Fault {
    fn to_io(self) -> io::Error {
        match self {
            Fault::Eio => io::Error::other("Input/output error (injected)"),
            Fault::Enospc => io::Error::new(io::ErrorKind::StorageFull, "No space left on device (injected)"),
        }
    }
}

impl File {
    fn after_crash(&self, random: &mut Random) -> Vec<u8> {
        let mut content = self.durable.clone();
        let survival = random.below(4);
        let writes = if survival == 3 { random.below(self.unsynced.len() + 1) } else { self.unsynced.len() };
        for (offset, bytes) in &self.unsynced[..writes] {
            let mut at = 0;
            while at < bytes.len() {
                let sector_end = (offset + at).next_multiple_of(SECTOR).max(offset + at + 1);
                let step = if (offset + at).is_multiple_of(SECTOR) { SECTOR } else { sector_end - offset - at };
                let end = (at + step).min(bytes.len());
                let lives = match survival {
                    0 => false,
                    1 => random.below(8) != 0,
                    2 => random.below(2) == 0,
                    _ => true,
                };
                if lives {
                    overwrite(&mut content, offset + at, &bytes[at..end]);
                }
                at = end;
            }
        }
        content
    }
}

fn set_name(names: &mut BTreeMap<String, usize>, name: &str, file: Option<usize>) {
    match file {
        Some(file) => names.insert(name.to_owned(), file),
        None => names.remove(name),
    };
}

fn overwrite(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if content.len() < offset + bytes.len() {
        content.resize(offset + bytes.len(), 0);
    }
    content[offset..offset + bytes.len()].copy_from_slice(bytes);
}

impl LogDisk for FaultDisk {
    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("/fault-disk").join(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let inner = self.lock();
        inner.powered()?;
        Ok(inner.names.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.lock().find(name)?;
        Ok(self.handle(file))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut inner = self.lock();
        if inner.find(name).is_ok() {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists));
        }
        let file = inner.files.len();
        inner.change_name(vec![(name.to_owned(), Some(file))])?;
        inner.files.push(File::default());
        drop(inner);
        Ok(self.handle(file))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut inner = self.lock();
        inner.find(name)?;
        inner.change_name(vec![(name.to_owned(), None)])
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut inner = self.lock();
        let file = inner.find(from)?;
        inner.change_name(vec![(to.to_owned(), Some(file)), (from.to_owned(), None)])
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut inner = self.lock();
        if let Some(fault) = inner.change()? {
            return Err(fault.to_io());
        }
        inner.durable_names = inner.names.clone();
        inner.renames.clear();
        Ok(())
    }
}

#[derive(Debug)]
struct Handle {
    disk: FaultDisk,
    file: usize,
}

impl DiskFile for Handle {
    fn size(&self) -> io::Result<u64> {
        let inner = self.disk.lock();
        inner.powered()?;
        Ok(inner.files[self.file].written.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let inner = self.disk.lock();
        inner.powered()?;
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let end = offset.checked_add(buffer.len()).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        let Some(bytes) = inner.files[self.file].written.get(offset..end) else {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        };
        buffer.copy_from_slice(bytes);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut inner = self.disk.lock();
        let fault = inner.change()?;
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let landed = match fault {
            None => bytes,
            Some(Fault::Enospc) => &bytes[..bytes.len() / 2],
            Some(Fault::Eio) => &[],
        };
        let file = &mut inner.files[self.file];
        overwrite(&mut file.written, offset, landed);
        file.unsynced.push((offset, landed.to_vec()));
        fault.map_or(Ok(()), |fault| Err(fault.to_io()))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut inner = self.disk.lock();
        let fault = inner.change()?;
        let lost = inner.lose_syncs;
        let file = &mut inner.files[self.file];
        match fault {
            Some(fault) => {
                file.unsynced.clear();
                Err(fault.to_io())
            }
            None if lost => Ok(()),
            None => {
                for (offset, bytes) in std::mem::take(&mut file.unsynced) {
                    overwrite(&mut file.durable, offset, &bytes);
                }
                Ok(())
            }
        }
    }
}

/// SplitMix64: enough randomness for deciding which sectors live.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap_or(0)
    }
}
