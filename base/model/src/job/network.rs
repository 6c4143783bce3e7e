//! Networks and ports.

use std::collections::BTreeMap;

use super::NetworkMode;
use super::nullable::{document, is_default};

document! {
    /// The network of a group: its mode and its ports. Empty fields are left out of its JSON.
    pub struct NetworkResource {
        /// "" or `host`, `bridge`, `none`, `cni/<name>`; see [`NetworkResource::mode`].
        #[serde(skip_serializing_if = "is_default")]
        pub mode: String,
        /// Name of an interface (older form).
        #[serde(skip_serializing_if = "is_default")]
        pub device: String,
        /// Address block (older form).
        #[serde(rename = "CIDR", skip_serializing_if = "is_default")]
        pub cidr: String,
        /// Address; in a job it is empty, in an allocation it is the assigned one.
        #[serde(rename = "IP", skip_serializing_if = "is_default")]
        pub ip: String,
        /// Host name inside a bridge network.
        #[serde(skip_serializing_if = "is_default")]
        pub hostname: String,
        /// Bandwidth; ignored.
        #[serde(rename = "MBits", skip_serializing_if = "is_default")]
        pub mbits: i64,
        /// Name servers inside the network.
        #[serde(rename = "DNS", skip_serializing_if = "is_default")]
        pub dns: Option<DnsConfig>,
        /// Ports whose number the job states.
        #[serde(skip_serializing_if = "is_default")]
        pub reserved_ports: Vec<Port>,
        /// Ports whose number is assigned.
        #[serde(skip_serializing_if = "is_default")]
        pub dynamic_ports: Vec<Port>,
        /// Arguments for CNI plugins.
        #[serde(rename = "CNI", skip_serializing_if = "is_default")]
        pub cni: Option<CniConfig>,
    }

    /// A port of a network. Empty fields are left out of its JSON.
    pub struct Port {
        /// Its label, unique in the group.
        #[serde(skip_serializing_if = "is_default")]
        pub label: String,
        /// The number on the host; 0 is assigned.
        #[serde(skip_serializing_if = "is_default")]
        pub value: i64,
        /// The number inside the network; 0 is the host's, -1 the assigned one.
        #[serde(skip_serializing_if = "is_default")]
        pub to: i64,
        /// The host network it is on.
        #[serde(skip_serializing_if = "is_default")]
        pub host_network: String,
        /// Whether others on the same host may use the same number.
        #[serde(skip_serializing_if = "is_default")]
        pub ignore_collision: bool,
    }

    /// Name servers inside a network.
    pub struct DnsConfig {
        /// Their addresses.
        pub servers: Vec<String>,
        /// Search domains.
        pub searches: Vec<String>,
        /// Resolver options.
        pub options: Vec<String>,
    }

    /// Arguments for CNI plugins.
    pub struct CniConfig {
        /// By name.
        pub args: BTreeMap<String, String>,
    }
}

impl NetworkResource {
    /// How the network is set up; `None` if the word is unknown.
    pub fn mode(&self) -> Option<NetworkMode> {
        NetworkMode::parse(&self.mode)
    }

    /// Ports whose number the job states, then those whose number is assigned.
    pub fn ports(&self) -> impl Iterator<Item = &Port> {
        self.reserved_ports.iter().chain(&self.dynamic_ports)
    }
}
