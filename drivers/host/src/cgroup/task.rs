use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::files;
use crate::process::Stat;

/// What one directory of a group is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Role {
    /// Version 2 with its controllers.
    Unified,
    /// Version 2 without: kill and "empty" only.
    KillOnly,
    Cpu,
    CpuAccounting,
    Memory,
    Cpuset,
    Pids,
    Freezer,
}

impl Role {
    /// The roles in version 1, with the name of their controller.
    pub(super) const V1: [(Self, &'static str); 6] = [
        (Self::Cpu, "cpu"),
        (Self::CpuAccounting, "cpuacct"),
        (Self::Memory, "memory"),
        (Self::Cpuset, "cpuset"),
        (Self::Pids, "pids"),
        (Self::Freezer, "freezer"),
    ];

    /// The controller whose tree it is in.
    pub(super) fn v1_controller(self) -> Option<&'static str> {
        Self::V1.iter().find(|(role, _)| *role == self).map(|(_, controller)| *controller)
    }
}

/// The group of one task: its directories, of which there may be none.
///
/// A plain value that may be stored and read back; it holds no descriptor and removes nothing when dropped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskCgroup {
    directories: Vec<(Role, PathBuf)>,
    /// Directories that belong to somebody else: joined, never killed, never removed.
    foreign: Vec<PathBuf>,
}

impl TaskCgroup {
    /// A group without a directory, for hosts that allow none.
    pub fn empty() -> Self {
        Self::default()
    }

    /// A group made of directories that somebody else owns: it is joined, but killing and removing leave it alone.
    pub fn foreign(directories: Vec<PathBuf>) -> Self {
        Self { directories: Vec::new(), foreign: directories }
    }

    pub(super) fn add(&mut self, role: Role, directory: PathBuf) {
        self.directories.push((role, directory));
    }

    pub(super) fn add_if_present(&mut self, role: Role, directory: PathBuf) {
        if directory.is_dir() {
            self.add(role, directory);
        }
    }

    pub(super) fn directory(&self, role: Role) -> Option<&Path> {
        self.directories.iter().find(|(known, _)| *known == role).map(|(_, directory)| directory.as_path())
    }

    /// Whether it has no directory of its own, so that it limits and kills nothing.
    pub fn is_none(&self) -> bool {
        self.directories.is_empty()
    }

    /// Its own directories, each once, the version 2 one first.
    pub fn directories(&self) -> Vec<&Path> {
        let mut unique: Vec<&Path> = Vec::new();
        for (_, directory) in &self.directories {
            if !unique.contains(&directory.as_path()) {
                unique.push(directory);
            }
        }
        unique
    }

    /// The version 2 directory opened for `clone3`'s `CLONE_INTO_CGROUP`.
    pub fn open_v2(&self) -> io::Result<Option<OwnedFd>> {
        self.v2().map(|directory| File::open(directory).map(OwnedFd::from)).transpose()
    }

    /// The files into which a process writes `0` to join; with `v2`, that of the version 2 tree among them.
    ///
    /// In version 1 this is `tasks`, not `cgroup.procs`: a thread that moves only itself needs not wait for the lock under which
    /// whole processes are moved, and right after fork the one thread is the process.
    pub fn open_join_files(&self, v2: bool) -> io::Result<Vec<OwnedFd>> {
        let own_v2 = self.v2();
        let own = self.directories().into_iter().filter(|directory| v2 || Some(*directory) != own_v2);
        own.chain(self.foreign.iter().map(PathBuf::as_path))
            .map(|directory| {
                let open = |name: &str| OpenOptions::new().write(true).open(directory.join(name));
                open("tasks").or_else(|_| open("cgroup.procs")).map(OwnedFd::from)
            })
            .collect()
    }

    /// The processes in it, nested groups included. Empty if it has gone.
    pub fn processes(&self) -> io::Result<Vec<i32>> {
        let mut found = Vec::new();
        if let Some(directory) = self.kill_directory() {
            collect_processes(directory, &mut found)?;
        }
        Ok(found)
    }

    /// Sends SIGKILL to everything in it. Returns at once: [`Self::is_vacant`] tells when they have gone.
    ///
    /// With version 2 this is atomic. In version 1 the group is frozen first, so that nothing can fork away meanwhile.
    pub fn kill(&self) -> io::Result<()> {
        if let Some(directory) = self.v2() {
            match OpenOptions::new().write(true).open(directory.join("cgroup.kill")) {
                Ok(mut file) => return io::Write::write_all(&mut file, b"1"),
                Err(error) if files::is_gone(&error) && !directory.exists() => return Ok(()),
                Err(error) if files::is_gone(&error) => {}
                Err(error) => return Err(error),
            }
        }
        let freezer = self.directory(Role::Freezer).map(|directory| directory.join("freezer.state"));
        if let Some(state) = &freezer {
            // Not being able to freeze costs atomicity only; the caller repeats until the group is empty.
            let _not_frozen = files::write("freezing", state, "FROZEN");
        }
        let result = self.processes().map(|processes| {
            for pid in processes {
                // SAFETY: kill takes two integers; a pid that has gone in the meantime is an error we need not know of.
                unsafe { libc::kill(pid, libc::SIGKILL) };
            }
        });
        if let Some(state) = &freezer
            && let Some(warning) = files::write("thawing", state, "THAWED")
            && state.exists()
        {
            return Err(io::Error::from_raw_os_error(warning.errno));
        }
        result
    }

    /// Whether nothing runs in it; true as well if it has gone.
    pub fn is_vacant(&self) -> bool {
        if let Some(directory) = self.v2()
            && let Some(populated) = files::keyed(&directory.join("cgroup.events"), "populated")
        {
            return populated == 0;
        }
        let alive = |pid: &i32| Stat::read(*pid).is_ok_and(|stat| !stat.is_dead());
        self.processes().is_ok_and(|processes| !processes.iter().any(alive))
    }

    /// The version 2 file that becomes readable (`POLLPRI`) when the group gets empty or populated.
    pub fn events(&self) -> io::Result<Option<File>> {
        self.v2().map(|directory| File::open(directory.join("cgroup.events"))).transpose()
    }

    /// How many processes the kernel killed here for want of memory.
    pub fn oom_kills(&self) -> u64 {
        let v2 = self
            .directory(Role::Unified)
            .and_then(|directory| files::keyed(&directory.join("memory.events"), "oom_kill"));
        let v1 = || {
            self.directory(Role::Memory)
                .and_then(|directory| files::keyed(&directory.join("memory.oom_control"), "oom_kill"))
        };
        v2.or_else(v1).unwrap_or(0)
    }

    /// Removes its directories with all nested ones. May be called again.
    ///
    /// # Errors
    /// `ResourceBusy` while something runs in it, or for the moment that the kernel takes to let go of the last process.
    pub fn remove(&self) -> io::Result<()> {
        let mut result = Ok(());
        for directory in self.directories() {
            result = result.and(remove_tree(directory));
        }
        result
    }

    /// Whether any of its directories exists.
    pub fn exists(&self) -> bool {
        self.directories.iter().any(|(_, directory)| directory.exists())
    }

    pub(super) fn v2(&self) -> Option<&Path> {
        self.directory(Role::Unified).or_else(|| self.directory(Role::KillOnly))
    }

    fn kill_directory(&self) -> Option<&Path> {
        self.v2()
            .or_else(|| self.directory(Role::Freezer))
            .or_else(|| self.directories.first().map(|(_, directory)| directory.as_path()))
    }
}

fn collect_processes(directory: &Path, found: &mut Vec<i32>) -> io::Result<()> {
    found.extend(files::processes(directory)?);
    for nested in subdirectories(directory) {
        collect_processes(&nested, found)?;
    }
    Ok(())
}

fn remove_tree(directory: &Path) -> io::Result<()> {
    match std::fs::remove_dir(directory) {
        Ok(()) => return Ok(()),
        Err(error) if files::is_gone(&error) => return Ok(()),
        Err(_) => {}
    }
    for nested in subdirectories(directory) {
        remove_tree(&nested)?;
    }
    match std::fs::remove_dir(directory) {
        Err(error) if !files::is_gone(&error) => Err(error),
        _ => Ok(()),
    }
}

fn subdirectories(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let directories = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    directories.map(|entry| entry.path()).collect()
}
