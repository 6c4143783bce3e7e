//! The seam between this crate and the file system: a flat directory of files.

use std::fmt::Debug;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::Error;

/// A directory of files, as the log sees it.
///
/// What is written survives the process at once and a power failure only after [`DiskFile::sync_data`]; names that were
/// created, renamed or removed survive one only after [`LogDisk::sync_dir`].
pub trait LogDisk: Send + Sync + Debug {
    /// Where `name` lies, for messages.
    fn path(&self, name: &str) -> PathBuf;
    /// The names of all regular files, in no particular order.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Opens an existing file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Creates an empty file; an existing one of that name is an error.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Removes a name; who has the file open can still read it.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Gives a file a new name in one step, replacing what had it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Makes creations, removals and renames durable.
    fn sync_dir(&self) -> io::Result<()>;
}

/// An open file of a [`LogDisk`].
pub trait DiskFile: Send + Sync + Debug {
    /// The size in bytes.
    fn size(&self) -> io::Result<u64>;
    /// Fills `buffer` from `offset`; `UnexpectedEof` where the file is shorter.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all of `bytes` at `offset`, growing the file where needed.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes everything written durable, with the size.
    fn sync_data(&self) -> io::Result<()>;

    /// Writes zeros from `from` up to `to`, so that later writes there change no metadata.
    fn write_zeros(&self, from: u64, to: u64) -> io::Result<()> {
        static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
        let mut at = from;
        while at < to {
            let step = (to - at).min(ZEROS.len() as u64);
            let chunk = usize::try_from(step).map_or(&ZEROS[..], |step| &ZEROS[..step]);
            self.write_at(chunk, at)?;
            at += chunk.len() as u64;
        }
        Ok(())
    }
}

const LOCK_FILE: &str = "LOCK";

/// A real directory, held under a lock until dropped.
#[derive(Debug)]
pub struct RealDisk {
    dir: PathBuf,
    handle: File,
    _lock: File,
}

impl RealDisk {
    /// Opens `dir`, creating it where needed, and locks it against other processes.
    pub fn open(dir: impl Into<PathBuf>) -> Result<RealDisk, Error> {
        let dir = dir.into();
        let failed = |action, source| Error::Io { action, path: dir.clone(), source };
        std::fs::create_dir_all(&dir).map_err(|e| failed("create", e))?;
        if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            File::open(parent).and_then(|parent| parent.sync_all()).map_err(|e| failed("sync the parent of", e))?;
        }
        let handle = File::open(&dir).map_err(|e| failed("open", e))?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(dir.join(LOCK_FILE))
            .map_err(|e| failed("create the lock file of", e))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::InUse { path: dir }),
            Err(TryLockError::Error(e)) => return Err(failed("lock", e)),
        }
        Ok(RealDisk { dir, handle, _lock: lock })
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

impl LogDisk for RealDisk {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.dir)? {
            let entry = entry?;
            if entry.file_type()?.is_file()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).open(self.path(name))?;
        Ok(Arc::new(RealFile(file)))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(self.path(name))?;
        Ok(Arc::new(RealFile(file)))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path(from), self.path(to))
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.handle.sync_all()
    }
}

#[derive(Debug)]
struct RealFile(File);

impl DiskFile for RealFile {
    fn size(&self) -> io::Result<u64> {
        self.0.metadata().map(|metadata| metadata.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}

/// A file with its name, so that every failure says where it happened.
#[derive(Debug, Clone)]
pub(crate) struct NamedFile {
    pub(crate) path: Arc<Path>,
    file: Arc<dyn DiskFile>,
}

impl NamedFile {
    pub(crate) fn open(disk: &dyn LogDisk, name: &str) -> Result<NamedFile, Error> {
        NamedFile::new(disk, name, "open", disk.open(name))
    }

    pub(crate) fn create(disk: &dyn LogDisk, name: &str) -> Result<NamedFile, Error> {
        NamedFile::new(disk, name, "create", disk.create(name))
    }

    fn new(
        disk: &dyn LogDisk,
        name: &str,
        action: &'static str,
        file: io::Result<Arc<dyn DiskFile>>,
    ) -> Result<NamedFile, Error> {
        let path = disk.path(name);
        match file {
            Ok(file) => Ok(NamedFile { path: path.into(), file }),
            Err(source) => Err(Error::Io { action, path, source }),
        }
    }

    pub(crate) fn size(&self) -> Result<u64, Error> {
        self.file.size().map_err(|e| self.failed("measure", e))
    }

    pub(crate) fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), Error> {
        self.file.read_at(buffer, offset).map_err(|e| self.failed("read", e))
    }

    pub(crate) fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), Error> {
        self.file.write_at(bytes, offset).map_err(|e| self.failed("write", e))
    }

    pub(crate) fn write_zeros(&self, from: u64, to: u64) -> Result<(), Error> {
        self.file.write_zeros(from, to).map_err(|e| self.failed("write", e))
    }

    pub(crate) fn sync_data(&self) -> Result<(), Error> {
        self.file.sync_data().map_err(|e| self.failed("sync", e))
    }

    pub(crate) fn damaged(&self, offset: u64, detail: impl Into<String>) -> Error {
        Error::Damaged { path: self.path.to_path_buf(), offset, detail: detail.into() }
    }

    fn failed(&self, action: &'static str, source: io::Error) -> Error {
        Error::Io { action, path: self.path.to_path_buf(), source }
    }
}

/// All names on `disk`, sorted.
pub(crate) fn list(disk: &dyn LogDisk) -> Result<Vec<String>, Error> {
    let mut names = disk.list().map_err(|e| on_directory(disk, "list", e))?;
    names.sort();
    Ok(names)
}

pub(crate) fn sync_dir(disk: &dyn LogDisk) -> Result<(), Error> {
    disk.sync_dir().map_err(|e| on_directory(disk, "sync", e))
}

pub(crate) fn remove(disk: &dyn LogDisk, name: &str) -> Result<(), Error> {
    disk.remove(name).map_err(|source| Error::Io { action: "remove", path: disk.path(name), source })
}

pub(crate) fn rename(disk: &dyn LogDisk, from: &str, to: &str) -> Result<(), Error> {
    disk.rename(from, to).map_err(|source| Error::Io { action: "rename", path: disk.path(from), source })
}

fn on_directory(disk: &dyn LogDisk, action: &'static str, source: io::Error) -> Error {
    Error::Io { action, path: disk.path(""), source }
}
