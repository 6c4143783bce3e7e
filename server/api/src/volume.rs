//! Host volumes as the API shows them, and what is asked about them.

use std::collections::BTreeMap;

use orch_model::job::Constraint;
use orch_model::volume::VolumeClaim;

use crate::allocation::AllocListStub;
use crate::json::shape;

shape! {
    /// A host volume.
    pub struct HostVolume {
        /// Its namespace.
        pub namespace: String,
        /// Its id.
        #[serde(rename = "ID")]
        pub id: String,
        /// The name by which jobs ask for it.
        pub name: String,
        /// What makes the directory.
        #[serde(rename = "PluginID")]
        pub plugin_id: String,
        /// The pool of its node.
        pub node_pool: String,
        /// Its node.
        #[serde(rename = "NodeID")]
        pub node_id: String,
        /// What the node had to satisfy.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub constraints: Vec<Constraint>,
        /// The least size that was asked for, in bytes.
        pub requested_capacity_min_bytes: u64,
        /// The largest size that was asked for, in bytes.
        pub requested_capacity_max_bytes: u64,
        /// Its size, in bytes; 0 where it has none of its own.
        pub capacity_bytes: u64,
        /// The ways in which it can be used.
        pub requested_capabilities: Vec<HostVolumeCapability>,
        /// What the plugin was told.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        pub parameters: BTreeMap<String, String>,
        /// The directory on the node.
        pub host_path: String,
        /// `pending`, `ready` or `unavailable`.
        pub state: String,
        /// When it was created.
        pub create_index: u64,
        /// When it was created, in nanoseconds since 1970.
        pub create_time: i64,
        /// When anything about it last changed.
        pub modify_index: u64,
        /// When anything about it last changed, in nanoseconds since 1970.
        pub modify_time: i64,
        /// The allocations that use it.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        pub allocations: Vec<AllocListStub>,
    }

    /// A host volume in a list.
    pub struct HostVolumeStub {
        /// Its namespace.
        pub namespace: String,
        /// Its id.
        #[serde(rename = "ID")]
        pub id: String,
        /// The name by which jobs ask for it.
        pub name: String,
        /// What makes the directory.
        #[serde(rename = "PluginID")]
        pub plugin_id: String,
        /// The pool of its node.
        pub node_pool: String,
        /// Its node.
        #[serde(rename = "NodeID")]
        pub node_id: String,
        /// Its size, in bytes.
        pub capacity_bytes: u64,
        /// `pending`, `ready` or `unavailable`.
        pub state: String,
        /// When it was created.
        pub create_index: u64,
        /// When it was created, in nanoseconds since 1970.
        pub create_time: i64,
        /// When anything about it last changed.
        pub modify_index: u64,
        /// When anything about it last changed, in nanoseconds since 1970.
        pub modify_time: i64,
    }

    /// A way in which a volume can be used.
    pub struct HostVolumeCapability {
        /// `file-system` or `block-device`.
        pub attachment_mode: String,
        /// Such as `single-node-writer`.
        pub access_mode: String,
    }

    /// That an instance of a group finds its volume again.
    pub struct TaskGroupHostVolumeClaim {
        /// Its id.
        #[serde(rename = "ID")]
        pub id: String,
        /// The job's namespace.
        pub namespace: String,
        /// The job.
        #[serde(rename = "JobID")]
        pub job_id: String,
        /// The group.
        pub task_group_name: String,
        /// The allocation that has it, or had it last.
        #[serde(rename = "AllocID")]
        pub alloc_id: String,
        /// The volume.
        #[serde(rename = "VolumeID")]
        pub volume_id: String,
        /// The volume's name.
        pub volume_name: String,
        /// When it was made.
        pub create_index: u64,
        /// When it last went over to another allocation.
        pub modify_index: u64,
    }

    /// A volume to be made or taken over.
    pub struct HostVolumeWriteRequest {
        /// The volume.
        pub volume: Option<HostVolume>,
        /// Without effect: there are no policies to override.
        pub policy_override: bool,
    }

    /// A volume that was made or taken over.
    pub struct HostVolumeWriteResponse {
        /// The volume.
        pub volume: Option<HostVolume>,
        /// What its owner should know.
        pub warnings: String,
        /// When it was written.
        pub index: u64,
    }

    /// A volume that was removed.
    pub struct HostVolumeDeleteResponse {
        /// When it was removed.
        pub index: u64,
    }

    /// What a client is asked to make, or to take over.
    pub struct HostVolumeRequest {
        /// The volume's id.
        #[serde(rename = "ID")]
        pub id: String,
        /// Its name, unique on the node.
        pub name: String,
        /// Its namespace.
        pub namespace: String,
        /// What makes the directory.
        #[serde(rename = "PluginID")]
        pub plugin_id: String,
        /// The directory to take over; empty to have one made.
        pub host_path: String,
        /// The least size, in bytes; 0 is any.
        pub capacity_min_bytes: u64,
        /// The largest size, in bytes; 0 is any.
        pub capacity_max_bytes: u64,
        /// What the plugin is told.
        pub parameters: BTreeMap<String, String>,
    }

    /// What a client made, or took over.
    pub struct HostVolumeInfo {
        /// The directory.
        pub path: String,
        /// Its size, in bytes; 0 where it has none of its own.
        pub capacity_bytes: u64,
    }
}

impl HostVolume {
    /// A volume, with the allocations that use it.
    pub fn new(volume: &orch_model::HostVolume, allocations: Vec<AllocListStub>) -> Self {
        let orch_model::HostVolume {
            id,
            name,
            namespace,
            plugin_id,
            node_pool,
            node_id,
            constraints,
            capabilities,
            capacity_min,
            capacity_max,
            capacity,
            parameters,
            host_path,
            state,
            deleting: _,
            create_index,
            modify_index,
            create_time,
            modify_time,
        } = volume;
        let capability = |of: &orch_model::volume::VolumeCapability| HostVolumeCapability {
            attachment_mode: of.attachment.as_str().into(),
            access_mode: of.access.as_str().into(),
        };
        Self {
            namespace: namespace.to_string(),
            id: id.to_string(),
            name: name.clone(),
            plugin_id: plugin_id.clone(),
            node_pool: node_pool.clone(),
            node_id: node_id.to_string(),
            constraints: constraints.clone(),
            requested_capacity_min_bytes: *capacity_min,
            requested_capacity_max_bytes: *capacity_max,
            capacity_bytes: *capacity,
            requested_capabilities: capabilities.iter().map(capability).collect(),
            parameters: parameters.clone(),
            host_path: host_path.clone(),
            state: state.as_str().into(),
            create_index: create_index.0,
            create_time: create_time.0,
            modify_index: modify_index.0,
            modify_time: modify_time.0,
            allocations,
        }
    }
}

impl HostVolumeStub {
    /// The row of a volume.
    pub fn new(volume: &orch_model::HostVolume) -> Self {
        Self {
            namespace: volume.namespace.to_string(),
            id: volume.id.to_string(),
            name: volume.name.clone(),
            plugin_id: volume.plugin_id.clone(),
            node_pool: volume.node_pool.clone(),
            node_id: volume.node_id.to_string(),
            capacity_bytes: volume.capacity,
            state: volume.state.as_str().into(),
            create_index: volume.create_index.0,
            create_time: volume.create_time.0,
            modify_index: volume.modify_index.0,
            modify_time: volume.modify_time.0,
        }
    }
}

impl TaskGroupHostVolumeClaim {
    /// A claim as the API shows it.
    pub fn new(claim: &VolumeClaim) -> Self {
        let VolumeClaim { id, job, group, index: _, alloc_id, volume_id, volume_name, create_index, modify_index } =
            claim;
        Self {
            id: id.to_string(),
            namespace: job.namespace.to_string(),
            job_id: job.job_id.to_string(),
            task_group_name: group.clone(),
            alloc_id: alloc_id.to_string(),
            volume_id: volume_id.to_string(),
            volume_name: volume_name.clone(),
            create_index: create_index.0,
            modify_index: modify_index.0,
        }
    }
}
