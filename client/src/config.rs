//! What the agent is told about its node.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use orch_model::node::{HostNetwork, NodeReserved, PortRange};
use orch_model::{MebiBytes, Mhz};

/// Everything a client agent is told; complete, so that nothing below reads files or the environment for settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the agent keeps its identity and its local state.
    pub state_dir: PathBuf,
    /// Under which each allocation has its directory.
    pub alloc_dir: PathBuf,
    /// The node's name; empty takes the host's name.
    pub name: String,
    /// The region that the servers belong to.
    pub region: String,
    /// Where the node stands.
    pub datacenter: String,
    /// A class chosen by the operator; may be empty.
    pub node_class: String,
    /// The pool the node belongs to.
    pub node_pool: String,
    /// The operator's metadata.
    pub meta: BTreeMap<String, String>,
    /// Servers to begin with, `host:port`; those learned from a server are tried as well.
    pub servers: Vec<String>,
    /// The address at which the agent's HTTP API can be reached, `ip:port`.
    pub http_addr: String,
    /// The version of the agent.
    pub version: String,
    /// What the operator keeps from allocations.
    pub reserved: NodeReserved,
    /// From which dynamic ports are taken.
    pub dynamic_ports: PortRange,
    /// Named networks of the host.
    pub host_networks: BTreeMap<String, HostNetwork>,
    /// The interface whose address allocations use; `None` takes that of the default route, else the loopback.
    pub network_interface: Option<String>,
    /// The address that allocations use, instead of the interface's own.
    pub network_address: Option<IpAddr>,
    /// Replaces the speed of the interface, in Mbit/s.
    pub network_speed_mbits: Option<u32>,
    /// Replaces the processor capacity that was found.
    pub cpu_total_compute: Option<Mhz>,
    /// Cores that tasks may have for themselves; `None` offers all.
    pub reservable_cores: Option<BTreeSet<u16>>,
    /// Cores that no task may have for itself.
    pub reserved_cores: BTreeSet<u16>,
    /// Replaces the memory that was found.
    pub memory_total: Option<MebiBytes>,
    /// Replaces the size of the disk that was found.
    pub disk_total: Option<MebiBytes>,
    /// Replaces the free space that was found.
    pub disk_free: Option<MebiBytes>,
    /// The most allocations the node takes; 0 is no limit.
    pub max_allocs: u32,
    /// Whether the node starts out ineligible.
    pub default_ineligible: bool,
    /// The cgroup under which the drivers keep tasks.
    pub cgroup_parent: String,
    /// The longest time between the kill signal and being killed, whatever a job says.
    pub max_kill_timeout: Duration,
    /// After a reboot: how long to wait for a server before services are started as last known.
    pub offline_restart_delay: Duration,
    /// Names of host variables that no task sees.
    pub env_denylist: BTreeSet<String>,
    /// The host's environment, of which tasks of drivers without isolation see what is not denied.
    pub host_env: BTreeMap<String, String>,
    /// Users that tasks may not run as, by name or number; by default [`Config::USER_DENYLIST`].
    pub user_denylist: BTreeSet<String>,
    /// Drivers whose tasks' users are checked; by default [`Config::USER_CHECKED_DRIVERS`].
    pub user_checked_drivers: BTreeSet<String>,
    /// Directories of the host that jobs may ask for as volumes, by name.
    pub host_volumes: BTreeMap<String, HostVolume>,
    /// Where the directories of dynamic host volumes are made; outside of it none is ever removed.
    pub host_volumes_dir: PathBuf,
    /// How artifacts are fetched.
    pub artifacts: orch_artifact::Config,
    /// How templates are rendered.
    pub templates: TemplateConfig,
    /// Whether nobody may run commands inside tasks of this node; by default they may.
    pub disable_remote_exec: bool,
    /// How often the size of an allocation's files is compared with what its job asked for; by default every minute.
    pub disk_watch_interval: Duration,
    /// When ended allocations give up their directory.
    pub gc: GcConfig,
    /// What is measured for its own sake.
    pub telemetry: TelemetryConfig,
    /// Whether state may be lost with the machine: writes are not flushed to the disk.
    pub dev: bool,
}

/// A directory of the host that jobs may ask for as a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostVolume {
    /// The directory; absolute.
    pub path: PathBuf,
    /// Whether tasks may only read it.
    pub read_only: bool,
}

/// How templates are rendered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TemplateConfig {
    /// How long changes are collected before templates are rendered again, where their jobs do not say; by default not at all.
    pub wait: Option<orch_template::Wait>,
    /// What a job may say of that, at least and at most; by default anything.
    pub wait_bounds: Option<orch_template::Wait>,
}

impl TemplateConfig {
    /// What a job says of waiting, within what the operator allows.
    pub(crate) fn bounded(&self, wait: orch_template::Wait) -> orch_template::Wait {
        let Some(bounds) = self.wait_bounds else { return wait };
        let most = bounds.max.max(bounds.min);
        let min = wait.min.clamp(bounds.min, most);
        orch_template::Wait { min, max: wait.max.clamp(bounds.min, most).max(min) }
    }
}

/// When ended allocations give up their directory, logs included; the oldest go first.
#[derive(Debug, Clone, PartialEq)]
pub struct GcConfig {
    /// How many allocations may have a directory, running ones included, before ended ones give up theirs; by default 50.
    ///
    /// Never limits how many run. One that ended less than a minute ago is spared.
    pub max_allocs: usize,
    /// Above this share of the disk in use, ended allocations give up their directories; percent, by default 80.
    pub disk_usage_threshold: f64,
    /// The same for inodes; percent, by default 70.
    pub inode_usage_threshold: f64,
    /// How often is looked; by default every minute. There is also a look, at most each second, when allocations come.
    pub interval: Duration,
    /// How many directories are removed at a time; by default 2.
    pub parallel_destroys: usize,
}

impl Default for GcConfig {
    fn default() -> Self {
        Self {
            max_allocs: 50,
            disk_usage_threshold: 80.0,
            inode_usage_threshold: 70.0,
            interval: Duration::from_secs(60),
            parallel_destroys: 2,
        }
    }
}

/// What is measured for its own sake, as metrics; counting what happens costs nothing and is always on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TelemetryConfig {
    /// How often is measured; by default every second.
    pub interval: Duration,
    /// Whether the machine is: processor, memory, disks, uptime. By default not.
    pub node: bool,
    /// Whether each task that runs is: processor, memory, reads and writes. By default not.
    pub allocations: bool,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self { interval: Duration::from_secs(1), node: false, allocations: false }
    }
}

impl Config {
    /// Host variables that hold secrets of the agent, denied unless the operator says otherwise.
    pub const ENV_DENYLIST: [&'static str; 15] = [
        "AWS_ACCESS_KEY_ID",
        "AWS_METADATA_URL",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "CONSUL_HTTP_TOKEN",
        "CONSUL_HTTP_TOKEN_FILE",
        "CONSUL_LICENSE",
        "CONSUL_TOKEN",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "GOOGLE_OAUTH_ACCESS_TOKEN",
        "NOMAD_LICENSE",
        "NOMAD_TOKEN",
        "ORCH_TOKEN",
        "VAULT_LICENSE",
        "VAULT_TOKEN",
    ];

    /// Users that tasks may not run as, unless the operator says otherwise.
    pub const USER_DENYLIST: [&'static str; 2] = ["root", "Administrator"];

    /// Drivers whose tasks' users are checked, unless the operator says otherwise: those that keep tasks apart from the host.
    pub const USER_CHECKED_DRIVERS: [&'static str; 3] = ["exec", "java", "qemu"];

    /// The defaults, with these directories.
    pub fn new(state_dir: PathBuf, alloc_dir: PathBuf) -> Self {
        let artifacts = orch_artifact::Config::new("/proc/self/exe", alloc_dir.join(".artifacts"));
        let host_volumes_dir = alloc_dir.with_file_name("host_volumes");
        Self {
            state_dir,
            alloc_dir,
            name: String::new(),
            region: "global".to_owned(),
            datacenter: "dc1".to_owned(),
            node_class: String::new(),
            node_pool: "default".to_owned(),
            meta: BTreeMap::new(),
            servers: Vec::new(),
            http_addr: String::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            reserved: NodeReserved::default(),
            dynamic_ports: PortRange::default(),
            host_networks: BTreeMap::new(),
            network_interface: None,
            network_address: None,
            network_speed_mbits: None,
            cpu_total_compute: None,
            reservable_cores: None,
            reserved_cores: BTreeSet::new(),
            memory_total: None,
            disk_total: None,
            disk_free: None,
            max_allocs: 0,
            default_ineligible: false,
            cgroup_parent: "orch.slice".to_owned(),
            max_kill_timeout: Duration::from_secs(30),
            offline_restart_delay: Duration::from_secs(30),
            env_denylist: Self::ENV_DENYLIST.iter().map(|name| (*name).to_owned()).collect(),
            host_env: BTreeMap::new(),
            user_denylist: Self::USER_DENYLIST.iter().map(|name| (*name).to_owned()).collect(),
            user_checked_drivers: Self::USER_CHECKED_DRIVERS.iter().map(|name| (*name).to_owned()).collect(),
            host_volumes: BTreeMap::new(),
            host_volumes_dir,
            artifacts,
            templates: TemplateConfig::default(),
            disable_remote_exec: false,
            disk_watch_interval: Duration::from_secs(60),
            gc: GcConfig::default(),
            telemetry: TelemetryConfig::default(),
            dev: false,
        }
    }
}
