//! Allocations as the API shows them: with their job, the resources made from its group, and events in words.

use std::collections::BTreeMap;
use std::sync::Arc;

use orch_model::Nanos;
use orch_model::allocation::{ClientStatus, DesiredStatus, TaskRunState};
use orch_model::job::{Job, NetworkResource, TaskLifecycleConfig};

use crate::json::{Time, shape, sparse};

sparse! {
    /// An allocation in full.
    pub struct Allocation {
        /// Its id.
        #[serde(rename = "ID")]
        pub id: String,
        /// The job's namespace.
        pub namespace: String,
        /// The evaluation that placed it.
        #[serde(rename = "EvalID")]
        pub eval_id: String,
        /// `<job>.<group>[<index>]`.
        pub name: String,
        /// Where it runs.
        #[serde(rename = "NodeID")]
        pub node_id: String,
        /// The name of the node.
        pub node_name: String,
        /// The job.
        #[serde(rename = "JobID")]
        pub job_id: String,
        /// The version of the job that it runs.
        pub job: Option<Arc<Job>>,
        /// The group that it runs.
        pub task_group: String,
        /// What it takes from its node.
        pub allocated_resources: Option<AllocatedResources>,
        /// Why it was placed there.
        pub metrics: Option<AllocMetric>,
        /// What the servers want of it.
        pub desired_status: DesiredStatus,
        /// Why.
        pub desired_description: String,
        /// What was asked to be done with it.
        pub desired_transition: DesiredTransition,
        /// How it is.
        pub client_status: ClientStatus,
        /// The same in a sentence.
        pub client_description: String,
        /// By task.
        pub task_states: BTreeMap<String, TaskState>,
        /// The allocation that it replaces.
        pub previous_allocation: String,
        /// The allocation that replaced it.
        pub next_allocation: String,
        /// The deployment that it is part of.
        #[serde(rename = "DeploymentID")]
        pub deployment_id: String,
        /// How its deployment sees it.
        pub deployment_status: Option<AllocDeploymentStatus>,
        /// Earlier attempts.
        pub reschedule_tracker: Option<RescheduleTracker>,
        /// The address it has on its network.
        pub network_status: Option<AllocNetworkStatus>,
        /// The evaluation that will look at it later.
        #[serde(rename = "FollowupEvalID")]
        pub followup_eval_id: String,
        /// When it was created.
        pub create_index: u64,
        /// When it last changed.
        pub modify_index: u64,
        /// When the servers last changed what they want of it.
        pub alloc_modify_index: u64,
        /// When it was created, in nanoseconds since the epoch.
        pub create_time: i64,
        /// When it last changed, in nanoseconds since the epoch.
        pub modify_time: i64,
    }

    /// A port that an allocation holds.
    pub struct AllocatedPortMapping {
        /// The port's label.
        pub label: String,
        /// On the host.
        pub value: u64,
        /// Inside the network.
        pub to: u64,
        /// The address of the host.
        #[serde(rename = "HostIP")]
        pub host_ip: String,
        /// Whether others may use the same number.
        pub ignore_collision: bool,
    }
}

shape! {
    /// An allocation in a list.
    pub struct AllocListStub {
        /// Its id.
        #[serde(rename = "ID")]
        pub id: String,
        /// The evaluation that placed it.
        #[serde(rename = "EvalID")]
        pub eval_id: String,
        /// `<job>.<group>[<index>]`.
        pub name: String,
        /// The job's namespace.
        pub namespace: String,
        /// Where it runs.
        #[serde(rename = "NodeID")]
        pub node_id: String,
        /// The name of the node.
        pub node_name: String,
        /// The job.
        #[serde(rename = "JobID")]
        pub job_id: String,
        /// The job's type.
        pub job_type: String,
        /// The version of the job that it runs.
        pub job_version: u64,
        /// The group that it runs.
        pub task_group: String,
        /// What it takes from its node, where asked for.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub allocated_resources: Option<AllocatedResources>,
        /// What the servers want of it.
        pub desired_status: DesiredStatus,
        /// Why.
        pub desired_description: String,
        /// How it is.
        pub client_status: ClientStatus,
        /// The same in a sentence.
        pub client_description: String,
        /// What was asked to be done with it.
        pub desired_transition: DesiredTransition,
        /// By task.
        pub task_states: BTreeMap<String, TaskState>,
        /// How its deployment sees it.
        pub deployment_status: Option<AllocDeploymentStatus>,
        /// The evaluation that will look at it later.
        #[serde(rename = "FollowupEvalID")]
        pub followup_eval_id: String,
        /// The allocation that replaced it.
        pub next_allocation: String,
        /// Earlier attempts.
        pub reschedule_tracker: Option<RescheduleTracker>,
        /// Allocations that had to go for it.
        pub preempted_allocations: Vec<String>,
        /// The allocation that it had to go for.
        pub preempted_by_allocation: String,
        /// When it was created.
        pub create_index: u64,
        /// When it last changed.
        pub modify_index: u64,
        /// When it was created, in nanoseconds since the epoch.
        pub create_time: i64,
        /// When it last changed, in nanoseconds since the epoch.
        pub modify_time: i64,
    }

    /// What was asked to be done with an allocation; `None` is "nothing was said".
    pub struct DesiredTransition {
        /// Stop it and run a replacement elsewhere.
        pub migrate: Option<bool>,
        /// Replace it if it failed.
        pub reschedule: Option<bool>,
        /// Replace it whatever its policy says.
        pub force_reschedule: Option<bool>,
        /// Skip its shutdown delay.
        pub no_shutdown_delay: Option<bool>,
        /// Do not replace it.
        pub migrate_disable_placement: Option<bool>,
    }

    /// How a deployment sees an allocation.
    pub struct AllocDeploymentStatus {
        /// Whether it is healthy; `None` while nobody knows.
        pub healthy: Option<bool>,
        /// Since when.
        pub timestamp: Time,
        /// Whether it is a canary.
        pub canary: bool,
        /// When this last changed.
        pub modify_index: u64,
    }

    /// The address of an allocation on its own network.
    pub struct AllocNetworkStatus {
        /// The interface.
        pub interface_name: String,
        /// The IPv4 address.
        pub address: String,
        /// The IPv6 address.
        #[serde(rename = "AddressIPv6")]
        pub address_ipv6: String,
    }

    /// Earlier attempts at running an allocation's work.
    pub struct RescheduleTracker {
        /// The attempts, oldest first.
        pub events: Vec<RescheduleEvent>,
        /// `ok` where it was replaced, `pending` where it will be, or "".
        pub last_reschedule: String,
    }

    /// One earlier attempt.
    pub struct RescheduleEvent {
        /// When it was replaced, in nanoseconds since the epoch.
        pub reschedule_time: i64,
        /// What was replaced.
        #[serde(rename = "PrevAllocID")]
        pub prev_alloc_id: String,
        /// Where it ran.
        #[serde(rename = "PrevNodeID")]
        pub prev_node_id: String,
        /// How long that waited.
        pub delay: Nanos,
    }

    /// What an allocation takes from its node.
    pub struct AllocatedResources {
        /// By task.
        pub tasks: BTreeMap<String, AllocatedTaskResources>,
        /// When each task runs.
        pub task_lifecycles: BTreeMap<String, Option<TaskLifecycleConfig>>,
        /// What its tasks share.
        pub shared: AllocatedSharedResources,
    }

    /// What a task takes.
    pub struct AllocatedTaskResources {
        /// Processor.
        pub cpu: AllocatedCpuResources,
        /// Memory.
        pub memory: AllocatedMemoryResources,
        /// Always empty: ports belong to the group.
        pub networks: Vec<NetworkResource>,
        /// Devices.
        pub devices: Vec<AllocatedDeviceResource>,
    }

    /// Processor that a task takes.
    pub struct AllocatedCpuResources {
        /// MHz.
        pub cpu_shares: i64,
        /// Cores that are its own.
        pub reserved_cores: Vec<u16>,
    }

    /// Memory that a task takes.
    pub struct AllocatedMemoryResources {
        /// Reserved MiB.
        #[serde(rename = "MemoryMB")]
        pub memory_mb: i64,
        /// MiB it may use where there is some to spare; 0 is no more than reserved.
        #[serde(rename = "MemoryMaxMB")]
        pub memory_max_mb: i64,
    }

    /// Devices that a task takes.
    pub struct AllocatedDeviceResource {
        /// Who made them.
        pub vendor: String,
        /// Their kind.
        pub r#type: String,
        /// Their model.
        pub name: String,
        /// Which.
        #[serde(rename = "DeviceIDs")]
        pub device_ids: Vec<String>,
    }

    /// What the tasks of an allocation share.
    pub struct AllocatedSharedResources {
        /// The group's networks with what was assigned.
        pub networks: Vec<NetworkResource>,
        /// Disk in MiB.
        #[serde(rename = "DiskMB")]
        pub disk_mb: u64,
        /// The ports.
        pub ports: Vec<AllocatedPortMapping>,
    }

    /// How the nodes looked when an allocation was placed, or failed to be.
    pub struct AllocMetric {
        /// Nodes looked at.
        pub nodes_evaluated: u64,
        /// Nodes that a constraint ruled out.
        pub nodes_filtered: u64,
        /// Nodes in the job's pool.
        pub nodes_in_pool: u64,
        /// The job's pool.
        pub node_pool: String,
        /// Ready nodes per datacenter.
        pub nodes_available: BTreeMap<String, u64>,
        /// Nodes ruled out per class.
        pub class_filtered: BTreeMap<String, u64>,
        /// Nodes ruled out per reason.
        pub constraint_filtered: BTreeMap<String, u64>,
        /// Nodes that are too full.
        pub nodes_exhausted: u64,
        /// Nodes that are too full per class.
        pub class_exhausted: BTreeMap<String, u64>,
        /// Nodes that are too full per dimension that ran out.
        pub dimension_exhausted: BTreeMap<String, u64>,
        /// Quotas that ran out.
        pub quota_exhausted: Vec<String>,
        /// Older form of `score_meta_data`; always empty.
        pub scores: BTreeMap<String, f64>,
        /// The best nodes.
        pub score_meta_data: Vec<NodeScoreMeta>,
        /// How long it took.
        pub allocation_time: Nanos,
        /// How many further instances failed for the same reasons.
        pub coalesced_failures: u64,
    }

    /// The scores that a node got.
    pub struct NodeScoreMeta {
        /// The node.
        #[serde(rename = "NodeID")]
        pub node_id: String,
        /// By scorer.
        pub scores: BTreeMap<String, f64>,
        /// The mean of those that count.
        pub norm_score: f64,
    }

    /// How a task is.
    pub struct TaskState {
        /// Where it is in its life.
        pub state: TaskRunState,
        /// Whether it ended badly.
        pub failed: bool,
        /// How often it was started again.
        pub restarts: u64,
        /// When it was last started again.
        pub last_restart: Time,
        /// When it last started.
        pub started_at: Time,
        /// When it ended for good.
        pub finished_at: Time,
        /// What happened to it lately, oldest first.
        pub events: Vec<TaskEvent>,
        /// Whether it is paused by its schedule.
        pub paused: String,
    }

    /// Something that happened to a task.
    pub struct TaskEvent {
        /// What kind of thing.
        pub r#type: String,
        /// When, in nanoseconds since the epoch.
        pub time: i64,
        /// A text given by the driver.
        pub message: String,
        /// What happened, in a sentence.
        pub display_message: String,
        /// The particulars by name.
        pub details: BTreeMap<String, String>,
        /// Whether the task failed by it.
        pub fails_task: bool,
        /// Why it was started again, or not.
        pub restart_reason: String,
        /// What went wrong in setting it up.
        pub setup_error: String,
        /// What went wrong in the driver.
        pub driver_error: String,
        /// The exit code.
        pub exit_code: i64,
        /// The signal that ended it.
        pub signal: i64,
        /// How long it has before it is killed.
        pub kill_timeout: Nanos,
        /// What went wrong in killing it.
        pub kill_error: String,
        /// Why it was killed.
        pub kill_reason: String,
        /// Nanoseconds before it is started again.
        pub start_delay: i64,
        /// What went wrong in fetching for it.
        pub download_error: String,
        /// What is not valid here.
        pub validation_error: String,
        /// Bytes of disk it may use.
        pub disk_limit: i64,
        /// The task of the group that failed.
        pub failed_sibling: String,
        /// What went wrong with its secrets.
        pub vault_error: String,
        /// Why it was sent a signal.
        pub task_signal_reason: String,
        /// The signal it was sent.
        pub task_signal: String,
        /// What the driver has to say.
        pub driver_message: String,
        /// Who made the event.
        pub generic_source: String,
    }

    /// What came of stopping an allocation.
    pub struct AllocStopResponse {
        /// The evaluation that was created.
        #[serde(rename = "EvalID")]
        pub eval_id: String,
        /// The index of the write.
        pub index: u64,
    }

    /// Asks for tasks of an allocation to be started again.
    pub struct AllocRestartRequest {
        /// One task; empty is every task that runs.
        pub task_name: String,
        /// Whether tasks that have ended are started again, too.
        pub all_tasks: bool,
    }

    /// Asks for tasks of an allocation to be sent a signal.
    pub struct AllocSignalRequest {
        /// One task; empty is every task that runs.
        pub task: String,
        /// The signal's name, such as `SIGHUP`.
        pub signal: String,
    }

    /// What came of an action on a client: the index is 0, since no state was written.
    pub struct ActionResponse {
        /// Always 0.
        pub index: u64,
    }
}
