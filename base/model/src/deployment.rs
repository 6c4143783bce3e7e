//! Deployments: versions of a job on their way out, and how far they are.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{AllocId, DeploymentId, JobKey, JobVersionKey, StateIndex};
use crate::time::{Nanos, Timestamp};

/// One version of a job being rolled out.
///
/// A job has at most one that is active. What is counted in it follows from its allocations, and is kept by the state
/// alone: whoever creates one leaves the counts at zero.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// The deployment's id.
    pub id: DeploymentId,
    /// The version that is rolled out.
    pub job: JobVersionKey,
    /// When that version was written: its `job_modify_index`.
    pub job_spec_index: StateIndex,
    /// The job's priority.
    pub priority: u16,
    /// How it stands.
    pub status: DeploymentStatus,
    /// Why it stands so.
    pub reason: DeploymentReason,
    /// How far each group is, by name.
    pub groups: BTreeMap<String, GroupRollout>,
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

impl Deployment {
    /// A running deployment of these groups.
    pub fn new(
        id: DeploymentId,
        job: JobVersionKey,
        job_spec_index: StateIndex,
        priority: u16,
        groups: BTreeMap<String, GroupRollout>,
    ) -> Self {
        let mut deployment = Self {
            id,
            job,
            job_spec_index,
            priority,
            status: DeploymentStatus::Running,
            reason: DeploymentReason::Running,
            groups,
            create_index: StateIndex::default(),
            modify_index: StateIndex::default(),
            create_time: Timestamp::NONE,
            modify_time: Timestamp::NONE,
        };
        deployment.reason = deployment.running_reason();
        deployment
    }

    /// The job that it is of.
    pub const fn job_key(&self) -> &JobKey {
        &self.job.job
    }

    /// Whether it may still change.
    pub const fn is_active(&self) -> bool {
        !self.status.is_terminal()
    }

    /// Whether a group has canaries that were not promoted yet.
    pub fn needs_promotion(&self) -> bool {
        self.groups.values().any(GroupRollout::needs_promotion)
    }

    /// Whether every group is where it should be, so that it may end well.
    pub fn is_complete(&self) -> bool {
        self.groups.values().all(GroupRollout::is_complete)
    }

    /// Whether an allocation of it was found unhealthy.
    pub fn has_unhealthy(&self) -> bool {
        self.groups.values().any(|group| group.unhealthy > 0)
    }

    /// By when a group that is not where it should be must move on: the earliest of all; `None` if no time is set.
    pub fn progress_by(&self) -> Option<Timestamp> {
        let unfinished = self.groups.values().filter(|group| !group.has_enough_healthy());
        unfinished.map(|group| group.require_progress_by).filter(|by| !by.is_none()).min()
    }

    /// Whether a failure makes the job go back to its last stable version.
    pub fn auto_revert(&self) -> bool {
        self.groups.values().any(|group| group.auto_revert)
    }

    /// Why it runs, as far as promotion goes.
    pub fn running_reason(&self) -> DeploymentReason {
        let waiting: Vec<_> = self.groups.values().filter(|group| group.needs_promotion()).collect();
        if waiting.is_empty() {
            DeploymentReason::Running
        } else if waiting.iter().all(|group| group.auto_promote) {
            DeploymentReason::AutoPromotion
        } else {
            DeploymentReason::NeedsPromotion
        }
    }

    /// Why it has its status, in a sentence.
    pub fn description(&self) -> String {
        self.reason.to_string()
    }
}

/// How a deployment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeploymentStatus {
    /// Allocations are placed and watched.
    #[default]
    Running,
    /// Nothing is placed and no time runs, until someone resumes it.
    Paused,
    /// Every group is where it should be.
    Successful,
    /// It was given up.
    Failed,
    /// The job was stopped or has a newer version.
    Cancelled,
}

impl DeploymentStatus {
    /// Every status.
    pub const ALL: [Self; 5] = [Self::Running, Self::Paused, Self::Successful, Self::Failed, Self::Cancelled];

    /// Whether it has ended.
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Successful | Self::Failed | Self::Cancelled => true,
            Self::Running | Self::Paused => false,
        }
    }

    /// Whether it may still change.
    pub const fn is_active(self) -> bool {
        !self.is_terminal()
    }

    /// Whether a deployment may go from this status to `next`; what has ended stays, and what is paused does not succeed.
    pub const fn can_become(self, next: Self) -> bool {
        match (self, next) {
            (Self::Running, _) => true,
            (Self::Paused, Self::Successful) => false,
            (Self::Paused, Self::Running | Self::Paused | Self::Failed | Self::Cancelled) => true,
            (Self::Successful | Self::Failed | Self::Cancelled, _) => self as u8 == next as u8,
        }
    }

    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Successful => "successful",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for DeploymentStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a deployment has its status; prints as the sentence that the API shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeploymentReason {
    /// It runs.
    #[default]
    Running,
    /// It runs, and its canaries wait for an operator.
    NeedsPromotion,
    /// It runs, and its canaries are promoted once they are healthy.
    AutoPromotion,
    /// Someone paused it.
    Paused,
    /// Every group is where it should be.
    Successful,
    /// An allocation was found unhealthy.
    UnhealthyAllocs(Rollback),
    /// It did not move on in time.
    ProgressDeadline(Rollback),
    /// Someone gave it up.
    FailedByUser(Rollback),
    /// The job was stopped.
    StoppedJob,
    /// The job has a newer version.
    NewerJob,
}

impl DeploymentReason {
    /// The same reason with what was done about the job; reasons that fail no deployment stay as they are.
    #[must_use]
    pub const fn with_rollback(self, rollback: Rollback) -> Self {
        match self {
            Self::UnhealthyAllocs(_) => Self::UnhealthyAllocs(rollback),
            Self::ProgressDeadline(_) => Self::ProgressDeadline(rollback),
            Self::FailedByUser(_) => Self::FailedByUser(rollback),
            Self::Running
            | Self::NeedsPromotion
            | Self::AutoPromotion
            | Self::Paused
            | Self::Successful
            | Self::StoppedJob
            | Self::NewerJob => self,
        }
    }
}

impl fmt::Display for DeploymentReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, rollback) = match self {
            Self::Running => ("Deployment is running", Rollback::None),
            Self::NeedsPromotion => ("Deployment is running but requires manual promotion", Rollback::None),
            Self::AutoPromotion => ("Deployment is running pending automatic promotion", Rollback::None),
            Self::Paused => ("Deployment is paused", Rollback::None),
            Self::Successful => ("Deployment completed successfully", Rollback::None),
            Self::UnhealthyAllocs(rollback) => ("Failed due to unhealthy allocations", *rollback),
            Self::ProgressDeadline(rollback) => ("Failed due to progress deadline", *rollback),
            Self::FailedByUser(rollback) => ("Deployment marked as failed", *rollback),
            Self::StoppedJob => ("Cancelled because job is stopped", Rollback::None),
            Self::NewerJob => ("Cancelled due to newer version of job", Rollback::None),
        };
        f.write_str(text)?;
        match rollback {
            Rollback::None => Ok(()),
            Rollback::To(version) => write!(f, " - rolling back to job version {version}"),
            Rollback::SameSpec(version) => {
                write!(f, " - not rolling back to stable job version {version} as current job has same specification")
            }
            Rollback::NoStable => f.write_str(" - no stable job version to auto revert to"),
        }
    }
}

/// What was done about the job of a deployment that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rollback {
    /// Nothing: no group asks for it.
    #[default]
    None,
    /// The job went back to what this version says.
    To(u64),
    /// Nothing: the newest stable version says what the job says.
    SameSpec(u64),
    /// Nothing: no version was ever stable.
    NoStable,
}

/// How far one group of a deployment is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupRollout {
    /// Whether a failure makes the job go back to its last stable version.
    pub auto_revert: bool,
    /// Whether healthy canaries are promoted without an operator.
    pub auto_promote: bool,
    /// Whether its canaries were promoted.
    pub promoted: bool,
    /// How long it may take from one healthy allocation to the next; 0 fails on the first unhealthy one.
    pub progress_deadline: Nanos,
    /// By when the next allocation must be healthy; none before the first placement.
    pub require_progress_by: Timestamp,
    /// Canaries that it wants.
    pub desired_canaries: u32,
    /// Allocations that it wants in the end.
    pub desired_total: u32,
    /// Allocations of it that were placed.
    pub placed: u32,
    /// Allocations of it that were found healthy.
    pub healthy: u32,
    /// Allocations of it that were found unhealthy.
    pub unhealthy: u32,
    /// The canaries among those placed.
    pub placed_canaries: Vec<AllocId>,
}

impl GroupRollout {
    /// Whether it has canaries that were not promoted yet.
    pub const fn needs_promotion(&self) -> bool {
        self.desired_canaries > 0 && !self.promoted
    }

    /// Whether as many are healthy as are wanted now: the canaries before their promotion, then all.
    pub const fn has_enough_healthy(&self) -> bool {
        if self.needs_promotion() { self.healthy >= self.desired_canaries } else { self.is_complete() }
    }

    /// Whether it is where it should be.
    pub const fn is_complete(&self) -> bool {
        !self.needs_promotion() && self.healthy >= self.desired_total && self.healthy >= self.desired_canaries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_that_ended_stays_so_and_a_paused_one_does_not_succeed() {
        for from in DeploymentStatus::ALL {
            for next in DeploymentStatus::ALL {
                let resumes_first = from == DeploymentStatus::Paused && next == DeploymentStatus::Successful;
                let allowed = (!from.is_terminal() || from == next) && !resumes_first;
                assert_eq!(from.can_become(next), allowed, "{from} -> {next}");
            }
        }
    }

    #[test]
    fn reasons_print_as_the_api_shows_them() {
        for (reason, text) in [
            (DeploymentReason::NeedsPromotion, "Deployment is running but requires manual promotion"),
            (
                DeploymentReason::UnhealthyAllocs(Rollback::To(3)),
                "Failed due to unhealthy allocations - rolling back to job version 3",
            ),
            (
                DeploymentReason::ProgressDeadline(Rollback::NoStable),
                "Failed due to progress deadline - no stable job version to auto revert to",
            ),
            (
                DeploymentReason::FailedByUser(Rollback::None).with_rollback(Rollback::SameSpec(2)),
                "Deployment marked as failed - not rolling back to stable job version 2 as current job has same specification",
            ),
            (DeploymentReason::StoppedJob.with_rollback(Rollback::To(1)), "Cancelled because job is stopped"),
        ] {
            assert_eq!(reason.to_string(), text);
        }
    }

    #[test]
    fn a_group_with_canaries_is_complete_only_once_they_are_promoted() {
        let mut group = GroupRollout { desired_canaries: 1, desired_total: 3, healthy: 1, ..GroupRollout::default() };
        assert!(group.has_enough_healthy() && !group.is_complete());
        group.promoted = true;
        assert!(!group.has_enough_healthy() && !group.is_complete());
        group.healthy = 3;
        assert!(group.is_complete());
    }

    #[test]
    fn the_earliest_unfinished_group_says_by_when_progress_is_due() {
        let group = |by, healthy| GroupRollout {
            require_progress_by: Timestamp(by),
            desired_total: 1,
            healthy,
            ..GroupRollout::default()
        };
        let groups = [("a", group(5, 1)), ("b", group(9, 0)), ("c", group(0, 0)), ("d", group(7, 0))];
        let groups = groups.map(|(name, group)| (name.to_owned(), group)).into();
        let deployment = Deployment::new(DeploymentId::default(), JobVersionKey::default(), StateIndex(1), 50, groups);
        assert_eq!(deployment.progress_by(), Some(Timestamp(7)));
    }
}
