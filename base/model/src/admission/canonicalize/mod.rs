//! Filling in every default, so that what is logged says all that it means.

mod group;
mod policies;
mod service;
mod task;

pub(super) use policies::{default_migrate, is_unset};
pub(super) use task::DEFAULT_IDENTITY;

use super::{AdmissionContext, implied};
use crate::ids::Namespace;
use crate::job::{Affinity, Constraint, Job, JobType, Operator};

/// Fills every default of `job`; doing it twice changes nothing more.
///
/// Job-level `update`, `reschedule` and `migrate` are merged into the groups. Those that the job's type does not know
/// stay where they are, for [`validate`](super::validate) to refuse.
pub fn canonicalize(job: &mut Job, ctx: &AdmissionContext<'_>) {
    fill_job(job, ctx);
    policies::merge_into_groups(job);
    for i in 0..job.task_groups.len() {
        group::fill(job, i);
    }
    policies::keep_job_update(job);
    implied::add(job);
}

fn fill_job(job: &mut Job, ctx: &AdmissionContext<'_>) {
    if job.name.is_empty() {
        job.name = job.id.as_str().to_owned();
    }
    if job.multiregion.is_some() {
        job.region = "global".into();
    } else if job.region.is_empty() || job.region == "global" {
        job.region = ctx.region.to_owned();
    }
    if job.namespace.is_empty() {
        job.namespace = Namespace::new(Namespace::DEFAULT);
    }
    default_text(&mut job.r#type, JobType::Service.as_str());
    default_text(&mut job.node_pool, ctx.node_pool);
    if job.priority == 0 {
        job.priority = ctx.default_priority;
    }
    if job.datacenters.is_empty() {
        job.datacenters = vec!["*".into()];
    }
    if let Some(periodic) = &mut job.periodic {
        default_text(&mut periodic.spec_type, "cron");
        default_text(&mut periodic.time_zone, "UTC");
    }
    if let Some(parameterized) = &mut job.parameterized_job {
        default_text(&mut parameterized.payload, "optional");
    }
    fill_constraints(&mut job.constraints);
    fill_affinities(&mut job.affinities);
}

fn fill_constraints(constraints: &mut [Constraint]) {
    for constraint in constraints {
        default_text(&mut constraint.operand, Operator::Equal.as_str());
        if constraint.operator() == Some(Operator::DistinctHosts) {
            default_text(&mut constraint.r_target, "true");
        }
    }
}

fn fill_affinities(affinities: &mut [Affinity]) {
    for affinity in affinities {
        default_text(&mut affinity.operand, Operator::Equal.as_str());
    }
}

fn default_text(text: &mut String, default: &str) {
    if text.is_empty() {
        default.clone_into(text);
    }
}
