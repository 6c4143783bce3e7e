//! Zip.

use std::ffi::OsStr;
use std::io::{Read, Seek};
use std::os::unix::ffi::OsStrExt;

use nix::sys::stat::SFlag;
use zip::ZipArchive;

use super::Tree;
use crate::order::{Failure, chain};

/// Longer than any path.
const LONGEST_LINK: u64 = 4096;

pub(super) fn unpack(packed: impl Read + Seek, tree: &mut Tree<'_>) -> Result<(), Failure> {
    let damaged = |error: zip::result::ZipError| {
        Failure::content(format!("it is not a readable zip archive ({})", chain(&error)))
    };
    let mut archive = ZipArchive::new(packed).map_err(damaged)?;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(damaged)?;
        let name = entry.name().map_err(damaged)?.into_owned();
        let path = OsStr::new(&name);
        let mode = entry.unix_mode();
        let kind = mode.map(|mode| SFlag::from_bits_truncate(mode) & SFlag::S_IFMT).unwrap_or(SFlag::empty());
        let permissions = mode.map(|mode| mode & 0o777).filter(|bits| *bits != 0);
        if entry.is_dir() {
            tree.directory(path, permissions.unwrap_or(0o755))?;
        } else if kind == SFlag::S_IFLNK {
            let mut target = Vec::new();
            let read = entry.by_ref().take(LONGEST_LINK).read_to_end(&mut target);
            read.map_err(|error| Failure::content(format!("its link {name:?} is damaged ({error})")))?;
            tree.symlink(path, OsStr::from_bytes(&target))?;
        } else if kind == SFlag::S_IFREG || kind.is_empty() {
            drop(tree.file(path, permissions.unwrap_or(0o644), &mut entry)?);
        } else {
            return Err(Failure::content(format!("its entry {name:?} is a device or a pipe")));
        }
    }
    Ok(())
}
