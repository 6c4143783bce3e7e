//! Builders of small valid values for tests: defaults first, and only what matters changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use smallvec::SmallVec;
use uuid::Uuid;

use crate::allocation::{Allocation, ClientStatus, DesiredStatus, Transition};
use crate::ids::{AllocId, EvalId, HostVolumeId, Namespace, NodeId, StateIndex};
use crate::job::{Job, Task, TaskGroup};
use crate::node::{
    ComputedClass, DriverInfo, Eligibility, Node, NodeAddress, NodeDescription, NodeNetwork, NodeStatus, NodeVolume,
    SessionRef,
};
use crate::time::Timestamp;
use crate::units::{MebiBytes, Mhz, Usage};
use crate::volume::{HostVolume, VolumeCapability, VolumeState};

/// A service job `id` with one group `web` of `count` instances of one mock task.
pub fn job(id: &str, count: i64) -> Job {
    let mut task = Task { name: "app".into(), driver: "mock_driver".into(), ..Task::default() };
    task.resources = Some(crate::job::Resources { cpu: 100, memory_mb: 100, ..Default::default() });
    let group = TaskGroup { name: "web".into(), count, tasks: vec![task], ..TaskGroup::default() };
    let mut job = Job {
        id: id.into(),
        name: id.into(),
        namespace: "default".into(),
        r#type: "service".into(),
        priority: 50,
        datacenters: vec!["*".into()],
        node_pool: "default".into(),
        task_groups: vec![group],
        ..Job::default()
    };
    job.region = "global".into();
    job
}

/// An allocation numbered `number` of the first group of `job`, instance 0, pending on node 1; its number makes its id.
pub fn alloc(number: u128, job: &Arc<Job>) -> Allocation {
    Allocation {
        id: AllocId::from_uuid(Uuid::from_u128(number)),
        job: Arc::clone(job),
        group: 0,
        index: 0,
        node_id: node(1).id,
        eval_id: EvalId::default(),
        usage: Usage { cpu: Mhz(100), memory: MebiBytes(100), disk: MebiBytes(300) },
        ports: SmallVec::new(),
        cores: SmallVec::new(),
        oversubscribed: false,
        desired: DesiredStatus::Run,
        stop_reason: None,
        handed_over: false,
        transition: Transition::default(),
        client_status: ClientStatus::Pending,
        tasks: Arc::default(),
        previous: None,
        next: None,
        deployment_id: None,
        health: None,
        reschedules: Arc::default(),
        followup_eval: None,
        scores: Arc::default(),
        create_index: StateIndex(0),
        modify_index: StateIndex(0),
        alloc_modify_index: StateIndex(0),
        create_time: Timestamp::NONE,
        modify_time: Timestamp::NONE,
    }
}

/// A ready volume of node 1, to be written by several, whose number makes its id.
pub fn host_volume(number: u128, name: &str) -> HostVolume {
    HostVolume {
        id: HostVolumeId::from_uuid(Uuid::from_u128(number)),
        name: name.into(),
        namespace: Namespace::DEFAULT.into(),
        plugin_id: HostVolume::MKDIR.into(),
        node_pool: "default".into(),
        node_id: node(1).id,
        constraints: Vec::new(),
        capabilities: vec![VolumeCapability::default()],
        capacity_min: 0,
        capacity_max: 0,
        capacity: 0,
        parameters: BTreeMap::new(),
        host_path: format!("/volumes/{name}"),
        state: VolumeState::Ready,
        deleting: false,
        create_index: StateIndex(0),
        modify_index: StateIndex(0),
        create_time: Timestamp::NONE,
        modify_time: Timestamp::NONE,
    }
}

/// Starts a node numbered `number`, which names it and makes its id.
pub fn node(number: u32) -> NodeBuilder {
    let mut described = NodeDescription {
        name: format!("node-{number}"),
        datacenter: "dc1".into(),
        node_pool: "default".into(),
        version: "0.1.0".into(),
        ..NodeDescription::default()
    };
    described.attributes.insert("kernel.name".into(), "linux".into());
    described.resources.cpu = Mhz(4000);
    described.resources.total_cores = 4;
    described.resources.memory = MebiBytes(8192);
    described.resources.disk = MebiBytes(100_000);
    described.resources.networks = vec![NodeNetwork {
        mode: "host".into(),
        device: "eth0".into(),
        addresses: vec![NodeAddress {
            alias: "default".into(),
            address: format!("10.{}.{}.{}", number >> 16 & 255, number >> 8 & 255, number & 255),
            ..NodeAddress::default()
        }],
        ..NodeNetwork::default()
    }];
    described
        .drivers
        .insert("mock_driver".into(), DriverInfo { detected: true, healthy: true, ..DriverInfo::default() });
    NodeBuilder { id: NodeId::from_uuid(Uuid::from_u128(u128::from(number) + 1)), described, status: NodeStatus::Ready }
}

/// A node being made.
#[derive(Debug, Clone)]
pub struct NodeBuilder {
    id: NodeId,
    described: NodeDescription,
    status: NodeStatus,
}

impl NodeBuilder {
    /// With this description instead.
    #[must_use]
    pub fn described(mut self, described: NodeDescription) -> Self {
        self.described = described;
        self
    }

    /// With this much processor capacity and memory.
    #[must_use]
    pub fn size(mut self, cpu: u32, memory: u64) -> Self {
        self.described.resources.cpu = Mhz(cpu);
        self.described.resources.memory = MebiBytes(memory);
        self
    }

    /// In this datacenter.
    #[must_use]
    pub fn datacenter(mut self, name: &str) -> Self {
        self.described.datacenter = name.into();
        self
    }

    /// With this attribute.
    #[must_use]
    pub fn attribute(mut self, key: &str, value: &str) -> Self {
        self.described.attributes.insert(key.into(), value.into());
        self
    }

    /// With this metadata.
    #[must_use]
    pub fn meta(mut self, key: &str, value: &str) -> Self {
        self.described.meta.insert(key.into(), value.into());
        self
    }

    /// With a volume of this name in its agent's configuration.
    #[must_use]
    pub fn host_volume(mut self, name: &str, read_only: bool) -> Self {
        let volume = NodeVolume { path: format!("/srv/{name}"), read_only, id: None };
        self.described.host_volumes.insert(name.into(), volume);
        self
    }

    /// In this status.
    #[must_use]
    pub fn status(mut self, status: NodeStatus) -> Self {
        self.status = status;
        self
    }

    /// What its client would say.
    pub fn description(self) -> NodeDescription {
        self.described
    }

    /// The node.
    pub fn build(self) -> Node {
        Node {
            id: self.id,
            computed_class: ComputedClass::of(&self.described),
            described: Arc::new(self.described),
            status: self.status,
            status_description: String::new(),
            status_updated_at: Timestamp::NONE,
            eligibility: Eligibility::Eligible,
            session: SessionRef::default(),
            events: Vec::new(),
            last_missed_heartbeat: StateIndex(0),
            last_alloc_update: StateIndex(0),
            create_index: StateIndex(0),
            modify_index: StateIndex(0),
        }
    }
}
