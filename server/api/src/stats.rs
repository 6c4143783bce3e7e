//! What allocations and machines use right now.

use std::collections::BTreeMap;

use crate::json::shape;

shape! {
    /// What an allocation uses.
    pub struct AllocResourceUsage {
        /// All of its tasks together.
        pub resource_usage: ResourceUsage,
        /// By task.
        pub tasks: BTreeMap<String, TaskResourceUsage>,
        /// When it was measured, in nanoseconds since the epoch.
        pub timestamp: i64,
    }

    /// What a task uses.
    pub struct TaskResourceUsage {
        /// All of its processes together.
        pub resource_usage: ResourceUsage,
        /// When it was measured, in nanoseconds since the epoch.
        pub timestamp: i64,
        /// By process id, where the driver knows.
        pub pids: BTreeMap<String, ResourceUsage>,
    }

    /// Memory and processor use.
    pub struct ResourceUsage {
        /// Memory.
        pub memory_stats: MemoryStats,
        /// Processor.
        pub cpu_stats: CpuStats,
    }

    /// Memory use in bytes; `measured` names the fields that mean something.
    pub struct MemoryStats {
        /// Resident.
        #[serde(rename = "RSS")]
        pub rss: u64,
        /// Page cache.
        pub cache: u64,
        /// Swapped out.
        pub swap: u64,
        /// Mapped files.
        pub mapped_file: u64,
        /// All that counts against the limit.
        pub usage: u64,
        /// The most it ever was.
        pub max_usage: u64,
        /// Kernel memory.
        pub kernel_usage: u64,
        /// The most kernel memory it ever was.
        pub kernel_max_usage: u64,
        /// The fields that were measured, such as `RSS`.
        pub measured: Vec<String>,
    }

    /// Processor use; `measured` names the fields that mean something.
    pub struct CpuStats {
        /// Percent of a core in the kernel.
        pub system_mode: f64,
        /// Percent of a core in user mode.
        pub user_mode: f64,
        /// MHz.
        pub total_ticks: f64,
        /// How often it was throttled.
        pub throttled_periods: u64,
        /// For how long, in nanoseconds.
        pub throttled_time: u64,
        /// Percent of a core.
        pub percent: f64,
        /// The fields that were measured, such as `Percent`.
        pub measured: Vec<String>,
    }

    /// What a machine uses.
    pub struct HostStats {
        /// Memory.
        pub memory: HostMemoryStats,
        /// By core.
        #[serde(rename = "CPU")]
        pub cpu: Vec<HostCpuStats>,
        /// By mounted disk.
        pub disk_stats: Vec<HostDiskStats>,
        /// The disk that holds the allocation directories.
        pub alloc_dir_stats: HostDiskStats,
        /// Seconds since the machine started.
        pub uptime: u64,
        /// When it was measured, in nanoseconds since the epoch.
        pub timestamp: i64,
        /// MHz in use.
        #[serde(rename = "CPUTicksConsumed")]
        pub cpu_ticks_consumed: f64,
    }

    /// Memory of a machine in bytes.
    pub struct HostMemoryStats {
        /// All of it.
        pub total: u64,
        /// What could be had without swapping.
        pub available: u64,
        /// In use.
        pub used: u64,
        /// Unused.
        pub free: u64,
    }

    /// Use of one core in percent.
    pub struct HostCpuStats {
        /// The core's name.
        #[serde(rename = "CPU")]
        pub cpu: String,
        /// In user mode.
        pub user: f64,
        /// In the kernel.
        pub system: f64,
        /// Idle.
        pub idle: f64,
        /// Not idle.
        pub total_percent: f64,
        /// MHz.
        pub total_ticks: f64,
    }

    /// A mounted disk, in bytes.
    pub struct HostDiskStats {
        /// The device.
        pub device: String,
        /// Where it is mounted.
        pub mountpoint: String,
        /// All of it.
        pub size: u64,
        /// In use.
        pub used: u64,
        /// What unprivileged users may still take.
        pub available: u64,
        /// Percent in use.
        pub used_percent: f64,
        /// Percent of inodes in use.
        pub inodes_used_percent: f64,
    }

    /// A node's metadata by where it comes from.
    pub struct NodeMetadata {
        /// All of it.
        pub meta: BTreeMap<String, String>,
        /// What was set at run time.
        pub dynamic: BTreeMap<String, Option<String>>,
        /// What stands in the agent's configuration.
        pub r#static: BTreeMap<String, String>,
    }
}
