use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::files::{self, Table};
use super::task::{Role, TaskCgroup};
use crate::process;

/// What a group has used. What the host does not count is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Nanoseconds of CPU time since the group was made.
    pub cpu_ns: Option<u64>,
    /// The part of it in user mode.
    pub cpu_user_ns: Option<u64>,
    /// The part of it in the kernel.
    pub cpu_system_ns: Option<u64>,
    /// In how many periods it was held back for having used its quota.
    pub throttled_periods: Option<u64>,
    /// For how many nanoseconds in all.
    pub throttled_ns: Option<u64>,
    /// Bytes of memory charged to the group now, page cache included.
    pub memory: Option<u64>,
    /// The highest `memory` has been, where the kernel keeps it.
    pub memory_peak: Option<u64>,
    /// Bytes of anonymous memory.
    pub memory_anonymous: Option<u64>,
    /// Bytes of page cache.
    pub memory_cache: Option<u64>,
    /// Bytes of files mapped into processes; part of the cache.
    pub memory_mapped: Option<u64>,
    /// Bytes swapped out.
    pub memory_swap: Option<u64>,
    /// Bytes that the kernel holds on behalf of the group.
    pub memory_kernel: Option<u64>,
    /// The highest `memory_kernel` has been, where the kernel keeps it.
    pub memory_kernel_peak: Option<u64>,
    /// Bytes read from block devices.
    pub io_read_bytes: Option<u64>,
    /// Bytes written to block devices.
    pub io_write_bytes: Option<u64>,
    /// Processes in it now.
    pub processes: Option<u64>,
    /// Processes that the kernel killed here for want of memory.
    pub oom_kills: u64,
}

impl TaskCgroup {
    /// What it has used so far.
    pub fn stats(&self) -> Stats {
        let mut stats = Stats { oom_kills: self.oom_kills(), ..Stats::default() };
        // Version 2 counts processor time in every group, whether it has controllers or not.
        if let Some(directory) = self.v2() {
            stats.count_cpu_v2(directory);
        }
        if let Some(directory) = self.directory(Role::Unified) {
            stats.count_memory_v2(directory);
            let io = Table::read(&directory.join("io.stat"));
            (stats.io_read_bytes, stats.io_write_bytes) = (io.sum("rbytes"), io.sum("wbytes"));
        }
        if let Some(directory) = self.directory(Role::CpuAccounting) {
            stats.count_cpu_v1(directory);
        }
        if let Some(directory) = self.directory(Role::Cpu) {
            let cpu = Table::read(&directory.join("cpu.stat"));
            (stats.throttled_periods, stats.throttled_ns) = (cpu.get("nr_throttled"), cpu.get("throttled_time"));
        }
        if let Some(directory) = self.directory(Role::Memory) {
            stats.count_memory_v1(directory);
        }
        stats.processes = self.processes().ok().and_then(|processes| u64::try_from(processes.len()).ok());
        stats
    }

    /// What `pid` and everything below it has used, for tasks that have no group.
    pub fn stats_of_tree(pid: i32) -> io::Result<Stats> {
        let processes = process::all()?;
        let own = processes.iter().find(|stat| stat.pid == pid).copied();
        let members: Vec<_> = process::descendants_in(&processes, pid).into_iter().chain(own).collect();
        let sum = |part: fn(&process::Stat) -> u64| members.iter().map(part).fold(0, u64::saturating_add);
        let nanos = |ticks: u64| Some(ticks.saturating_mul(1_000_000_000 / process::ticks_per_second()));
        Ok(Stats {
            cpu_ns: nanos(sum(process::Stat::cpu_ticks)),
            cpu_user_ns: nanos(sum(|stat| stat.user_ticks)),
            cpu_system_ns: nanos(sum(|stat| stat.system_ticks)),
            memory: Some(sum(|stat| stat.rss_pages).saturating_mul(process::page_size())),
            processes: u64::try_from(members.iter().filter(|stat| !stat.is_dead()).count()).ok(),
            ..Stats::default()
        })
    }
}

impl Stats {
    fn count_cpu_v2(&mut self, directory: &Path) {
        let cpu = Table::read(&directory.join("cpu.stat"));
        let nanos = |key: &str| cpu.get(key).map(|micros| micros.saturating_mul(1000));
        self.cpu_ns = nanos("usage_usec");
        self.cpu_user_ns = nanos("user_usec");
        self.cpu_system_ns = nanos("system_usec");
        self.throttled_periods = cpu.get("nr_throttled");
        self.throttled_ns = nanos("throttled_usec");
    }

    fn count_cpu_v1(&mut self, directory: &Path) {
        self.cpu_ns = files::number(&directory.join("cpuacct.usage"));
        self.cpu_user_ns = files::number(&directory.join("cpuacct.usage_user"));
        self.cpu_system_ns = files::number(&directory.join("cpuacct.usage_sys"));
    }

    fn count_memory_v2(&mut self, directory: &Path) {
        self.memory = files::number(&directory.join("memory.current"));
        self.memory_peak = files::number(&directory.join("memory.peak"));
        self.memory_swap = files::number(&directory.join("memory.swap.current"));
        let parts = Table::read(&directory.join("memory.stat"));
        self.memory_anonymous = parts.get("anon");
        self.memory_cache = parts.get("file");
        self.memory_mapped = parts.get("file_mapped");
        self.memory_kernel = parts.get("kernel");
    }

    fn count_memory_v1(&mut self, directory: &Path) {
        self.memory = files::number(&directory.join("memory.usage_in_bytes"));
        self.memory_peak = files::number(&directory.join("memory.max_usage_in_bytes"));
        self.memory_kernel = files::number(&directory.join("memory.kmem.usage_in_bytes"));
        self.memory_kernel_peak = files::number(&directory.join("memory.kmem.max_usage_in_bytes"));
        let parts = Table::read(&directory.join("memory.stat"));
        self.memory_anonymous = parts.get("total_rss");
        self.memory_cache = parts.get("total_cache");
        self.memory_mapped = parts.get("total_mapped_file");
        self.memory_swap = parts.get("total_swap");
    }
}
