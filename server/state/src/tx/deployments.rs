//! Writing deployments, and counting their allocations.

use std::sync::Arc;

use orch_model::deployment::{DeploymentReason, DeploymentStatus, GroupRollout};
use orch_model::job::{JobType, TaskGroup, UpdateStrategy};
use orch_model::{AllocId, Allocation, Deployment, DeploymentId, Job, JobKey, JobVersionKey, Nanos, Timestamp};

use super::{Tx, adjust};
use crate::digest::Record;
use crate::scope::{Scope, Table};

impl Tx<'_> {
    /// Adds a deployment of a job's current version; nothing happens if it exists, or the job has another active one.
    ///
    /// It holds those of its groups that are rolled out at all, and wants no more of each than the job does.
    pub(crate) fn create_deployment(&mut self, mut deployment: Deployment) {
        let key = deployment.job_key().clone();
        let Some(row) = self.state.jobs.get(&key) else { return };
        let is_current = row.job.version_key() == deployment.job && !row.job.stop;
        if !is_current || row.active_deployment.is_some() || self.state.deployments.contains_key(&deployment.id) {
            return;
        }
        let job = &row.job;
        deployment.groups.retain(|name, group| {
            let spec = job.group(name).filter(|spec| is_rolled_out(job, spec));
            // More than the group wants would never be healthy, and the deployment never end.
            let count = spec.map_or(0, |spec| u32::try_from(spec.count).unwrap_or(0));
            group.desired_total = group.desired_total.min(count);
            group.desired_canaries = group.desired_canaries.min(count);
            spec.is_some()
        });
        if deployment.groups.is_empty() {
            return;
        }
        for group in deployment.groups.values_mut() {
            let GroupRollout { promoted, require_progress_by, placed, healthy, unhealthy, placed_canaries, .. } = group;
            *promoted = false;
            *require_progress_by = Timestamp::NONE;
            (*placed, *healthy, *unhealthy) = (0, 0, 0);
            placed_canaries.clear();
        }
        deployment.job_spec_index = row.job.job_modify_index;
        deployment.status = DeploymentStatus::Running;
        deployment.reason = deployment.running_reason();
        deployment.create_index = self.index;
        deployment.create_time = self.now;
        deployment.modify_index = self.index;
        deployment.modify_time = self.now;
        let id = deployment.id;
        self.state.deployments.insert(id, Arc::new(deployment));
        self.state.deployments_by_job.entry(key.clone()).or_default().insert(id);
        self.update_row(&key, |row, _| {
            row.active_deployment = Some(id);
            false
        });
        self.touch_deployment(id, &key);
    }

    /// Changes a deployment that has not ended; says whether there is one.
    pub(crate) fn update_deployment(&mut self, id: DeploymentId, change: impl FnOnce(&mut Deployment)) -> bool {
        let Some(deployment) = self.state.deployments.get_mut(&id).filter(|deployment| deployment.is_active()) else {
            return false;
        };
        let deployment = Arc::make_mut(deployment);
        change(deployment);
        deployment.modify_index = self.index;
        deployment.modify_time = self.now;
        let key = deployment.job_key().clone();
        self.touch_deployment(id, &key);
        true
    }

    /// Gives a deployment another status, if it may have it; says whether it was given.
    ///
    /// Plans made before are stale then. The version of one that succeeds is stable from now on.
    pub(crate) fn set_deployment_status(
        &mut self,
        id: DeploymentId,
        status: DeploymentStatus,
        reason: DeploymentReason,
    ) -> bool {
        let Some(old) = self.state.deployments.get(&id).filter(|old| old.is_active()).cloned() else { return false };
        if !old.status.can_become(status) {
            return false;
        }
        self.update_deployment(id, |deployment| {
            deployment.status = status;
            deployment.reason = reason;
        });
        self.update_row(old.job_key(), |row, index| {
            row.placed_index = index;
            if status.is_terminal() && row.active_deployment == Some(id) {
                row.active_deployment = None;
            }
            false
        });
        if status == DeploymentStatus::Successful {
            self.set_stable(&old.job, true);
        }
        true
    }

    /// Cancels what is active of a job, because it is stopped or has a newer version.
    pub(crate) fn cancel_deployments(&mut self, key: &JobKey, is_stopped: bool) {
        let active = self.state.jobs.get(key).and_then(|row| row.active_deployment);
        if let Some(id) = active {
            let reason = if is_stopped { DeploymentReason::StoppedJob } else { DeploymentReason::NewerJob };
            self.set_deployment_status(id, DeploymentStatus::Cancelled, reason);
        }
    }

    /// Marks a version of a job as stable, or not; says whether it is kept.
    pub(crate) fn set_stable(&mut self, version: &JobVersionKey, stable: bool) -> bool {
        let Some(job) = self.state.versions.get_mut(version) else { return false };
        if job.stable == stable {
            return true;
        }
        let version_job = Arc::make_mut(job);
        version_job.stable = stable;
        version_job.modify_index = self.index;
        let is_current = |job: &Job| job.create_index == version.created && job.version == version.version;
        self.digest.job(Record::Job, &version.job, &[version.created.0, version.version, u64::from(stable)]);
        self.update_row(&version.job, |row, index| {
            // A stable version is news about the job, whichever it is.
            let job = Arc::make_mut(&mut row.job);
            job.modify_index = index;
            if is_current(job) {
                job.stable = stable;
            }
            true
        });
        self.forget_old_versions(&version.job);
        true
    }

    /// Forgets a deployment.
    pub(crate) fn remove_deployment(&mut self, id: &DeploymentId) {
        let Some(deployment) = self.state.deployments.remove(id) else { return };
        let key = deployment.job_key();
        if let Some(ids) = self.state.deployments_by_job.get_mut(key) {
            ids.remove(id);
            if ids.is_empty() {
                self.state.deployments_by_job.remove(key);
            }
        }
        self.digest.id(Record::Gone, id.as_uuid(), &[]);
        self.touch_deployment(*id, key);
    }

    fn touch_deployment(&mut self, id: DeploymentId, key: &JobKey) {
        self.update_row(key, |row, index| {
            row.deployments_index = index;
            false
        });
        self.deployments_written.insert(id);
        self.touch(Table::Deployments, Some(&key.namespace));
        self.changes.scopes.insert(Scope::Deployment(id));
        self.changes.scopes.insert(Scope::Job(Table::Deployments, key.clone()));
    }

    /// Keeps the counts of deployments true as an allocation comes, changes or goes.
    pub(crate) fn count_in_deployments(&mut self, old: Option<&Allocation>, new: Option<&Allocation>) {
        let (before, after) = (Part::of(old), Part::of(new));
        let ended = old.is_some_and(Allocation::is_terminal) != new.is_some_and(Allocation::is_terminal);
        if before == after && !ended {
            return;
        }
        self.changes.deployment_allocs.extend(before.iter().chain(&after).map(|part| part.deployment));
        let now = self.now;
        match (before, after) {
            (before, after) if before == after => {}
            (Some(before), Some(after)) if before.is_same_group(&after) => {
                self.update_group(&after, |group| group_moves(group, &before, &after, now));
            }
            (before, after) => {
                if let Some(before) = before {
                    self.update_group(&before, |group| leave(group, &before));
                }
                if let Some(after) = after {
                    self.update_group(&after, |group| join(group, &after, now));
                }
            }
        }
    }

    fn update_group(&mut self, part: &Part<'_>, change: impl FnOnce(&mut GroupRollout)) {
        self.update_deployment(part.deployment, |deployment| {
            if let Some(group) = deployment.groups.get_mut(part.group) {
                change(group);
            }
        });
    }
}

/// Whether changes of a group go through deployments.
fn is_rolled_out(job: &Job, group: &TaskGroup) -> bool {
    let has_deployments = match job.kind() {
        Some(JobType::Service | JobType::System) => true,
        Some(JobType::Batch | JobType::Sysbatch) | None => false,
    };
    has_deployments && group.update.as_ref().is_some_and(UpdateStrategy::is_rolling)
}

/// What an allocation counts for in its deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part<'a> {
    alloc: AllocId,
    deployment: DeploymentId,
    group: &'a str,
    healthy: bool,
    unhealthy: bool,
}

impl<'a> Part<'a> {
    fn of(alloc: Option<&'a Allocation>) -> Option<Self> {
        let alloc = alloc?;
        Some(Self {
            alloc: alloc.id,
            deployment: alloc.deployment_id?,
            group: alloc.group_name(),
            healthy: counts_as_healthy(alloc),
            unhealthy: alloc.is_unhealthy(),
        })
    }

    fn is_same_group(&self, other: &Self) -> bool {
        self.deployment == other.deployment && self.group == other.group
    }
}

/// Whether a deployment counts an allocation as healthy: found so, and still wanted and alive.
///
/// What was found unhealthy counts as that whatever became of it.
pub(crate) fn counts_as_healthy(alloc: &Allocation) -> bool {
    alloc.is_healthy() && !alloc.is_terminal()
}

fn join(group: &mut GroupRollout, part: &Part<'_>, now: Timestamp) {
    if group.require_progress_by.is_none() {
        push_deadline(group, now);
    }
    if group.needs_promotion() {
        group.placed_canaries.push(part.alloc);
    }
    group.placed = group.placed.saturating_add(1);
    group.unhealthy = group.unhealthy.saturating_add(u32::from(part.unhealthy));
    if part.healthy {
        group.healthy = group.healthy.saturating_add(1);
        push_deadline(group, now);
    }
}

fn leave(group: &mut GroupRollout, part: &Part<'_>) {
    group.placed = group.placed.saturating_sub(1);
    group.healthy = group.healthy.saturating_sub(u32::from(part.healthy));
    group.unhealthy = group.unhealthy.saturating_sub(u32::from(part.unhealthy));
    group.placed_canaries.retain(|canary| *canary != part.alloc);
}

fn group_moves(group: &mut GroupRollout, before: &Part<'_>, after: &Part<'_>, now: Timestamp) {
    group.healthy = adjust(group.healthy, before.healthy, after.healthy);
    group.unhealthy = adjust(group.unhealthy, before.unhealthy, after.unhealthy);
    if after.healthy && !before.healthy {
        push_deadline(group, now);
    }
}

/// Sets by when the next allocation must be healthy, where the group has a deadline.
pub(crate) fn push_deadline(group: &mut GroupRollout, now: Timestamp) {
    if group.progress_deadline > Nanos::ZERO {
        group.require_progress_by = now.plus(group.progress_deadline);
    }
}
