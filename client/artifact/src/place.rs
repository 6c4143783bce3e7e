//! What becomes of a fetched tree: it is looked through, given to its owner and moved to its destination.
//!
//! All of it is the agent's: the child that made the tree is not believed.

use std::ffi::{OsStr, OsString};
use std::fs::Permissions;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path};

use nix::sys::stat::FileStat;

use crate::dir::{Dir, Kind, kind};
use crate::order::{Failure, Product};
use crate::unpack::{DEEPEST, leads_inside};

/// What is asked of a placement.
#[derive(Debug)]
pub(crate) struct Placement<'a> {
    /// The child's directory of results.
    pub(crate) from: &'a Path,
    pub(crate) product: &'a Product,
    /// The directory, or the file itself if `as_file`.
    pub(crate) destination: &'a Path,
    pub(crate) as_file: bool,
    pub(crate) root: &'a Path,
    pub(crate) owner: Option<(u32, u32)>,
    pub(crate) inspect: bool,
    /// The most bytes that the tree may have; 0 is no limit.
    pub(crate) most_bytes: u64,
}

#[derive(Debug)]
pub(crate) enum Refusal {
    /// The tree is at fault.
    Content(Failure),
    /// The destination is.
    Place(io::Error),
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Content(failure)
    }
}

impl Placement<'_> {
    /// Carries it out. Until the tree was looked through nothing is moved.
    pub(crate) fn carry_out(&self) -> Result<(), Refusal> {
        let out = Dir::open(self.from).map_err(unreadable)?;
        match self.product {
            Product::Tree { path } => {
                let tree = descend(out, Path::new(path))?;
                let mut look = Look { root: &tree, placement: self, bytes: 0 };
                look.through(&tree, &mut Vec::new())?;
                let to = self.make_way(&names(self.relative()?)?).map_err(Refusal::Place)?;
                merge(&tree, &to, self.owner).map_err(Refusal::Place)
            }
            Product::File { path } => {
                let (parents, name) = split(path)?;
                let parent = descend(out, parents)?;
                let mut look = Look { root: &parent, placement: self, bytes: 0 };
                look.at(&parent, name, &mut Vec::new())?;
                if parent.kind(name).map_err(unreadable)? != Some(Kind::File) {
                    return Err(Failure::content("it is not a plain file").into());
                }
                let mut names = names(self.relative()?)?;
                let new = match self.as_file {
                    true => names.pop().ok_or_else(|| Refusal::Place(io::ErrorKind::IsADirectory.into()))?,
                    false => name.to_owned(),
                };
                let to = self.make_way(&names).map_err(Refusal::Place)?;
                move_one(&parent, name, &to, &new, self.owner).map_err(Refusal::Place)
            }
        }
    }

    /// The destination as seen from the root.
    fn relative(&self) -> Result<&Path, Refusal> {
        self.destination.strip_prefix(self.root).map_err(|_| {
            Refusal::Place(io::Error::new(io::ErrorKind::InvalidInput, "it is not in the allocation's directory"))
        })
    }

    /// Opens a directory below the root, making what is missing; a link on the way is an error.
    fn make_way(&self, names: &[OsString]) -> io::Result<Dir> {
        let mut at = Dir::open(self.root)?;
        for name in names {
            let (next, made) = at.enter_or_make(name, 0o755).map_err(|error| match error.raw_os_error() {
                Some(nix::libc::ELOOP | nix::libc::ENOTDIR) => {
                    io::Error::new(error.kind(), format!("{name:?} on the way is a link or a file"))
                }
                _ => error,
            })?;
            at = next;
            if let Some(owner) = self.owner.filter(|_| made) {
                at.give_itself(owner)?;
            }
        }
        Ok(at)
    }
}

fn unreadable(error: io::Error) -> Refusal {
    Refusal::Content(Failure::local("cannot read what was fetched")(error))
}

fn names(path: &Path) -> Result<Vec<OsString>, Refusal> {
    let one = |component| match component {
        Component::Normal(name) => Ok(name.to_owned()),
        Component::CurDir | Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
            Err(Refusal::Place(io::Error::new(io::ErrorKind::InvalidInput, "its path is not clean")))
        }
    };
    path.components().map(one).collect()
}

fn split(path: &str) -> Result<(&Path, &OsStr), Refusal> {
    let path = Path::new(path);
    path.parent().zip(path.file_name()).ok_or_else(|| Failure::content("the result has no name").into())
}

fn descend(mut at: Dir, path: &Path) -> Result<Dir, Refusal> {
    for name in names(path)? {
        at = at.enter(&name).map_err(unreadable)?;
    }
    Ok(at)
}

/// A walk through all that is to be placed.
struct Look<'a> {
    root: &'a Dir,
    placement: &'a Placement<'a>,
    bytes: u64,
}

impl Look<'_> {
    fn through(&mut self, dir: &Dir, path: &mut Vec<OsString>) -> Result<(), Refusal> {
        if path.len() > DEEPEST {
            return Err(Failure::content("it is nested too deep").into());
        }
        for name in dir.names().map_err(unreadable)? {
            self.at(dir, &name, path)?;
        }
        Ok(())
    }

    /// Looks at one name, gives it to the owner, and takes from it what nobody should get.
    fn at(&mut self, dir: &Dir, name: &OsStr, path: &mut Vec<OsString>) -> Result<(), Refusal> {
        let Some(stat) = dir.stat(name).map_err(unreadable)? else { return Ok(()) };
        path.push(name.to_owned());
        match kind(&stat) {
            Kind::File => self.file(dir, name, &stat)?,
            Kind::Dir => {
                let below = dir.enter(name).map_err(unreadable)?;
                below.set_mode((stat.st_mode & 0o777) | 0o700).map_err(unreadable)?;
                self.through(&below, path)?;
            }
            Kind::Link if self.placement.inspect => self.link(dir, name, path)?,
            Kind::Link => {}
            Kind::Other => {
                let reason = format!("{} is a device, a pipe or a socket", shown(path));
                return Err(Failure::content(reason).into());
            }
        }
        if let Some(owner) = self.placement.owner {
            dir.give(name, owner).map_err(unreadable)?;
        }
        path.pop();
        Ok(())
    }

    fn file(&mut self, dir: &Dir, name: &OsStr, stat: &FileStat) -> Result<(), Refusal> {
        self.bytes = self.bytes.saturating_add(u64::try_from(stat.st_size).unwrap_or(0));
        let most = self.placement.most_bytes;
        if most > 0 && self.bytes > most {
            let reason = format!("it unfolds to more than {most} bytes (decompression_size_limit)");
            return Err(Failure::new(crate::order::FailureKind::TooLarge, reason).into());
        }
        if stat.st_mode & 0o7000 != 0 {
            let bits = Permissions::from_mode(stat.st_mode & 0o777);
            dir.open_file(name).and_then(|file| file.set_permissions(bits)).map_err(unreadable)?;
        }
        Ok(())
    }

    fn link(&self, dir: &Dir, name: &OsStr, path: &[OsString]) -> Result<(), Refusal> {
        let target = dir.link_text(name).map_err(unreadable)?;
        let whole: std::path::PathBuf = path.iter().collect();
        // By its text, since what it passes may come to be later; and by following, since what it passes may be links.
        if leads_inside(path.len(), &target) && self.root.holds(&whole).map_err(unreadable)? {
            return Ok(());
        }
        let target = String::from_utf8_lossy(target.as_bytes()).into_owned();
        Err(Failure::content(format!("its link {} leads out of it, to {target:?}", shown(path))).into())
    }
}

fn shown(path: &[OsString]) -> String {
    let path: std::path::PathBuf = path.iter().collect();
    format!("{path:?}")
}

/// Moves all of `from` into `to`: directories become one, files are replaced.
fn merge(from: &Dir, to: &Dir, owner: Option<(u32, u32)>) -> io::Result<()> {
    for name in from.names()? {
        move_one(from, &name, to, &name, owner)?;
    }
    Ok(())
}

fn move_one(from: &Dir, name: &OsStr, to: &Dir, new: &OsStr, owner: Option<(u32, u32)>) -> io::Result<()> {
    let is_dir = from.kind(name)? == Some(Kind::Dir);
    match to.kind(new)? {
        Some(Kind::Dir) if is_dir => return merge(&from.enter(name)?, &to.enter(new)?, owner),
        Some(Kind::Dir) => {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, format!("{new:?} there is a directory")));
        }
        Some(Kind::File | Kind::Link | Kind::Other) if is_dir => to.remove_file(new)?,
        Some(Kind::File | Kind::Link | Kind::Other) | None => {}
    }
    match to.take(from, name, new) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => copy_one(from, name, to, new, owner),
        result => result,
    }
}

/// The same onto another file system.
fn copy_one(from: &Dir, name: &OsStr, to: &Dir, new: &OsStr, owner: Option<(u32, u32)>) -> io::Result<()> {
    let stat = from.stat(name)?.ok_or(io::ErrorKind::NotFound)?;
    let owner = owner.unwrap_or((stat.st_uid, stat.st_gid));
    match kind(&stat) {
        Kind::Dir => {
            let (inner, _made) = to.enter_or_make(new, 0o700)?;
            merge(&from.enter(name)?, &inner, Some(owner))?;
            inner.set_mode(stat.st_mode & 0o777)?;
        }
        Kind::File => {
            let mut source = from.open_file(name)?;
            let mut copy = to.create(new)?;
            io::copy(&mut source, &mut copy)?;
            copy.set_permissions(Permissions::from_mode(stat.st_mode & 0o777))?;
        }
        Kind::Link => to.symlink(new, &from.link_text(name)?)?,
        Kind::Other => return Err(io::Error::other(format!("{name:?} is a device, a pipe or a socket"))),
    }
    to.give(new, owner)
}
