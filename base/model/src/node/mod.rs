//! Nodes: what a client says of its machine, and what the servers made of it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::{HostVolumeId, NodeId, RaftId, Secret, StateIndex};
use crate::time::Timestamp;
use crate::units::{MebiBytes, Mhz, Usage};

mod class;
mod ports;

pub use class::ComputedClass;
pub use ports::{InvalidPorts, PortRange, PortSet};

/// A client's node as the servers know it.
///
/// `described` is written by the client alone, everything else by the servers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// The node's id.
    pub id: NodeId,
    /// What the client last said of itself.
    pub described: Arc<NodeDescription>,
    /// Hash of what constraints can see and nodes can share; see [`ComputedClass`].
    pub computed_class: ComputedClass,
    /// Whether the node is in contact.
    pub status: NodeStatus,
    /// Why `status` is what it is; empty when there is nothing to say.
    #[serde(default)]
    pub status_description: String,
    /// When `status` last changed.
    pub status_updated_at: Timestamp,
    /// Whether the scheduler may place work here.
    pub eligibility: Eligibility,
    /// The session through which the client is in contact, or last was.
    pub session: SessionRef,
    /// The newest events, oldest first, at most [`Node::MAX_EVENTS`].
    #[serde(default)]
    pub events: Vec<NodeEvent>,
    /// When the client last missed its heartbeats.
    #[serde(default)]
    pub last_missed_heartbeat: StateIndex,
    /// When an allocation of this node last changed on the client's word.
    #[serde(default)]
    pub last_alloc_update: StateIndex,
    /// When the node first registered.
    pub create_index: StateIndex,
    /// When anything about the node last changed.
    pub modify_index: StateIndex,
}

impl Node {
    /// How many events are kept.
    pub const MAX_EVENTS: usize = 10;

    /// Whether new work may be placed here.
    pub fn is_ready(&self) -> bool {
        self.status == NodeStatus::Ready && self.eligibility == Eligibility::Eligible
    }

    /// What the node can give to allocations: its resources less what it reserves.
    pub fn capacity(&self) -> Usage {
        let resources = &self.described.resources;
        let reserved = &self.described.reserved;
        Usage { cpu: resources.cpu, memory: resources.memory, disk: resources.disk }.saturating_sub(Usage {
            cpu: reserved.cpu,
            memory: reserved.memory,
            disk: reserved.disk,
        })
    }

    /// Notes an event, forgetting the oldest beyond [`Node::MAX_EVENTS`].
    pub fn note(&mut self, event: NodeEvent) {
        if self.events.len() >= Self::MAX_EVENTS {
            self.events.remove(0);
        }
        self.events.push(event);
    }
}

/// What a client says of its machine and itself when it registers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeDescription {
    /// Proof that later messages come from the same client; never shown.
    pub secret_id: Secret<String>,
    /// The node's name, by default its host name.
    pub name: String,
    /// Where it stands.
    pub datacenter: String,
    /// A class chosen by the operator; may be empty.
    pub node_class: String,
    /// The pool the node belongs to.
    pub node_pool: String,
    /// The address of the agent's HTTP API, `ip:port`.
    pub http_addr: String,
    /// Whether that address speaks TLS.
    pub tls_enabled: bool,
    /// The version of the agent.
    pub version: String,
    /// Fingerprints, such as `kernel.name` → `linux`.
    pub attributes: BTreeMap<String, String>,
    /// The operator's metadata.
    pub meta: BTreeMap<String, String>,
    /// Names of this node in other systems.
    pub links: BTreeMap<String, String>,
    /// What the machine has.
    pub resources: NodeResources,
    /// What the operator keeps from allocations.
    pub reserved: NodeReserved,
    /// The task drivers, by name.
    pub drivers: BTreeMap<String, DriverInfo>,
    /// Named networks of the host, by name.
    pub host_networks: BTreeMap<String, HostNetwork>,
    /// The volumes of the host, by name: those of the agent's configuration, and those made or taken over on request.
    pub host_volumes: BTreeMap<String, NodeVolume>,
    /// The cgroup under which the client keeps its tasks.
    pub cgroup_parent: String,
    /// The most allocations the node takes; 0 means no limit of its own.
    pub max_allocs: u32,
    /// Whether the node starts out ineligible.
    pub default_ineligible: bool,
}

impl NodeDescription {
    /// Whether tasks of `driver` can run here now.
    pub fn has_driver(&self, driver: &str) -> bool {
        self.drivers.get(driver).is_some_and(|info| info.detected && info.healthy)
    }
}

/// What the machine has.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeResources {
    /// Processor capacity, summed over cores.
    pub cpu: Mhz,
    /// How many cores there are.
    pub total_cores: u32,
    /// The cores that may be reserved by tasks.
    pub reservable_cores: Vec<u16>,
    /// Physical memory.
    pub memory: MebiBytes,
    /// Free space under the allocation directory when the client started.
    pub disk: MebiBytes,
    /// The networks an allocation can use.
    pub networks: Vec<NodeNetwork>,
    /// The ports from which dynamic ones are taken.
    pub dynamic_ports: PortRange,
}

/// A network of a node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeNetwork {
    /// `host`, `bridge` or `cni/<name>`.
    pub mode: String,
    /// The interface.
    pub device: String,
    /// Its hardware address; may be empty.
    pub mac_address: String,
    /// Its speed in Mbit/s; 0 if unknown.
    pub speed_mbits: u32,
    /// The addresses on it.
    pub addresses: Vec<NodeAddress>,
}

/// An address that ports can be taken on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeAddress {
    /// The `host_network` it stands for; `default` for the fingerprinted interface.
    pub alias: String,
    /// The IP address.
    pub address: String,
    /// Ports that allocations must not take on it.
    pub reserved_ports: PortSet,
    /// Whether the address is an IPv6 one.
    pub ipv6: bool,
}

/// What the operator keeps from allocations.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeReserved {
    /// Processor capacity.
    pub cpu: Mhz,
    /// Memory.
    pub memory: MebiBytes,
    /// Disk.
    pub disk: MebiBytes,
    /// Ports, on every address.
    pub ports: PortSet,
}

/// A named network of the host, from the agent's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct HostNetwork {
    /// Its name.
    pub name: String,
    /// The addresses it covers.
    pub cidr: String,
    /// The interface it is on.
    pub interface: String,
    /// Ports that allocations must not take on it.
    pub reserved_ports: PortSet,
}

/// A volume of the host.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeVolume {
    /// The directory.
    pub path: String,
    /// Whether tasks may only read it.
    pub read_only: bool,
    /// Which dynamic volume it is; `None` for one of the agent's configuration.
    pub id: Option<HostVolumeId>,
}

/// A task driver on a node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DriverInfo {
    /// Facts about it, such as its version.
    pub attributes: BTreeMap<String, String>,
    /// Whether it is there.
    pub detected: bool,
    /// Whether it works.
    pub healthy: bool,
    /// Why, in a few words.
    pub health_description: String,
    /// When this was found.
    pub update_time: Timestamp,
}

/// Whether a node is in contact with the servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeStatus {
    /// Registered, but has not yet said what runs on it.
    #[default]
    Initializing,
    /// In contact.
    Ready,
    /// Out of contact; its work counts as lost.
    Down,
    /// Out of contact; its work counts as unknown until it returns or time runs out.
    Disconnected,
}

impl NodeStatus {
    /// Every status.
    pub const ALL: [Self; 4] = [Self::Initializing, Self::Ready, Self::Down, Self::Disconnected];

    /// Whether a node may go from this status to `next`.
    pub const fn can_become(self, next: Self) -> bool {
        match (self, next) {
            (Self::Initializing | Self::Ready | Self::Disconnected, Self::Ready | Self::Down | Self::Disconnected) => {
                true
            }
            (Self::Down, Self::Initializing | Self::Ready) => true,
            (Self::Ready | Self::Disconnected | Self::Initializing, Self::Initializing) => true,
            (Self::Down, Self::Down | Self::Disconnected) => false,
        }
    }

    /// The name of the status in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Initializing => "initializing",
            Self::Ready => "ready",
            Self::Down => "down",
            Self::Disconnected => "disconnected",
        }
    }
}

impl fmt::Display for NodeStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether the scheduler may place work on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Eligibility {
    /// It may.
    #[default]
    Eligible,
    /// It may not; what runs there stays.
    Ineligible,
}

impl Eligibility {
    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Eligible => "eligible",
            Self::Ineligible => "ineligible",
        }
    }
}

impl fmt::Display for Eligibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The connection by which a client is known: which server holds it, and the how-manieth it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SessionRef {
    /// The server that holds the connection.
    pub server: RaftId,
    /// Raised with each connection; a report about an older one is ignored.
    pub epoch: u64,
}

/// Something that happened to a node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NodeEvent {
    /// What, in a sentence.
    pub message: String,
    /// Which part saw it, such as `Cluster` or `Driver`.
    pub subsystem: String,
    /// Particulars.
    #[serde(default)]
    pub details: BTreeMap<String, String>,
    /// When.
    pub timestamp: Timestamp,
    /// When it was recorded.
    pub create_index: StateIndex,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_is_down_returns_only_by_registering() {
        for next in NodeStatus::ALL {
            let allowed = matches!(next, NodeStatus::Initializing | NodeStatus::Ready);
            assert_eq!(NodeStatus::Down.can_become(next), allowed, "{next}");
        }
        for from in [NodeStatus::Initializing, NodeStatus::Ready, NodeStatus::Disconnected] {
            for next in NodeStatus::ALL {
                assert!(from.can_become(next), "{from} -> {next}");
            }
        }
    }

    #[test]
    fn capacity_is_what_is_not_reserved() {
        let mut described = NodeDescription::default();
        described.resources.cpu = Mhz(1000);
        described.resources.memory = MebiBytes(100);
        described.reserved.cpu = Mhz(300);
        described.reserved.memory = MebiBytes(200);
        let node = crate::testing::node(1).described(described).build();
        assert_eq!(node.capacity(), Usage { cpu: Mhz(700), memory: MebiBytes(0), disk: MebiBytes(0) });
    }
}
