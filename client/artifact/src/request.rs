//! What is to be fetched, and where it goes.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::source;

/// One artifact of a task, all its texts interpolated.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Where it comes from, in go-getter's dialect: `https://…`, `git::…`, `github.com/…`, `s3::…`, with `//sub` directory.
    pub source: String,
    /// Options such as `checksum`, `archive`, `ref`, merged over those in the source's query.
    pub options: BTreeMap<String, String>,
    /// Headers of http(s) requests, also of git over http(s).
    pub headers: BTreeMap<String, String>,
    pub mode: Mode,
    /// Whether TLS certificates and ssh host keys are taken as they come.
    pub insecure: bool,
    /// The directory that receives what was fetched, or the file itself in [`Mode::File`]: absolute, see [`destination`].
    pub destination: PathBuf,
    /// The allocation's directory, absolute: nothing outside is written.
    pub root: PathBuf,
    /// User and group of the task.
    pub owner: Option<(u32, u32)>,
    /// Whether what was fetched is given to `owner`; has an effect only where the agent runs as root.
    pub chown: bool,
}

/// Leaves out options and headers, which hold secrets.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("source", &source::shown(&self.source))
            .field("mode", &self.mode)
            .field("destination", &self.destination)
            .finish_non_exhaustive()
    }
}

/// What the destination is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// A directory: archives and repositories unfold in it, a file is put into it under its own name.
    #[default]
    Any,
    /// The file itself.
    File,
    /// A directory; the source must be an archive, a repository or a directory.
    Dir,
}

impl Mode {
    /// The mode of a job's `mode`; an empty text is [`Mode::Any`].
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "" | "any" => Some(Self::Any),
            "file" => Some(Self::File),
            "dir" => Some(Self::Dir),
            _ => None,
        }
    }
}

/// Where an artifact of a task goes: `relative` below `task_dir`, or an absolute path inside `alloc_dir` as it is.
///
/// # Errors
/// When the path leads out of `alloc_dir`. Links are not followed here: [`crate::Fetcher`] refuses them on its way.
pub fn destination(task_dir: &Path, alloc_dir: &Path, relative: &str) -> Result<PathBuf, Error> {
    let refused = || Error::Destination { path: relative.into() };
    let (mut path, rest) = match Path::new(relative).strip_prefix(alloc_dir) {
        Ok(rest) => (alloc_dir.to_path_buf(), rest),
        Err(_) => (task_dir.to_path_buf(), Path::new(relative)),
    };
    for component in rest.components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::ParentDir => drop(path.pop()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
        // Also on the way: `../../<id>/web` would otherwise tell what lies outside.
        if !path.starts_with(alloc_dir) {
            return Err(refused());
        }
    }
    if relative.contains('\0') { Err(refused()) } else { Ok(path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_stays_in_the_allocation() {
        let (task, alloc) = (Path::new("/data/alloc/1/web"), Path::new("/data/alloc/1"));
        let at = |relative: &str| destination(task, alloc, relative).map(|path| path.display().to_string()).ok();
        assert_eq!(at("local/"), Some("/data/alloc/1/web/local".into()));
        assert_eq!(at("/local/x/./y"), Some("/data/alloc/1/web/local/x/y".into()));
        assert_eq!(at("../alloc/data"), Some("/data/alloc/1/alloc/data".into()));
        assert_eq!(at("/data/alloc/1/web/local/x"), Some("/data/alloc/1/web/local/x".into()));
        assert_eq!(at("../../2/web"), None);
        assert_eq!(at("local/../../../../etc"), None);
        assert_eq!(at("../../1/web"), None);
        assert_eq!(at("/data/alloc/1/../2"), None);
        assert_eq!(at("a\0b"), None);
    }
}
