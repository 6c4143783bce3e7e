//! Jobs.

use std::sync::Arc;

use http::Method;
use orch_model::Job;

use super::{Client, Error, NO_BODY, QueryMeta, QueryOptions, path};
use crate::allocation::AllocListStub;
use crate::deployment::Deployment;
use crate::evaluation::Evaluation;
use crate::job::{
    EvalOptions, JobDeregisterResponse, JobEvaluateRequest, JobListStub, JobParseRequest, JobPlanRequest,
    JobPlanResponse, JobRegisterRequest, JobRegisterResponse, JobRevertRequest, JobStabilityRequest,
    JobStabilityResponse, JobSubmission, JobSummary, JobValidateRequest, JobValidateResponse, JobVersionsResponse,
};
use crate::scaling::{JobScaleStatus, ScalingRequest};

/// How a job is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeregisterOptions {
    /// Whether it is forgotten, too.
    pub purge: bool,
    /// Whether its tasks skip their shutdown delay.
    pub no_shutdown_delay: bool,
    /// The priority of the evaluation; `None` is the job's.
    pub eval_priority: Option<u16>,
}

impl Client {
    /// The jobs.
    pub async fn jobs(&self, options: &QueryOptions) -> Result<(Vec<JobListStub>, QueryMeta), Error> {
        self.get("/v1/jobs", options).await
    }

    /// A job as it is stored.
    pub async fn job(&self, id: &str, options: &QueryOptions) -> Result<(Job, QueryMeta), Error> {
        self.get(&path(["job", id]), options).await
    }

    /// Stores a job; repeating it with the same content does no harm.
    pub async fn register_job(&self, request: &JobRegisterRequest) -> Result<JobRegisterResponse, Error> {
        self.write(Method::PUT, "/v1/jobs", &[], Some(request)).await
    }

    /// Stops a job; repeating it does no harm.
    pub async fn deregister_job(&self, id: &str, options: DeregisterOptions) -> Result<JobDeregisterResponse, Error> {
        let priority = options.eval_priority.map(|priority| priority.to_string());
        let mut params = vec![("purge", bool_text(options.purge))];
        if options.no_shutdown_delay {
            params.push(("no_shutdown_delay", "true"));
        }
        if let Some(priority) = &priority {
            params.push(("eval_priority", priority));
        }
        self.write(Method::DELETE, &path(["job", id]), &params, NO_BODY).await
    }

    /// Turns an HCL text into a job.
    pub async fn parse_job(&self, request: &JobParseRequest) -> Result<Job, Error> {
        self.write(Method::PUT, "/v1/jobs/parse", &[], Some(request)).await
    }

    /// What registering a job would do.
    pub async fn plan_job(&self, id: &str, request: &JobPlanRequest) -> Result<JobPlanResponse, Error> {
        self.write(Method::PUT, &path(["job", id, "plan"]), &[], Some(request)).await
    }

    /// Whether a job is well-formed.
    pub async fn validate_job(&self, job: Arc<Job>) -> Result<JobValidateResponse, Error> {
        self.write(Method::PUT, "/v1/validate/job", &[], Some(&JobValidateRequest { job: Some(job) })).await
    }

    /// Creates an evaluation of a job.
    pub async fn evaluate_job(&self, id: &str, force_reschedule: bool) -> Result<JobRegisterResponse, Error> {
        let request = JobEvaluateRequest { job_id: id.to_owned(), eval_options: EvalOptions { force_reschedule } };
        self.write(Method::PUT, &path(["job", id, "evaluate"]), &[], Some(&request)).await
    }

    /// The allocations of a job; with `all`, of earlier incarnations, too.
    pub async fn job_allocations(
        &self,
        id: &str,
        all: bool,
        options: &QueryOptions,
    ) -> Result<(Vec<AllocListStub>, QueryMeta), Error> {
        self.get_with(&path(["job", id, "allocations"]), options, &[("all", bool_text(all))]).await
    }

    /// The evaluations of a job.
    pub async fn job_evaluations(
        &self,
        id: &str,
        options: &QueryOptions,
    ) -> Result<(Vec<Evaluation>, QueryMeta), Error> {
        self.get(&path(["job", id, "evaluations"]), options).await
    }

    /// How the allocations of a job are.
    pub async fn job_summary(&self, id: &str, options: &QueryOptions) -> Result<(JobSummary, QueryMeta), Error> {
        self.get(&path(["job", id, "summary"]), options).await
    }

    /// The versions of a job, newest first; with `diffs`, what each changed.
    pub async fn job_versions(
        &self,
        id: &str,
        diffs: bool,
        options: &QueryOptions,
    ) -> Result<(JobVersionsResponse, QueryMeta), Error> {
        self.get_with(&path(["job", id, "versions"]), options, &[("diffs", bool_text(diffs))]).await
    }

    /// Makes what an earlier version of a job says its newest one; with `enforce_prior`, only if it is at that version.
    pub async fn revert_job(
        &self,
        id: &str,
        version: u64,
        enforce_prior: Option<u64>,
    ) -> Result<JobRegisterResponse, Error> {
        let request =
            JobRevertRequest { job_id: id.to_owned(), job_version: version, enforce_prior_version: enforce_prior };
        self.write(Method::PUT, &path(["job", id, "revert"]), &[], Some(&request)).await
    }

    /// Says whether a version of a job is one to go back to; repeating it does no harm.
    pub async fn set_job_stability(&self, id: &str, version: u64, stable: bool) -> Result<JobStabilityResponse, Error> {
        let request = JobStabilityRequest { job_id: id.to_owned(), job_version: version, stable };
        self.write(Method::PUT, &path(["job", id, "stable"]), &[], Some(&request)).await
    }

    /// How the groups of a job are scaled.
    pub async fn job_scale_status(
        &self,
        id: &str,
        options: &QueryOptions,
    ) -> Result<(JobScaleStatus, QueryMeta), Error> {
        self.get(&path(["job", id, "scale"]), options).await
    }

    /// Changes the count of a group, or notes an event of its scaling.
    pub async fn scale_job(&self, id: &str, request: &ScalingRequest) -> Result<JobRegisterResponse, Error> {
        self.write(Method::PUT, &path(["job", id, "scale"]), &[], Some(request)).await
    }

    /// The deployments of a job, newest last; with `all`, of earlier incarnations, too.
    pub async fn job_deployments(
        &self,
        id: &str,
        all: bool,
        options: &QueryOptions,
    ) -> Result<(Vec<Deployment>, QueryMeta), Error> {
        self.get_with(&path(["job", id, "deployments"]), options, &[("all", bool_text(all))]).await
    }

    /// The newest deployment of a job, if it has one.
    pub async fn job_latest_deployment(
        &self,
        id: &str,
        options: &QueryOptions,
    ) -> Result<(Option<Deployment>, QueryMeta), Error> {
        self.get(&path(["job", id, "deployment"]), options).await
    }

    /// The text that a version of a job was made from.
    pub async fn job_submission(
        &self,
        id: &str,
        version: u64,
        options: &QueryOptions,
    ) -> Result<(JobSubmission, QueryMeta), Error> {
        let version = version.to_string();
        self.get_with(&path(["job", id, "submission"]), options, &[("version", &version)]).await
    }
}

pub(super) const fn bool_text(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}
