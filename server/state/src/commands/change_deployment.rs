//! Pausing, resuming, promoting and ending deployments.

use std::sync::Arc;

use orch_model::deployment::{DeploymentReason, DeploymentStatus, Rollback};
use orch_model::diff::same_spec;
use orch_model::evaluation::Trigger;
use orch_model::{Deployment, DeploymentId, EvalId, Job};
use serde::{Deserialize, Serialize};

use super::{Reply, requested_eval, write_version};
use crate::tx::{Tx, push_deadline};

/// Change how a deployment stands.
///
/// One that fails takes its job back to the newest stable version in the same entry, if one of its groups says
/// `auto_revert` and that version says something else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeDeployment {
    /// The deployment.
    pub id: DeploymentId,
    /// What becomes of it.
    pub change: DeploymentChange,
    /// The evaluation that follows; a pause has none.
    pub eval_id: EvalId,
}

/// What becomes of a deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeploymentChange {
    /// Nothing is placed and no deadline runs until it is resumed.
    Pause,
    /// It goes on; deadlines start anew.
    Resume,
    /// The canaries of these groups (none: of all) take over; all of them must be healthy.
    Promote {
        /// The groups.
        groups: Vec<String>,
    },
    /// It is given up.
    Fail(DeploymentFailure),
    /// Every group is where it should be.
    Succeed,
}

/// Why a deployment is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeploymentFailure {
    /// An allocation was found unhealthy.
    UnhealthyAllocs,
    /// It did not move on in time.
    ProgressDeadline,
    /// Someone asked for it.
    ByUser,
}

impl DeploymentChange {
    const fn verb(&self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Promote { .. } => "promote",
            Self::Fail(_) => "fail",
            Self::Succeed => "complete",
        }
    }
}

impl ChangeDeployment {
    pub(crate) fn apply(&self, tx: &mut Tx<'_>) -> Reply {
        let Some(deployment) = tx.state.deployment(&self.id).cloned() else {
            return Reply::not_found("deployment not found");
        };
        if tx.state.eval(&self.eval_id).is_some() {
            return reply(&deployment, Some(self.eval_id));
        }
        if !deployment.is_active() {
            return Reply::invalid(format!("can't {} terminal deployment", self.change.verb()));
        }
        let done = match &self.change {
            DeploymentChange::Pause => pause(tx, &deployment),
            DeploymentChange::Resume => resume(tx, &deployment),
            DeploymentChange::Promote { groups } => promote(tx, &deployment, groups),
            DeploymentChange::Fail(failure) => fail(tx, &deployment, *failure),
            DeploymentChange::Succeed => succeed(tx, &deployment),
        };
        if let Err(refusal) = done {
            return refusal;
        }
        let wants_eval = self.change != DeploymentChange::Pause;
        let job = tx.state.job(deployment.job_key()).cloned();
        let eval_id = job.filter(|_| wants_eval).map(|job| {
            let mut eval = requested_eval(self.eval_id, &job, None, Trigger::DeploymentWatcher);
            eval.deployment_id = Some(self.id);
            tx.put_eval(eval);
            self.eval_id
        });
        match tx.state.deployment(&self.id) {
            Some(deployment) => reply(deployment, eval_id),
            None => Reply::not_found("deployment not found"),
        }
    }
}

fn reply(deployment: &Deployment, eval_id: Option<EvalId>) -> Reply {
    let reverted_to = match deployment.reason {
        DeploymentReason::UnhealthyAllocs(rollback)
        | DeploymentReason::ProgressDeadline(rollback)
        | DeploymentReason::FailedByUser(rollback) => match rollback {
            Rollback::To(version) => Some(version),
            Rollback::None | Rollback::SameSpec(_) | Rollback::NoStable => None,
        },
        DeploymentReason::Running
        | DeploymentReason::NeedsPromotion
        | DeploymentReason::AutoPromotion
        | DeploymentReason::Paused
        | DeploymentReason::Successful
        | DeploymentReason::StoppedJob
        | DeploymentReason::NewerJob => None,
    };
    Reply::Deployment { eval_id, modify_index: deployment.modify_index, reverted_to }
}

fn pause(tx: &mut Tx<'_>, deployment: &Deployment) -> Result<(), Reply> {
    if deployment.status != DeploymentStatus::Paused {
        tx.set_deployment_status(deployment.id, DeploymentStatus::Paused, DeploymentReason::Paused);
    }
    Ok(())
}

fn resume(tx: &mut Tx<'_>, deployment: &Deployment) -> Result<(), Reply> {
    if deployment.status == DeploymentStatus::Paused {
        tx.set_deployment_status(deployment.id, DeploymentStatus::Running, deployment.running_reason());
        let now = tx.now;
        tx.update_deployment(deployment.id, |deployment| {
            let begun = deployment.groups.values_mut().filter(|group| !group.require_progress_by.is_none());
            begun.for_each(|group| push_deadline(group, now));
        });
    }
    Ok(())
}

fn promote(tx: &mut Tx<'_>, deployment: &Deployment, wanted: &[String]) -> Result<(), Reply> {
    if let Some(unknown) = wanted.iter().find(|name| !deployment.groups.contains_key(*name)) {
        return Err(Reply::invalid(format!("the deployment has no group {unknown:?}")));
    }
    let is_meant = |name: &String| wanted.is_empty() || wanted.contains(name);
    let mut waiting =
        deployment.groups.iter().filter(|(name, group)| is_meant(name) && group.needs_promotion()).peekable();
    if waiting.peek().is_none() {
        return Err(Reply::invalid("no canaries to promote"));
    }
    if let Some((name, group)) = waiting.find(|(_, group)| group.healthy < group.desired_canaries) {
        return Err(Reply::invalid(format!(
            "Task group {name:?} has {}/{} healthy allocations",
            group.healthy, group.desired_canaries
        )));
    }
    let now = tx.now;
    tx.update_deployment(deployment.id, |deployment| {
        for (_, group) in deployment.groups.iter_mut().filter(|(name, group)| is_meant(name) && group.needs_promotion())
        {
            group.promoted = true;
            push_deadline(group, now);
        }
        if deployment.status == DeploymentStatus::Running {
            deployment.reason = deployment.running_reason();
        }
    });
    tx.move_placed_index(deployment.job_key());
    Ok(())
}

fn succeed(tx: &mut Tx<'_>, deployment: &Deployment) -> Result<(), Reply> {
    if !deployment.is_complete() {
        return Err(Reply::conflict("the deployment is not complete: not every group is healthy"));
    }
    if !tx.set_deployment_status(deployment.id, DeploymentStatus::Successful, DeploymentReason::Successful) {
        return Err(Reply::conflict("the deployment is paused: resume it first"));
    }
    Ok(())
}

fn fail(tx: &mut Tx<'_>, deployment: &Deployment, failure: DeploymentFailure) -> Result<(), Reply> {
    let stable = newest_other_stable(tx, deployment);
    let current = tx.state.job(deployment.job_key()).cloned();
    let rollback = match (&current, &stable) {
        _ if !deployment.auto_revert() => Rollback::None,
        (_, None) | (None, _) => Rollback::NoStable,
        (Some(current), Some(stable)) if same_spec(current, &going_back(stable)) => Rollback::SameSpec(stable.version),
        (Some(_), Some(stable)) => Rollback::To(stable.version),
    };
    let reason = match failure {
        DeploymentFailure::UnhealthyAllocs => DeploymentReason::UnhealthyAllocs(rollback),
        DeploymentFailure::ProgressDeadline => DeploymentReason::ProgressDeadline(rollback),
        DeploymentFailure::ByUser => DeploymentReason::FailedByUser(rollback),
    };
    tx.set_deployment_status(deployment.id, DeploymentStatus::Failed, reason);
    if let (Rollback::To(_), Some(stable)) = (rollback, stable) {
        let submission = tx.state.submission(&stable.version_key()).cloned();
        write_version(tx, going_back(&stable), submission);
    }
    Ok(())
}

/// The newest stable version of the job but for the one that is rolled out.
fn newest_other_stable(tx: &Tx<'_>, deployment: &Deployment) -> Option<Arc<Job>> {
    let versions = tx.state.job_versions(deployment.job_key());
    versions.filter(|job| job.stable && job.version != deployment.job.version).last().cloned()
}

/// What a job says that goes back to an earlier version of itself: it runs, whether or not that version was stopped.
pub(super) fn going_back(version: &Job) -> Job {
    Job { stop: false, version_tag: None, ..version.clone() }
}
