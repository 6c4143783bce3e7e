//! One job. Its id may hold slashes, so what is asked of it is told by the end of the path.

use std::sync::Arc;

use orch_api::job::{
    JobDeregisterResponse, JobEvaluateRequest, JobPlanRequest, JobPlanResponse, JobSummary, PlanAnnotations,
};
use orch_api::{AllocListStub, AllocMetric, Deployment, Evaluation};
use orch_model::{JobKey, diff};

use super::{allocations, deployments, evaluations, interactive, jobs, scaling, versions};
use crate::Response;
use crate::call::{Call, Verb};
use crate::control::{DeregisterJob, Scope, Table};
use crate::error::Error;
use crate::query;

/// `/v1/job/…`, where `rest` is what follows, its escapes read.
pub(crate) async fn one(call: Call, rest: &str) -> Result<Response, Error> {
    let asked = rest.rsplit_once('/').filter(|(id, _)| !id.is_empty());
    match asked {
        Some((id, "allocations")) => allocations(call, id).await,
        Some((id, "evaluations")) => evaluations(call, id).await,
        Some((id, "deployments")) => deployments(call, id).await,
        Some((id, "deployment")) => latest_deployment(call, id).await,
        Some((id, "summary")) => summary(call, id).await,
        Some((id, "versions")) => versions::all(call, id).await,
        Some((id, "revert")) => versions::revert(call, id).await,
        Some((id, "stable")) => versions::stable(call, id).await,
        Some((id, "scale")) => scaling::of_job(call, id).await,
        Some((id, "submission")) => submission(call, id).await,
        Some((id, "plan")) => plan(call, id).await,
        Some((id, "evaluate")) => evaluate(call, id).await,
        Some((id, "actions")) => interactive::actions(call, id).await,
        Some((id, "action")) => interactive::action(call, id).await,
        Some(_) | None if rest.is_empty() => Err(Error::invalid("Missing job ID")),
        Some(_) | None => match call.verb {
            Verb::Get => get(call, rest).await,
            Verb::Put => jobs::register(call, Some(rest)).await,
            Verb::Delete => deregister(call, rest).await,
        },
    }
}

async fn get(call: Call, id: &str) -> Result<Response, Error> {
    let key = jobs::key(&call, id);
    let scopes = [Scope::Job(Table::Jobs, key.clone())];
    query::object(&call, &scopes, |view| view.job(&key).ok_or_else(jobs::not_found)).await
}

async fn deregister(call: Call, id: &str) -> Result<Response, Error> {
    let request = DeregisterJob {
        job: jobs::key(&call, id),
        eval_id: jobs::new_eval_id(),
        eval_priority: call.params.eval_priority()?,
        purge: call.params.flag("purge")?.unwrap_or(false),
        no_shutdown_delay: call.params.flag("no_shutdown_delay")?.unwrap_or(false),
    };
    let written = call.agent.control()?.deregister_job(request).await?;
    let response = JobDeregisterResponse {
        eval_id: written.eval_id.map(|id| id.to_string()).unwrap_or_default(),
        eval_create_index: written.eval_create_index.0,
        job_modify_index: written.job_modify_index.0,
        index: written.index.0,
        ..JobDeregisterResponse::default()
    };
    call.written(&response, written.index)
}

async fn allocations(call: Call, id: &str) -> Result<Response, Error> {
    call.must_get()?;
    let key = jobs::key(&call, id);
    let all = call.params.flag("all")?.unwrap_or(false);
    let parts = allocations::parts(&call)?;
    let scopes = [Scope::Job(Table::Allocs, key.clone())];
    query::list::<AllocListStub>(&call, &scopes, |view, read| {
        let mut allocs = view.allocs_of_job(&key);
        if let Some(job) = view.job(&key).filter(|_| !all) {
            allocs.retain(|alloc| alloc.job.create_index == job.create_index);
        }
        allocations::stubs(view, read, allocs, parts)
    })
    .await
}

async fn evaluations(call: Call, id: &str) -> Result<Response, Error> {
    call.must_get()?;
    let key = jobs::key(&call, id);
    let scopes = [Scope::Job(Table::Evals, key.clone())];
    query::list::<Evaluation>(&call, &scopes, |view, read| evaluations::rows(read, view.evals_of_job(&key))).await
}

async fn deployments(call: Call, id: &str) -> Result<Response, Error> {
    call.must_get()?;
    let key = jobs::key(&call, id);
    let all = call.params.flag("all")?.unwrap_or(false);
    let scopes = [Scope::Job(Table::Deployments, key.clone())];
    query::list::<Deployment>(&call, &scopes, |view, read| {
        let mut found = view.deployments_of_job(&key);
        if let Some(job) = view.job(&key).filter(|_| !all) {
            found.retain(|deployment| deployment.job.created == job.create_index);
        }
        deployments::rows(read, found)
    })
    .await
}

/// The newest deployment of the job as it stands; `null` if it has none.
async fn latest_deployment(call: Call, id: &str) -> Result<Response, Error> {
    call.must_get()?;
    let key = jobs::key(&call, id);
    let scopes = [Scope::Job(Table::Deployments, key.clone())];
    query::object(&call, &scopes, |view| {
        let Some(job) = view.job(&key) else { return Ok(None) };
        let found = view.deployments_of_job(&key);
        let latest = found.iter().rev().find(|deployment| deployment.job.created == job.create_index);
        Ok(latest.map(|deployment| Deployment::of(deployment)))
    })
    .await
}

async fn summary(call: Call, id: &str) -> Result<Response, Error> {
    call.must_get()?;
    let key = jobs::key(&call, id);
    let scopes = [Table::Jobs, Table::Allocs, Table::Evals].map(|table| Scope::Job(table, key.clone()));
    query::object::<JobSummary>(&call, &scopes, |view| view.job_summary(&key).ok_or_else(jobs::not_found)).await
}

async fn submission(call: Call, id: &str) -> Result<Response, Error> {
    call.must_get()?;
    let key = jobs::key(&call, id);
    let version: u64 = call
        .params
        .number("version")?
        .ok_or_else(|| Error::invalid("Failed to parse value of \"version\": a version is required"))?;
    let scopes = [Scope::Job(Table::Jobs, key.clone())];
    let missing = || Error::not_found("job source not found");
    query::object(&call, &scopes, |view| view.submission(&key, version).ok_or_else(missing)).await
}

async fn plan(mut call: Call, id: &str) -> Result<Response, Error> {
    call.must_put()?;
    let request: JobPlanRequest = call.json().await?;
    let job = jobs::given(&call, request.job, Some(id))?;
    let (job, report) = jobs::admit(&call, job).await?;
    let job = Arc::new(job);
    let run = call.agent.control()?.plan_job(job.clone()).await?;
    let diff = request.diff.then(|| {
        let mut diff = diff::diff(run.stored.as_deref(), &job);
        diff::annotate(&mut diff, &run.updates);
        diff
    });
    let response = JobPlanResponse {
        annotations: Some(PlanAnnotations::of(&run.updates)),
        failed_tg_allocs: AllocMetric::by_group(&run.failed),
        job_modify_index: run.stored.map_or(0, |stored| stored.job_modify_index.0),
        created_evals: run.created_evals.iter().map(Evaluation::of).collect(),
        diff,
        next_periodic_launch: orch_api::Time::default(),
        warnings: report.warnings_text(),
        index: run.index.0,
    };
    call.written(&response, run.index)
}

async fn evaluate(mut call: Call, id: &str) -> Result<Response, Error> {
    call.must_put()?;
    let request: JobEvaluateRequest = call.json_if_any().await?.unwrap_or_default();
    jobs::same_id(&request.job_id, id)?;
    let key: JobKey = jobs::key(&call, id);
    let force = request.eval_options.force_reschedule;
    let written = call.agent.control()?.evaluate_job(key, jobs::new_eval_id(), force).await?;
    jobs::registered(&call, &written, String::new())
}
