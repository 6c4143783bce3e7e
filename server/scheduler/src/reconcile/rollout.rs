//! How fast a new version of a job takes over: deployments and their pace.
//!
//! A group whose `update` allows so many at a time changes under a deployment: step by step, as fast as what was changed
//! before turns out healthy. Other groups, and those of batch jobs, change all at once. The `stagger` of an update has no
//! effect: where there are deployments health sets the pace, and without them nothing is paced.

use orch_model::allocation::ClientStatus;
use orch_model::deployment::{Deployment, DeploymentReason, DeploymentStatus, GroupRollout};
use orch_model::job::{TaskGroup, UpdateStrategy};
use orch_model::plan::DeploymentUpdate;
use orch_model::{Allocation, Job};

/// The deployment that has a say in how the current version of a job takes over.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rollout<'a> {
    /// None: what there was has succeeded, or was of another version. A new one may start.
    Free,
    /// One that runs.
    Running(&'a Deployment),
    /// One that is paused or has failed: nothing of the new version is added.
    Held(&'a Deployment),
}

impl<'a> Rollout<'a> {
    pub(super) fn of(job: &Job, deployment: Option<&'a Deployment>) -> Self {
        match deployment.filter(|deployment| is_of(deployment, job)) {
            None => Self::Free,
            Some(deployment) => match deployment.status {
                DeploymentStatus::Running => Self::Running(deployment),
                DeploymentStatus::Paused | DeploymentStatus::Failed => Self::Held(deployment),
                DeploymentStatus::Successful | DeploymentStatus::Cancelled => Self::Free,
            },
        }
    }

    /// The end of a deployment all of whose groups are where they should be.
    pub(super) fn success(self) -> Option<DeploymentUpdate> {
        match self {
            Self::Running(deployment) if !deployment.needs_promotion() => Some(DeploymentUpdate {
                id: deployment.id,
                status: DeploymentStatus::Successful,
                reason: DeploymentReason::Successful,
            }),
            Self::Running(_) | Self::Free | Self::Held(_) => None,
        }
    }
}

fn is_of(deployment: &Deployment, job: &Job) -> bool {
    deployment.job.version == job.version && deployment.job.created == job.create_index
}

/// The end of an active deployment of a version that the job no longer has; such a one is ended with the write that
/// makes it so, and is never left to itself should that not have happened.
pub(super) fn superseded(job: Option<&Job>, deployment: Option<&Deployment>) -> Option<DeploymentUpdate> {
    let deployment = deployment.filter(|deployment| deployment.is_active())?;
    let reason = match job {
        None => DeploymentReason::StoppedJob,
        Some(job) if !is_of(deployment, job) => DeploymentReason::NewerJob,
        Some(_) => return None,
    };
    Some(DeploymentUpdate { id: deployment.id, status: DeploymentStatus::Cancelled, reason })
}

/// How a group may change now.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pace<'a> {
    /// All at once, without a deployment.
    AtOnce,
    /// So many at a time.
    Stepwise { max_parallel: usize, deployment: Option<&'a Deployment> },
    /// Not at all: only what went is replaced.
    Held(&'a Deployment),
}

impl<'a> Pace<'a> {
    /// The pace of a group; `takes_steps` says whether its job is of a type that has deployments.
    pub(super) fn of(group: &TaskGroup, takes_steps: bool, rollout: Rollout<'a>) -> Self {
        let max_parallel = group.update.as_ref().map_or(0, UpdateStrategy::max_parallel);
        let max_parallel = usize::try_from(max_parallel).unwrap_or(0);
        if max_parallel == 0 || !takes_steps {
            return Self::AtOnce;
        }
        match rollout {
            Rollout::Free => Self::Stepwise { max_parallel, deployment: None },
            Rollout::Running(deployment) => Self::Stepwise { max_parallel, deployment: Some(deployment) },
            Rollout::Held(deployment) => Self::Held(deployment),
        }
    }

    pub(super) const fn is_held(self) -> bool {
        match self {
            Self::Held(_) => true,
            Self::AtOnce | Self::Stepwise { .. } => false,
        }
    }

    /// The deployment under way, or the one that holds everything.
    pub(super) const fn deployment(self) -> Option<&'a Deployment> {
        match self {
            Self::AtOnce => None,
            Self::Stepwise { deployment, .. } => deployment,
            Self::Held(deployment) => Some(deployment),
        }
    }

    /// Whether an allocation is part of that deployment.
    pub(super) fn is_member(self, alloc: &Allocation) -> bool {
        self.deployment().is_some_and(|deployment| alloc.deployment_id == Some(deployment.id))
    }

    /// How many more may be taken down, when `down` do not answer as it is and `has_failed` says whether the new version
    /// was found unhealthy.
    pub(super) fn budget(self, down: usize, has_failed: bool) -> usize {
        match self {
            Self::AtOnce => usize::MAX,
            Self::Stepwise { .. } if has_failed => 0,
            Self::Stepwise { max_parallel, .. } => max_parallel.saturating_sub(down),
            Self::Held(_) => 0,
        }
    }

    /// How a group is rolled out, if a deployment has yet to start for it; `total` must be healthy in the end.
    pub(super) fn start(self, group: &TaskGroup, total: usize) -> Option<GroupRollout> {
        match self {
            Self::AtOnce | Self::Held(_) | Self::Stepwise { deployment: Some(_), .. } => None,
            Self::Stepwise { deployment: None, .. } => {
                let update = group.update.as_ref()?;
                Some(GroupRollout {
                    auto_revert: update.auto_revert.unwrap_or_default(),
                    auto_promote: update.auto_promote.unwrap_or_default(),
                    progress_deadline: update.progress_deadline.unwrap_or_default(),
                    desired_total: u32::try_from(total).unwrap_or(u32::MAX),
                    ..GroupRollout::default()
                })
            }
        }
    }
}

/// How little an allocation of an older version is missed: 0 if it has ended, 1 if it does not answer, 2 if it does.
///
/// What is missed least is replaced first, so that a step costs as few answers as it can.
pub(super) fn worth(alloc: &Allocation) -> u8 {
    if alloc.is_client_terminal() {
        0
    } else if answers(alloc) {
        2
    } else {
        1
    }
}

/// Whether an allocation counts as serving: it runs, and where a deployment watches over it, was found healthy.
pub(crate) fn answers(alloc: &Allocation) -> bool {
    alloc.client_status == ClientStatus::Running && (alloc.deployment_id.is_none() || alloc.is_healthy())
}
