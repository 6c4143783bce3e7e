//! Snapshot files: written from a clone of the state in the background, two kept.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use openraft::alias::SnapshotMetaOf;
use orch_model::document;
use orch_state::{State, snapshot};

use super::paced::Paced;
use super::types::TypeConfig;

/// How many snapshots are kept.
const KEPT: usize = 2;

/// No header is larger: a longer length can only be damage.
const MAX_HEADER: usize = 1 << 20;

/// The directory of snapshot files.
///
/// A file is a length (u32), the CRC-32 and the document of the snapshot's meta, then the state as `orch_state` writes
/// it. It is written under a temporary name and renamed once it is whole and durable.
#[derive(Debug, Clone)]
pub(super) struct Snapshots {
    dir: PathBuf,
}

/// Why a snapshot could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// A file or directory could not be used.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The file's header is not right.
    #[error("the snapshot {} is damaged: {what}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// The state in it cannot be read.
    #[error("the snapshot {} cannot be used", path.display())]
    State {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: snapshot::Error,
    },
}

type Meta = SnapshotMetaOf<TypeConfig>;

impl Snapshots {
    /// Opens the directory, making it if need be and clearing what a crash left half-written.
    pub(super) fn open(dir: PathBuf) -> Result<Self, Error> {
        let snapshots = Self { dir };
        fs::create_dir_all(&snapshots.dir).map_err(|source| snapshots.error("create", &snapshots.dir, source))?;
        for path in snapshots.files_ending(".part")? {
            fs::remove_file(&path).map_err(|source| snapshots.error("remove", &path, source))?;
        }
        Ok(snapshots)
    }

    fn error(&self, action: &'static str, path: &Path, source: io::Error) -> Error {
        Error::Io { action, path: path.to_owned(), source }
    }

    fn files_ending(&self, end: &str) -> Result<Vec<PathBuf>, Error> {
        let list = fs::read_dir(&self.dir).map_err(|source| self.error("list", &self.dir, source))?;
        let mut files = Vec::new();
        for entry in list {
            let path = entry.map_err(|source| self.error("list", &self.dir, source))?.path();
            if path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.ends_with(end)) {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }

    /// Writes a snapshot and answers where it is. Blocks.
    pub(super) fn write(&self, meta: &Meta, state: &State) -> Result<PathBuf, Error> {
        let (index, term) = meta.last_log_id.map_or((0, 0), |id| (id.index, id.leader_id.term));
        let path = self.dir.join(format!("{index:020}-{term:010}.snap"));
        let part = path.with_extension("part");
        self.write_file(&part, meta, state)?;
        fs::rename(&part, &path).map_err(|source| self.error("rename", &part, source))?;
        self.settle()?;
        Ok(path)
    }

    fn write_file(&self, part: &Path, meta: &Meta, state: &State) -> Result<(), Error> {
        let io_error = |source| self.error("write", part, source);
        let header = document::encode(meta).map_err(|error| io_error(io::Error::other(error)))?;
        let len = u32::try_from(header.len()).map_err(|error| io_error(io::Error::other(error)))?;
        let mut file = BufWriter::with_capacity(1 << 18, File::create(part).map_err(io_error)?);
        file.write_all(&len.to_le_bytes()).map_err(io_error)?;
        file.write_all(&crc32fast::hash(&header).to_le_bytes()).map_err(io_error)?;
        file.write_all(&header).map_err(io_error)?;
        let mut paced = Paced::new(file);
        snapshot::write(state, &mut paced).map_err(|source| Error::State { path: part.to_owned(), source })?;
        let file = paced.into_inner().into_inner().map_err(|error| io_error(error.into_error()))?;
        file.sync_all().map_err(io_error)
    }

    /// Takes over a file that was received whole. Blocks.
    pub(super) fn adopt(&self, part: &Path, meta: &Meta) -> Result<PathBuf, Error> {
        let (index, term) = meta.last_log_id.map_or((0, 0), |id| (id.index, id.leader_id.term));
        let path = self.dir.join(format!("{index:020}-{term:010}.snap"));
        File::open(part).and_then(|file| file.sync_all()).map_err(|source| self.error("sync", part, source))?;
        fs::rename(part, &path).map_err(|source| self.error("rename", part, source))?;
        self.settle()?;
        Ok(path)
    }

    /// Makes renames durable and removes all but the newest snapshots.
    fn settle(&self) -> Result<(), Error> {
        File::open(&self.dir).and_then(|dir| dir.sync_all()).map_err(|source| self.error("sync", &self.dir, source))?;
        let files = self.files_ending(".snap")?;
        for old in files.iter().rev().skip(KEPT) {
            fs::remove_file(old).map_err(|source| self.error("remove", old, source))?;
        }
        Ok(())
    }

    /// The newest snapshot, its meta read; `None` if there is none. Blocks.
    pub(super) fn newest(&self) -> Result<Option<(Meta, PathBuf)>, Error> {
        match self.files_ending(".snap")?.pop() {
            Some(path) => Ok(Some((Self::read_meta(&path)?.0, path))),
            None => Ok(None),
        }
    }

    /// Reads a snapshot. Blocks.
    pub(super) fn read(path: &Path) -> Result<(Meta, State), Error> {
        let (meta, file) = Self::read_meta(path)?;
        let state = snapshot::read(file).map_err(|source| Error::State { path: path.to_owned(), source })?;
        Ok((meta, state))
    }

    fn read_meta(path: &Path) -> Result<(Meta, BufReader<File>), Error> {
        let damaged = |what| Error::Damaged { path: path.to_owned(), what };
        let open = |source| Error::Io { action: "open", path: path.to_owned(), source };
        let mut file = BufReader::with_capacity(1 << 18, File::open(path).map_err(open)?);
        let mut head = [0_u8; 8];
        file.read_exact(&mut head).map_err(|_| damaged("it is too short"))?;
        let [a, b, c, d, e, f, g, h] = head;
        let len = u32::from_le_bytes([a, b, c, d]) as usize;
        if len > MAX_HEADER {
            return Err(damaged("its header has an impossible length"));
        }
        let mut header = vec![0; len];
        file.read_exact(&mut header).map_err(|_| damaged("its header is cut"))?;
        if crc32fast::hash(&header) != u32::from_le_bytes([e, f, g, h]) {
            return Err(damaged("its header's checksum does not match"));
        }
        let meta = document::decode(&header).map_err(|_| damaged("its header cannot be read"))?;
        Ok((meta, file))
    }
}
