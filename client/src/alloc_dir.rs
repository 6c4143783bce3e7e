//! The directories of an allocation: their layout, modes and mounts.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::MsFlags;
use nix::unistd::{Uid, User};
use orch_driver::TaskDirs;
use orch_model::AllocId;
use tracing::debug;

use crate::error::Error;

/// Where an allocation's files are.
#[derive(Debug, Clone)]
pub(crate) struct AllocDir {
    root: PathBuf,
}

impl AllocDir {
    /// The directory of `alloc_id` under the agent's `alloc_dir`; makes nothing.
    pub(crate) fn new(alloc_dir: &Path, alloc_id: AllocId) -> Self {
        Self { root: alloc_dir.join(alloc_id.to_string()) }
    }

    /// The root of it all.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The directory that the tasks share.
    pub(crate) fn shared(&self) -> PathBuf {
        self.root.join("alloc")
    }

    /// Where the tasks' output goes.
    pub(crate) fn logs(&self) -> PathBuf {
        self.root.join("alloc/logs")
    }

    /// The directories of one task.
    pub(crate) fn task(&self, task: &str) -> TaskDirs {
        let root = self.root.join(task);
        TaskDirs { local: root.join("local"), secrets: root.join("secrets"), shared: self.shared(), task: root }
    }

    /// Makes what the tasks share. `searchable` lets users other than root reach their own directories below.
    pub(crate) fn make_shared(&self, searchable: bool) -> Result<(), Error> {
        make(&self.root, if searchable { 0o711 } else { 0o710 })?;
        make(&self.shared(), 0o777)?;
        for name in ["data", "logs", "tmp"] {
            make(&self.shared().join(name), 0o777)?;
        }
        Ok(())
    }

    /// Makes the directories of one task. `secrets_mib` bounds the secrets, which are kept in memory where that is allowed.
    pub(crate) fn make_task(&self, task: &str, user: Option<&str>, secrets_mib: u64) -> Result<(), Error> {
        let dirs = self.task(task);
        make(&dirs.task, 0o755)?;
        make(&dirs.local, 0o777)?;
        make(&dirs.task.join("tmp"), 0o1777)?;
        make(&dirs.task.join("private"), 0o700)?;
        make(&dirs.secrets, 0o700)?;
        mount_in_memory(&dirs.secrets, secrets_mib);
        if let Some(user) = user {
            give_to(&dirs.secrets, user)?;
        }
        Ok(())
    }

    /// Moves what an earlier allocation of this node left: the shared data, and `local` of each of these tasks. May be repeated.
    pub(crate) fn take_over(&self, earlier: &Self, tasks: &[String]) -> Result<(), Error> {
        self.make_shared(false)?;
        crate::snapshot::parts(self, tasks).try_for_each(|part| self.put(&earlier.root.join(&part), &part))
    }

    /// Moves the directory `from` to `part` of this allocation, in place of what is there; nothing if there is no `from`.
    pub(crate) fn put(&self, from: &Path, part: &str) -> Result<(), Error> {
        if !fs::symlink_metadata(from).is_ok_and(|found| found.is_dir()) {
            return Ok(());
        }
        let to = self.root.join(part);
        if let Some(parent) = to.parent().filter(|parent| !parent.exists()) {
            make(parent, 0o755)?;
        }
        match fs::remove_dir_all(&to) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(Error::io("remove", to)(error)),
            Ok(()) | Err(_) => {}
        }
        fs::rename(from, &to).map_err(Error::io("move an earlier allocation's data to", to))
    }

    /// Unmounts what this agent mounted in a task's directory, so that its secrets are gone.
    pub(crate) fn unmount_task(&self, task: &str) -> Result<(), Error> {
        let secrets = self.root.join(task).join("secrets");
        match nix::mount::umount2(&secrets, nix::mount::MntFlags::MNT_DETACH) {
            // Nothing was mounted there, or the agent may mount nothing.
            Ok(()) | Err(Errno::EINVAL | Errno::ENOENT | Errno::EPERM) => Ok(()),
            Err(errno) => Err(Error::io("unmount", secrets)(errno.into())),
        }
    }

    /// Removes everything. May be repeated.
    pub(crate) fn remove(&self) -> Result<(), Error> {
        unmount(&self.root)?;
        match fs::remove_dir_all(&self.root) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io("remove", &self.root)(error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// The allocations that have a directory under `alloc_dir`.
pub(crate) fn list(alloc_dir: &Path) -> io::Result<Vec<AllocId>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(alloc_dir)? {
        found.extend(entry?.file_name().to_str().and_then(|name| name.parse::<AllocId>().ok()));
    }
    Ok(found)
}

fn unmount(path: &Path) -> Result<(), Error> {
    orch_host::mounts::unmount_below(path).map(drop).map_err(Error::io("unmount what is below", path))
}

fn make(path: &Path, mode: u32) -> Result<(), Error> {
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(Error::io("make the directory", path)(error));
        }
        Ok(()) | Err(_) => {}
    }
    // The mask of the agent's process took part of the mode away.
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(Error::io("set the mode of", path))
}

/// Where mounting is not allowed, the directory stays on the disk.
fn mount_in_memory(path: &Path, mib: u64) {
    if !Uid::effective().is_root() || is_mount(path) {
        return;
    }
    let flags = MsFlags::MS_NOEXEC | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let options = format!("size={}m,mode=0700", mib.max(1));
    if let Err(error) = nix::mount::mount(Some("orch-secrets"), path, Some("tmpfs"), flags, Some(options.as_str())) {
        debug!(path = %path.display(), %error, "secrets stay on the disk");
    }
}

fn is_mount(path: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).map(|found| found.dev()).ok();
    path.parent().is_some_and(|parent| device(path) != device(parent))
}

fn give_to(path: &Path, user: &str) -> Result<(), Error> {
    if !Uid::effective().is_root() {
        return Ok(());
    }
    let named = match user.parse::<u32>() {
        Ok(uid) => User::from_uid(Uid::from_raw(uid)),
        Err(_) => User::from_name(user),
    };
    let found = named.map_err(|errno| Error::io("look up the owner of", path)(errno.into()))?;
    // An unknown user is for the driver to refuse: whether one is needed at all is its matter.
    let Some(found) = found else { return Ok(()) };
    nix::unistd::chown(path, Some(found.uid), Some(found.gid))
        .map_err(|errno| Error::io("change the owner of", path)(errno.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn directories_have_the_modes_that_tasks_rely_on_and_go_without_a_trace() {
        let parent = tempfile::tempdir().unwrap();
        let dir = AllocDir::new(parent.path(), AllocId::default());
        for _ in 0..2 {
            dir.make_shared(false).unwrap();
            dir.make_task("web", None, 1).unwrap();
        }
        let expected = [
            ("", 0o710),
            ("alloc", 0o777),
            ("alloc/data", 0o777),
            ("alloc/logs", 0o777),
            ("alloc/tmp", 0o777),
            ("web/local", 0o777),
            ("web/tmp", 0o1777),
            ("web/secrets", 0o700),
            ("web/private", 0o700),
        ];
        for (path, wanted) in expected {
            assert_eq!(mode(&dir.root().join(path)), wanted, "{path}");
        }
        assert_eq!(list(parent.path()).unwrap(), [AllocId::default()]);
        dir.remove().unwrap();
        dir.remove().unwrap();
        assert!(list(parent.path()).unwrap().is_empty());
    }
}
