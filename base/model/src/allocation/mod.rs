//! Allocations: one run of a task group on one node.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::ids::{AllocId, DeploymentId, EvalId, JobKey, JobVersionKey, NodeId, StateIndex};
use crate::job::{Job, TaskGroup};
use crate::time::{Nanos, Timestamp};
use crate::units::Usage;
use crate::volume::VolumeAsk;

mod event;
mod explain;
mod status;
mod task_state;

pub use event::{EventKind, TaskEvent, Termination};
pub use explain::{Score, ScoreEntry, Scorer};
pub use status::{ClientStatus, DesiredStatus, StopReason};
pub use task_state::{TaskRunState, TaskState};

/// A decision to run one instance of a task group on a node, and what came of it.
///
/// Hot record: it holds no text or map of its own. The job version is shared, the group is an index into it and the
/// name is made from both. `J` is the shared job where the allocation lives in memory, and the version's key where it
/// is written down (log, snapshots, wire).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Allocation<J = Arc<Job>> {
    /// The allocation's id.
    pub id: AllocId,
    /// The version of the job that it runs.
    pub job: J,
    /// Which group of the job, counted from 0.
    pub group: u16,
    /// Which instance of the group: the number in brackets of its name.
    pub index: u32,
    /// Where it runs.
    pub node_id: NodeId,
    /// The evaluation that placed it.
    pub eval_id: EvalId,
    /// What it takes from the node.
    pub usage: Usage,
    /// The ports it holds.
    #[serde(default)]
    pub ports: SmallVec<[AllocPort; 1]>,
    /// The processor cores it has for itself.
    #[serde(default)]
    pub cores: SmallVec<[u16; 4]>,
    /// Whether its tasks may use memory up to their `memory_max`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub oversubscribed: bool,
    /// What the servers want of it.
    pub desired: DesiredStatus,
    /// Why they want it stopped.
    #[serde(default)]
    pub stop_reason: Option<StopReason>,
    /// Whether its successor on the same node has taken over what it holds; the successor starts once it has ended.
    #[serde(default)]
    pub handed_over: bool,
    /// What people or other parts asked to be done with it at the next evaluation.
    #[serde(default)]
    pub transition: Transition,
    /// What the client last said of it (or the servers, once its node is gone).
    pub client_status: ClientStatus,
    /// The state of each task, in the order of the group's tasks; empty before the client's first word.
    #[serde(default)]
    pub tasks: Arc<[TaskState]>,
    /// The allocation that it replaces.
    #[serde(default)]
    pub previous: Option<AllocId>,
    /// The allocation that replaced it.
    #[serde(default)]
    pub next: Option<AllocId>,
    /// The deployment that it is part of.
    #[serde(default)]
    pub deployment_id: Option<DeploymentId>,
    /// Whether its deployment may count on it; `None` until that is known.
    #[serde(default)]
    pub health: Option<AllocHealth>,
    /// The failures that led to it, oldest first.
    #[serde(default)]
    pub reschedules: Arc<[RescheduleEvent]>,
    /// The evaluation that will look at it later.
    #[serde(default)]
    pub followup_eval: Option<EvalId>,
    /// The scores of its node when it was placed.
    #[serde(default)]
    pub scores: Arc<[ScoreEntry]>,
    /// When it was created.
    #[serde(default)]
    pub create_index: StateIndex,
    /// When anything about it last changed.
    #[serde(default)]
    pub modify_index: StateIndex,
    /// When the servers last changed what they want of it; clients obey the highest.
    #[serde(default)]
    pub alloc_modify_index: StateIndex,
    /// When it was created.
    #[serde(default)]
    pub create_time: Timestamp,
    /// When anything about it last changed.
    #[serde(default)]
    pub modify_time: Timestamp,
}

impl<J> Allocation<J> {
    /// The same allocation with its job named by `job`.
    pub fn with_job<K>(self, job: K) -> Allocation<K> {
        let Self {
            id,
            job: _,
            group,
            index,
            node_id,
            eval_id,
            usage,
            ports,
            cores,
            oversubscribed,
            desired,
            stop_reason,
            handed_over,
            transition,
            client_status,
            tasks,
            previous,
            next,
            deployment_id,
            health,
            reschedules,
            followup_eval,
            scores,
            create_index,
            modify_index,
            alloc_modify_index,
            create_time,
            modify_time,
        } = self;
        Allocation {
            id,
            job,
            group,
            index,
            node_id,
            eval_id,
            usage,
            ports,
            cores,
            oversubscribed,
            desired,
            stop_reason,
            handed_over,
            transition,
            client_status,
            tasks,
            previous,
            next,
            deployment_id,
            health,
            reschedules,
            followup_eval,
            scores,
            create_index,
            modify_index,
            alloc_modify_index,
            create_time,
            modify_time,
        }
    }

    /// Whether it was found healthy.
    pub fn is_healthy(&self) -> bool {
        self.health.is_some_and(|health| health.healthy)
    }

    /// Whether it was found unhealthy.
    pub fn is_unhealthy(&self) -> bool {
        self.health.is_some_and(|health| !health.healthy)
    }

    /// Whether neither servers nor client will do anything more with it.
    pub fn is_terminal(&self) -> bool {
        self.desired.is_stop() || self.client_status.is_terminal()
    }

    /// Whether the client will do nothing more with it.
    pub fn is_client_terminal(&self) -> bool {
        self.client_status.is_terminal()
    }

    /// Whether its usage and ports count against its node: until its client is done with it, even if it was told to
    /// stop, unless a successor on the same node has taken them over.
    pub fn holds_resources(&self) -> bool {
        !self.client_status.is_terminal() && !self.handed_over
    }
}

impl Allocation {
    /// The job that it belongs to.
    pub fn job_key(&self) -> JobKey {
        self.job.key()
    }

    /// The group that it runs; `None` only if the job and the allocation do not belong together.
    pub fn task_group(&self) -> Option<&TaskGroup> {
        self.job.task_groups.get(usize::from(self.group))
    }

    /// The name of the group that it runs.
    pub fn group_name(&self) -> &str {
        self.task_group().map_or("", |group| group.name.as_str())
    }

    /// The host volumes that it asks its node for; claims are not known here.
    pub fn host_volumes(&self) -> impl Iterator<Item = VolumeAsk> + '_ {
        let group = self.task_group().into_iter();
        group.flat_map(|group| group.host_volumes(&self.job.namespace, self.index))
    }

    /// The name: `<job>.<group>[<index>]`.
    pub fn name(&self) -> String {
        format!("{}.{}[{}]", self.job.id, self.group_name(), self.index)
    }

    /// The form in which it is written down: the job by its key.
    pub fn to_record(&self) -> Allocation<JobVersionKey> {
        self.clone().with_job(self.job.version_key())
    }
}

/// A port that an allocation holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllocPort {
    /// Which of the group's ports, in the order of its `ask().ports`.
    pub ask: u16,
    /// The port on the host.
    pub value: u16,
    /// The host's address it is taken on.
    pub address: IpAddr,
    /// Whether others may hold the same port, too.
    #[serde(default)]
    pub ignore_collision: bool,
}

/// Whether a deployment may count on one of its allocations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllocHealth {
    /// Whether it is well.
    pub healthy: bool,
    /// When that was found: the entry's time.
    pub at: Timestamp,
    /// When that was found.
    pub index: StateIndex,
}

/// A failure that was answered by a placement elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RescheduleEvent {
    /// When the replacement was decided.
    pub at: Timestamp,
    /// The allocation that had failed.
    pub alloc: AllocId,
    /// Where it ran.
    pub node: NodeId,
    /// How long was waited.
    pub delay: Nanos,
}

/// What was asked to be done with an allocation at the next evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Transition {
    /// Stop it and run a replacement elsewhere.
    pub migrate: bool,
    /// Replace it if it failed.
    pub reschedule: bool,
    /// Skip its shutdown delay when it stops.
    pub no_shutdown_delay: bool,
}

/// What a client says about one of its allocations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AllocUpdate {
    /// Which allocation.
    pub id: AllocId,
    /// How it is.
    pub client_status: ClientStatus,
    /// The state of each task, in the order of the group's tasks.
    pub tasks: Arc<[TaskState]>,
    /// Whether its deployment may count on it; `None` while the client cannot tell.
    #[serde(default)]
    pub health: Option<bool>,
}
