//! Rules about the job as a whole.

use super::text::is_identifier;
use super::{Checks, group, placement};
use crate::admission::canonicalize::is_unset;
use crate::job::{Job, JobType, ParameterizedJobConfig, PeriodicConfig};

pub(super) fn check(checks: &mut Checks<'_>, existing: Option<&Job>) {
    let job = checks.job;
    names(checks, job);
    kind(checks, job);
    if !(1..=checks.ctx.max_priority).contains(&job.priority) {
        checks.refuse("priority", format!("{} is not between 1 and {}", job.priority, checks.ctx.max_priority));
    }
    checks.refuse_if(job.datacenters.iter().any(String::is_empty), "datacenters", "a datacenter must not be empty");
    if !is_identifier(&job.node_pool) {
        checks.refuse("node_pool", format!("{:?} is not a name of letters, digits, - and _", job.node_pool));
    }
    placement::constraints(checks, &job.constraints, placement::Level::Job);
    placement::affinities(checks, &job.affinities);
    placement::spreads(checks, &job.spreads);
    if let Some(periodic) = &job.periodic {
        checks.block("periodic", "", |checks| self::periodic(checks, periodic));
    }
    if let Some(parameterized) = &job.parameterized_job {
        checks.block("parameterized", "", |checks| self::parameterized(checks, parameterized));
    }
    if let Some(ui) = &job.ui {
        let too_long = ui.description.chars().count() > 1000;
        checks.block("ui", "", |checks| {
            checks.refuse_if(too_long, "description", "must not be longer than 1000 characters");
        });
    }
    groups(checks, job);
    change(checks, job, existing);
}

fn names(checks: &mut Checks<'_>, job: &Job) {
    let id = job.id.as_str();
    checks.refuse_if(id.is_empty(), "id", "a job needs an id");
    checks.refuse_if(id.contains(' '), "id", "a job's id must not contain spaces");
    checks.refuse_if(id.contains('\0'), "id", "a job's id must not contain NUL");
    checks.refuse_if(job.name.contains('\0'), "name", "a job's name must not contain NUL");
    if !is_identifier(job.namespace.as_str()) {
        checks.refuse("namespace", format!("{:?} is not a name of letters, digits, - and _", job.namespace.as_str()));
    }
    checks.refuse_if(job.region.is_empty(), "region", "a job needs a region");
}

fn kind(checks: &mut Checks<'_>, job: &Job) {
    let Some(kind) = checks.kind else {
        checks.refuse("type", format!("{:?} is not one of {}", job.r#type, JobType::choices()));
        return;
    };
    if matches!(kind, JobType::Batch | JobType::Sysbatch) && !is_unset(&job.update) {
        checks.block("update", "", |checks| {
            checks.refuse_block(format!("jobs of type {kind} have no updates; only service and system jobs do"));
        });
    }
    if job.migrate.is_some() {
        checks.block("migrate", "", |checks| checks.refuse_block("only service jobs migrate"));
    }
    if job.reschedule.is_some() {
        checks.block("reschedule", "", |checks| {
            checks.refuse_block(format!("jobs of type {kind} are not rescheduled; only service and batch jobs are"));
        });
    }
    let finite = matches!(kind, JobType::Batch | JobType::Sysbatch);
    if job.periodic.is_some() && !finite {
        checks.block("periodic", "", |checks| checks.refuse_block("only batch and sysbatch jobs can be periodic"));
    }
    if job.parameterized_job.is_some() && !finite {
        checks.block("parameterized", "", |checks| {
            checks.refuse_block("only batch and sysbatch jobs can be parameterized");
        });
    }
}

fn periodic(checks: &mut Checks<'_>, periodic: &PeriodicConfig) {
    if !periodic.enabled {
        return;
    }
    if !periodic.spec.is_empty() {
        checks.warn("`cron` is deprecated: write `crons = [\"...\"]`");
    }
    match (periodic.spec.is_empty(), periodic.specs.is_empty()) {
        (true, true) => checks.refuse("crons", "a periodic job needs a cron expression"),
        (false, false) => checks.refuse("crons", "`cron` and `crons` exclude each other"),
        (true, false) | (false, true) => {}
    }
    for (attribute, spec) in periodic.specs.iter().map(|spec| ("crons", spec)).chain([("cron", &periodic.spec)]) {
        if !spec.is_empty() && !is_cron(spec) {
            checks.refuse(attribute, format!("{spec:?} is not a cron expression of 5 to 7 fields"));
        }
    }
    checks.choice("type", &periodic.spec_type, &["cron"]);
}

fn is_cron(spec: &str) -> bool {
    const MACROS: [&str; 7] = ["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@hourly", "@midnight"];
    let fields: Vec<_> = spec.split_whitespace().collect();
    let is_field = |field: &&str| field.bytes().all(|b| b.is_ascii_alphanumeric() || b"*,-/?#".contains(&b));
    MACROS.contains(&spec.trim()) || ((5..=7).contains(&fields.len()) && fields.iter().all(is_field))
}

fn parameterized(checks: &mut Checks<'_>, config: &ParameterizedJobConfig) {
    checks.choice("payload", &config.payload, &["optional", "required", "forbidden"]);
    for key in config.meta_required.iter().filter(|key| config.meta_optional.contains(key)) {
        checks.refuse("meta_optional", format!("{key:?} cannot be both required and optional"));
    }
}

fn groups(checks: &mut Checks<'_>, job: &Job) {
    if job.task_groups.is_empty() {
        checks.refuse_block("Missing job task groups");
    }
    checks.unique("group", job.task_groups.iter().map(|group| group.name.as_str()));
    for group in &job.task_groups {
        checks.block("group", &group.name, |checks| group::check(checks, group));
    }
    let total = job.task_groups.iter().fold(0_i64, |sum, group| sum.saturating_add(group.count));
    let limit = checks.ctx.max_count;
    if limit > 0 && total > limit {
        checks.refuse_block(format!("the groups want {total} allocations together; the limit is {limit}"));
    }
    let updates: Vec<_> = job.task_groups.iter().filter_map(|group| group.update.as_ref()).collect();
    let promotes = |wanted: bool| {
        updates.iter().any(|update| update.canary() > 0 && update.auto_promote.unwrap_or_default() == wanted)
    };
    if promotes(true) && promotes(false) {
        checks.warn("auto_promote is ignored unless every group with canaries sets it");
    }
}

fn change(checks: &mut Checks<'_>, job: &Job, existing: Option<&Job>) {
    checks.refuse_if(
        job.payload.as_ref().is_some_and(|payload| !payload.is_empty())
            && existing.is_none_or(|old| old.payload != job.payload),
        "payload",
        "a payload is given by dispatching a job, not in its specification",
    );
    let Some(old) = existing else { return };
    if old.kind() != job.kind() {
        checks.refuse("type", format!("the type of a job cannot change from {:?} to {:?}", old.r#type, job.r#type));
    }
    let both = |was: bool, is: bool| was != is;
    checks.refuse_if(
        both(old.is_periodic(), job.is_periodic()),
        "periodic",
        "a job cannot change between periodic and not periodic",
    );
    checks.refuse_if(
        both(old.parameterized_job.is_some(), job.parameterized_job.is_some()),
        "parameterized",
        "a job cannot change between parameterized and not parameterized",
    );
    checks.refuse_if(both(old.dispatched, job.dispatched), "dispatched", "is set by servers only");
}
