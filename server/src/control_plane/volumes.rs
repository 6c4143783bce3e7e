//! Dynamic host volumes: what the servers ask of nodes about them, and what they write down.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method};
use orch_api::volume::{HostVolumeInfo, HostVolumeRequest};
use orch_http::control::{DeleteHostVolume, HostVolumeWritten, PutHostVolume};
use orch_http::{Body, ControlPlane, Error, FORWARDED, Kind};
use orch_model::seed::Seed;
use orch_model::volume::VolumeState;
use orch_model::{HostVolume, NodeId, StateIndex};
use orch_scheduler::{VolumeWish, volume_node};
use orch_state::commands::DeleteStep;
use orch_state::{Command, State, commands};

use super::operators::refusal;
use super::{Answer, Plane, seed, told};
use crate::consensus::Consensus;

/// How long a node may take to make or remove a volume; a request that is given up can be repeated.
const PATIENCE: Duration = Duration::from_secs(60);

/// The longest answer of a node that is read.
const ANSWER_BYTES: usize = 64 << 10;

impl Plane {
    /// Writes the volume as pending, has its node make it, and writes what the node says.
    ///
    /// What stops halfway leaves a pending volume, which becomes ready when its node lists it, and can be removed.
    pub(super) async fn make_volume(&self, request: PutHostVolume) -> Answer<HostVolumeWritten> {
        self.node.read_barrier().await.map_err(told)?;
        let state = self.node.store().snapshot();
        let volume = settled(&state, request)?;
        let is_new = state.host_volume(&volume.id).is_none();
        drop(state);
        if is_new {
            self.write_volume(volume.clone()).await?;
        }
        let info = match self.node_makes(&volume).await {
            Ok(info) => info,
            Err(error) => {
                if is_new && !matches!(error.kind(), Kind::Unavailable) {
                    // The node has made nothing. Where it is not known what it did, the volume stays as pending.
                    self.delete_step(&volume, DeleteStep::Finish).await?;
                }
                return Err(error);
            }
        };
        let capacity = if info.capacity_bytes > 0 { info.capacity_bytes } else { volume.capacity };
        let made = HostVolume { host_path: info.path, capacity, state: VolumeState::Ready, ..volume };
        let index = match self.write_volume(made.clone()).await {
            Ok(index) => index,
            Err(error) => {
                if is_new && error.kind() == Kind::Conflict {
                    // It was removed while it was made. That its directory may stay behind changes nothing for anyone.
                    drop(self.ask_node(made.node_id, Method::DELETE, &made, Body::empty()).await);
                }
                return Err(error);
            }
        };
        let id = made.id;
        let state = self.node.store().snapshot();
        let volume = state.host_volume(&id).cloned();
        let volume = volume.ok_or_else(|| Error::not_found(format!("volume {id} was removed while it was made")))?;
        Ok(HostVolumeWritten { volume, index })
    }

    /// Has nobody get the volume any more, has its node remove it, and forgets it.
    pub(super) async fn remove_volume(&self, request: DeleteHostVolume) -> Answer<StateIndex> {
        let DeleteHostVolume { id, namespace, force } = request;
        self.node.read_barrier().await.map_err(told)?;
        let known = self.node.store().snapshot().host_volume(&id).cloned();
        let known = known.filter(|volume| namespace.as_str() == "*" || volume.namespace == namespace);
        let volume = known.ok_or_else(|| Error::not_found("host volume not found"))?;
        self.delete_step(&volume, DeleteStep::Begin { force }).await?;
        let asked = self.ask_node(volume.node_id, Method::DELETE, &volume, Body::empty()).await;
        if let Err(error) = asked.map(drop)
            && !force
        {
            self.delete_step(&volume, DeleteStep::Abort).await?;
            let message = format!("the volume's node could not remove it ({error}): to forget it anyway, force");
            return Err(Error::new(error.kind(), message));
        }
        self.delete_step(&volume, DeleteStep::Finish).await
    }

    async fn write_volume(&self, volume: HostVolume) -> Answer<StateIndex> {
        let command = Command::PutHostVolume(Box::new(commands::PutHostVolume { volume }));
        self.propose(command).await.map(|committed| committed.index)
    }

    async fn delete_step(&self, volume: &HostVolume, step: DeleteStep) -> Answer<StateIndex> {
        let command = commands::DeleteHostVolume { id: volume.id, step };
        self.propose(Command::DeleteHostVolume(command)).await.map(|committed| committed.index)
    }

    async fn node_makes(&self, volume: &HostVolume) -> Answer<HostVolumeInfo> {
        let request = HostVolumeRequest {
            id: volume.id.to_string(),
            name: volume.name.clone(),
            namespace: volume.namespace.to_string(),
            plugin_id: volume.plugin_id.clone(),
            host_path: volume.host_path.clone(),
            capacity_min_bytes: volume.capacity_min,
            capacity_max_bytes: volume.capacity_max,
            parameters: volume.parameters.clone(),
        };
        let internal = |error: serde_json::Error| Error::internal(error.to_string());
        let body = serde_json::to_vec(&request).map_err(internal)?;
        let answer = self.ask_node(volume.node_id, Method::PUT, volume, Body::from(body)).await?;
        serde_json::from_slice(&answer).map_err(internal)
    }

    /// Asks the agent of a node about a volume; the body of its answer, if that is a success.
    async fn ask_node(&self, node: NodeId, method: Method, volume: &HostVolume, body: Body) -> Answer<Bytes> {
        let request = http::Request::builder()
            .method(method)
            .uri(format!("/v1/client/host-volume/{}?node_id={node}", volume.id))
            .header(http::header::HOST, "node")
            .header(FORWARDED, HeaderValue::from_static("1"))
            .body(body)
            .map_err(|error| Error::internal(error.to_string()))?;
        let asked = async {
            let (head, body) = self.node_http(node, request).await?.into_parts();
            let bytes = axum::body::to_bytes(body, ANSWER_BYTES)
                .await
                .map_err(|error| Error::new(Kind::Unavailable, format!("the node broke off: {error}")))?;
            if head.status.is_success() { Ok(bytes) } else { Err(refusal(head.status, &bytes)) }
        };
        let late = || Error::new(Kind::Unavailable, format!("node {node} did not answer within {PATIENCE:?}"));
        tokio::time::timeout(PATIENCE, asked).await.map_err(|_| late())?
    }
}

/// The volume that a request means: with its node chosen, or as it stands with what may be changed of it.
fn settled(state: &State, request: PutHostVolume) -> Answer<HostVolume> {
    let PutHostVolume { volume, node, exists } = request;
    if let Some(old) = state.host_volume(&volume.id) {
        let node_id = node.unwrap_or(old.node_id);
        let node_pool = old.node_pool.clone();
        let host_path = if volume.host_path.is_empty() { old.host_path.clone() } else { volume.host_path };
        return Ok(HostVolume { node_id, node_pool, host_path, ..volume });
    }
    if exists {
        let message = format!("volume {} not found: leave its ID out to make a new one", volume.id);
        return Err(Error::not_found(message));
    }
    if let Some(id) = node.filter(|id| state.node(id).is_none()) {
        return Err(Error::not_found(format!("node {id} not found")));
    }
    let wish = VolumeWish { name: &volume.name, pool: &volume.node_pool, constraints: &volume.constraints, node };
    let chosen = volume_node(state, &wish, Seed::new(seed())).map_err(|why| Error::invalid(why.to_string()))?;
    let pool = state.node(&chosen).map(|node| node.described.node_pool.clone()).unwrap_or_default();
    Ok(HostVolume { node_id: chosen, node_pool: pool, ..volume })
}
