//! What a task asks of its node.

use super::nullable::document;
use super::{Affinity, Constraint, NetworkResource};

document! {
    /// What a task asks of its node.
    pub struct Resources {
        /// Processor share in MHz; 0 is unset, and stays 0 where cores are asked for.
        #[serde(rename = "CPU")]
        pub cpu: i64,
        /// Whole cores for this task alone.
        pub cores: i64,
        /// Memory in MiB.
        #[serde(rename = "MemoryMB")]
        pub memory_mb: i64 = 300,
        /// Memory in MiB that it may use where there is some to spare; 0 is unset, -1 unlimited.
        #[serde(rename = "MemoryMaxMB")]
        pub memory_max_mb: i64,
        /// Refused; the group's ephemeral disk counts.
        #[serde(rename = "DiskMB")]
        pub disk_mb: i64,
        /// Ignored.
        #[serde(rename = "IOPS")]
        pub iops: i64,
        /// Older form; the group's network counts.
        pub networks: Vec<NetworkResource>,
        /// Devices.
        pub devices: Vec<RequestedDevice>,
        /// Wishes about memory near cores.
        #[serde(rename = "NUMA")]
        pub numa: Option<Numa>,
        /// Size of the secrets directory in MiB; 0 is unset. Added to the memory that is asked for.
        #[serde(rename = "SecretsMB")]
        pub secrets_mb: i64,
    }

    /// Devices of one kind.
    pub struct RequestedDevice {
        /// `type`, `vendor/type` or `vendor/type/model`.
        pub name: String,
        /// How many.
        pub count: i64 = 1,
        /// What they must fulfil.
        pub constraints: Vec<Constraint>,
        /// What they should rather fulfil.
        pub affinities: Vec<Affinity>,
    }

    /// Wishes about memory near cores.
    pub struct Numa {
        /// `none`, `prefer` or `require`.
        pub affinity: String,
        /// Devices that should be near, too.
        pub devices: Vec<String>,
    }
}
