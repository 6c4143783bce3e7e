//! Directories held open, and what is done in them by name: no path is walked, so no link can lead elsewhere.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, open, openat, openat2, readlinkat, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstatat, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, fchownat, linkat, symlinkat, unlinkat};

/// A directory, by its descriptor.
#[derive(Debug)]
pub(crate) struct Dir(OwnedFd);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Dir,
    Link,
    /// A device, a pipe, a socket.
    Other,
}

impl Dir {
    /// Opens a directory that the caller trusts to be the right one.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(open(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?))
    }

    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self(self.0.try_clone()?))
    }

    pub(crate) fn set_mode(&self, mode: u32) -> io::Result<()> {
        Ok(fchmod(&self.0, Mode::from_bits_truncate(mode))?)
    }

    /// Opens a directory in this one; a link is an error.
    pub(crate) fn enter(&self, name: &OsStr) -> io::Result<Self> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Ok(Self(openat(&self.0, one(name)?, flags, Mode::empty())?))
    }

    /// The same, after making it where it is missing; says whether it did.
    pub(crate) fn enter_or_make(&self, name: &OsStr, mode: u32) -> io::Result<(Self, bool)> {
        match mkdirat(&self.0, one(name)?, Mode::from_bits_truncate(mode)) {
            Ok(()) => Ok((self.enter(name)?, true)),
            Err(Errno::EEXIST) => Ok((self.enter(name)?, false)),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes a file and opens it for writing; what had its name and is no directory is gone before.
    pub(crate) fn create(&self, name: &OsStr) -> io::Result<File> {
        self.remove_file(name)?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Ok(openat(&self.0, one(name)?, flags, Mode::from_bits_truncate(0o600))?.into())
    }

    /// Opens a plain file for reading.
    pub(crate) fn open_file(&self, name: &OsStr) -> io::Result<File> {
        // Or a pipe would make this wait.
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = File::from(openat(&self.0, one(name)?, flags, Mode::empty())?);
        if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a plain file")) }
    }

    pub(crate) fn stat(&self, name: &OsStr) -> io::Result<Option<FileStat>> {
        match fstatat(&self.0, one(name)?, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::ENOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) fn kind(&self, name: &OsStr) -> io::Result<Option<Kind>> {
        Ok(self.stat(name)?.map(|stat| kind(&stat)))
    }

    /// The names of what is in it, in order.
    pub(crate) fn names(&self) -> io::Result<Vec<OsString>> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut open = nix::dir::Dir::openat(&self.0, ".", flags, Mode::empty())?;
        let mut names = Vec::new();
        for entry in open.iter() {
            let name = entry?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.push(OsString::from_vec(name));
            }
        }
        names.sort();
        Ok(names)
    }

    pub(crate) fn link_text(&self, name: &OsStr) -> io::Result<OsString> {
        Ok(readlinkat(&self.0, one(name)?)?)
    }

    pub(crate) fn symlink(&self, name: &OsStr, text: &OsStr) -> io::Result<()> {
        self.remove_file(name)?;
        Ok(symlinkat(text, &self.0, one(name)?)?)
    }

    /// Makes `name` another name of a file in `from`.
    pub(crate) fn hard_link(&self, name: &OsStr, from: &Self, old: &OsStr) -> io::Result<()> {
        self.remove_file(name)?;
        Ok(linkat(&from.0, one(old)?, &self.0, one(name)?, AtFlags::empty())?)
    }

    /// Moves `name` of `from` here, over what had its name and is no directory.
    pub(crate) fn take(&self, from: &Self, name: &OsStr, new: &OsStr) -> io::Result<()> {
        Ok(renameat(&from.0, one(name)?, &self.0, one(new)?)?)
    }

    /// Removes what is no directory, where it is there.
    pub(crate) fn remove_file(&self, name: &OsStr) -> io::Result<()> {
        match unlinkat(&self.0, one(name)?, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives a name in it, itself and not what it may link to, to a user and group.
    pub(crate) fn give(&self, name: &OsStr, (user, group): (u32, u32)) -> io::Result<()> {
        let (user, group) = (Some(Uid::from_raw(user)), Some(Gid::from_raw(group)));
        Ok(fchownat(&self.0, one(name)?, user, group, AtFlags::AT_SYMLINK_NOFOLLOW)?)
    }

    /// Gives the directory itself to a user and group.
    pub(crate) fn give_itself(&self, (user, group): (u32, u32)) -> io::Result<()> {
        Ok(fchown(&self.0, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))?)
    }

    /// Whether following a relative path ends in this directory; a path that ends nowhere does too.
    pub(crate) fn holds(&self, path: &Path) -> io::Result<bool> {
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        match openat2(&self.0, path, how) {
            Ok(_) | Err(Errno::ENOENT) => Ok(true),
            Err(Errno::EXDEV | Errno::ELOOP) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

pub(crate) fn kind(stat: &FileStat) -> Kind {
    let bits = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
    if bits == SFlag::S_IFREG {
        Kind::File
    } else if bits == SFlag::S_IFDIR {
        Kind::Dir
    } else if bits == SFlag::S_IFLNK {
        Kind::Link
    } else {
        Kind::Other
    }
}

/// A name and no path.
fn one(name: &OsStr) -> io::Result<&OsStr> {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes == b"." || bytes == b".." || bytes.contains(&b'/') || bytes.contains(&0) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name:?} is not a name")));
    }
    Ok(name)
}
