//! Plans: what a scheduler wants changed for one job, to be checked and committed as one.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::allocation::{AllocPort, ClientStatus, RescheduleEvent, ScoreEntry, StopReason};
use crate::deployment::{Deployment, DeploymentReason, DeploymentStatus};
use crate::evaluation::Evaluation;
use crate::ids::{AllocId, DeploymentId, EvalId, JobVersionKey, NodeId, PlanId, StateIndex};
use crate::units::Usage;

/// What a scheduler wants changed for one job.
///
/// The commit decides: `apply` refuses the plan whole if the job's `placed_index` moved since the scheduler looked, and
/// drops each placement that no longer fits its node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The plan's id; a plan delivered again is answered as the first time.
    pub id: PlanId,
    /// The evaluation that it serves.
    pub eval_id: EvalId,
    /// The version of the job that is placed.
    pub job: JobVersionKey,
    /// The job's `placed_index` that the scheduler saw.
    pub placed_index: StateIndex,
    /// Whether all placements must fit or none is made.
    pub all_at_once: bool,
    /// New allocations.
    pub placements: Vec<Placement>,
    /// Allocations to stop.
    pub stops: Vec<Stop>,
    /// Allocations that go on under the new version of the job.
    pub in_place: Vec<InPlaceUpdate>,
    /// A deployment that starts with this plan; its placements and updates in place name it.
    #[serde(default)]
    pub deployment: Option<Deployment>,
    /// What becomes of deployments of the job.
    #[serde(default)]
    pub deployment_updates: Vec<DeploymentUpdate>,
    /// Failed allocations that a later evaluation will look at.
    #[serde(default)]
    pub follow_ups: Vec<FollowUp>,
    /// The evaluation as it stands, and those that follow it, if every placement is committed.
    pub when_whole: Vec<Evaluation>,
}

impl Plan {
    /// A plan that changes nothing yet.
    pub const fn new(id: PlanId, eval_id: EvalId, job: JobVersionKey, placed_index: StateIndex) -> Self {
        Self {
            id,
            eval_id,
            job,
            placed_index,
            all_at_once: false,
            placements: Vec::new(),
            stops: Vec::new(),
            in_place: Vec::new(),
            deployment: None,
            deployment_updates: Vec::new(),
            follow_ups: Vec::new(),
            when_whole: Vec::new(),
        }
    }

    /// Whether the plan changes nothing but evaluations.
    pub fn is_empty(&self) -> bool {
        self.placements.is_empty()
            && self.stops.is_empty()
            && self.in_place.is_empty()
            && self.deployment.is_none()
            && self.deployment_updates.is_empty()
            && self.follow_ups.is_empty()
    }
}

/// A new allocation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Placement {
    /// The new allocation's id.
    pub alloc_id: AllocId,
    /// Which group of the job.
    pub group: u16,
    /// Which instance of the group.
    pub index: u32,
    /// Where.
    pub node_id: NodeId,
    /// What it takes.
    pub usage: Usage,
    /// The ports it takes.
    #[serde(default)]
    pub ports: SmallVec<[AllocPort; 1]>,
    /// The processor cores it takes for itself.
    #[serde(default)]
    pub cores: SmallVec<[u16; 4]>,
    /// The allocation that it replaces.
    #[serde(default)]
    pub previous: Option<AllocId>,
    /// The deployment that it is part of: one that stands, or the plan's own.
    #[serde(default)]
    pub deployment: Option<DeploymentId>,
    /// The failures that led to it, oldest first.
    #[serde(default)]
    pub reschedules: Arc<[RescheduleEvent]>,
    /// Whether its tasks may use memory up to their `memory_max`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub oversubscribed: bool,
    /// The scores of its node.
    #[serde(default)]
    pub scores: Arc<[ScoreEntry]>,
}

/// An allocation to stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// Which.
    pub alloc_id: AllocId,
    /// Why.
    pub reason: StopReason,
    /// What its client status becomes, where its node cannot say.
    #[serde(default)]
    pub client_status: Option<ClientStatus>,
}

/// An allocation that goes on under the new version of its job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InPlaceUpdate {
    /// Which.
    pub alloc_id: AllocId,
    /// Its group's place in the new version.
    pub group: u16,
    /// The deployment that it is part of from now on; one that it was part of before no longer counts it.
    #[serde(default)]
    pub deployment: Option<DeploymentId>,
}

/// What becomes of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeploymentUpdate {
    /// Which.
    pub id: DeploymentId,
    /// How it stands from now on.
    pub status: DeploymentStatus,
    /// Why.
    pub reason: DeploymentReason,
}

/// A failed allocation that a later evaluation will look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FollowUp {
    /// Which allocation.
    pub alloc_id: AllocId,
    /// Which evaluation.
    pub eval_id: EvalId,
}

/// What became of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlanResult {
    /// Committed, but for these placements that no longer fit.
    Committed {
        /// The placements that were dropped, by their place in the plan.
        refused: Vec<Refusal>,
        /// The job's `placed_index` now.
        placed_index: StateIndex,
    },
    /// Refused whole: the job was written or placed since the scheduler looked.
    Stale {
        /// The job's `placed_index` now.
        placed_index: StateIndex,
    },
}

/// A placement that no longer fits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Its place in the plan.
    pub placement: u32,
    /// Why.
    pub reason: Misfit,
}

/// Why something does not fit a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Misfit {
    /// There is no such node.
    NodeGone,
    /// The node is not ready, or not eligible.
    NodeNotReady,
    /// Not enough processor capacity.
    Cpu,
    /// Not enough memory.
    Memory,
    /// Not enough disk.
    Disk,
    /// Not enough free processor cores, or not those.
    Cores,
    /// A port is taken.
    Port(u16),
    /// The node takes no more allocations.
    MaxAllocs,
    /// A host volume is not there, or not to be had in that way.
    Volume,
    /// An allocation with that id exists already for something else.
    IdTaken,
}

impl Misfit {
    /// The dimension that ran out, as the API names it.
    pub fn dimension(self) -> String {
        match self {
            Self::NodeGone => "node is gone".into(),
            Self::NodeNotReady => "node is not ready".into(),
            Self::Cpu => "cpu".into(),
            Self::Memory => "memory".into(),
            Self::Disk => "disk".into(),
            Self::Cores => "cores".into(),
            Self::Port(port) => format!("network: port {port} is taken"),
            Self::MaxAllocs => "max allocation exceeded".into(),
            Self::Volume => "missing compatible host volumes".into(),
            Self::IdTaken => "allocation id is taken".into(),
        }
    }
}
