//! The directories of a task, beyond which no template reads or writes.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Gid, Mode, OFlags, ResolveFlags, Uid, fchmod, fchown, mkdirat, openat, openat2, renameat, unlinkat,
};
use rustix::io::Errno;

use crate::template::Template;

/// The directories of a task, beyond which no template reads or writes, whatever links the task puts there.
#[derive(Debug, Clone)]
pub struct Sandbox {
    /// The task's own, on the host.
    task: PathBuf,
    /// The one that the tasks of its allocation share, on the host.
    shared: PathBuf,
}

/// Tells two contents of a file apart without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// What a template may set of a mode: nothing that would make a file run as its owner.
const PERMISSIONS: u32 = 0o777;

/// A path in one of the two directories.
struct Place<'a> {
    root: &'a Path,
    relative: PathBuf,
}

impl Sandbox {
    /// The directories of a task, absolute and on the host: its own, and the one that the allocation's tasks share.
    pub fn new(task: impl Into<PathBuf>, shared: impl Into<PathBuf>) -> Self {
        Self { task: task.into(), shared: shared.into() }
    }

    /// Reads a file of at most `limit` bytes; `None` if there is no such file. Never waits for a pipe or device.
    pub(crate) fn read(&self, path: &Path, limit: usize) -> Result<Option<(Vec<u8>, Stamp)>, String> {
        let Some(mut file) = self.open(path)? else { return Ok(None) };
        let metadata = file.metadata().map_err(|error| failed("read", path, &error))?;
        if !metadata.is_file() {
            return Err(format!("{} is not a regular file", path.display()));
        }
        let stamp = Stamp::of(&metadata);
        let bound = u64::try_from(limit).unwrap_or(u64::MAX);
        let mut content = Vec::new();
        (&mut file)
            .take(bound.saturating_add(1))
            .read_to_end(&mut content)
            .map_err(|error| failed("read", path, &error))?;
        if content.len() > limit {
            return Err(format!("{} is larger than {} MiB", path.display(), limit >> 20));
        }
        Ok(Some((content, stamp)))
    }

    /// What tells the file's present content apart; `None` if there is none to be had.
    pub(crate) fn stamp(&self, path: &Path) -> Option<Stamp> {
        let file = self.open(path).ok()??;
        file.metadata().ok().map(|metadata| Stamp::of(&metadata))
    }

    /// Puts the content where the template says, with its mode and owner, in one step. Says whether the content is new.
    pub(crate) fn write(&self, template: &Template, content: &[u8]) -> Result<bool, String> {
        let path = template.destination.as_path();
        let place = self.place(path)?;
        let name = place.relative.file_name().map(OsStr::to_owned);
        let Some(name) = name else { return Err(format!("destination {} is a directory", path.display())) };
        let parent = place.make_parent().map_err(|error| refused("write", path, error))?;
        let same = is_same(&parent, &name, content);
        if same && has_attributes(&parent, &name, template) {
            return Ok(false);
        }
        replace(&parent, &name, template, content).map_err(|error| refused("write", path, error))?;
        Ok(!same)
    }

    fn open(&self, path: &Path) -> Result<Option<File>, String> {
        let place = self.place(path)?;
        if !self.names_inside(path) {
            return Err(outside(path));
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        match place.open(&place.relative, flags) {
            Ok(file) => Ok(Some(file.into())),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(refused("read", path, errno)),
        }
    }

    /// Where a path leads: relative ones from the task's directory; absolute ones as on the host or as the task sees
    /// them, where its root is its own directory.
    fn place(&self, path: &Path) -> Result<Place<'_>, String> {
        let in_root = |root, rest: &Path| {
            let relative = clean(rest).ok_or_else(|| outside(path))?;
            Ok(Place { root, relative })
        };
        if let Ok(rest) = path.strip_prefix(&self.task) {
            return in_root(&self.task, rest);
        }
        if let Ok(rest) = path.strip_prefix(&self.shared).or_else(|_| path.strip_prefix("/alloc")) {
            return in_root(&self.shared, rest);
        }
        in_root(&self.task, path.strip_prefix("/").unwrap_or(path))
    }

    /// Whether an absolute path means something of the task's, and not of the host's.
    fn names_inside(&self, path: &Path) -> bool {
        let seen_by_task = ["/alloc", "/local", "/secrets"];
        path.is_relative()
            || path.starts_with(&self.task)
            || path.starts_with(&self.shared)
            || seen_by_task.iter().any(|prefix| path.starts_with(prefix))
    }
}

impl Place<'_> {
    fn root(&self) -> Result<OwnedFd, Errno> {
        openat(CWD, self.root, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
    }

    /// Opens what is below the root; a link that leads out of it fails with `XDEV`.
    fn open(&self, relative: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let root = self.root()?;
        if relative.as_os_str().is_empty() {
            return Ok(root);
        }
        let inside = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        match openat2(&root, relative, flags, Mode::empty(), inside) {
            Err(Errno::NOSYS) => open_without_links(root, relative, flags),
            result => result,
        }
    }

    /// Opens the directory that the file is in, and makes what is missing of it.
    fn make_parent(&self) -> Result<OwnedFd, Errno> {
        let directory = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent = self.relative.parent().unwrap_or(Path::new(""));
        let mut existing = PathBuf::new();
        let mut opened = self.root()?;
        for part in parent.components() {
            existing.push(part);
            opened = match self.open(&existing, directory) {
                Err(Errno::NOENT) => {
                    match mkdirat(&opened, part.as_os_str(), Mode::from_raw_mode(0o755)) {
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(errno) => return Err(errno),
                    }
                    self.open(&existing, directory)?
                }
                result => result?,
            };
        }
        Ok(opened)
    }
}

/// For kernels that cannot keep a path below a directory: goes step by step and follows no link at all.
fn open_without_links(root: OwnedFd, relative: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let mut at = root;
    let mut parts = relative.components().peekable();
    while let Some(part) = parts.next() {
        let step = if parts.peek().is_some() { OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC } else { flags };
        at = openat(&at, part.as_os_str(), step | OFlags::NOFOLLOW, Mode::empty())?;
    }
    Ok(at)
}

fn is_same(parent: &OwnedFd, name: &OsStr, content: &[u8]) -> bool {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(file) = openat(parent, name, flags, Mode::empty()) else { return false };
    let mut file = File::from(file);
    let Ok(metadata) = file.metadata() else { return false };
    if !metadata.is_file() || usize::try_from(metadata.len()) != Ok(content.len()) {
        return false;
    }
    let mut present = Vec::with_capacity(content.len());
    file.read_to_end(&mut present).is_ok_and(|_| present == content)
}

fn has_attributes(parent: &OwnedFd, name: &OsStr, template: &Template) -> bool {
    rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| {
        stat.st_mode & 0o7777 == template.perms & PERMISSIONS
            && template.uid.is_none_or(|uid| uid == stat.st_uid)
            && template.gid.is_none_or(|gid| gid == stat.st_gid)
    })
}

fn replace(parent: &OwnedFd, name: &OsStr, template: &Template, content: &[u8]) -> Result<(), Errno> {
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(".orch-new");
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // One of an agent that ended while it wrote.
    match unlinkat(parent, &temporary, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno),
    }
    let mut file = File::from(openat(parent, &temporary, flags, Mode::from_raw_mode(0o600))?);
    let written = fill(&mut file, template, content).and_then(|()| renameat(parent, &temporary, parent, name));
    if let Err(errno) = written {
        let (Ok(()) | Err(_)) = unlinkat(parent, &temporary, AtFlags::empty());
        return Err(errno);
    }
    Ok(())
}

fn fill(file: &mut File, template: &Template, content: &[u8]) -> Result<(), Errno> {
    let errno = |error: io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    file.write_all(content).map_err(errno)?;
    if template.uid.is_some() || template.gid.is_some() {
        fchown(&*file, template.uid.map(Uid::from_raw), template.gid.map(Gid::from_raw))?;
    }
    fchmod(&*file, Mode::from_raw_mode(template.perms & PERMISSIONS))?;
    file.sync_data().map_err(errno)
}

impl Stamp {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// The path without `.` and with no `..`; `None` if it has one.
fn clean(path: &Path) -> Option<PathBuf> {
    let mut cleaned = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => cleaned.push(name),
            Component::CurDir => {}
            Component::ParentDir if cleaned.pop() => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(cleaned)
}

fn outside(path: &Path) -> String {
    format!("{} is outside of the task's and the allocation's directory", path.display())
}

fn refused(what: &str, path: &Path, errno: Errno) -> String {
    match errno {
        Errno::XDEV | Errno::LOOP => outside(path),
        errno => failed(what, path, &errno.into()),
    }
}

fn failed(what: &str, path: &Path, error: &io::Error) -> String {
    let reason = match error.kind() {
        ErrorKind::PermissionDenied => "the agent may not do that".to_owned(),
        _ => error.to_string(),
    };
    format!("cannot {what} {}: {reason}", path.display())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::template::Source;

    struct Alloc {
        dir: tempfile::TempDir,
        sandbox: Sandbox,
    }

    impl Alloc {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            for path in ["web/local", "web/secrets", "other/secrets", "alloc/data"] {
                fs::create_dir_all(dir.path().join(path)).unwrap();
            }
            fs::write(dir.path().join("other/secrets/key"), "theirs").unwrap();
            let sandbox = Sandbox::new(dir.path().join("web"), dir.path().join("alloc"));
            Self { dir, sandbox }
        }

        fn read(&self, path: &str) -> Result<Option<String>, String> {
            let read = self.sandbox.read(Path::new(path), 100)?;
            Ok(read.map(|(content, _)| String::from_utf8(content).unwrap()))
        }

        fn write(&self, destination: &str, content: &str) -> Result<bool, String> {
            let template = Template { perms: 0o4640, ..Template::new(Source::Inline(String::new()), destination) };
            self.sandbox.write(&template, content.as_bytes())
        }
    }

    #[test]
    fn paths_of_the_task_are_read_however_they_are_written() {
        let alloc = Alloc::new();
        fs::write(alloc.dir.path().join("web/local/a"), "own").unwrap();
        fs::write(alloc.dir.path().join("alloc/data/b"), "shared").unwrap();
        let host = alloc.dir.path().display().to_string();
        for path in ["local/a", "./local/../local/a", "/local/a", &format!("{host}/web/local/a")] {
            assert_eq!(alloc.read(path), Ok(Some("own".into())), "{path}");
        }
        for path in ["/alloc/data/b", &format!("{host}/alloc/data/b")] {
            assert_eq!(alloc.read(path), Ok(Some("shared".into())), "{path}");
        }
        assert_eq!(alloc.read("local/none"), Ok(None));
        symlink("a", alloc.dir.path().join("web/local/link")).unwrap();
        assert_eq!(alloc.read("local/link"), Ok(Some("own".into())));
    }

    #[test]
    fn nothing_outside_is_read() {
        let alloc = Alloc::new();
        let root = alloc.dir.path();
        symlink("../../other/secrets/key", root.join("web/local/up")).unwrap();
        symlink("/etc", root.join("web/local/etc")).unwrap();
        symlink(root.join("other"), root.join("alloc/data/other")).unwrap();
        let theirs = root.join("other/secrets/key").display().to_string();
        for path in [
            "../other/secrets/key",
            "/etc/passwd",
            "local/up",
            "local/etc/passwd",
            "/alloc/data/other/secrets/key",
            &theirs,
        ] {
            let error = alloc.read(path).unwrap_err();
            assert!(error.contains("outside of the task's"), "{path}: {error}");
        }
        assert!(alloc.read("local").unwrap_err().contains("not a regular file"));
        fs::write(root.join("web/local/big"), [b'x'; 101]).unwrap();
        assert!(alloc.read("local/big").unwrap_err().contains("larger than"));
    }

    #[test]
    fn a_pipe_is_refused_instead_of_waited_for() {
        let alloc = Alloc::new();
        let path = alloc.dir.path().join("web/local/pipe");
        rustix::fs::mknodat(CWD, &path, rustix::fs::FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        assert!(alloc.read("local/pipe").unwrap_err().contains("not a regular file"));
    }

    #[test]
    fn a_file_is_written_with_its_mode_and_only_when_it_differs() {
        let alloc = Alloc::new();
        assert_eq!(alloc.write("local/deep/er/a", "one"), Ok(true));
        assert_eq!(alloc.write("local/deep/er/a", "one"), Ok(false));
        assert_eq!(alloc.write("local/deep/er/a", "two"), Ok(true));
        let path = alloc.dir.path().join("web/local/deep/er/a");
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o640);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(alloc.write("local/deep/er/a", "two"), Ok(false), "the content is the same");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
            0o640,
            "but the mode is set again, without setuid"
        );
        assert_eq!(alloc.write("/alloc/data/c", "three"), Ok(true));
        assert_eq!(fs::read_to_string(alloc.dir.path().join("alloc/data/c")).unwrap(), "three");
        let left: Vec<_> =
            fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["a"]);
    }

    #[test]
    fn nothing_outside_is_written() {
        let alloc = Alloc::new();
        let root = alloc.dir.path();
        symlink(root.join("other"), root.join("web/local/dir")).unwrap();
        symlink("../../other/secrets", root.join("web/local/up")).unwrap();
        for path in ["../other/a", "local/../../other/a", "local/dir/a", "local/up/key", "/alloc/../other/a"] {
            let error = alloc.write(path, "x").unwrap_err();
            assert!(error.contains("outside of the task's"), "{path}: {error}");
        }
        symlink(root.join("other/secrets/key"), root.join("web/local/key")).unwrap();
        assert_eq!(alloc.write("local/key", "mine"), Ok(true), "the link itself is replaced");
        assert_eq!(fs::read_to_string(root.join("other/secrets/key")).unwrap(), "theirs");
        assert!(alloc.write("local", "x").is_err());
        assert!(alloc.write("/", "x").unwrap_err().contains("directory"));
    }
}
