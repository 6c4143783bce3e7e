//! What an allocation leaves to its successor, as a tar archive: `alloc/data`, and `local` of each task.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Component, Path};

use bytes::Bytes;
use tar::{Archive, Builder, EntryType};
use tokio::sync::mpsc;

use crate::alloc_dir::AllocDir;
use crate::error::Error;

/// How large the pieces of an archive are.
const PIECE: usize = 64 * 1024;
/// Where an archive is unpacked before its parts take their places.
const INCOMING: &str = ".incoming";

/// A piece of an archive, or why there are no more.
pub(crate) type Piece = io::Result<Bytes>;

/// Writes the archive to `pieces`. An archive that ends early ends with an error. Blocks.
///
/// Links are kept as they are; devices, pipes and sockets are left out.
pub(crate) fn pack(dir: &AllocDir, tasks: &[String], pieces: mpsc::Sender<Piece>) {
    let mut archive = Builder::new(Sender { pieces: pieces.clone(), waiting: Vec::with_capacity(PIECE) });
    archive.follow_symlinks(false);
    let packed = parts(dir, tasks).try_for_each(|part| add(&mut archive, dir.root(), Path::new(&part)));
    let packed = packed.and_then(|()| archive.into_inner()).and_then(|mut sender| sender.flush());
    if let Err(error) = packed {
        // The reader may be the one that went away.
        let _nobody_reads = pieces.blocking_send(Err(error));
    }
}

/// Puts what `pieces` hold into the allocation's directory, in place of what is there. Blocks.
///
/// Nothing but the parts of a snapshot is taken, whatever the archive says.
pub(crate) fn unpack(dir: &AllocDir, tasks: &[String], pieces: mpsc::Receiver<Piece>) -> Result<(), Error> {
    let incoming = dir.root().join(INCOMING);
    dir.make_shared(false)?;
    remove(&incoming)?;
    fs::create_dir(&incoming).map_err(Error::io("make the directory", &incoming))?;
    let unpacked = receive(&incoming, dir, tasks, Receiver { pieces, current: Bytes::new() });
    let placed = unpacked.map_err(Error::io("unpack the data of an earlier allocation to", &incoming)).and_then(|()| {
        for part in parts(dir, tasks) {
            dir.put(&incoming.join(&part), &part)?;
        }
        Ok(())
    });
    remove(&incoming)?;
    placed
}

/// The parts of a snapshot, relative to the allocation's directory.
pub(crate) fn parts<'a>(dir: &'a AllocDir, tasks: &'a [String]) -> impl Iterator<Item = String> + 'a {
    let shared = dir.shared().file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    std::iter::once(format!("{shared}/data")).chain(tasks.iter().map(|task| format!("{task}/local")))
}

fn add(archive: &mut Builder<Sender>, root: &Path, path: &Path) -> io::Result<()> {
    let full = root.join(path);
    let metadata = match fs::symlink_metadata(&full) {
        Ok(metadata) => metadata,
        // Files may go while the directory is read.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let kind = metadata.file_type();
    if !(kind.is_dir() || kind.is_file() || kind.is_symlink()) {
        return Ok(());
    }
    archive.append_path_with_name(&full, path)?;
    if kind.is_dir() {
        for entry in fs::read_dir(&full)? {
            add(archive, root, &path.join(entry?.file_name()))?;
        }
    }
    Ok(())
}

fn receive(incoming: &Path, dir: &AllocDir, tasks: &[String], reader: Receiver) -> io::Result<()> {
    let wanted: Vec<String> = parts(dir, tasks).collect();
    let mut archive = Archive::new(reader);
    archive.set_preserve_permissions(true);
    archive.set_preserve_ownerships(nix::unistd::Uid::effective().is_root());
    archive.set_overwrite(true);
    // Modes of directories come last, so that one that may not be written does not refuse its own files.
    let mut directories = Vec::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
        if !plain || !wanted.iter().any(|part| path.starts_with(part)) {
            return Err(io::Error::new(ErrorKind::InvalidData, format!("the archive holds {}", path.display())));
        }
        match entry.header().entry_type() {
            EntryType::Directory => directories.push(entry),
            // It makes the directories on the way, and follows no link out of `incoming`.
            EntryType::Regular | EntryType::Symlink | EntryType::GNUSparse | EntryType::Continuous => {
                entry.unpack_in(incoming)?;
            }
            // Nothing that `pack` writes.
            _ => {}
        }
    }
    for mut directory in directories.into_iter().rev() {
        directory.unpack_in(incoming)?;
    }
    Ok(())
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Sends what is written in pieces.
struct Sender {
    pieces: mpsc::Sender<Piece>,
    waiting: Vec<u8>,
}

impl Write for Sender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.waiting, Vec::with_capacity(PIECE));
        self.pieces.blocking_send(Ok(piece.into())).map_err(|_| ErrorKind::BrokenPipe.into())
    }
}

/// Reads what comes in pieces.
struct Receiver {
    pieces: mpsc::Receiver<Piece>,
    current: Bytes,
}

impl Read for Receiver {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.current = piece?,
                None => return Ok(0),
            }
        }
        let piece = self.current.split_to(self.current.len().min(buffer.len()));
        let (head, _) = buffer.split_at_mut(piece.len());
        head.copy_from_slice(&piece);
        Ok(piece.len())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use orch_model::AllocId;
    use uuid::Uuid;

    use super::*;

    fn dir(parent: &Path, number: u128) -> AllocDir {
        let dir = AllocDir::new(parent, AllocId::from_uuid(Uuid::from_u128(number)));
        dir.make_shared(false).unwrap();
        dir.make_task("app", None, 1).unwrap();
        dir
    }

    fn send(from: &AllocDir, to: &AllocDir) -> Result<(), Error> {
        let tasks = vec!["app".to_owned()];
        let (sender, receiver) = mpsc::channel(1);
        let (from, named) = (from.clone(), tasks.clone());
        let packing = std::thread::spawn(move || pack(&from, &named, sender));
        let unpacked = unpack(to, &tasks, receiver);
        packing.join().unwrap();
        unpacked
    }

    #[test]
    fn a_snapshot_carries_data_modes_and_links_and_nothing_else() {
        let parent = tempfile::tempdir().unwrap();
        let (from, to) = (dir(parent.path(), 1), dir(parent.path(), 2));
        let root = from.root();
        fs::write(root.join("alloc/data/rows"), vec![7; 3 * PIECE + 5]).unwrap();
        fs::create_dir(root.join("app/local/sealed")).unwrap();
        fs::write(root.join("app/local/sealed/key"), "1").unwrap();
        fs::set_permissions(root.join("app/local/sealed"), fs::Permissions::from_mode(0o500)).unwrap();
        symlink("/nowhere", root.join("app/local/link")).unwrap();
        fs::write(root.join("app/tmp/scrap"), "1").unwrap();
        fs::write(root.join("app/secrets/key"), "1").unwrap();
        fs::write(to.root().join("app/local/old"), "1").unwrap();
        send(&from, &to).unwrap();
        let got = |path: &str| to.root().join(path);
        assert_eq!(fs::read(got("alloc/data/rows")).unwrap().len(), 3 * PIECE + 5);
        assert_eq!(fs::read_to_string(got("app/local/sealed/key")).unwrap(), "1");
        assert_eq!(fs::metadata(got("app/local/sealed")).unwrap().permissions().mode() & 0o777, 0o500);
        assert_eq!(fs::read_link(got("app/local/link")).unwrap(), Path::new("/nowhere"));
        assert_eq!(fs::metadata(got("app/local")).unwrap().permissions().mode() & 0o777, 0o777);
        for absent in ["app/local/old", "app/tmp/scrap", "app/secrets/key", INCOMING] {
            assert!(!got(absent).exists(), "{absent}");
        }
        from.remove().unwrap();
        to.remove().unwrap();
    }

    /// An archive of one file at `path`, below a link if there is one to go through.
    fn archive(path: &str, link: Option<(&str, &str)>) -> Bytes {
        let mut archive = Builder::new(Vec::new());
        if let Some((at, target)) = link {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(EntryType::Symlink);
            header.set_size(0);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mode(0o777);
            archive.append_link(&mut header, at, target).unwrap();
        }
        let mut header = tar::Header::new_gnu();
        // As somebody would who means harm: the setter refuses such paths.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_size(1);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_cksum();
        archive.append(&header, &b"x"[..]).unwrap();
        archive.into_inner().unwrap().into()
    }

    #[test]
    fn an_archive_that_leads_elsewhere_or_ends_early_changes_nothing() {
        let parent = tempfile::tempdir().unwrap();
        let to = dir(parent.path(), 1);
        fs::write(to.root().join("alloc/data/kept"), "1").unwrap();
        let out = parent.path().display().to_string();
        let whole = archive("alloc/data/new", None);
        let cut: Bytes = whole.slice(..600);
        for bad in [
            archive("alloc/data/../../../escaped", None),
            archive("/escaped", None),
            archive("app/secrets/key", None),
            archive("alloc/data/out/escaped", Some(("alloc/data/out", out.as_str()))),
            cut,
        ] {
            let (sender, receiver) = mpsc::channel(1);
            sender.try_send(Ok(bad)).unwrap();
            drop(sender);
            unpack(&to, &["app".to_owned()], receiver).unwrap_err();
        }
        let (sender, receiver) = mpsc::channel(2);
        sender.try_send(Ok(whole)).unwrap();
        sender.try_send(Err(ErrorKind::ConnectionReset.into())).unwrap();
        drop(sender);
        // What comes after the end of an archive is not looked at.
        unpack(&to, &["app".to_owned()], receiver).unwrap();
        assert!(!parent.path().join("escaped").exists() && !to.root().join("app/secrets/key").exists());
        to.remove().unwrap();
    }
}
