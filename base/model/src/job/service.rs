//! Services and their checks.

use std::collections::BTreeMap;

use super::nullable::{document, is_default};
use super::{ConsulConnect, ServiceProvider, WorkloadIdentity};
use crate::time::Nanos;

document! {
    /// A name under which others find a group or a task.
    pub struct Service {
        /// The name, which may interpolate.
        pub name: String,
        /// The task it belongs to, for a group's service.
        pub task_name: String,
        /// Label of its port, or a number.
        pub port_label: String,
        /// Which address is announced.
        pub address_mode: String,
        /// A fixed address.
        pub address: String,
        /// Whether others may change its tags (Consul).
        pub enable_tag_override: bool,
        /// Tags.
        pub tags: Vec<String>,
        /// Tags while the allocation is a canary.
        pub canary_tags: Vec<String>,
        /// What says whether it is healthy.
        pub checks: Vec<ServiceCheck>,
        /// Default for checks that state none; given to them and dropped by admission.
        #[serde(skip_serializing_if = "is_default")]
        pub check_restart: Option<CheckRestart>,
        /// Consul service mesh.
        pub connect: Option<ConsulConnect>,
        /// Meta (Consul).
        pub meta: BTreeMap<String, String>,
        /// Meta while the allocation is a canary (Consul).
        pub canary_meta: BTreeMap<String, String>,
        /// DNS weights (Consul).
        pub weights: Option<ServiceWeights>,
        /// Further addresses (Consul).
        pub tagged_addresses: BTreeMap<String, String>,
        /// Namespace it is registered in.
        pub namespace: String,
        /// How failing checks count during an update.
        pub on_update: String,
        /// Where it is registered; see [`Service::provider`].
        pub provider: String,
        /// Name of the Consul cluster.
        pub cluster: String,
        /// Identity it is registered with.
        pub identity: Option<WorkloadIdentity>,
        /// Consul kind of a gateway.
        pub kind: String,
    }

    /// What says whether a service is healthy.
    pub struct ServiceCheck {
        /// Its name, unique in the service.
        pub name: String,
        /// `tcp`, `http`, `grpc` or `script`.
        pub r#type: String,
        /// What a script check runs.
        pub command: String,
        /// Arguments of the command.
        pub args: Vec<String>,
        /// Path of an http check.
        pub path: String,
        /// `http` or `https`.
        pub protocol: String,
        /// Label of its port; empty is the service's.
        pub port_label: String,
        /// Whether the mesh exposes it.
        pub expose: bool,
        /// Which address is checked.
        pub address_mode: String,
        /// Pause between checks.
        pub interval: Nanos,
        /// How long an answer may take.
        pub timeout: Nanos,
        /// What it counts as before the first answer.
        pub initial_status: String,
        /// For people.
        pub notes: String,
        /// Server name for TLS.
        #[serde(rename = "TLSServerName")]
        pub tls_server_name: String,
        /// Whether certificates go unchecked.
        #[serde(rename = "TLSSkipVerify")]
        pub tls_skip_verify: bool,
        /// HTTP method.
        pub method: String,
        /// HTTP headers.
        pub header: BTreeMap<String, Vec<String>>,
        /// Whether failing restarts the task.
        pub check_restart: Option<CheckRestart>,
        /// Service name of a grpc check.
        #[serde(rename = "GRPCService")]
        pub grpc_service: String,
        /// Whether a grpc check uses TLS.
        #[serde(rename = "GRPCUseTLS")]
        pub grpc_use_tls: bool,
        /// Task that a script check runs in.
        pub task_name: String,
        /// Successes in a row before it passes (Consul).
        pub success_before_passing: i64,
        /// Failures in a row before it is critical (Consul).
        pub failures_before_critical: i64,
        /// Failures in a row before it warns (Consul).
        pub failures_before_warning: i64,
        /// HTTP body.
        pub body: String,
        /// How failing counts during an update.
        pub on_update: String,
    }

    /// When failing checks restart a task.
    pub struct CheckRestart {
        /// Failures in a row; 0 never.
        pub limit: i64,
        /// How long after a start failures do not count.
        pub grace: Nanos = Nanos::from_secs(1),
        /// Whether warnings do not count.
        pub ignore_warnings: bool,
    }

    /// DNS weights of a service by state.
    pub struct ServiceWeights {
        /// While passing.
        pub passing: i64 = 1,
        /// While warning.
        pub warning: i64 = 1,
    }
}

impl Service {
    /// Where it is registered, Consul where nothing is written; `None` if the word is unknown.
    pub fn provider(&self) -> Option<ServiceProvider> {
        if self.provider.is_empty() { Some(ServiceProvider::Consul) } else { ServiceProvider::parse(&self.provider) }
    }
}
