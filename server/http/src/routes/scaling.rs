//! How the groups of a job are scaled, and scaling them.

use orch_api::JobScaleStatus;
use orch_api::scaling::{ScalingRequest, TaskGroupScaleStatus};
use orch_model::allocation::ClientStatus;
use orch_model::{Job, JobKey, StateIndex};

use super::jobs;
use crate::Response;
use crate::call::{Call, Verb};
use crate::control::{Consistency, ScaleJob, Scope, Table, View};
use crate::error::Error;
use crate::query;

/// `/v1/job/:id/scale`
pub(crate) async fn of_job(call: Call, id: &str) -> Result<Response, Error> {
    match call.verb {
        Verb::Get => status(call, id).await,
        Verb::Put => scale(call, id).await,
        Verb::Delete => Err(Error::method()),
    }
}

async fn status(call: Call, id: &str) -> Result<Response, Error> {
    let key = jobs::key(&call, id);
    let scopes = [Table::Jobs, Table::Allocs].map(|table| Scope::Job(table, key.clone()));
    query::object(&call, &scopes, |view| {
        let job = view.job(&key).ok_or_else(jobs::not_found)?;
        Ok(status_of(view, &key, &job))
    })
    .await
}

fn status_of(view: &dyn View, key: &JobKey, job: &Job) -> JobScaleStatus {
    let mut events = view.scaling_events(key);
    let mut shown = JobScaleStatus {
        job_id: job.id.to_string(),
        namespace: job.namespace.to_string(),
        job_create_index: job.create_index.0,
        job_modify_index: job.job_modify_index.0,
        job_stopped: job.stop,
        ..JobScaleStatus::default()
    };
    for group in &job.task_groups {
        let status = TaskGroupScaleStatus {
            desired: u64::try_from(group.count).unwrap_or_default(),
            events: events.remove(&group.name).unwrap_or_default(),
            ..TaskGroupScaleStatus::default()
        };
        shown.task_groups.insert(group.name.clone(), status);
    }
    for alloc in view.allocs_of_job(key).iter().filter(|alloc| !alloc.is_terminal()) {
        let Some(status) = shown.task_groups.get_mut(alloc.group_name()) else { continue };
        status.placed += 1;
        status.running += u64::from(alloc.client_status == ClientStatus::Running);
        status.healthy += u64::from(alloc.is_healthy());
        status.unhealthy += u64::from(alloc.is_unhealthy());
    }
    shown
}

async fn scale(mut call: Call, id: &str) -> Result<Response, Error> {
    let request: ScalingRequest = call.json().await?;
    let key = jobs::key(&call, id);
    let group = target(&request, &key)?.to_owned();
    let count = count(&request)?;
    if let Some(count) = count {
        within_limit(&call, &key, &group, count).await?;
    }
    let ScalingRequest { message, error, meta, enforce_index, job_modify_index, .. } = request;
    let written = call
        .agent
        .control()?
        .scale_job(ScaleJob {
            job: key,
            group,
            count,
            message,
            error,
            meta,
            eval_id: jobs::new_eval_id(),
            enforce_index: enforce_index.then_some(StateIndex(job_modify_index)),
        })
        .await?;
    jobs::registered(&call, &written, String::new())
}

/// The group that is scaled; an error if the target names none, or another job than the request.
fn target<'a>(request: &'a ScalingRequest, job: &JobKey) -> Result<&'a str, Error> {
    let of = |name: &str| request.target.get(name).map_or("", String::as_str);
    if !matches!(of("Job"), "") && of("Job") != job.job_id.as_str() {
        return Err(Error::invalid("job ID in the target does not match the one in the path"));
    }
    if !matches!(of("Namespace"), "") && of("Namespace") != job.namespace.as_str() {
        return Err(Error::invalid("namespace in the target does not match the one of the request"));
    }
    match of("Group") {
        "" => Err(Error::invalid("missing task group name for scaling action: set Target.Group")),
        group => Ok(group),
    }
}

fn count(request: &ScalingRequest) -> Result<Option<u32>, Error> {
    let Some(count) = request.count else { return Ok(None) };
    if count < 0 {
        return Err(Error::invalid("scaling action count can't be negative"));
    }
    let count = u32::try_from(count);
    count.map(Some).map_err(|_| Error::invalid(format!("scaling action count can't be above {}", u32::MAX)))
}

/// Keeps to the limit on a job's allocations that registering it keeps to; the servers keep to all others.
async fn within_limit(call: &Call, key: &JobKey, group: &str, count: u32) -> Result<(), Error> {
    let limit = call.agent.info.admission.max_count;
    let view = call.agent.control()?.view(Consistency::Linearizable).await?;
    let job = view.job(key).ok_or_else(jobs::not_found)?;
    let others = job.task_groups.iter().filter(|other| other.name != group);
    let total = others.fold(i64::from(count), |sum, other| sum.saturating_add(other.count));
    if limit > 0 && total > limit {
        return Err(Error::invalid(format!("the groups want {total} allocations together; the limit is {limit}")));
    }
    Ok(())
}
