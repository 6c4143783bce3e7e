//! The versions of a job: what each changed, going back to one, and which are stable.

use std::sync::Arc;

use orch_api::job::{JobRevertRequest, JobStabilityRequest, JobStabilityResponse, JobVersionsResponse};
use orch_model::Job;
use orch_model::diff::{self, JobDiff};

use super::jobs;
use crate::Response;
use crate::call::Call;
use crate::control::{RevertJob, Scope, SetJobStability, Table};
use crate::error::Error;
use crate::query;

/// `/v1/job/:id/versions`
pub(crate) async fn all(call: Call, id: &str) -> Result<Response, Error> {
    call.must_get()?;
    let key = jobs::key(&call, id);
    let with_diffs = call.params.flag("diffs")?.unwrap_or(false);
    let against = diff_base(&call)?;
    let scopes = [Scope::Job(Table::Jobs, key.clone())];
    query::enveloped(&call, &scopes, |view, meta| {
        let versions = view.job_versions(&key);
        if versions.is_empty() {
            return Err(jobs::not_found());
        }
        let diffs = if with_diffs { version_diffs(&versions, &against)? } else { Vec::new() };
        Ok(JobVersionsResponse {
            versions,
            diffs,
            index: meta.index.0,
            last_contact: meta.last_contact_nanos(),
            known_leader: meta.known_leader,
            next_token: String::new(),
        })
    })
    .await
}

/// What versions are compared with.
enum DiffBase {
    Older,
    Version(u64),
    Tag(String),
}

fn diff_base(call: &Call) -> Result<DiffBase, Error> {
    let tag = call.params.get("diff_tag");
    Ok(match call.params.number("diff_version")? {
        Some(version) => DiffBase::Version(version),
        None if !tag.is_empty() => DiffBase::Tag(tag.to_owned()),
        None => DiffBase::Older,
    })
}

fn version_diffs(versions: &[Arc<Job>], against: &DiffBase) -> Result<Vec<JobDiff>, Error> {
    let find = |wanted: &dyn Fn(&Job) -> bool, missing: String| {
        versions.iter().find(|job| wanted(job)).ok_or_else(|| Error::not_found(missing))
    };
    let base = match against {
        DiffBase::Older => {
            let pairs = versions.iter().zip(versions.iter().skip(1));
            return Ok(pairs.map(|(new, old)| diff::diff(Some(old), new)).collect());
        }
        DiffBase::Version(version) => find(&|job| job.version == *version, format!("version {version} not found"))?,
        DiffBase::Tag(tag) => find(
            &|job| job.version_tag.as_ref().is_some_and(|given| given.name == *tag),
            format!("tag {tag:?} not found"),
        )?,
    };
    Ok(versions.iter().map(|new| diff::diff(Some(base), new)).collect())
}

/// `/v1/job/:id/revert`
pub(crate) async fn revert(mut call: Call, id: &str) -> Result<Response, Error> {
    call.must_put()?;
    let request: JobRevertRequest = call.json().await?;
    jobs::same_id(&request.job_id, id)?;
    let request = RevertJob {
        job: jobs::key(&call, id),
        to_version: request.job_version,
        enforce_prior: request.enforce_prior_version,
        eval_id: jobs::new_eval_id(),
    };
    let written = call.agent.control()?.revert_job(request).await?;
    jobs::registered(&call, &written, String::new())
}

/// `/v1/job/:id/stable`
pub(crate) async fn stable(mut call: Call, id: &str) -> Result<Response, Error> {
    call.must_put()?;
    let request: JobStabilityRequest = call.json().await?;
    jobs::same_id(&request.job_id, id)?;
    let request = SetJobStability { job: jobs::key(&call, id), version: request.job_version, stable: request.stable };
    let index = call.agent.control()?.set_job_stability(request).await?;
    call.written(&JobStabilityResponse { index: index.0 }, index)
}
