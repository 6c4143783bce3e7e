use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use super::files;
use super::limits::{Limits, cpu_weight};
use super::task::{Role, TaskCgroup};
use super::{Hierarchies, Version};
use crate::Warning;

/// Where the groups of one agent stand: `<tree>/<parent>/<mark>/<name>` in each tree that it uses.
///
/// The mark tells the groups of two agents on one host apart: nothing outside of it is ever listed, killed or removed.
#[derive(Debug, Clone)]
pub struct CgroupLayout {
    hierarchies: Hierarchies,
    parent: String,
    mark: String,
}

impl CgroupLayout {
    /// Makes nothing yet. Slashes at the ends of `parent` do not matter; `mark` is one path segment.
    pub fn new(hierarchies: Hierarchies, parent: &str, mark: &str) -> Self {
        Self { hierarchies, parent: parent.trim_matches('/').to_owned(), mark: mark.replace('/', "-") }
    }

    /// The trees underneath.
    pub fn hierarchies(&self) -> &Hierarchies {
        &self.hierarchies
    }

    /// Makes a group with `limits`, in all trees that this takes.
    ///
    /// What the host does not allow is left out and told in the warnings; at worst the group has no directory at all. If a group
    /// with this name exists it is used as it stands, with the new limits.
    pub fn create(&self, name: &str, limits: &Limits) -> (TaskCgroup, Vec<Warning>) {
        let mut group = TaskCgroup::empty();
        let mut warnings = Vec::new();
        let version = self.hierarchies.version();
        let limits_in_v2 = version == Version::V2;
        if let Some(root) = &self.hierarchies.v2 {
            let wanted = if limits_in_v2 { self.v2_controllers(limits) } else { Vec::new() };
            if let Some(directory) = self.make_v2(root, name, &wanted, &mut warnings) {
                if limits_in_v2 {
                    write_v2(&directory, limits, &mut warnings);
                }
                group.add(if limits_in_v2 { Role::Unified } else { Role::KillOnly }, directory);
            }
        }
        if !limits_in_v2 {
            let alone = group.is_none();
            for (role, directory) in self.make_v1(name, limits, alone, &mut warnings) {
                group.add(role, directory);
            }
            write_v1(&group, limits, &mut warnings);
        }
        (group, warnings)
    }

    /// Whether there is a group called `name`, as told by the first tree that every group is made in.
    pub fn exists(&self, name: &str) -> bool {
        self.roots().next().is_some_and(|root| self.directory(root, name).exists())
    }

    /// The group called `name` as far as it exists.
    pub fn open(&self, name: &str) -> TaskCgroup {
        let mut group = TaskCgroup::empty();
        let limits_in_v2 = self.hierarchies.version() == Version::V2;
        if let Some(root) = &self.hierarchies.v2 {
            group.add_if_present(if limits_in_v2 { Role::Unified } else { Role::KillOnly }, self.directory(root, name));
        }
        for (role, controller) in Role::V1 {
            if let Some(root) = self.hierarchies.v1_root(controller) {
                group.add_if_present(role, self.directory(root, name));
            }
        }
        group
    }

    /// The names of all groups with our mark, in any tree.
    pub fn list(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for root in self.roots() {
            let Ok(entries) = std::fs::read_dir(self.marked(root)) else { continue };
            for entry in entries.flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    names.extend(entry.file_name().into_string());
                }
            }
        }
        names
    }

    /// Removes our own directory from every tree, and the parent if nobody else uses it. Groups that still exist keep theirs.
    pub fn remove_roots(&self) {
        for root in self.roots() {
            // Both fail with EBUSY while something is inside, which is as it should be.
            if std::fs::remove_dir(self.marked(root)).is_ok() && !self.parent.is_empty() {
                let _still_used = std::fs::remove_dir(root.join(&self.parent));
            }
        }
    }

    /// Each tree once, beginning with those in which every group is made.
    fn roots(&self) -> impl Iterator<Item = &Path> {
        let always =
            [Role::Memory, Role::Cpu].map(|role| role.v1_controller().and_then(|name| self.hierarchies.v1.get(name)));
        let mut roots: Vec<&PathBuf> = self.hierarchies.v2.iter().chain(always.into_iter().flatten()).collect();
        for root in self.hierarchies.v1.values() {
            if !roots.contains(&root) {
                roots.push(root);
            }
        }
        roots.into_iter().map(PathBuf::as_path)
    }

    fn marked(&self, root: &Path) -> PathBuf {
        root.join(&self.parent).join(&self.mark)
    }

    fn directory(&self, root: &Path, name: &str) -> PathBuf {
        self.marked(root).join(name.replace('/', "-"))
    }

    /// Makes the directory with its parents, opening `controllers` to it level by level.
    fn make_v2(&self, root: &Path, name: &str, controllers: &[&str], warnings: &mut Vec<Warning>) -> Option<PathBuf> {
        let directory = self.directory(root, name);
        if controllers.is_empty() {
            return make_directory(&directory, warnings).then_some(directory);
        }
        if let Err(error) = std::fs::create_dir_all(self.marked(root)) {
            warnings.push(Warning::new("making the control group", self.marked(root), &error));
            return None;
        }
        let mut levels: Vec<&Path> =
            directory.ancestors().skip(1).take_while(|level| level.starts_with(root)).collect();
        levels.reverse();
        for controller in controllers {
            for level in &levels {
                let enabled = std::fs::read_to_string(level.join("cgroup.subtree_control")).unwrap_or_default();
                if enabled.split_ascii_whitespace().any(|known| known == *controller) {
                    continue;
                }
                let action = format!("enabling the {controller} controller");
                if let Some(warning) =
                    files::write(&action, &level.join("cgroup.subtree_control"), &format!("+{controller}"))
                {
                    warnings.push(warning);
                    break;
                }
            }
        }
        make_directory(&directory, warnings).then_some(directory)
    }

    fn v2_controllers(&self, limits: &Limits) -> Vec<&'static str> {
        let wanted = [("cpu", true), ("memory", true), ("pids", true), ("cpuset", limits.cpuset.is_some())];
        wanted
            .into_iter()
            .filter(|(controller, wanted)| *wanted && self.hierarchies.v2_controllers.contains(*controller))
            .map(|(controller, _)| controller)
            .collect()
    }

    /// Makes one directory per tree that `limits` and accounting need; with `alone`, without version 2, also what that would do.
    fn make_v1(&self, name: &str, limits: &Limits, alone: bool, warnings: &mut Vec<Warning>) -> Vec<(Role, PathBuf)> {
        let mut made: Vec<(Role, PathBuf)> = Vec::new();
        for (role, controller) in Role::V1 {
            let wanted = match role {
                Role::Cpu | Role::Memory => true,
                // Beside a version 2 group, which counts that too, it would be one more directory to make, join and remove.
                Role::CpuAccounting => alone,
                Role::Cpuset => limits.cpuset.is_some(),
                Role::Pids => limits.pids_max.is_some(),
                Role::Freezer => alone,
                Role::Unified | Role::KillOnly => false,
            };
            let Some(root) = self.hierarchies.v1_root(controller).filter(|_| wanted) else { continue };
            let directory = self.directory(root, name);
            if made.iter().any(|(_, known)| *known == directory) {
                made.push((role, directory));
                continue;
            }
            if role == Role::Cpuset {
                self.inherit_cpuset(root, warnings);
            }
            if make_directory(&directory, warnings) {
                if role == Role::Cpuset {
                    inherit_cpuset_of(&directory, warnings);
                }
                made.push((role, directory));
            }
        }
        made
    }

    /// Version 1 makes cpusets empty, and nothing can join an empty one: each level takes over its parent's.
    fn inherit_cpuset(&self, root: &Path, warnings: &mut Vec<Warning>) {
        let marked = self.marked(root);
        if let Err(error) = std::fs::create_dir_all(&marked) {
            warnings.push(Warning::new("making the control group", marked, &error));
            return;
        }
        let mut levels: Vec<&Path> = marked.ancestors().take_while(|level| *level != root).collect();
        levels.reverse();
        for level in levels {
            inherit_cpuset_of(level, warnings);
        }
    }
}

fn inherit_cpuset_of(directory: &Path, warnings: &mut Vec<Warning>) {
    let Some(parent) = directory.parent() else { return };
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let own = std::fs::read_to_string(directory.join(file)).unwrap_or_default();
        if own.trim().is_empty() {
            let inherited = std::fs::read_to_string(parent.join(file)).unwrap_or_default();
            warnings.extend(files::write("taking over the cpuset", &directory.join(file), inherited.trim()));
        }
    }
}

fn make_directory(directory: &Path, warnings: &mut Vec<Warning>) -> bool {
    let made = match std::fs::create_dir(directory) {
        // The first of its agent.
        Err(error) if error.kind() == io::ErrorKind::NotFound => std::fs::create_dir_all(directory),
        made => made,
    };
    match made {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => true,
        Err(error) => {
            warnings.push(Warning::new("making the control group", directory, &error));
            false
        }
    }
}

fn write_v2(directory: &Path, limits: &Limits, warnings: &mut Vec<Warning>) {
    let mut set = |action: &str, file: &str, value: Option<String>| {
        if let Some(value) = value {
            warnings.extend(files::write(action, &directory.join(file), &value));
        }
    };
    set(
        "setting the CPU weight",
        "cpu.weight",
        limits.cpu_shares.and_then(cpu_weight).map(|weight| weight.to_string()),
    );
    set("setting the memory limit", "memory.max", limits.memory_hard.map(|bytes| bytes.to_string()));
    set("protecting memory", "memory.low", limits.memory_soft.map(|bytes| bytes.to_string()));
    set("setting the cpuset", "cpuset.cpus", limits.cpuset.clone());
    set("limiting processes", "pids.max", limits.pids_max.map(|count| count.to_string()));
    if !limits.swap && directory.join("memory.swappiness").exists() {
        set("forbidding swap", "memory.swappiness", Some("0".to_owned()));
    }
}

fn write_v1(group: &TaskCgroup, limits: &Limits, warnings: &mut Vec<Warning>) {
    let mut set = |role: Role, action: &str, file: &str, value: Option<String>| {
        if let (Some(value), Some(directory)) = (value, group.directory(role)) {
            warnings.extend(files::write(action, &directory.join(file), &value));
        }
    };
    let shares = limits.cpu_shares.filter(|shares| *shares > 0).map(|shares| shares.max(2).to_string());
    set(Role::Cpu, "setting the CPU shares", "cpu.shares", shares);
    set(
        Role::Memory,
        "setting the memory limit",
        "memory.limit_in_bytes",
        limits.memory_hard.map(|bytes| bytes.to_string()),
    );
    set(
        Role::Memory,
        "setting the soft memory limit",
        "memory.soft_limit_in_bytes",
        limits.memory_soft.map(|bytes| bytes.to_string()),
    );
    set(Role::Cpuset, "setting the cpuset", "cpuset.cpus", limits.cpuset.clone());
    set(Role::Pids, "limiting processes", "pids.max", limits.pids_max.map(|count| count.to_string()));
    set(Role::Memory, "forbidding swap", "memory.swappiness", (!limits.swap).then(|| "0".to_owned()));
}
