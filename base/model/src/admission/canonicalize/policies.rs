//! Policies that are merged field by field: type default, then job, group and task.

use super::default_text;
use crate::job::{Job, JobType, MigrateStrategy, ReschedulePolicy, RestartPolicy, UpdateStrategy};
use crate::time::Nanos;

/// Merges the job's policies under those of its groups, and drops what was merged.
pub(super) fn merge_into_groups(job: &mut Job) {
    let Some(kind) = job.kind() else { return };
    let (updates, reschedules, migrates) = known_policies(kind);
    if updates {
        let given = (!is_unset(&job.update)).then_some(&job.update);
        for group in &mut job.task_groups {
            group.update = Some(merged_update(&[group.update.as_ref(), given]));
        }
    }
    if reschedules {
        let given = job.reschedule.take();
        for group in &mut job.task_groups {
            group.reschedule_policy =
                Some(merged_reschedule(kind, &[group.reschedule_policy.as_ref(), given.as_ref()]));
        }
    }
    if migrates {
        let given = job.migrate.take();
        for group in &mut job.task_groups {
            group.migrate = Some(merged_migrate(&[group.migrate.as_ref(), given.as_ref()]));
        }
    }
    for group in &mut job.task_groups {
        let policy = merged_restart(kind, &[group.restart_policy.as_ref()]);
        for task in &mut group.tasks {
            task.restart_policy = Some(merged_restart(kind, &[task.restart_policy.as_ref(), Some(&policy)]));
        }
        group.restart_policy = Some(policy);
    }
}

/// How a group moves off its node where nothing is said; `None` for kinds of jobs that do not.
pub(in crate::admission) fn default_migrate(kind: Option<JobType>) -> Option<MigrateStrategy> {
    let (_, _, migrates) = known_policies(kind?);
    migrates.then(|| merged_migrate(&[]))
}

/// Whether jobs of this kind have updates, rescheduling and migration.
const fn known_policies(kind: JobType) -> (bool, bool, bool) {
    match kind {
        JobType::Service => (true, true, true),
        JobType::Batch => (false, true, false),
        JobType::System => (true, false, false),
        JobType::Sysbatch => (false, false, false),
    }
}

/// Whether no field says anything.
pub(in crate::admission) fn is_unset(update: &UpdateStrategy) -> bool {
    let UpdateStrategy {
        stagger,
        max_parallel,
        health_check,
        min_healthy_time,
        healthy_deadline,
        progress_deadline,
        auto_revert,
        auto_promote,
        canary,
    } = update;
    let durations = [stagger, min_healthy_time, healthy_deadline, progress_deadline];
    durations.iter().all(|duration| duration.unwrap_or_default() == Nanos::ZERO)
        && [max_parallel, canary].iter().all(|number| number.unwrap_or_default() == 0)
        && [auto_revert, auto_promote].iter().all(|flag| !flag.unwrap_or_default())
        && health_check.is_empty()
}

/// Leaves at the job what servers keep there: stagger and max_parallel where updates exist, else nothing.
pub(super) fn keep_job_update(job: &mut Job) {
    let zero = UpdateStrategy {
        stagger: Some(Nanos::ZERO),
        max_parallel: Some(0),
        health_check: String::new(),
        min_healthy_time: Some(Nanos::ZERO),
        healthy_deadline: Some(Nanos::ZERO),
        progress_deadline: Some(Nanos::ZERO),
        auto_revert: Some(false),
        auto_promote: Some(false),
        canary: Some(0),
    };
    match job.kind() {
        Some(JobType::Service | JobType::System) => {
            let given = (!is_unset(&job.update)).then_some(&job.update);
            let merged = merged_update(&[given]);
            job.update = UpdateStrategy { stagger: merged.stagger, max_parallel: merged.max_parallel, ..zero };
        }
        Some(JobType::Batch | JobType::Sysbatch) if is_unset(&job.update) => job.update = zero,
        Some(JobType::Batch | JobType::Sysbatch) | None => {}
    }
}

/// The first level that says something about a field, else the default.
fn pick<T, L>(levels: &[Option<&L>], field: impl Fn(&L) -> Option<T>, default: T) -> Option<T> {
    Some(levels.iter().copied().flatten().find_map(field).unwrap_or(default))
}

fn pick_text<L>(levels: &[Option<&L>], field: impl Fn(&L) -> &String, default: &str) -> String {
    let given = levels.iter().copied().flatten().map(field).find(|text| !text.is_empty());
    let mut text = given.cloned().unwrap_or_default();
    default_text(&mut text, default);
    text
}

fn merged_update(levels: &[Option<&UpdateStrategy>]) -> UpdateStrategy {
    UpdateStrategy {
        stagger: pick(levels, |l| l.stagger, Nanos::from_secs(30)),
        max_parallel: pick(levels, |l| l.max_parallel, 1),
        health_check: pick_text(levels, |l| &l.health_check, "checks"),
        min_healthy_time: pick(levels, |l| l.min_healthy_time, Nanos::from_secs(10)),
        healthy_deadline: pick(levels, |l| l.healthy_deadline, Nanos::from_secs(5 * 60)),
        progress_deadline: pick(levels, |l| l.progress_deadline, Nanos::from_secs(10 * 60)),
        auto_revert: pick(levels, |l| l.auto_revert, false),
        auto_promote: pick(levels, |l| l.auto_promote, false),
        canary: pick(levels, |l| l.canary, 0),
    }
}

fn merged_migrate(levels: &[Option<&MigrateStrategy>]) -> MigrateStrategy {
    MigrateStrategy {
        max_parallel: pick(levels, |l| l.max_parallel, 1),
        health_check: pick_text(levels, |l| &l.health_check, "checks"),
        min_healthy_time: pick(levels, |l| l.min_healthy_time, Nanos::from_secs(10)),
        healthy_deadline: pick(levels, |l| l.healthy_deadline, Nanos::from_secs(5 * 60)),
    }
}

fn merged_restart(kind: JobType, levels: &[Option<&RestartPolicy>]) -> RestartPolicy {
    let (attempts, interval) = match kind {
        JobType::Service | JobType::System => (2, 30 * 60),
        JobType::Batch | JobType::Sysbatch => (3, 24 * 3600),
    };
    RestartPolicy {
        attempts: pick(levels, |l| l.attempts, attempts),
        interval: pick(levels, |l| l.interval, Nanos::from_secs(interval)),
        delay: pick(levels, |l| l.delay, Nanos::from_secs(15)),
        mode: pick_text(levels, |l| &l.mode, "fail"),
        render_templates: pick(levels, |l| l.render_templates, false),
    }
}

fn merged_reschedule(kind: JobType, levels: &[Option<&ReschedulePolicy>]) -> ReschedulePolicy {
    let service = kind == JobType::Service;
    let choose = |of_service: i64, of_batch: i64| if service { of_service } else { of_batch };
    ReschedulePolicy {
        attempts: pick(levels, |l| l.attempts, choose(0, 1)),
        interval: pick(levels, |l| l.interval, Nanos::from_secs(choose(0, 24 * 3600))),
        delay: pick(levels, |l| l.delay, Nanos::from_secs(choose(30, 5))),
        delay_function: pick_text(levels, |l| &l.delay_function, if service { "exponential" } else { "constant" }),
        max_delay: pick(levels, |l| l.max_delay, Nanos::from_secs(choose(3600, 0))),
        unlimited: pick(levels, |l| l.unlimited, service),
    }
}
