//! How a model node becomes the shapes that the API shows.

use std::collections::BTreeMap;

use orch_model::Node as ModelNode;
use orch_model::job::NetworkResource;
use orch_model::node::{
    DriverInfo as ModelDriver, HostNetwork, NodeAddress, NodeEvent as ModelEvent, NodeNetwork,
    NodeReserved as ModelReserved, NodeResources as ModelResources, NodeVolume,
};

use crate::json::Time;
use crate::node::{
    ClientHostNetwork, ClientHostVolume, DriverInfo, Node, NodeCpuResources, NodeDiskResources, NodeEvent,
    NodeListStub, NodeMemoryResources, NodeNetworkAddress, NodeNetworkResource, NodeReservedCpu, NodeReservedNetworks,
    NodeReservedResources, NodeResources,
};

/// Which parts of a node a list shows beyond the usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NodeListParts {
    /// What the machine has and what is kept from allocations.
    pub resources: bool,
    /// Facts about its operating system.
    pub os: bool,
}

impl Node {
    /// How the API shows `node`; its secret stays out.
    pub fn of(node: &ModelNode) -> Self {
        let ModelNode {
            id,
            described,
            computed_class,
            status,
            status_description,
            status_updated_at,
            eligibility,
            session: _,
            events,
            last_missed_heartbeat,
            last_alloc_update,
            create_index,
            modify_index,
        } = node;
        Self {
            id: id.to_string(),
            secret_id: String::new(),
            datacenter: described.datacenter.clone(),
            name: described.name.clone(),
            cgroup_parent: described.cgroup_parent.clone(),
            http_addr: described.http_addr.clone(),
            tls_enabled: described.tls_enabled,
            attributes: described.attributes.clone(),
            node_resources: Some(NodeResources::of(&described.resources)),
            reserved_resources: Some(NodeReservedResources::of(&described.reserved)),
            links: described.links.clone(),
            meta: described.meta.clone(),
            node_class: described.node_class.clone(),
            node_pool: described.node_pool.clone(),
            computed_class: computed_class.to_string(),
            drain_strategy: None,
            drain: false,
            scheduling_eligibility: *eligibility,
            status: *status,
            status_description: status_description.clone(),
            status_updated_at: status_updated_at.0.div_euclid(1_000_000_000),
            events: events.iter().map(NodeEvent::of).collect(),
            drivers: drivers(&described.drivers),
            csi_controller_plugins: BTreeMap::new(),
            csi_node_plugins: BTreeMap::new(),
            host_volumes: host_volumes(&described.host_volumes),
            host_networks: described
                .host_networks
                .iter()
                .map(|(name, network)| (name.clone(), ClientHostNetwork::of(network)))
                .collect(),
            last_drain: None,
            last_missed_heartbeat_index: last_missed_heartbeat.0,
            last_alloc_update_index: last_alloc_update.0,
            node_max_allocs: u64::from(described.max_allocs),
            identity_signing_key_id: String::new(),
            gc_volumes_on_node_gc: false,
            create_index: create_index.0,
            modify_index: modify_index.0,
        }
    }
}

impl NodeListStub {
    /// The list row of `node`.
    pub fn of(node: &ModelNode, parts: NodeListParts) -> Self {
        let described = &node.described;
        let address = described.http_addr.rsplit_once(':').map_or("", |(host, _)| host);
        let attributes = if parts.os {
            let os = described.attributes.iter().filter(|(key, _)| key.starts_with("os."));
            os.map(|(key, value)| (key.clone(), value.clone())).collect()
        } else {
            BTreeMap::new()
        };
        Self {
            address: address.trim_matches(['[', ']']).to_owned(),
            id: node.id.to_string(),
            attributes,
            datacenter: described.datacenter.clone(),
            name: described.name.clone(),
            node_pool: described.node_pool.clone(),
            node_class: described.node_class.clone(),
            version: described.version.clone(),
            drain: false,
            scheduling_eligibility: node.eligibility,
            status: node.status,
            status_description: node.status_description.clone(),
            drivers: drivers(&described.drivers),
            host_volumes: host_volumes(&described.host_volumes),
            node_resources: parts.resources.then(|| NodeResources::of(&described.resources)),
            reserved_resources: parts.resources.then(|| NodeReservedResources::of(&described.reserved)),
            last_drain: None,
            create_index: node.create_index.0,
            modify_index: node.modify_index.0,
        }
    }
}

fn drivers(drivers: &BTreeMap<String, ModelDriver>) -> BTreeMap<String, DriverInfo> {
    drivers.iter().map(|(name, info)| (name.clone(), DriverInfo::of(info))).collect()
}

fn host_volumes(volumes: &BTreeMap<String, NodeVolume>) -> BTreeMap<String, ClientHostVolume> {
    let shown = |name: &String, volume: &NodeVolume| {
        let NodeVolume { path, read_only, id } = volume;
        ClientHostVolume {
            name: name.clone(),
            path: path.clone(),
            read_only: *read_only,
            id: id.map(|id| id.to_string()).unwrap_or_default(),
        }
    };
    volumes.iter().map(|(name, volume)| (name.clone(), shown(name, volume))).collect()
}

impl DriverInfo {
    /// How the API shows `info`.
    pub fn of(info: &ModelDriver) -> Self {
        let ModelDriver { attributes, detected, healthy, health_description, update_time } = info;
        Self {
            attributes: attributes.clone(),
            detected: *detected,
            healthy: *healthy,
            health_description: health_description.clone(),
            update_time: Time(*update_time),
        }
    }
}

impl NodeEvent {
    fn of(event: &ModelEvent) -> Self {
        let ModelEvent { message, subsystem, details, timestamp, create_index } = event;
        Self {
            message: message.clone(),
            subsystem: subsystem.clone(),
            details: details.clone(),
            timestamp: Time(*timestamp),
            create_index: create_index.0,
        }
    }
}

impl ClientHostNetwork {
    fn of(network: &HostNetwork) -> Self {
        let HostNetwork { name, cidr, interface, reserved_ports } = network;
        Self {
            name: name.clone(),
            cidr: cidr.clone(),
            interface: interface.clone(),
            reserved_ports: reserved_ports.to_string(),
        }
    }
}

impl NodeResources {
    fn of(resources: &ModelResources) -> Self {
        let ModelResources { cpu, total_cores, reservable_cores, memory, disk, networks, dynamic_ports } = resources;
        Self {
            cpu: NodeCpuResources {
                cpu_shares: cpu.0,
                total_cpu_cores: *total_cores,
                reservable_cpu_cores: reservable_cores.clone(),
            },
            memory: NodeMemoryResources { memory_mb: memory.0 },
            disk: NodeDiskResources { disk_mb: disk.0 },
            node_networks: networks.iter().map(NodeNetworkResource::of).collect(),
            networks: networks.iter().filter_map(legacy_network).collect(),
            min_dynamic_port: dynamic_ports.first,
            max_dynamic_port: dynamic_ports.last,
            ..Self::default()
        }
    }
}

/// The older form of a network: its first address only.
fn legacy_network(network: &NodeNetwork) -> Option<NetworkResource> {
    let address = network.addresses.first()?;
    let prefix = if address.ipv6 { 128 } else { 32 };
    Some(NetworkResource {
        mode: network.mode.clone(),
        device: network.device.clone(),
        ip: address.address.clone(),
        cidr: format!("{}/{prefix}", address.address),
        mbits: i64::from(network.speed_mbits),
        ..NetworkResource::default()
    })
}

impl NodeNetworkResource {
    fn of(network: &NodeNetwork) -> Self {
        let NodeNetwork { mode, device, mac_address, speed_mbits, addresses } = network;
        Self {
            mode: mode.clone(),
            device: device.clone(),
            mac_address: mac_address.clone(),
            speed: *speed_mbits,
            addresses: addresses.iter().map(NodeNetworkAddress::of).collect(),
        }
    }
}

impl NodeNetworkAddress {
    fn of(address: &NodeAddress) -> Self {
        let NodeAddress { alias, address, reserved_ports, ipv6 } = address;
        Self {
            family: if *ipv6 { "ipv6" } else { "ipv4" }.to_owned(),
            alias: alias.clone(),
            address: address.clone(),
            reserved_ports: reserved_ports.to_string(),
            gateway: String::new(),
        }
    }
}

impl NodeReservedResources {
    fn of(reserved: &ModelReserved) -> Self {
        let ModelReserved { cpu, memory, disk, ports } = reserved;
        Self {
            cpu: NodeReservedCpu { cpu_shares: cpu.0, reserved_cpu_cores: Vec::new() },
            memory: NodeMemoryResources { memory_mb: memory.0 },
            disk: NodeDiskResources { disk_mb: disk.0 },
            networks: NodeReservedNetworks { reserved_host_ports: ports.to_string() },
        }
    }
}
