//! Deployments. What is asked of one stands before its id in the path.

use std::sync::Arc;

use orch_api::Deployment as DeploymentShape;
use orch_api::deployment::{
    DeploymentAllocHealthRequest, DeploymentPauseRequest, DeploymentPromoteRequest, DeploymentUpdateResponse,
};
use orch_model::{AllocId, Deployment, DeploymentId};

use super::allocations;
use super::jobs::new_eval_id;
use crate::Response;
use crate::call::Call;
use crate::control::{
    ChangeDeployment, Consistency, DeploymentAction, DeploymentWritten, Scope, SetAllocHealth, Table, View,
};
use crate::error::{Error, Kind};
use crate::ids;
use crate::lenient::field_names;
use crate::list::{Key, Page, Rows, page, to_value};
use crate::params::Read;
use crate::query;

fn missing() -> Error {
    Error::not_found("deployment not found")
}

/// `/v1/deployments`
pub(crate) async fn all(call: Call) -> Result<Response, Error> {
    call.must_get()?;
    let scope = match call.read()?.namespace {
        Some(namespace) => Scope::Namespace(Table::Deployments, namespace),
        None => Scope::Table(Table::Deployments),
    };
    query::list(&call, &[scope], |view, read| rows(read, select(view, read)?)).await
}

fn select(view: &dyn View, read: &Read) -> Result<Vec<Arc<Deployment>>, Error> {
    if read.prefix.is_empty() {
        return Ok(view.deployments(read.namespace.as_ref()));
    }
    let (first, last) = ids::range(&read.prefix)?;
    let mut found = view.deployments_between(DeploymentId::from_uuid(first), DeploymentId::from_uuid(last));
    if let Some(namespace) = &read.namespace {
        found.retain(|deployment| deployment.job_key().namespace == *namespace);
    }
    Ok(found)
}

/// The rows of `deployments`.
pub(crate) fn rows(read: &Read, deployments: Vec<Arc<Deployment>>) -> Result<Page<DeploymentShape>, Error> {
    let by_id = !read.prefix.is_empty();
    page(
        read,
        deployments,
        &Rows {
            key: &|deployment: &Arc<Deployment>| match by_id {
                true => Key::Text(deployment.id.to_string()),
                false => Key::Created(deployment.create_index.0, deployment.id.to_string()),
            },
            full: &|deployment| to_value(&DeploymentShape::of(deployment)),
            fields: field_names::<DeploymentShape>(),
            row: &|deployment| DeploymentShape::of(deployment),
        },
    )
}

/// `/v1/deployment/:id`
pub(crate) async fn one(call: Call, id: &str) -> Result<Response, Error> {
    call.must_get()?;
    let id: DeploymentId = parse(id)?;
    query::object(&call, &[Scope::Deployment(id)], |view| {
        view.deployment(id).map(|deployment| DeploymentShape::of(&deployment)).ok_or_else(missing)
    })
    .await
}

fn parse(id: &str) -> Result<DeploymentId, Error> {
    id.parse().map_err(|_| missing())
}

/// `/v1/deployment/:action/:id`
pub(crate) async fn action(call: Call, action: &str, id: &str) -> Result<Response, Error> {
    if action == "allocations" {
        return allocations_of(call, parse(id)?).await;
    }
    match action {
        "fail" | "pause" | "promote" | "unblock" | "allocation-health" => call.must_put()?,
        _ => return Err(Error::unknown_path()),
    }
    let deployment = parse(id)?;
    match action {
        "fail" => change(&call, deployment, DeploymentAction::Fail).await,
        "pause" => pause(call, deployment).await,
        "promote" => promote(call, deployment).await,
        "allocation-health" => set_health(call, deployment).await,
        _ => Err(Error::new(Kind::NotImplemented, "there are no deployments over several regions to unblock")),
    }
}

async fn allocations_of(call: Call, id: DeploymentId) -> Result<Response, Error> {
    call.must_get()?;
    let parts = allocations::parts(&call)?;
    // An allocation changes without its deployment, so the query waits for those of the job.
    let view = call.agent.control()?.view(call.read()?.consistency).await?;
    let job = view.deployment(id).ok_or_else(missing)?.job_key().clone();
    drop(view);
    let scopes = [Scope::Deployment(id), Scope::Job(Table::Allocs, job)];
    query::list(&call, &scopes, |view, read| allocations::stubs(view, read, view.allocs_of_deployment(id), parts)).await
}

/// An error if a body names another deployment than the path.
fn same(named: &str, deployment: DeploymentId) -> Result<(), Error> {
    if named.is_empty() || named.parse() == Ok(deployment) {
        return Ok(());
    }
    Err(Error::invalid("Deployment ID does not match the one in the path"))
}

async fn change(call: &Call, deployment: DeploymentId, action: DeploymentAction) -> Result<Response, Error> {
    let request = ChangeDeployment { deployment, action, eval_id: new_eval_id() };
    let written = call.agent.control()?.change_deployment(request).await?;
    updated(call, &written)
}

async fn pause(mut call: Call, deployment: DeploymentId) -> Result<Response, Error> {
    let request: DeploymentPauseRequest = call.json().await?;
    same(&request.deployment_id, deployment)?;
    let action = if request.pause { DeploymentAction::Pause } else { DeploymentAction::Resume };
    change(&call, deployment, action).await
}

/// Tells why there is nothing to promote: groups with canaries are refused when their job is registered.
async fn promote(mut call: Call, id: DeploymentId) -> Result<Response, Error> {
    let request: DeploymentPromoteRequest = call.json().await?;
    same(&request.deployment_id, id)?;
    let view = call.agent.control()?.view(Consistency::Linearizable).await?;
    let deployment = view.deployment(id).ok_or_else(missing)?;
    if !deployment.is_active() {
        return Err(Error::invalid("can't promote terminal deployment"));
    }
    if let Some(unknown) = request.groups.iter().find(|group| !deployment.groups.contains_key(*group)) {
        return Err(Error::invalid(format!("group {unknown:?} is not part of the deployment")));
    }
    if deployment.needs_promotion() {
        return Err(Error::new(Kind::NotImplemented, "canaries cannot be promoted yet: fail the deployment instead"));
    }
    Err(Error::invalid("no canaries to promote: no group of the deployment has \"canary\" in its update block"))
}

async fn set_health(mut call: Call, deployment: DeploymentId) -> Result<Response, Error> {
    let request: DeploymentAllocHealthRequest = call.json().await?;
    same(&request.deployment_id, deployment)?;
    let healthy = alloc_ids(&request.healthy_allocation_ids)?;
    let unhealthy = alloc_ids(&request.unhealthy_allocation_ids)?;
    if healthy.is_empty() && unhealthy.is_empty() {
        return Err(Error::invalid("must specify at least one healthy or unhealthy allocation ID"));
    }
    if let Some(both) = healthy.iter().find(|id| unhealthy.contains(id)) {
        return Err(Error::invalid(format!("allocation {both} cannot be both healthy and unhealthy")));
    }
    let request = SetAllocHealth { deployment, healthy, unhealthy, eval_id: new_eval_id() };
    let written = call.agent.control()?.set_alloc_health(request).await?;
    updated(&call, &written)
}

fn alloc_ids(texts: &[String]) -> Result<Vec<AllocId>, Error> {
    let invalid = |text: &str| Error::invalid(format!("{text:?} is not the complete ID of an allocation"));
    texts.iter().map(|text| text.parse().map_err(|_| invalid(text))).collect()
}

fn updated(call: &Call, written: &DeploymentWritten) -> Result<Response, Error> {
    let DeploymentWritten { index, eval_id, eval_create_index, deployment_modify_index, reverted_version } = written;
    let response = DeploymentUpdateResponse {
        eval_id: eval_id.map(|id| id.to_string()).unwrap_or_default(),
        eval_create_index: eval_create_index.0,
        deployment_modify_index: deployment_modify_index.0,
        reverted_job_version: *reverted_version,
        index: index.0,
    };
    call.written(&response, *index)
}
