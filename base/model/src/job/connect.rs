//! Consul's service mesh: sidecars and gateways.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::nullable::document;
use super::{LogConfig, Resources, VolumeMount, WorkloadIdentity};
use crate::time::Nanos;

document! {
    /// How a service takes part in the mesh: exactly one of native, sidecar and gateway.
    pub struct ConsulConnect {
        /// Whether the task speaks the mesh's protocol itself.
        pub native: bool,
        /// A proxy beside the task.
        pub sidecar_service: Option<ConsulSidecarService>,
        /// Changes to the proxy's task.
        pub sidecar_task: Option<SidecarTask>,
        /// A gateway.
        pub gateway: Option<ConsulGateway>,
    }

    /// A sidecar proxy's service.
    pub struct ConsulSidecarService {
        pub tags: Vec<String>,
        pub port: String,
        pub proxy: Option<ConsulProxy>,
        #[serde(rename = "DisableDefaultTCPCheck")]
        pub disable_default_tcp_check: bool,
        pub meta: BTreeMap<String, String>,
    }

    /// Changes to the task that runs a proxy.
    pub struct SidecarTask {
        pub name: String,
        pub driver: String,
        pub user: String,
        pub config: BTreeMap<String, Value>,
        pub env: BTreeMap<String, String>,
        pub resources: Option<Resources>,
        pub meta: BTreeMap<String, String>,
        pub kill_timeout: Option<Nanos>,
        pub log_config: Option<LogConfig>,
        pub shutdown_delay: Option<Nanos>,
        pub kill_signal: String,
        pub volume_mounts: Vec<VolumeMount>,
        pub identities: Vec<WorkloadIdentity>,
    }

    /// A proxy's settings.
    pub struct ConsulProxy {
        pub local_service_address: String,
        pub local_service_port: i64,
        pub upstreams: Vec<ConsulUpstream>,
        pub expose: Option<ConsulExposeConfig>,
        pub transparent_proxy: Option<ConsulTransparentProxy>,
        pub config: BTreeMap<String, Value>,
    }

    /// A service that a proxy reaches for its task.
    pub struct ConsulUpstream {
        pub destination_name: String,
        pub destination_namespace: String,
        pub destination_partition: String,
        pub destination_peer: String,
        pub destination_type: String,
        pub local_bind_port: i64,
        pub datacenter: String,
        pub local_bind_address: String,
        pub local_bind_socket_path: String,
        pub local_bind_socket_mode: String,
        pub mesh_gateway: ConsulMeshGateway,
        pub config: BTreeMap<String, Value>,
    }

    /// How an upstream in another datacenter is reached.
    pub struct ConsulMeshGateway {
        pub mode: String,
    }

    /// Paths that are reachable without the mesh.
    pub struct ConsulExposeConfig {
        pub paths: Vec<ConsulExposePath>,
    }

    /// One such path.
    pub struct ConsulExposePath {
        pub path: String,
        pub protocol: String,
        pub local_path_port: i64,
        pub listener_port: String,
    }

    /// A proxy that all traffic passes without the task knowing.
    pub struct ConsulTransparentProxy {
        #[serde(rename = "UID")]
        pub uid: String,
        pub outbound_port: i64,
        pub exclude_inbound_ports: Vec<String>,
        pub exclude_outbound_ports: Vec<i64>,
        #[serde(rename = "ExcludeOutboundCIDRs")]
        pub exclude_outbound_cidrs: Vec<String>,
        #[serde(rename = "ExcludeUIDs")]
        pub exclude_uids: Vec<String>,
        #[serde(rename = "NoDNS")]
        pub no_dns: bool,
    }

    /// A gateway: exactly one of ingress, terminating and mesh.
    pub struct ConsulGateway {
        pub proxy: Option<ConsulGatewayProxy>,
        pub ingress: Option<ConsulIngressConfigEntry>,
        pub terminating: Option<ConsulTerminatingConfigEntry>,
        pub mesh: Option<ConsulMeshConfigEntry>,
    }

    /// A gateway's proxy.
    pub struct ConsulGatewayProxy {
        pub connect_timeout: Option<Nanos>,
        pub envoy_gateway_bind_tagged_addresses: bool,
        pub envoy_gateway_bind_addresses: BTreeMap<String, ConsulGatewayBindAddress>,
        pub envoy_gateway_no_default_bind: bool,
        #[serde(rename = "EnvoyDNSDiscoveryType")]
        pub envoy_dns_discovery_type: String,
        pub config: BTreeMap<String, Value>,
    }

    /// An address that a gateway listens on.
    pub struct ConsulGatewayBindAddress {
        pub name: String,
        pub address: String,
        pub port: i64,
    }

    /// An ingress gateway.
    pub struct ConsulIngressConfigEntry {
        #[serde(rename = "TLS")]
        pub tls: Option<ConsulGatewayTlsConfig>,
        pub listeners: Vec<ConsulIngressListener>,
    }

    /// TLS of a gateway's listeners.
    pub struct ConsulGatewayTlsConfig {
        pub enabled: bool,
        #[serde(rename = "TLSMinVersion")]
        pub tls_min_version: String,
        #[serde(rename = "TLSMaxVersion")]
        pub tls_max_version: String,
        pub cipher_suites: Vec<String>,
        #[serde(rename = "SDS")]
        pub sds: Option<ConsulGatewayTlsSdsConfig>,
    }

    /// Where a gateway finds its certificates.
    pub struct ConsulGatewayTlsSdsConfig {
        pub cluster_name: String,
        pub cert_resource: String,
    }

    /// A listener of an ingress gateway.
    pub struct ConsulIngressListener {
        pub port: i64,
        pub protocol: String,
        pub services: Vec<ConsulIngressService>,
    }

    /// A service behind an ingress gateway.
    pub struct ConsulIngressService {
        pub name: String,
        pub hosts: Vec<String>,
        #[serde(rename = "TLS")]
        pub tls: Option<ConsulGatewayTlsConfig>,
        pub request_headers: Option<ConsulHttpHeaderModifiers>,
        pub response_headers: Option<ConsulHttpHeaderModifiers>,
        pub max_connections: Option<i64>,
        pub max_pending_requests: Option<i64>,
        pub max_concurrent_requests: Option<i64>,
    }

    /// Changes to HTTP headers on their way through.
    pub struct ConsulHttpHeaderModifiers {
        pub add: BTreeMap<String, String>,
        pub set: BTreeMap<String, String>,
        pub remove: Vec<String>,
    }

    /// A terminating gateway.
    pub struct ConsulTerminatingConfigEntry {
        pub services: Vec<ConsulLinkedService>,
    }

    /// A service outside the mesh.
    pub struct ConsulLinkedService {
        pub name: String,
        #[serde(rename = "CAFile")]
        pub ca_file: String,
        pub cert_file: String,
        pub key_file: String,
        #[serde(rename = "SNI")]
        pub sni: String,
    }
}

/// A mesh gateway, which has no settings.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ConsulMeshConfigEntry {}
