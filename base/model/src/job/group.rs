//! Task groups: what is placed together on one node.

use std::collections::BTreeMap;

use serde_json::Value;

use super::nullable::document;
use super::{
    Affinity, Constraint, MigrateStrategy, NetworkResource, Reconcile, ReschedulePolicy, RestartPolicy, Service,
    Spread, Task, UpdateStrategy, VolumeRequest,
};
use crate::ids::StateIndex;
use crate::time::Nanos;

document! {
    /// Tasks that are placed together on one node, `count` times.
    pub struct TaskGroup {
        /// Its name, unique in the job.
        pub name: String,
        /// How many allocations are wanted.
        pub count: i64 = 1,
        /// How changes are rolled out.
        pub update: Option<UpdateStrategy>,
        /// How allocations move off a draining node.
        pub migrate: Option<MigrateStrategy>,
        /// What every node must fulfil.
        pub constraints: Vec<Constraint>,
        /// Bounds for changes of the count.
        pub scaling: Option<ScalingPolicy>,
        /// How often failed tasks are restarted.
        pub restart_policy: Option<RestartPolicy>,
        /// What happens while the node is unreachable.
        pub disconnect: Option<DisconnectStrategy>,
        /// Its tasks, at least one.
        pub tasks: Vec<Task>,
        /// The allocation's directory.
        pub ephemeral_disk: Option<EphemeralDisk>,
        /// Free texts for people and tasks.
        pub meta: BTreeMap<String, String>,
        /// How failed allocations are placed again.
        pub reschedule_policy: Option<ReschedulePolicy>,
        /// What nodes should rather fulfil.
        pub affinities: Vec<Affinity>,
        /// How allocations spread over values of an attribute.
        pub spreads: Vec<Spread>,
        /// Its network; only the first counts.
        pub networks: Vec<NetworkResource>,
        /// Consul settings.
        pub consul: Option<Consul>,
        /// Services of the group.
        pub services: Vec<Service>,
        /// Volumes by name.
        pub volumes: BTreeMap<String, VolumeRequest>,
        /// Wait between taking its services away and killing its tasks.
        pub shutdown_delay: Option<Nanos>,
        /// How long an allocation may run.
        pub max_run_duration: Option<Nanos>,
        /// Kept, without effect; see `disconnect`.
        pub stop_after_client_disconnect: Option<Nanos>,
        /// Kept, without effect; see `disconnect`.
        pub max_client_disconnect: Option<Nanos>,
        /// Kept, without effect; see `disconnect`.
        pub prevent_reschedule_on_lost: bool,
    }

    /// What happens to an allocation while its node is unreachable.
    pub struct DisconnectStrategy {
        /// How long it counts as unknown before it is lost.
        pub lost_after: Nanos,
        /// After how long the client stops it by itself.
        pub stop_on_client_after: Option<Nanos>,
        /// Whether it is replaced meanwhile; unset is yes.
        pub replace: Option<bool>,
        /// Which one stays when the node returns; see [`DisconnectStrategy::reconcile`].
        pub reconcile: String,
    }

    /// The directory that an allocation's tasks share.
    pub struct EphemeralDisk {
        /// Whether a replacement prefers the same node and takes the data along.
        pub sticky: bool,
        /// Size in MiB.
        #[serde(rename = "SizeMB")]
        pub size_mb: i64 = 300,
        /// Whether data is moved to another node.
        pub migrate: bool,
    }

    /// Bounds for automatic changes of a count or of resources.
    pub struct ScalingPolicy {
        /// Given by servers.
        #[serde(rename = "ID")]
        pub id: String,
        /// `horizontal`, `vertical_cpu` or `vertical_mem`.
        pub r#type: String,
        /// What it scales.
        pub target: BTreeMap<String, String>,
        /// For whoever scales.
        pub policy: BTreeMap<String, Value>,
        /// Lowest value; unset is the group's count.
        pub min: Option<i64>,
        /// Highest value; required for groups.
        pub max: Option<i64>,
        /// Whether it is in force.
        pub enabled: bool = true,
        /// The index at which it was created.
        pub create_index: StateIndex,
        /// The index of its last change.
        pub modify_index: StateIndex,
    }

    /// Which Consul a group or task uses.
    pub struct Consul {
        /// Consul namespace.
        pub namespace: String,
        /// Name of the Consul cluster.
        pub cluster: String,
        /// Consul partition.
        pub partition: String,
    }
}

impl TaskGroup {
    /// The task called `name`.
    pub fn task(&self, name: &str) -> Option<&Task> {
        self.tasks.iter().find(|task| task.name == name)
    }
}

impl DisconnectStrategy {
    /// Which one stays when the node returns; `None` if the word is unknown.
    pub fn reconcile(&self) -> Option<Reconcile> {
        Reconcile::parse(&self.reconcile)
    }
}
