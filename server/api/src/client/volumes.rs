//! Host volumes and the claims on them.

use http::Method;

use super::{Client, Error, NO_BODY, QueryMeta, QueryOptions, path};
use crate::volume::{
    HostVolume, HostVolumeDeleteResponse, HostVolumeStub, HostVolumeWriteRequest, HostVolumeWriteResponse,
    TaskGroupHostVolumeClaim,
};

impl Client {
    /// The host volumes; `params` narrow them down by `node_id`, `node_pool` and `plugin_id`.
    pub async fn host_volumes(
        &self,
        options: &QueryOptions,
        params: &[(&str, &str)],
    ) -> Result<(Vec<HostVolumeStub>, QueryMeta), Error> {
        let params: Vec<_> = [("type", "host")].into_iter().chain(params.iter().copied()).collect();
        self.get_with("/v1/volumes", options, &params).await
    }

    /// A host volume; the id must be complete.
    pub async fn host_volume(&self, id: &str, options: &QueryOptions) -> Result<(HostVolume, QueryMeta), Error> {
        self.get(&path(["volume", "host", id]), options).await
    }

    /// Has a host volume made. Repeating it makes another one, unless the volume has an id.
    pub async fn create_host_volume(&self, volume: HostVolume) -> Result<HostVolumeWriteResponse, Error> {
        let request = HostVolumeWriteRequest { volume: Some(volume), policy_override: false };
        self.write(Method::PUT, "/v1/volume/host/create", &[], Some(&request)).await
    }

    /// Has a directory of a node taken over as a host volume.
    pub async fn register_host_volume(&self, volume: HostVolume) -> Result<HostVolumeWriteResponse, Error> {
        let request = HostVolumeWriteRequest { volume: Some(volume), policy_override: false };
        self.write(Method::PUT, "/v1/volume/host/register", &[], Some(&request)).await
    }

    /// Removes a host volume.
    pub async fn delete_host_volume(&self, id: &str, force: bool) -> Result<HostVolumeDeleteResponse, Error> {
        let params = [("force", "true")];
        let params = if force { &params[..] } else { &[] };
        self.write(Method::DELETE, &path(["volume", "host", id]), params, NO_BODY).await
    }

    /// The claims on host volumes; `params` narrow them down by `job_id`, `task_group` and `volume_name`.
    pub async fn volume_claims(
        &self,
        options: &QueryOptions,
        params: &[(&str, &str)],
    ) -> Result<(Vec<TaskGroupHostVolumeClaim>, QueryMeta), Error> {
        self.get_with("/v1/volumes/claims", options, params).await
    }

    /// Forgets a claim on a host volume.
    pub async fn delete_volume_claim(&self, id: &str) -> Result<(), Error> {
        self.write(Method::DELETE, &path(["volumes", "claim", id]), &[], NO_BODY).await
    }
}
