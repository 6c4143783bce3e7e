//! What a server is told at its start.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::raft::RaftOptions;

/// What a server is told at its start; every value is checked before.
#[derive(Debug, Clone)]
pub struct Config {
    /// The server's name; by default the host's.
    pub name: String,
    /// The region.
    pub region: String,
    /// The datacenter.
    pub datacenter: String,
    /// The version of this build, shown to others.
    pub version: String,
    /// The directory of the server's own files.
    pub data_dir: PathBuf,
    /// Where the RPC port listens.
    pub rpc_bind: SocketAddr,
    /// Where others reach the RPC port, `host:port`; by default as bound.
    pub rpc_advertise: String,
    /// Where the HTTP API is reached, for others to show.
    pub http_advertise: String,
    /// How many blank servers form a cluster; 0 means that this server never forms one.
    pub bootstrap_expect: u32,
    /// Servers to ask for a cluster, `host:port`.
    pub retry_join: Vec<String>,
    /// How long to wait between rounds of asking; by default 1 s.
    pub retry_interval: Duration,
    /// How the raft node is run.
    pub raft: RaftOptions,
    /// How many schedulers compute at the same time; by default one per core.
    pub num_schedulers: usize,
    /// What is collected, and when.
    pub gc: GcConfig,
    /// How the leader judges silence.
    pub detection: DetectionConfig,
    /// What the RPC port puts up with.
    pub rpc_limits: RpcLimits,
}

/// What the RPC port puts up with from one address.
#[derive(Debug, Clone)]
pub struct RpcLimits {
    /// How many connections it may have open; further ones are closed. 0 is no limit; by default 100.
    pub conns_per_client: usize,
    /// Whether that holds for the machine itself, too; by default not.
    pub for_loopback: bool,
    /// How long it may take to begin to speak; 0 is no limit; by default 5 s.
    pub handshake_timeout: Duration,
}

impl Default for RpcLimits {
    fn default() -> Self {
        Self { conns_per_client: 100, for_loopback: false, handshake_timeout: Duration::from_secs(5) }
    }
}

/// How old ended things may become before they are collected.
#[derive(Debug, Clone)]
pub struct GcConfig {
    /// How often a pass begins; by default every 5 min.
    pub interval: Duration,
    /// Evaluations and their allocations; by default 1 h.
    pub evals: Duration,
    /// Those of batch jobs; by default 24 h.
    pub batch_evals: Duration,
    /// Deployments; by default 1 h.
    pub deployments: Duration,
    /// Jobs; by default 4 h.
    pub jobs: Duration,
    /// Nodes; by default 24 h.
    pub nodes: Duration,
}

impl Default for GcConfig {
    fn default() -> Self {
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        Self {
            interval: Duration::from_secs(300),
            evals: hours(1),
            batch_evals: hours(24),
            deployments: hours(1),
            jobs: hours(4),
            nodes: hours(24),
        }
    }
}

/// How the leader judges silence.
#[derive(Debug, Clone)]
pub struct DetectionConfig {
    /// A node that was not heard for so long is down; by default 10 s.
    pub silence: Duration,
    /// The same for one whose agent said that it restarts; by default 30 s.
    pub restart: Duration,
    /// How long a node may take to appear elsewhere after its server or the leader was lost; by default 3 s.
    pub takeover: Duration,
    /// How long nodes beyond the brake stay disconnected; by default 5 min.
    pub braked: Duration,
}

impl Default for DetectionConfig {
    fn default() -> Self {
        Self {
            silence: Duration::from_secs(10),
            restart: Duration::from_secs(30),
            takeover: Duration::from_secs(3),
            braked: Duration::from_secs(300),
        }
    }
}
