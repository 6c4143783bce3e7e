//! The tree that an archive unfolds to: every name checked, every step without links.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Permissions};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;

use super::Budget;
use crate::dir::{Dir, Kind};
use crate::order::Failure;

/// More levels than any tree has that was not made to do harm.
pub(crate) const DEEPEST: usize = 100;

/// A directory being filled from names that others chose.
#[derive(Debug)]
pub(crate) struct Tree<'a> {
    root: &'a Dir,
    budget: Budget,
}

impl<'a> Tree<'a> {
    pub(crate) fn new(root: &'a Dir, budget: Budget) -> Self {
        Self { root, budget }
    }

    pub(crate) fn directory(&mut self, name: &OsStr, mode: u32) -> Result<(), Failure> {
        self.budget.entry()?;
        let parts = parts(name)?;
        let Some((last, parents)) = parts.split_last() else { return Ok(()) };
        let made = self.walk(parents, name)?.enter_or_make(last, 0o755).map_err(|error| refuse(name, &error))?;
        // Its owner must be able to fill, move and remove it.
        made.0.set_mode((mode & 0o777) | 0o700).map_err(|error| refuse(name, &error))
    }

    /// Writes a file; the handle is for what else is to be set on it.
    pub(crate) fn file(&mut self, name: &OsStr, mode: u32, content: &mut dyn Read) -> Result<File, Failure> {
        self.budget.entry()?;
        let (parent, last) = self.place(name)?;
        let mut file = parent.create(&last).map_err(|error| refuse(name, &error))?;
        self.budget.copy(content, &mut file)?;
        let mode = Permissions::from_mode((mode & 0o777) | 0o600);
        file.set_permissions(mode).map_err(|error| refuse(name, &error))?;
        Ok(file)
    }

    pub(crate) fn symlink(&mut self, name: &OsStr, target: &OsStr) -> Result<(), Failure> {
        self.budget.entry()?;
        if !leads_inside(parts(name)?.len(), target) {
            return Err(Failure::content(format!("its link {name:?} leads out of it, to {target:?}")));
        }
        let (parent, last) = self.place(name)?;
        parent.symlink(&last, target).map_err(|error| refuse(name, &error))
    }

    pub(crate) fn hard_link(&mut self, name: &OsStr, target: &OsStr) -> Result<(), Failure> {
        self.budget.entry()?;
        let (parent, last) = self.place(name)?;
        let target_parts = parts(target)?;
        let Some((old, parents)) = target_parts.split_last() else {
            return Err(Failure::content(format!("its hard link {name:?} has no target")));
        };
        let from = self.existing(parents, target)?;
        match from.kind(old) {
            Ok(Some(Kind::File)) => {}
            Ok(_) => {
                let reason = format!("its hard link {name:?} has a target that is no file of it, {target:?}");
                return Err(Failure::content(reason));
            }
            Err(error) => return Err(refuse(target, &error)),
        }
        if from.stat(old).ok().flatten().map(|stat| stat.st_ino)
            == parent.stat(&last).ok().flatten().map(|stat| stat.st_ino)
        {
            return Ok(());
        }
        match parent.hard_link(&last, &from, old) {
            Ok(()) => Ok(()),
            // Older Landlocks refuse a link from another directory.
            Err(error) if error.raw_os_error() == Some(nix::libc::EXDEV) => {
                let mut content = from.open_file(old).map_err(|error| refuse(target, &error))?;
                let mode = content.metadata().map(|data| data.permissions().mode()).unwrap_or(0o644);
                self.file(name, mode, &mut content).map(drop)
            }
            Err(error) => Err(refuse(name, &error)),
        }
    }

    fn place(&self, name: &OsStr) -> Result<(Dir, OsString), Failure> {
        let mut parts = parts(name)?;
        let last = parts.pop().ok_or_else(|| Failure::content("one of its entries has no name"))?;
        Ok((self.walk(&parts, name)?, last))
    }

    /// Goes down and makes what is missing.
    fn walk(&self, parts: &[OsString], name: &OsStr) -> Result<Dir, Failure> {
        let mut at = self.again()?;
        for part in parts {
            at = at.enter_or_make(part, 0o755).map_err(|error| refuse(name, &error))?.0;
        }
        Ok(at)
    }

    fn existing(&self, parts: &[OsString], name: &OsStr) -> Result<Dir, Failure> {
        let mut at = self.again()?;
        for part in parts {
            at = at.enter(part).map_err(|error| refuse(name, &error))?;
        }
        Ok(at)
    }

    fn again(&self) -> Result<Dir, Failure> {
        self.root.try_clone().map_err(Failure::local("cannot open the scratch directory"))
    }
}

/// Whether a link `depth` levels down (1 is at the top) leads nowhere but into the tree, going by its text.
pub(crate) fn leads_inside(depth: usize, target: &OsStr) -> bool {
    let bytes = target.as_bytes();
    if bytes.is_empty() || bytes[0] == b'/' || bytes.contains(&0) {
        return false;
    }
    let mut depth = depth.saturating_sub(1);
    for part in bytes.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." if depth == 0 => return false,
            b".." => depth -= 1,
            _ => depth += 1,
        }
    }
    true
}

/// The parts of a name in an archive.
fn parts(name: &OsStr) -> Result<Vec<OsString>, Failure> {
    let bytes = name.as_bytes();
    let refuse = |why: &str| Err(Failure::content(format!("its entry {} {why}", shortened(name))));
    if bytes.first() == Some(&b'/') {
        return refuse("has an absolute path");
    }
    if bytes.contains(&0) || bytes.len() > 4096 {
        return refuse("has a name that no file can have");
    }
    let parts: Vec<&[u8]> =
        bytes.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".").collect();
    if parts.contains(&&b".."[..]) {
        return refuse("leads out of it");
    }
    if parts.len() > DEEPEST {
        return refuse("is nested too deep");
    }
    Ok(parts.into_iter().map(|part| OsString::from_vec(part.to_vec())).collect())
}

fn shortened(name: &OsStr) -> String {
    let text: String = name.to_string_lossy().chars().take(200).collect();
    format!("{text:?}")
}

fn refuse(name: &OsStr, error: &io::Error) -> Failure {
    let name = shortened(name);
    match error.raw_os_error() {
        // What opening a directory says of a link or a file.
        Some(nix::libc::ELOOP | nix::libc::ENOTDIR) => {
            Failure::content(format!("its entry {name} goes through a link or a file"))
        }
        Some(nix::libc::EISDIR | nix::libc::EPERM | nix::libc::EEXIST) => {
            Failure::content(format!("its entry {name} is a directory and also something else"))
        }
        Some(nix::libc::ENAMETOOLONG) => Failure::content(format!("its entry {name} has a name that no file can have")),
        _ => Failure::new(crate::order::FailureKind::Local, format!("cannot write its entry {name}: {error}")),
    }
}
