//! Making what is mounted upon, in directories that tasks may have filled with symbolic links.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat, mkdirat};

use crate::sandbox::Mountpoint;

/// Why a task's mount cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MountpointError {
    #[error("{} cannot be made in {}", inside.display(), base.display())]
    Make { base: PathBuf, inside: PathBuf, source: io::Error },
    #[error("{} cannot be mounted: it does not exist, and cannot be made there", .0.display())]
    Missing(PathBuf),
}

/// Makes sure that something can be mounted there. What is made stays with the allocation.
pub(crate) fn prepare(mountpoint: &Mountpoint) -> Result<(), MountpointError> {
    match mountpoint {
        Mountpoint::Made { base, inside, is_dir } => make(base, inside, *is_dir).map_err(|errno| {
            let source = match errno {
                Errno::ELOOP | Errno::ENOTDIR => io::Error::other("a symbolic link or file is in its place"),
                errno => errno.into(),
            };
            MountpointError::Make { base: base.clone(), inside: inside.clone(), source }
        }),
        // A link counts: it is followed in the task's own root, not here.
        Mountpoint::Found { on_host, target } => {
            let found = on_host.symlink_metadata();
            found.map(drop).map_err(|_| MountpointError::Missing(target.clone()))
        }
    }
}

/// Goes down from `base` without following any link, and makes what is missing.
fn make(base: &Path, inside: &Path, is_dir: bool) -> Result<(), Errno> {
    let directory = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut at = open(base, directory, Mode::empty())?;
    let names: Vec<&OsStr> = inside.components().filter_map(name).collect();
    let Some((last, outer)) = names.split_last() else { return Ok(()) };
    for name in outer {
        at = step(&at, name, directory)?;
    }
    if is_dir {
        return step(&at, last, directory).map(drop);
    }
    let file = OFlag::O_CREAT | OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    openat(&at, *last, file, Mode::from_bits_truncate(0o644)).map(drop)
}

fn step(at: &OwnedFd, name: &OsStr, flags: OFlag) -> Result<OwnedFd, Errno> {
    match openat(at, name, flags, Mode::empty()) {
        Err(Errno::ENOENT) => {}
        opened => return opened,
    }
    let mode = Mode::from_bits_truncate(0o755);
    match mkdirat(at, name, mode) {
        // The mask of the agent took part of the mode away, and the task has to pass through.
        Ok(()) => fchmodat(at, name, mode, FchmodatFlags::FollowSymlink)?,
        Err(Errno::EEXIST) => {}
        Err(errno) => return Err(errno),
    }
    openat(at, name, flags, Mode::empty())
}

fn name(component: Component<'_>) -> Option<&OsStr> {
    match component {
        Component::Normal(name) => Some(name),
        Component::Prefix(_) | Component::RootDir | Component::CurDir | Component::ParentDir => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_made_and_what_is_there_is_kept() {
        let base = tempfile::tempdir().unwrap();
        let made = |inside: &str, is_dir| {
            prepare(&Mountpoint::Made { base: base.path().into(), inside: inside.into(), is_dir })
        };
        for _ in 0..2 {
            made("run/systemd/resolve", true).unwrap();
            made("etc/app.conf", false).unwrap();
        }
        assert!(base.path().join("run/systemd/resolve").is_dir() && base.path().join("etc/app.conf").is_file());
        let blocked = made("etc/app.conf/deeper", true).unwrap_err();
        assert!(matches!(blocked, MountpointError::Make { .. }));
    }

    #[test]
    fn a_symbolic_link_leads_nowhere() {
        let base = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), base.path().join("dev")).unwrap();
        std::os::unix::fs::symlink(elsewhere.path().join("file"), base.path().join("file")).unwrap();
        for (inside, is_dir) in [("dev", true), ("dev/shm", true), ("file", false)] {
            let base = base.path().into();
            prepare(&Mountpoint::Made { base, inside: inside.into(), is_dir }).unwrap_err();
        }
        assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    }
}
