//! Memory and disk.

use std::path::Path;

use orch_model::MebiBytes;
use orch_model::node::NodeDescription;
use sysinfo::{MemoryRefreshKind, RefreshKind, System};

use crate::config::Config;

const MIB: u64 = 1 << 20;

/// Memory of the machine in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) total: u64,
    pub(crate) available: u64,
    pub(crate) free: u64,
}

/// A file system in bytes, with its inodes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Disk {
    pub(crate) device: String,
    pub(crate) mount_point: String,
    pub(crate) size: u64,
    pub(crate) free: u64,
    /// What unprivileged users may still take.
    pub(crate) available: u64,
    pub(crate) inodes: u64,
    pub(crate) inodes_free: u64,
}

pub(super) fn describe(config: &Config, node: &mut NodeDescription) {
    let memory = config.memory_total.map_or_else(|| memory().total, |mib| mib.0.saturating_mul(MIB));
    node.resources.memory = MebiBytes(memory / MIB);
    node.attributes.insert("memory.totalbytes".to_owned(), memory.to_string());
    let disk = disk(&config.alloc_dir).unwrap_or_default();
    let size = config.disk_total.map_or(disk.size, |mib| mib.0.saturating_mul(MIB));
    let free = config.disk_free.unwrap_or(MebiBytes(disk.available.min(size) / MIB));
    node.resources.disk = free;
    let mut set = |key: &str, value: String| node.attributes.insert(key.to_owned(), value);
    set("unique.storage.volume", disk.device);
    set("unique.storage.bytestotal", size.to_string());
    set("unique.storage.bytesfree", free.0.saturating_mul(MIB).to_string());
}

/// Memory as it is now.
pub(crate) fn memory() -> Memory {
    let ram = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    let Ok(found) = System::new_with_specifics(ram) else { return Memory::default() };
    Memory { total: found.total_memory(), available: found.available_memory(), free: found.free_memory() }
}

/// The file system that holds `path`; `None` if the system does not say.
pub(crate) fn disk(path: &Path) -> Option<Disk> {
    let found = nix::sys::statvfs::statvfs(path).ok()?;
    let unit = found.fragment_size();
    let mounts = orch_host::mounts::list().unwrap_or_default();
    let path = path.canonicalize().ok()?;
    let mount = mounts.into_iter().filter(|mount| path.starts_with(&mount.target));
    let mount = mount.max_by_key(|mount| mount.target.as_os_str().len());
    let (device, mount_point) =
        mount.map(|mount| (mount.source, mount.target.to_string_lossy().into_owned())).unwrap_or_default();
    Some(Disk {
        device,
        mount_point,
        size: found.blocks().saturating_mul(unit),
        free: found.blocks_free().saturating_mul(unit),
        available: found.blocks_available().saturating_mul(unit),
        inodes: found.files(),
        inodes_free: found.files_free(),
    })
}
