//! Deployments.

use http::Method;

use super::{Client, Error, NO_BODY, QueryMeta, QueryOptions, path};
use crate::allocation::AllocListStub;
use crate::deployment::{
    Deployment, DeploymentAllocHealthRequest, DeploymentPauseRequest, DeploymentPromoteRequest,
    DeploymentUpdateResponse,
};

impl Client {
    /// The deployments.
    pub async fn deployments(&self, options: &QueryOptions) -> Result<(Vec<Deployment>, QueryMeta), Error> {
        self.get("/v1/deployments", options).await
    }

    /// A deployment; the id must be complete.
    pub async fn deployment(&self, id: &str, options: &QueryOptions) -> Result<(Deployment, QueryMeta), Error> {
        self.get(&path(["deployment", id]), options).await
    }

    /// The allocations that are part of a deployment.
    pub async fn deployment_allocations(
        &self,
        id: &str,
        options: &QueryOptions,
    ) -> Result<(Vec<AllocListStub>, QueryMeta), Error> {
        self.get(&path(["deployment", "allocations", id]), options).await
    }

    /// Gives a deployment up.
    pub async fn fail_deployment(&self, id: &str) -> Result<DeploymentUpdateResponse, Error> {
        self.write(Method::PUT, &path(["deployment", "fail", id]), &[], NO_BODY).await
    }

    /// Pauses a deployment, or resumes it; repeating it does no harm.
    pub async fn pause_deployment(&self, id: &str, pause: bool) -> Result<DeploymentUpdateResponse, Error> {
        let request = DeploymentPauseRequest { deployment_id: id.to_owned(), pause };
        self.write(Method::PUT, &path(["deployment", "pause", id]), &[], Some(&request)).await
    }

    /// Promotes the canaries of these groups of a deployment, or of all if none are named.
    pub async fn promote_deployment(&self, id: &str, groups: &[String]) -> Result<DeploymentUpdateResponse, Error> {
        let request =
            DeploymentPromoteRequest { deployment_id: id.to_owned(), all: groups.is_empty(), groups: groups.to_vec() };
        self.write(Method::PUT, &path(["deployment", "promote", id]), &[], Some(&request)).await
    }

    /// Says of allocations of a deployment whether they are well.
    pub async fn set_allocation_health(
        &self,
        request: &DeploymentAllocHealthRequest,
    ) -> Result<DeploymentUpdateResponse, Error> {
        let path = path(["deployment", "allocation-health", &request.deployment_id]);
        self.write(Method::PUT, &path, &[], Some(request)).await
    }
}
