//! Evaluations: notes that a job and the cluster may have drifted apart.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::{DeploymentId, EvalId, JobId, JobKey, Namespace, NodeId, StateIndex};
use crate::job::JobType;
use crate::node::ComputedClass;
use crate::time::Timestamp;

/// A note that a job and the cluster may have drifted apart.
///
/// It says that something changed, not what to do: the scheduler looks at job and cluster afresh. So of several pending
/// evaluations of a job the newest replaces the others, and running one twice is harmless.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The evaluation's id.
    pub id: EvalId,
    /// The job's namespace.
    pub namespace: Namespace,
    /// The job to look at.
    pub job_id: JobId,
    /// More important ones go first.
    pub priority: u16,
    /// The kind of scheduler it needs.
    pub kind: JobType,
    /// What brought it about.
    pub trigger: Trigger,
    /// How far it is.
    pub status: EvalStatus,
    /// Why it is there; empty when there is nothing to say.
    #[serde(default)]
    pub status_description: Arc<str>,
    /// When the job was last written, as the cause of this saw it.
    #[serde(default)]
    pub job_modify_index: StateIndex,
    /// The node whose change brought it about.
    #[serde(default)]
    pub node_id: Option<NodeId>,
    /// The deployment whose change brought it about.
    #[serde(default)]
    pub deployment_id: Option<DeploymentId>,
    /// Not to be run before then.
    #[serde(default)]
    pub wait_until: Timestamp,
    /// The evaluation that this one follows.
    #[serde(default)]
    pub previous: Option<EvalId>,
    /// The evaluation that follows this one.
    #[serde(default)]
    pub next: Option<EvalId>,
    /// The blocked evaluation that waits for what this one could not place.
    #[serde(default)]
    pub blocked: Option<EvalId>,
    /// What came of it, once it was processed.
    #[serde(default)]
    pub outcome: Option<Arc<EvalOutcome>>,
    /// What would let it make progress, while it is blocked.
    #[serde(default)]
    pub waits_for: Option<Arc<WaitsFor>>,
    /// The state that it was processed against.
    #[serde(default)]
    pub snapshot_index: StateIndex,
    /// When it was created.
    #[serde(default)]
    pub create_index: StateIndex,
    /// When it last changed.
    #[serde(default)]
    pub modify_index: StateIndex,
    /// When it was created.
    #[serde(default)]
    pub create_time: Timestamp,
    /// When it last changed.
    #[serde(default)]
    pub modify_time: Timestamp,
}

impl Evaluation {
    /// A pending evaluation of a job.
    pub fn new(id: EvalId, job: &JobKey, priority: u16, kind: JobType, trigger: Trigger) -> Self {
        Self {
            id,
            namespace: job.namespace.clone(),
            job_id: job.job_id.clone(),
            priority,
            kind,
            trigger,
            status: EvalStatus::Pending,
            status_description: Arc::from(""),
            job_modify_index: StateIndex::default(),
            node_id: None,
            deployment_id: None,
            wait_until: Timestamp::NONE,
            previous: None,
            next: None,
            blocked: None,
            outcome: None,
            waits_for: None,
            snapshot_index: StateIndex::default(),
            create_index: StateIndex::default(),
            modify_index: StateIndex::default(),
            create_time: Timestamp::NONE,
            modify_time: Timestamp::NONE,
        }
    }

    /// The job to look at.
    pub fn job_key(&self) -> JobKey {
        JobKey::new(&self.namespace, &self.job_id)
    }
}

/// How far an evaluation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EvalStatus {
    /// To be processed.
    #[default]
    Pending,
    /// Waiting for capacity.
    Blocked,
    /// Processed.
    Complete,
    /// Given up.
    Failed,
    /// Replaced by a newer one of the same job.
    Canceled,
}

impl EvalStatus {
    /// Every status.
    pub const ALL: [Self; 5] = [Self::Pending, Self::Blocked, Self::Complete, Self::Failed, Self::Canceled];

    /// Whether it has ended.
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Complete | Self::Failed | Self::Canceled => true,
            Self::Pending | Self::Blocked => false,
        }
    }

    /// Whether an evaluation may go from this status to `next`; what has ended stays.
    pub const fn can_become(self, next: Self) -> bool {
        !self.is_terminal() || self as u8 == next as u8
    }

    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Blocked => "blocked",
            Self::Complete => "complete",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }
}

impl fmt::Display for EvalStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What brought an evaluation about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trigger {
    /// A job was registered.
    JobRegister,
    /// A job was stopped or purged.
    JobDeregister,
    /// A node came, went or changed.
    NodeUpdate,
    /// Someone stopped an allocation.
    AllocStop,
    /// An allocation failed.
    AllocFailure,
    /// An earlier evaluation could not place everything.
    QueuedAllocs,
    /// Plans of an earlier evaluation were refused too often.
    MaxPlanAttempts,
    /// An earlier evaluation was given up.
    FailedFollowUp,
    /// A client came back that had been out of contact.
    Reconnect,
    /// Someone changed the count of a group.
    JobScaling,
    /// An allocation of a deployment became healthy or unhealthy, or someone changed the deployment.
    DeploymentWatcher,
    /// The time has come to place a failed allocation again.
    AllocReschedule,
}

impl Trigger {
    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::JobRegister => "job-register",
            Self::JobDeregister => "job-deregister",
            Self::NodeUpdate => "node-update",
            Self::AllocStop => "alloc-stop",
            Self::AllocFailure => "alloc-failure",
            Self::QueuedAllocs => "queued-allocs",
            Self::MaxPlanAttempts => "max-plan-attempts",
            Self::FailedFollowUp => "failed-follow-up",
            Self::Reconnect => "reconnect",
            Self::JobScaling => "job-scaling",
            Self::DeploymentWatcher => "deployment-watcher",
            Self::AllocReschedule => "alloc-reschedule",
        }
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What came of an evaluation, per group.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct EvalOutcome {
    /// What was done, per group.
    pub updates: BTreeMap<String, DesiredUpdates>,
    /// How the nodes looked to each group that placed something.
    pub placed: BTreeMap<String, Explanation>,
    /// Why not everything was placed, per group that fell short.
    pub failed: BTreeMap<String, Explanation>,
    /// How many instances still wait to be placed, per group.
    pub queued: BTreeMap<String, u32>,
}

/// How many allocations of a group were left, placed, stopped and so on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DesiredUpdates {
    /// Left as they are.
    pub ignore: u32,
    /// Newly placed.
    pub place: u32,
    /// Moved to another node.
    pub migrate: u32,
    /// Stopped.
    pub stop: u32,
    /// Changed where they run.
    pub in_place: u32,
    /// Replaced by the new version.
    pub destructive: u32,
}

/// How the nodes of a cluster looked to one group: counts per reason, stored once per evaluation and group.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Explanation {
    /// Nodes looked at.
    pub nodes_evaluated: u32,
    /// Nodes that a constraint, driver or the like ruled out.
    pub nodes_filtered: u32,
    /// Nodes in the job's pool.
    pub nodes_in_pool: u32,
    /// The job's pool.
    pub node_pool: String,
    /// Ready nodes per datacenter of the job.
    pub nodes_available: BTreeMap<String, u32>,
    /// Nodes ruled out, per node class.
    pub class_filtered: BTreeMap<String, u32>,
    /// Nodes ruled out, per reason.
    pub constraint_filtered: BTreeMap<String, u32>,
    /// Nodes that are feasible but too full.
    pub nodes_exhausted: u32,
    /// Nodes too full, per node class.
    pub class_exhausted: BTreeMap<String, u32>,
    /// Nodes too full, per dimension that ran out.
    pub dimension_exhausted: BTreeMap<String, u32>,
    /// The best nodes and their scores, best first.
    pub scores: Vec<NodeScore>,
    /// How many further instances failed for the same reasons.
    pub coalesced_failures: u32,
}

/// The scores that a node got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeScore {
    /// The node.
    pub node_id: NodeId,
    /// Its scores, the mean of those that count among them.
    pub scores: Vec<crate::allocation::ScoreEntry>,
}

/// What would let a blocked evaluation make progress.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct WaitsFor {
    /// Node classes that were looked at, and whether any group could run there were it not for space.
    pub classes: BTreeMap<ComputedClass, bool>,
    /// Whether a constraint looks at what is unique to a node, so that classes say nothing.
    pub escaped: bool,
}

impl WaitsFor {
    /// Whether a change on a node of `class` may help: the class is unknown, feasible, or classes say nothing.
    pub fn may_be_helped_by(&self, class: ComputedClass) -> bool {
        self.escaped || self.classes.get(&class).copied().unwrap_or(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_evaluation_that_ended_stays_so() {
        for from in EvalStatus::ALL {
            for next in EvalStatus::ALL {
                assert_eq!(from.can_become(next), !from.is_terminal() || from == next, "{from} -> {next}");
            }
        }
    }

    #[test]
    fn a_blocked_evaluation_waits_for_feasible_and_unknown_classes() {
        let waits =
            WaitsFor { classes: BTreeMap::from([(ComputedClass(1), true), (ComputedClass(2), false)]), escaped: false };
        assert!(waits.may_be_helped_by(ComputedClass(1)));
        assert!(!waits.may_be_helped_by(ComputedClass(2)));
        assert!(waits.may_be_helped_by(ComputedClass(3)));
        assert!(WaitsFor { escaped: true, ..waits }.may_be_helped_by(ComputedClass(2)));
    }
}
