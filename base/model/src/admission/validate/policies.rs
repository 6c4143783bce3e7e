//! Rules about update, migrate, restart, reschedule and disconnect.

use super::Checks;
use crate::job::{
    DelayFunction, DisconnectStrategy, JobType, MigrateStrategy, ReschedulePolicy, RestartMode, RestartPolicy,
    TaskGroup, UpdateStrategy,
};
use crate::time::Nanos;

const FIVE_SECONDS: Nanos = Nanos::from_secs(5);

pub(super) fn of_group(checks: &mut Checks<'_>, group: &TaskGroup) {
    if let Some(update) = &group.update {
        checks.block("update", "", |checks| self::update(checks, update, group));
    }
    if let Some(migrate) = &group.migrate {
        checks.block("migrate", "", |checks| self::migrate(checks, migrate));
    }
    if let Some(policy) = &group.restart_policy {
        checks.block("restart", "", |checks| restart(checks, policy));
    }
    if let Some(policy) = &group.reschedule_policy {
        checks.block("reschedule", "", |checks| reschedule(checks, policy));
    }
    if let Some(disconnect) = &group.disconnect {
        checks.block("disconnect", "", |checks| self::disconnect(checks, disconnect));
    }
}

fn update(checks: &mut Checks<'_>, update: &UpdateStrategy, group: &TaskGroup) {
    match checks.kind {
        Some(JobType::Batch | JobType::Sysbatch) => {
            checks.refuse_block("only service and system jobs have updates");
            return;
        }
        Some(JobType::Service | JobType::System) | None => {}
    }
    let nanos = |given: Option<Nanos>| given.unwrap_or_default();
    let (min_healthy, deadline) = (nanos(update.min_healthy_time), nanos(update.healthy_deadline));
    let progress = nanos(update.progress_deadline);
    checks.refuse_if(update.max_parallel() < 0, "max_parallel", "must not be negative");
    checks.choice("health_check", &update.health_check, &["checks", "task_states", "manual"]);
    checks.refuse_if(min_healthy.0 < 0, "min_healthy_time", "must not be negative");
    checks.refuse_if(deadline.0 <= 0, "healthy_deadline", "must be positive");
    checks.refuse_if(min_healthy >= deadline, "min_healthy_time", "must be less than healthy_deadline");
    checks.refuse_if(progress.0 < 0, "progress_deadline", "must not be negative");
    checks.refuse_if(
        progress.0 != 0 && deadline >= progress,
        "healthy_deadline",
        "must be less than progress_deadline, unless that is 0",
    );
    checks.refuse_if(update.canary() < 0, "canary", "must not be negative");
    let promotes = update.auto_promote.unwrap_or_default();
    checks.refuse_if(promotes && update.canary() == 0, "auto_promote", "needs canary to be greater than 0");
    checks.refuse_if(nanos(update.stagger).0 <= 0, "stagger", "must be positive");
    if group.count > 1 && update.max_parallel() > group.count {
        checks.warn("max_parallel exceeds the group's count: every allocation is replaced at once");
    }
    if checks.kind == Some(JobType::Service) && progress.0 > 0 {
        let slow = group.tasks.iter().filter(|task| task.kill_timeout > progress);
        for task in slow.collect::<Vec<_>>() {
            checks.refuse("progress_deadline", format!("is shorter than the kill_timeout of task {:?}", task.name));
        }
    }
}

fn migrate(checks: &mut Checks<'_>, migrate: &MigrateStrategy) {
    if !matches!(checks.kind, Some(JobType::Service) | None) {
        checks.refuse_block("only service jobs migrate");
        return;
    }
    let nanos = |given: Option<Nanos>| given.unwrap_or_default();
    checks.refuse_if(migrate.max_parallel.unwrap_or_default() < 0, "max_parallel", "must not be negative");
    checks.choice("health_check", &migrate.health_check, &["checks", "task_states"]);
    checks.refuse_if(nanos(migrate.min_healthy_time).0 < 0, "min_healthy_time", "must not be negative");
    checks.refuse_if(nanos(migrate.healthy_deadline).0 < 0, "healthy_deadline", "must not be negative");
    checks.refuse_if(
        nanos(migrate.min_healthy_time) > nanos(migrate.healthy_deadline),
        "min_healthy_time",
        "must not exceed healthy_deadline",
    );
}

pub(super) fn restart(checks: &mut Checks<'_>, policy: &RestartPolicy) {
    let Some(mode) = policy.mode() else {
        checks.refuse("mode", format!("{:?} is not one of {}", policy.mode, RestartMode::choices()));
        return;
    };
    checks.refuse_if(policy.attempts() < 0, "attempts", "must not be negative");
    checks.refuse_if(policy.delay().0 < 0, "delay", "must not be negative");
    checks.refuse_if(
        policy.attempts() == 0 && mode == RestartMode::Delay,
        "attempts",
        "0 is only possible in mode fail",
    );
    checks.refuse_if(policy.interval() < FIVE_SECONDS, "interval", "must be at least 5s");
    let needed = i128::from(policy.attempts()) * i128::from(policy.delay().0);
    if needed > i128::from(policy.interval().0) {
        let message =
            format!("{} restarts {} apart do not fit into {}", policy.attempts(), policy.delay(), policy.interval());
        checks.refuse("interval", message);
    }
}

fn reschedule(checks: &mut Checks<'_>, policy: &ReschedulePolicy) {
    if matches!(checks.kind, Some(JobType::System | JobType::Sysbatch)) {
        checks.refuse_block("only service and batch jobs are rescheduled");
        return;
    }
    checks.refuse_if(policy.attempts() < 0, "attempts", "must not be negative");
    if !policy.is_enabled() {
        return;
    }
    let Some(function) = policy.function() else {
        let message = format!("{:?} is not one of {}", policy.delay_function, DelayFunction::choices());
        checks.refuse("delay_function", message);
        return;
    };
    let earlier = checks.report.errors.len();
    if policy.attempts() > 0 {
        checks.refuse_if(
            policy.interval().0 <= 0,
            "interval",
            "attempts are counted in an interval: it must be positive",
        );
        checks.refuse_if(policy.unlimited(), "unlimited", "attempts are not counted when unlimited: state one of them");
    }
    checks.refuse_if(policy.delay() < FIVE_SECONDS, "delay", "must be at least 5s");
    if function != DelayFunction::Constant {
        checks.refuse_if(policy.max_delay() < FIVE_SECONDS, "max_delay", "must be at least 5s");
        checks.refuse_if(policy.max_delay() < policy.delay(), "max_delay", "must not be less than delay");
    }
    if !policy.unlimited() {
        checks.refuse_if(policy.interval() < Nanos::from_secs(15), "interval", "must be at least 15s");
        if checks.report.errors.len() == earlier {
            attempts_fit(checks, policy, function);
        }
    }
}

/// Refuses attempts that the delays between them push out of the interval.
fn attempts_fit(checks: &mut Checks<'_>, policy: &ReschedulePolicy, function: DelayFunction) {
    let interval = i128::from(policy.interval().0);
    let fitting = running_values(policy, function).take_while(|value| *value < interval);
    let wanted = usize::try_from(policy.attempts()).unwrap_or(usize::MAX);
    let possible = match function {
        DelayFunction::Constant => {
            let needed = i128::from(policy.attempts()) * i128::from(policy.delay().0);
            if needed <= interval {
                wanted
            } else {
                usize::try_from(interval / i128::from(policy.delay().0)).unwrap_or(wanted)
            }
        }
        DelayFunction::Exponential | DelayFunction::Fibonacci => fitting.take(wanted).count(),
    };
    if possible < wanted {
        let message = format!(
            "only {possible} of {wanted} attempts fit into {}: lengthen it or lower attempts",
            policy.interval()
        );
        checks.refuse("interval", message);
    }
}

/// What each attempt is held against the interval with: a growing delay, and past the cap max_delay more each time.
fn running_values(policy: &ReschedulePolicy, function: DelayFunction) -> impl Iterator<Item = i128> {
    let (delay, max) = (i128::from(policy.delay().0), i128::from(policy.max_delay().0));
    let (mut current, mut next, mut capped) = (delay, delay, None::<i128>);
    std::iter::from_fn(move || {
        if let Some(value) = capped.as_mut() {
            *value += max;
            return Some(*value);
        }
        let value = current;
        let following = match function {
            DelayFunction::Constant => current + delay,
            DelayFunction::Exponential => current * 2,
            DelayFunction::Fibonacci => {
                let following = next;
                next += current;
                following
            }
        };
        if function != DelayFunction::Constant && following > max {
            capped = Some(value);
        }
        current = following;
        Some(value)
    })
}

fn disconnect(checks: &mut Checks<'_>, disconnect: &DisconnectStrategy) {
    checks.refuse_if(disconnect.lost_after.0 < 0, "lost_after", "must not be negative");
    if let Some(after) = disconnect.stop_on_client_after {
        checks.refuse_if(after.0 < 0, "stop_on_client_after", "must not be negative");
        checks.refuse_if(disconnect.lost_after.0 > 0, "stop_on_client_after", "excludes lost_after");
        let on_every_node = matches!(checks.kind, Some(JobType::System | JobType::Sysbatch));
        checks.refuse_if(on_every_node, "stop_on_client_after", "only service and batch jobs can have it");
    }
    const RECONCILES: [&str; 4] = ["best_score", "longest_running", "keep_original", "keep_replacement"];
    checks.choice("reconcile", &disconnect.reconcile, &RECONCILES);
}
