//! Namespaces and node pools.

use std::collections::BTreeMap;

use crate::json::shape;

shape! {
    /// A namespace.
    pub struct Namespace {
        /// Its name.
        pub name: String,
        /// What it is for.
        pub description: String,
        /// The quota that bounds it.
        pub quota: String,
        /// What its jobs may use.
        pub capabilities: Option<NamespaceCapabilities>,
        /// Which pools its jobs may use.
        pub node_pool_configuration: Option<NamespacePools>,
        /// Which Vault clusters its jobs may use.
        pub vault_configuration: Option<NamespacePools>,
        /// Which Consul clusters its jobs may use.
        pub consul_configuration: Option<NamespacePools>,
        /// Free texts.
        pub meta: BTreeMap<String, String>,
        /// When it was created.
        pub create_index: u64,
        /// When it last changed.
        pub modify_index: u64,
    }

    /// What jobs of a namespace may use.
    pub struct NamespaceCapabilities {
        /// Only these task drivers.
        pub enabled_task_drivers: Vec<String>,
        /// Not these task drivers.
        pub disabled_task_drivers: Vec<String>,
        /// Only these network modes.
        pub enabled_network_modes: Vec<String>,
        /// Not these network modes.
        pub disabled_network_modes: Vec<String>,
    }

    /// Which pools or clusters jobs of a namespace may use.
    pub struct NamespacePools {
        /// The one that is used where a job names none.
        pub default: String,
        /// Only these.
        pub allowed: Vec<String>,
        /// Not these.
        pub denied: Vec<String>,
    }

    /// A pool of nodes.
    pub struct NodePool {
        /// Its name.
        pub name: String,
        /// What it is for.
        pub description: String,
        /// Free texts.
        pub meta: BTreeMap<String, String>,
        /// Settings that differ from the cluster's.
        pub scheduler_configuration: Option<NodePoolSchedulerConfiguration>,
        /// When it was created.
        pub create_index: u64,
        /// When it last changed.
        pub modify_index: u64,
    }

    /// Settings of a pool that differ from the cluster's.
    pub struct NodePoolSchedulerConfiguration {
        /// `binpack` or `spread`.
        pub scheduler_algorithm: String,
        /// Whether `memory_max` counts.
        pub memory_oversubscription_enabled: Option<bool>,
    }
}

impl Namespace {
    /// The namespace that always exists.
    pub fn builtin() -> Self {
        Self {
            name: orch_model::Namespace::DEFAULT.to_owned(),
            description: "Default shared namespace".to_owned(),
            create_index: 1,
            modify_index: 1,
            ..Self::default()
        }
    }
}

impl NodePool {
    /// The name of the pool that holds every node.
    pub const ALL: &'static str = "all";
    /// The name of the pool of nodes that name none.
    pub const DEFAULT: &'static str = "default";

    /// The pool called `name`, with a description if it is one of those that always exist.
    pub fn named(name: &str) -> Self {
        let description = match name {
            Self::ALL => "Node pool with all nodes in the cluster.",
            Self::DEFAULT => "Default node pool.",
            _ => "",
        };
        Self {
            name: name.to_owned(),
            description: description.to_owned(),
            create_index: 1,
            modify_index: 1,
            ..Self::default()
        }
    }
}
