//! Opening what is named by a task, without leaving the directory in which it is looked for.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags};

/// A path with the directory that it must not leave, not even through links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Beneath {
    pub(crate) base: PathBuf,
    /// Relative; `.` for the base itself.
    pub(crate) below: PathBuf,
}

impl Beneath {
    /// The base itself.
    pub(crate) fn whole(base: &Path) -> Self {
        Self { base: base.to_owned(), below: PathBuf::from(".") }
    }

    /// `path` below `base`, if that is how it begins.
    pub(crate) fn of(path: &Path, shown_as: &Path, base: &Path) -> Option<Self> {
        let rest = path.strip_prefix(shown_as).ok()?;
        let below = if rest.as_os_str().is_empty() { Path::new(".") } else { rest };
        Some(Self { base: base.to_owned(), below: below.to_owned() })
    }

    /// Opens it for reading. Does not wait for anything that is no file.
    pub(crate) fn open_file(&self) -> io::Result<std::fs::File> {
        let fd = self.open(OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC)?;
        let file = std::fs::File::from(fd);
        if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a file")) }
    }

    /// Opens it as a place to look from.
    pub(crate) fn open_directory(&self) -> io::Result<OwnedFd> {
        self.open(OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC)
    }

    fn open(&self, flags: OFlags) -> io::Result<OwnedFd> {
        let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let base = rustix::fs::open(&self.base, directory, Mode::empty())?;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(&base, &self.below, flags, Mode::empty(), resolve).map_err(|errno| match errno {
            rustix::io::Errno::XDEV => io::Error::other("it leads out of the directory that it must stay in"),
            errno => errno.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_link_leads_out() {
        let root = tempfile::tempdir().unwrap();
        let inside = root.path().join("in");
        std::fs::create_dir(&inside).unwrap();
        std::fs::write(root.path().join("secret"), "x").unwrap();
        std::fs::write(inside.join("own"), "x").unwrap();
        for (link, target) in
            [("up", "../secret"), ("away", "/etc/passwd"), ("near", "own"), ("root", "/"), ("magic", "/proc/self/root")]
        {
            std::os::unix::fs::symlink(target, inside.join(link)).unwrap();
        }
        let open = |below: &str| Beneath { base: inside.clone(), below: below.into() }.open_file();
        assert!(open("near").is_ok() && open("own").is_ok());
        for refused in ["up", "away", "../secret", "/etc/passwd", "root/etc/passwd", "magic/etc/passwd"] {
            assert!(open(refused).is_err(), "{refused}");
        }
        assert!(Beneath { base: inside.clone(), below: "root".into() }.open_directory().is_err());
        assert!(open(".").unwrap_err().to_string().contains("not a file"));
    }
}
