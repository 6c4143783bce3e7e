//! Tar.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, SystemTime};

use tar::EntryType;

use super::Tree;
use crate::order::Failure;

pub(super) fn unpack(packed: impl Read, tree: &mut Tree<'_>) -> Result<(), Failure> {
    let damaged = |error: std::io::Error| Failure::content(format!("it is not a readable tar archive ({error})"));
    let mut archive = tar::Archive::new(packed);
    for entry in archive.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        let name = entry.path_bytes().into_owned();
        let name = OsStr::from_bytes(&name);
        let mode = entry.header().mode().unwrap_or(0o644);
        let target = entry.link_name_bytes().map(|bytes| bytes.into_owned()).unwrap_or_default();
        let target = OsStr::from_bytes(&target);
        match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let modified = entry.header().mtime().ok();
                let file = tree.file(name, mode, &mut entry)?;
                let modified = modified.and_then(|s| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(s)));
                if let Some(modified) = modified {
                    file.set_modified(modified).map_err(Failure::local("cannot set the time of a file"))?;
                }
            }
            EntryType::Directory => tree.directory(name, mode)?,
            EntryType::Symlink => tree.symlink(name, target)?,
            EntryType::Link => tree.hard_link(name, target)?,
            EntryType::XGlobalHeader => {}
            EntryType::Char | EntryType::Block | EntryType::Fifo => {
                return Err(Failure::content(format!("its entry {name:?} is a device or a pipe")));
            }
            other => {
                return Err(Failure::content(format!("its entry {name:?} is of the unknown kind {other:?}")));
            }
        }
    }
    Ok(())
}
