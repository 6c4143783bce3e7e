use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::mounts::{self, Mount};

/// Which control groups this host has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Version {
    /// One tree with controllers for cpu or memory.
    V2,
    /// A tree per controller.
    V1,
    /// Controllers in version 1, and a version 2 tree beside them.
    Hybrid,
    /// None mounted.
    None,
}

/// As a node advertises it.
impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V2 => "v2",
            Self::V1 => "v1",
            Self::Hybrid => "hybrid",
            Self::None => "none",
        })
    }
}

/// Where the control group trees of this host are mounted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hierarchies {
    /// The version 2 tree.
    pub v2: Option<PathBuf>,
    /// The controllers that the version 2 tree offers at its root.
    pub v2_controllers: BTreeSet<String>,
    /// The version 1 trees by controller; joint ones (`cpu,cpuacct`) appear under each name.
    pub v1: BTreeMap<String, PathBuf>,
}

impl Hierarchies {
    /// Reads what is mounted now.
    pub fn detect() -> io::Result<Self> {
        let mut found = Self::from_mounts(&mounts::list()?);
        if let Some(root) = &found.v2
            && let Ok(text) = std::fs::read_to_string(root.join("cgroup.controllers"))
        {
            found.v2_controllers = text.split_ascii_whitespace().map(str::to_owned).collect();
        }
        Ok(found)
    }

    fn from_mounts(mounts: &[Mount]) -> Self {
        let mut found = Self::default();
        for mount in mounts {
            match mount.filesystem.as_str() {
                "cgroup2" => {
                    found.v2.get_or_insert_with(|| mount.target.clone());
                }
                "cgroup" => {
                    for option in mount.super_options.split(',').filter(|option| is_controller(option)) {
                        found.v1.entry(option.to_owned()).or_insert_with(|| mount.target.clone());
                    }
                }
                _ => {}
            }
        }
        found
    }

    /// Which kind of host this is.
    pub fn version(&self) -> Version {
        let v2_limits = self.v2_controllers.contains("memory") || self.v2_controllers.contains("cpu");
        match (self.v2.is_some(), self.v1.is_empty()) {
            (true, true) => Version::V2,
            (true, false) if v2_limits && !self.v1.contains_key("memory") && !self.v1.contains_key("cpu") => {
                Version::V2
            }
            (true, false) => Version::Hybrid,
            (false, false) => Version::V1,
            (false, true) => Version::None,
        }
    }

    /// The root of the version 1 tree of `controller`.
    pub fn v1_root(&self, controller: &str) -> Option<&Path> {
        self.v1.get(controller).map(PathBuf::as_path)
    }
}

fn is_controller(option: &str) -> bool {
    matches!(option, "cpu" | "cpuacct" | "cpuset" | "memory" | "devices" | "freezer" | "blkio" | "pids" | "hugetlb")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(filesystem: &str, target: &str, super_options: &str) -> Mount {
        Mount {
            target: target.into(),
            root: "/".into(),
            filesystem: filesystem.into(),
            source: "cgroup".into(),
            super_options: super_options.into(),
        }
    }

    #[test]
    fn the_kind_of_host_follows_from_what_is_mounted() {
        let v1 = mount("cgroup", "/c/cpu,cpuacct", "rw,cpu,cpuacct");
        let v2 = mount("cgroup2", "/c/unified", "rw");
        let named = mount("cgroup", "/c/systemd", "rw,xattr,name=systemd");
        let none = Hierarchies::from_mounts(std::slice::from_ref(&named));
        assert_eq!(none.version(), Version::None);
        assert_eq!(Hierarchies::from_mounts(std::slice::from_ref(&v1)).version(), Version::V1);
        assert_eq!(Hierarchies::from_mounts(&[v2.clone(), named]).version(), Version::V2);
        let hybrid = Hierarchies::from_mounts(&[v1, v2]);
        assert_eq!(hybrid.version(), Version::Hybrid);
        assert_eq!(hybrid.v1_root("cpuacct"), Some(Path::new("/c/cpu,cpuacct")));
        assert_eq!(hybrid.v1_root("memory"), None);
    }
}
