//! Nodes and node pools' members as the API shows them.

use std::collections::BTreeMap;

use orch_model::Nanos;
use orch_model::job::NetworkResource;
use orch_model::node::{Eligibility, NodeStatus};

use crate::json::{Time, shape};

shape! {
    /// A node in full.
    pub struct Node {
        /// Its id.
        #[serde(rename = "ID")]
        pub id: String,
        /// Always empty.
        #[serde(rename = "SecretID")]
        pub secret_id: String,
        /// Where it stands.
        pub datacenter: String,
        /// Its name.
        pub name: String,
        /// The cgroup under which it keeps its tasks.
        pub cgroup_parent: String,
        /// The address of its agent's API.
        #[serde(rename = "HTTPAddr")]
        pub http_addr: String,
        /// Whether that speaks TLS.
        #[serde(rename = "TLSEnabled")]
        pub tls_enabled: bool,
        /// Fingerprints.
        pub attributes: BTreeMap<String, String>,
        /// What the machine has.
        pub node_resources: Option<NodeResources>,
        /// What the operator keeps from allocations.
        pub reserved_resources: Option<NodeReservedResources>,
        /// Names of this node in other systems.
        pub links: BTreeMap<String, String>,
        /// The operator's metadata.
        pub meta: BTreeMap<String, String>,
        /// A class chosen by the operator.
        pub node_class: String,
        /// Its pool.
        pub node_pool: String,
        /// What it has in common with other nodes.
        pub computed_class: String,
        /// How its work moves away, if it does.
        pub drain_strategy: Option<DrainStrategy>,
        /// Whether its work moves away.
        pub drain: bool,
        /// Whether work may be placed on it.
        pub scheduling_eligibility: Eligibility,
        /// Whether it is in contact.
        pub status: NodeStatus,
        /// Why.
        pub status_description: String,
        /// When that last changed, in seconds since the epoch.
        pub status_updated_at: i64,
        /// What happened to it lately, oldest first.
        pub events: Vec<NodeEvent>,
        /// Its task drivers.
        pub drivers: BTreeMap<String, DriverInfo>,
        /// CSI plugins that control storage.
        #[serde(rename = "CSIControllerPlugins")]
        pub csi_controller_plugins: BTreeMap<String, serde_json::Value>,
        /// CSI plugins that mount storage.
        #[serde(rename = "CSINodePlugins")]
        pub csi_node_plugins: BTreeMap<String, serde_json::Value>,
        /// Volumes of the host.
        pub host_volumes: BTreeMap<String, ClientHostVolume>,
        /// Named networks of the host.
        pub host_networks: BTreeMap<String, ClientHostNetwork>,
        /// How its last drain went.
        pub last_drain: Option<DrainMetadata>,
        /// When it last missed its heartbeats.
        pub last_missed_heartbeat_index: u64,
        /// When an allocation of it last changed on its word.
        pub last_alloc_update_index: u64,
        /// The most allocations it takes; 0 is no limit of its own.
        pub node_max_allocs: u64,
        /// Always empty.
        #[serde(rename = "IdentitySigningKeyID")]
        pub identity_signing_key_id: String,
        /// Always false.
        #[serde(rename = "GCVolumesOnNodeGC")]
        pub gc_volumes_on_node_gc: bool,
        /// When it first registered.
        pub create_index: u64,
        /// When it last changed.
        pub modify_index: u64,
    }

    /// A node in a list.
    pub struct NodeListStub {
        /// Its IP address.
        pub address: String,
        /// Its id.
        #[serde(rename = "ID")]
        pub id: String,
        /// Facts about its operating system, where asked for.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        pub attributes: BTreeMap<String, String>,
        /// Where it stands.
        pub datacenter: String,
        /// Its name.
        pub name: String,
        /// Its pool.
        pub node_pool: String,
        /// A class chosen by the operator.
        pub node_class: String,
        /// The version of its agent.
        pub version: String,
        /// Whether its work moves away.
        pub drain: bool,
        /// Whether work may be placed on it.
        pub scheduling_eligibility: Eligibility,
        /// Whether it is in contact.
        pub status: NodeStatus,
        /// Why.
        pub status_description: String,
        /// Its task drivers.
        pub drivers: BTreeMap<String, DriverInfo>,
        /// Volumes of the host.
        pub host_volumes: BTreeMap<String, ClientHostVolume>,
        /// What the machine has, where asked for.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub node_resources: Option<NodeResources>,
        /// What the operator keeps from allocations, where asked for.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub reserved_resources: Option<NodeReservedResources>,
        /// How its last drain went.
        pub last_drain: Option<DrainMetadata>,
        /// When it first registered.
        pub create_index: u64,
        /// When it last changed.
        pub modify_index: u64,
    }

    /// What a machine has.
    pub struct NodeResources {
        /// Processor.
        pub cpu: NodeCpuResources,
        /// Processor by core; not filled.
        pub processors: NodeProcessorResources,
        /// Memory.
        pub memory: NodeMemoryResources,
        /// Disk.
        pub disk: NodeDiskResources,
        /// Devices.
        pub devices: Vec<serde_json::Value>,
        /// Networks with all their addresses.
        pub node_networks: Vec<NodeNetworkResource>,
        /// Networks by their first address.
        pub networks: Vec<NetworkResource>,
        /// The first port that may be assigned.
        pub min_dynamic_port: u16,
        /// The last port that may be assigned.
        pub max_dynamic_port: u16,
    }

    /// Processor capacity.
    pub struct NodeCpuResources {
        /// MHz over all cores.
        pub cpu_shares: u32,
        /// How many cores there are.
        pub total_cpu_cores: u32,
        /// The cores that may be reserved.
        pub reservable_cpu_cores: Vec<u16>,
    }

    /// Processor by core.
    pub struct NodeProcessorResources {
        /// Not filled.
        pub topology: Option<serde_json::Value>,
    }

    /// Memory of a machine.
    pub struct NodeMemoryResources {
        /// MiB.
        #[serde(rename = "MemoryMB")]
        pub memory_mb: u64,
    }

    /// Disk of a machine.
    pub struct NodeDiskResources {
        /// MiB.
        #[serde(rename = "DiskMB")]
        pub disk_mb: u64,
    }

    /// A network of a machine.
    pub struct NodeNetworkResource {
        /// `host`, `bridge` or `cni/<name>`.
        pub mode: String,
        /// The interface.
        pub device: String,
        /// Its hardware address.
        pub mac_address: String,
        /// Mbit/s.
        pub speed: u32,
        /// Its addresses.
        pub addresses: Vec<NodeNetworkAddress>,
    }

    /// An address of a machine.
    pub struct NodeNetworkAddress {
        /// `ipv4` or `ipv6`.
        pub family: String,
        /// The host network it stands for.
        pub alias: String,
        /// The address.
        pub address: String,
        /// Ports that allocations must not take.
        pub reserved_ports: String,
        /// Always empty.
        pub gateway: String,
    }

    /// What the operator keeps from allocations.
    pub struct NodeReservedResources {
        /// Processor.
        pub cpu: NodeReservedCpu,
        /// Memory.
        pub memory: NodeMemoryResources,
        /// Disk.
        pub disk: NodeDiskResources,
        /// Ports.
        pub networks: NodeReservedNetworks,
    }

    /// Processor that the operator keeps.
    pub struct NodeReservedCpu {
        /// MHz.
        pub cpu_shares: u32,
        /// Cores.
        pub reserved_cpu_cores: Vec<u16>,
    }

    /// Ports that the operator keeps.
    pub struct NodeReservedNetworks {
        /// Such as `22,8000-9000`.
        pub reserved_host_ports: String,
    }

    /// How the work of a node moves away.
    pub struct DrainStrategy {
        /// How long it has.
        pub deadline: Nanos,
        /// Whether system jobs stay.
        pub ignore_system_jobs: bool,
        /// When it is forced.
        pub force_deadline: Time,
        /// When it began.
        pub started_at: Time,
    }

    /// How a drain went.
    pub struct DrainMetadata {
        /// When it began.
        pub started_at: Time,
        /// When this last changed.
        pub updated_at: Time,
        /// `draining`, `complete` or `canceled`.
        pub status: String,
        /// Who asked for it.
        #[serde(rename = "AccessorID")]
        pub accessor_id: String,
        /// Free texts.
        pub meta: BTreeMap<String, String>,
    }

    /// Something that happened to a node.
    pub struct NodeEvent {
        /// What, in a sentence.
        pub message: String,
        /// Which part saw it.
        pub subsystem: String,
        /// Particulars.
        pub details: BTreeMap<String, String>,
        /// When.
        pub timestamp: Time,
        /// When it was recorded.
        pub create_index: u64,
    }

    /// A task driver on a node.
    pub struct DriverInfo {
        /// Facts about it.
        pub attributes: BTreeMap<String, String>,
        /// Whether it is there.
        pub detected: bool,
        /// Whether it works.
        pub healthy: bool,
        /// Why.
        pub health_description: String,
        /// When this was found.
        pub update_time: Time,
    }

    /// A volume of the host.
    pub struct ClientHostVolume {
        /// Its name.
        pub name: String,
        /// Its path.
        pub path: String,
        /// Whether nobody may write.
        pub read_only: bool,
        /// Its id.
        #[serde(rename = "ID")]
        pub id: String,
    }

    /// A named network of the host.
    pub struct ClientHostNetwork {
        /// Its name.
        pub name: String,
        /// The addresses it covers.
        #[serde(rename = "CIDR")]
        pub cidr: String,
        /// The interface.
        pub interface: String,
        /// Ports that allocations must not take.
        pub reserved_ports: String,
    }

    /// Asks for work to be placed, or not, on a node.
    pub struct NodeEligibilityRequest {
        /// The node.
        #[serde(rename = "NodeID")]
        pub node_id: String,
        /// `eligible` or `ineligible`.
        pub eligibility: String,
    }

    /// What came of saying whether work may be placed on a node.
    pub struct NodeEligibilityResponse {
        /// The index of the node.
        pub node_modify_index: u64,
        /// The evaluations that were created.
        #[serde(rename = "EvalIDs")]
        pub eval_ids: Vec<String>,
        /// Their index.
        pub eval_create_index: u64,
        /// The index of the write.
        pub index: u64,
    }

    /// What came of evaluating or purging a node.
    pub struct NodeUpdateResponse {
        /// Always 0: the session counts, not a time to live.
        #[serde(rename = "HeartbeatTTL")]
        pub heartbeat_ttl: Nanos,
        /// The evaluations that were created.
        #[serde(rename = "EvalIDs")]
        pub eval_ids: Vec<String>,
        /// Their index.
        pub eval_create_index: u64,
        /// The index of the node.
        pub node_modify_index: u64,
        /// Always 0.
        pub features: u64,
        /// The RPC address of the leader.
        #[serde(rename = "LeaderRPCAddr")]
        pub leader_rpc_addr: String,
        /// Always 0.
        pub num_nodes: u64,
        /// Always empty.
        pub servers: Vec<String>,
        /// The index of the write.
        pub index: u64,
        /// Always 0.
        pub last_contact: i64,
        /// Always false.
        pub known_leader: bool,
        /// Always empty.
        pub next_token: String,
    }
}
