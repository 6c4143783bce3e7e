//! All jobs: listing, registering, parsing, validating.

use std::sync::Arc;

use orch_api::job::{
    JobListStub, JobParseRequest, JobRegisterRequest, JobRegisterResponse, JobValidateRequest, JobValidateResponse,
};
use orch_model::admission::{self, Report};
use orch_model::{EvalId, Job, JobKey, Namespace};

use crate::Response;
use crate::call::{Call, Verb};
use crate::control::{Consistency, Preserve, RegisterJob, Scope, Table, View, Written};
use crate::error::Error;
use crate::lenient::field_names;
use crate::list::{Key, Page, Rows, page, to_value};
use crate::params::{Read, eval_priority};
use crate::query;

/// `/v1/jobs`
pub(crate) async fn all(call: Call) -> Result<Response, Error> {
    match call.verb {
        Verb::Get => list(&call).await,
        Verb::Put => register(call, None).await,
        Verb::Delete => Err(Error::method()),
    }
}

async fn list(call: &Call) -> Result<Response, Error> {
    let meta = call.params.flag("meta")?.unwrap_or(false);
    let namespace = call.read()?.namespace;
    query::list(call, &scopes(namespace.as_ref()), |view, read| {
        stubs(view, read, view.jobs(read.namespace.as_ref(), &read.prefix), meta)
    })
    .await
}

/// What a list of jobs shows: the jobs, and how their allocations are.
pub(crate) fn scopes(namespace: Option<&Namespace>) -> Vec<Scope> {
    let scope = |table| match namespace {
        Some(namespace) => Scope::Namespace(table, namespace.clone()),
        None => Scope::Table(table),
    };
    vec![scope(Table::Jobs), scope(Table::Allocs), scope(Table::Evals)]
}

/// The rows of `jobs`.
pub(crate) fn stubs(view: &dyn View, read: &Read, jobs: Vec<Arc<Job>>, meta: bool) -> Result<Page<JobListStub>, Error> {
    page(
        read,
        jobs,
        &Rows {
            key: &|job: &Arc<Job>| Key::Text(format!("{}.{}", job.namespace, job.id)),
            full: &|job| to_value(&**job),
            fields: field_names::<Job>(),
            row: &|job| JobListStub::of(job, view.job_summary(&job.key()), meta),
        },
    )
}

/// Stores the job in the body, whose id must be `id` if the path names one.
pub(crate) async fn register(mut call: Call, id: Option<&str>) -> Result<Response, Error> {
    let request: JobRegisterRequest = call.json().await?;
    let job = given(&call, request.job, id)?;
    let eval_priority = eval_priority(request.eval_priority)?;
    let (job, report) = admit(&call, job).await?;
    let written = call
        .agent
        .control()?
        .register_job(RegisterJob {
            job: Arc::new(job),
            eval_id: new_eval_id(),
            eval_priority,
            enforce_index: request.enforce_index.then_some(orch_model::StateIndex(request.job_modify_index)),
            submission: request.submission,
            preserve: Preserve { counts: request.preserve_counts, resources: request.preserve_resources },
        })
        .await?;
    registered(&call, &written, report.warnings_text())
}

/// Answers a write of a job.
pub(crate) fn registered(call: &Call, written: &Written, warnings: String) -> Result<Response, Error> {
    let Written { index, eval_id, eval_create_index, job_modify_index } = written;
    let response = JobRegisterResponse {
        eval_id: eval_id.map(|id| id.to_string()).unwrap_or_default(),
        eval_create_index: eval_create_index.0,
        job_modify_index: job_modify_index.0,
        warnings,
        index: index.0,
        ..JobRegisterResponse::default()
    };
    call.written(&response, *index)
}

/// The job of a request, in the request's namespace if it names none.
pub(crate) fn given(call: &Call, job: Option<Arc<Job>>, id: Option<&str>) -> Result<Job, Error> {
    let mut job = Arc::unwrap_or_clone(job.ok_or_else(|| Error::invalid("Job must be specified"))?);
    if id.is_some_and(|id| id != job.id.as_str()) {
        return Err(Error::invalid("Job ID does not match the one in the path"));
    }
    if job.namespace.is_empty() {
        job.namespace = call.params.namespace();
    }
    Ok(job)
}

/// Fills in a job's defaults and checks it; an error tells all that is wrong with it.
pub(crate) async fn admit(call: &Call, job: Job) -> Result<(Job, Report), Error> {
    let (job, report) = examine(call, job).await?;
    if report.is_accepted() { Ok((job, report)) } else { Err(Error::job_refused(report.to_string())) }
}

async fn examine(call: &Call, mut job: Job) -> Result<(Job, Report), Error> {
    let context = call.agent.info.admission_context();
    admission::canonicalize(&mut job, &context);
    // What is stored only decides which changes of a job are refused, and a write in between is refused by its index.
    let view = call.agent.control()?.view(Consistency::Stale).await?;
    let stored = view.job(&job.key());
    let report = admission::validate(&job, stored.as_deref(), &context);
    Ok((job, report))
}

/// `/v1/jobs/parse`
pub(crate) async fn parse(mut call: Call) -> Result<Response, Error> {
    call.must_put()?;
    let request: JobParseRequest = call.json().await?;
    if request.job_hcl.is_empty() {
        return Err(Error::invalid("Job spec is empty"));
    }
    let refused = |message: String| Error::invalid(format!("Failed to parse job: {message}"));
    let mut job = (call.agent.parse_job)(&request).map_err(refused)?;
    if job.namespace.is_empty() && call.params.find("namespace").is_some() {
        job.namespace = call.params.namespace();
    }
    if request.canonicalize {
        admission::canonicalize(&mut job, &call.agent.info.admission_context());
    }
    call.answer(&job)
}

/// `/v1/validate/job`
pub(crate) async fn validate(mut call: Call) -> Result<Response, Error> {
    call.must_put()?;
    let request: JobValidateRequest = call.json().await?;
    let job = given(&call, request.job, None)?;
    let (_, report) = examine(&call, job).await?;
    call.answer(&JobValidateResponse {
        driver_config_validated: true,
        validation_errors: report.errors.iter().map(ToString::to_string).collect(),
        error: if report.is_accepted() { String::new() } else { report.to_string() },
        warnings: report.warnings_text(),
    })
}

/// A fresh id for an evaluation; from here on nobody uses randomness on the request's behalf.
pub(crate) fn new_eval_id() -> EvalId {
    EvalId::from_uuid(uuid::Uuid::new_v4())
}

pub(crate) fn not_found() -> Error {
    Error::not_found("job not found")
}

/// An error if a body names another job than the path.
pub(crate) fn same_id(named: &str, id: &str) -> Result<(), Error> {
    if named.is_empty() || named == id {
        return Ok(());
    }
    Err(Error::invalid("Job ID does not match the one in the path"))
}

/// The job that a path names, in the request's namespace.
pub(crate) fn key(call: &Call, id: &str) -> JobKey {
    JobKey::new(&call.params.namespace(), &id.into())
}
