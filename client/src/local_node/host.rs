//! What the machine uses.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::PoisonError;

use orch_api::HostStats;
use orch_api::stats::{HostCpuStats, HostDiskStats, HostMemoryStats};

use super::usage::float;
use crate::fingerprint::machine::{Disk, disk, memory};
use crate::handle::Handle;

/// Time of one core in ticks since the machine started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CpuSample {
    user: u64,
    system: u64,
    idle: u64,
}

impl CpuSample {
    fn total(self) -> u64 {
        self.user + self.system + self.idle
    }
}

impl Handle {
    /// Measures the machine. Processor use is since it was last measured, or since the machine started.
    pub(crate) fn measure_host(&self) -> HostStats {
        let cores = read_cores(&fs::read_to_string("/proc/stat").unwrap_or_default());
        let earlier = {
            let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut samples.cores, cores.clone())
        };
        let node = self.description();
        let per_core = f64::from(node.resources.cpu.0) / f64::from(node.resources.total_cores.max(1));
        let cpu: Vec<HostCpuStats> = cores
            .iter()
            .map(|(name, now)| core_stats(name, *now, earlier.get(name).copied().unwrap_or_default(), per_core))
            .collect();
        let found = memory();
        HostStats {
            memory: HostMemoryStats {
                total: found.total,
                available: found.available,
                used: found.total.saturating_sub(found.available),
                free: found.free,
            },
            cpu_ticks_consumed: cpu.iter().map(|core| core.total_ticks).sum(),
            cpu,
            disk_stats: disks(),
            alloc_dir_stats: disk(&self.context.config.alloc_dir).map(disk_stats).unwrap_or_default(),
            uptime: sysinfo::System::uptime().unwrap_or(0),
            timestamp: self.context.clock.now().0,
        }
    }
}

/// By core, `cpu0` and so on.
fn read_cores(stat: &str) -> BTreeMap<String, CpuSample> {
    let lines = stat.lines().filter(|line| line.starts_with("cpu") && !line.starts_with("cpu "));
    let cores = lines.filter_map(|line| {
        let mut fields = line.split_whitespace();
        let name = fields.next()?.to_owned();
        let ticks: Vec<u64> = fields.filter_map(|field| field.parse().ok()).collect();
        let sum = |places: &[usize]| places.iter().filter_map(|place| ticks.get(*place)).sum();
        // user, nice, system, idle, iowait, irq, softirq, steal
        Some((name, CpuSample { user: sum(&[0, 1]), system: sum(&[2, 5, 6, 7]), idle: sum(&[3, 4]) }))
    });
    cores.collect()
}

fn core_stats(name: &str, now: CpuSample, earlier: CpuSample, per_core: f64) -> HostCpuStats {
    let total = now.total().saturating_sub(earlier.total());
    let percent = |later: u64, earlier: u64| {
        if total > 0 { 100.0 * float(later.saturating_sub(earlier)) / float(total) } else { 0.0 }
    };
    let (user, system) = (percent(now.user, earlier.user), percent(now.system, earlier.system));
    HostCpuStats {
        cpu: name.to_owned(),
        user,
        system,
        idle: percent(now.idle, earlier.idle),
        total_percent: user + system,
        total_ticks: (user + system) / 100.0 * per_core,
    }
}

/// Each block device once.
fn disks() -> Vec<HostDiskStats> {
    let mut seen = BTreeSet::new();
    let mounts = orch_host::mounts::list().unwrap_or_default().into_iter();
    let devices = mounts.filter(|mount| mount.source.starts_with("/dev/") && seen.insert(mount.source.clone()));
    devices.filter_map(|mount| disk(Path::new(&mount.target))).map(disk_stats).collect()
}

fn disk_stats(disk: Disk) -> HostDiskStats {
    let Disk { device, mount_point, size, free, available, inodes, inodes_free } = disk;
    let share = |part: u64, whole: u64| if whole > 0 { 100.0 * float(part) / float(whole) } else { 0.0 };
    let used = size.saturating_sub(free);
    HostDiskStats {
        device,
        mountpoint: mount_point,
        size,
        used,
        available,
        used_percent: share(used, size),
        inodes_used_percent: share(inodes.saturating_sub(inodes_free), inodes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn use_of_a_core_is_since_the_last_measurement() {
        let first = read_cores("cpu  9 9 9 9\ncpu0 10 0 10 80 0 0 0 0\n");
        let second = read_cores("cpu  9 9 9 9\ncpu0 40 0 20 140 0 0 0 0\nintr 5\n");
        assert_eq!(second.len(), 1);
        let stats = core_stats("cpu0", second["cpu0"], first["cpu0"], 2000.0);
        assert!((stats.user - 30.0).abs() < 1e-9 && (stats.system - 10.0).abs() < 1e-9, "{stats:?}");
        assert!((stats.total_ticks - 800.0).abs() < 1e-9, "{stats:?}");
    }
}
