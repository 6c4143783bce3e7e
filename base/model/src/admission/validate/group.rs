//! Rules about groups.

use std::collections::BTreeSet;

use super::{Checks, network, placement, policies, service, task, volume};
use crate::job::{JobType, ScalingPolicy, TaskGroup};

pub(super) fn check(checks: &mut Checks<'_>, group: &TaskGroup) {
    checks.refuse_if(group.name.is_empty(), "name", "a group needs a name");
    checks.refuse_if(group.name.contains('\0'), "name", "a group's name must not contain NUL");
    counts(checks, group);
    placement::constraints(checks, &group.constraints, placement::Level::Group);
    placement::affinities(checks, &group.affinities);
    placement::spreads(checks, &group.spreads);
    policies::of_group(checks, group);
    durations(checks, group);
    disk(checks, group);
    network::check(checks, group);
    volume::check(checks, group);
    service::of_group(checks, group);
    tasks(checks, group);
    if let Err(error) = group.ask() {
        checks.refuse_block(error.to_string());
    }
}

fn counts(checks: &mut Checks<'_>, group: &TaskGroup) {
    checks.refuse_if(group.count < 0, "count", "must not be negative");
    let on_every_node = match checks.kind {
        Some(JobType::System) => true,
        Some(JobType::Service | JobType::Batch | JobType::Sysbatch) | None => false,
    };
    checks.refuse_if(
        on_every_node && group.count > 1,
        "count",
        "a system job runs once per node: count must not exceed 1",
    );
    if let Some(scaling) = &group.scaling {
        checks.block("scaling", "", |checks| {
            if on_every_node {
                checks.refuse_block("a system job cannot be scaled");
            }
            checks.choice("type", &scaling.r#type, &["horizontal"]);
            bounds(checks, scaling, Some(group.count));
        });
    }
}

/// The bounds of a scaling policy, around `count` where it scales one.
pub(super) fn bounds(checks: &mut Checks<'_>, scaling: &ScalingPolicy, count: Option<i64>) {
    let min = scaling.min.unwrap_or_default();
    checks.refuse_if(min < 0, "min", "must not be negative");
    let Some(max) = scaling.max else {
        checks.refuse_if(count.is_some(), "max", "a highest count is required");
        return;
    };
    checks.refuse_if(max < min, "max", "must not be less than min");
    if let Some(count) = count
        && max >= min
        && !(min..=max).contains(&count)
    {
        checks.refuse_block(format!("the group's count {count} is not between min {min} and max {max}"));
    }
}

fn durations(checks: &mut Checks<'_>, group: &TaskGroup) {
    let negative = group.shutdown_delay.is_some_and(|delay| delay.0 < 0);
    checks.refuse_if(negative, "shutdown_delay", "must not be negative");
    let Some(duration) = group.max_run_duration else { return };
    checks.refuse_if(duration.0 <= 0, "max_run_duration", "must be positive");
    match checks.kind {
        Some(JobType::Service | JobType::System) => {
            checks.refuse("max_run_duration", "only batch and sysbatch jobs can have it");
        }
        Some(JobType::Batch | JobType::Sysbatch) | None => {}
    }
}

fn disk(checks: &mut Checks<'_>, group: &TaskGroup) {
    let Some(disk) = &group.ephemeral_disk else { return };
    checks.block("ephemeral_disk", "", |checks| {
        checks.refuse_if(disk.size_mb < 10, "size", "must be at least 10 MB");
    });
}

fn tasks(checks: &mut Checks<'_>, group: &TaskGroup) {
    if group.tasks.is_empty() {
        checks.refuse_block("Missing tasks for task group");
    } else if !group.tasks.iter().any(|task| task.is_main()) {
        checks.refuse_block("at least one task must have no lifecycle hook: it is the work that the others support");
    }
    checks.unique("task", group.tasks.iter().map(|task| task.name.as_str()));
    if group.tasks.iter().filter(|task| task.leader).count() > 1 {
        checks.refuse_block("only one task may be the leader");
    }
    for task in &group.tasks {
        checks.block("task", &task.name, |checks| task::check(checks, group, task));
    }
    let partitions: BTreeSet<_> = consul_partitions(group).collect();
    if partitions.len() > 1 {
        checks.refuse_block("the consul partition of a task must be that of its group");
    }
}

fn consul_partitions(group: &TaskGroup) -> impl Iterator<Item = &str> {
    let of_tasks = group.tasks.iter().filter_map(|task| task.consul.as_ref());
    let all = group.consul.iter().chain(of_tasks).map(|consul| consul.partition.as_str());
    all.filter(|partition| !partition.is_empty())
}
