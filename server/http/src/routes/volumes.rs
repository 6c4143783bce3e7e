//! Host volumes, the claims on them, and what the agent of a node does about them.

use std::sync::Arc;

use orch_api::allocation::AllocListStub;
use orch_api::volume::{
    HostVolumeCapability, HostVolumeDeleteResponse, HostVolumeRequest, HostVolumeWriteRequest, HostVolumeWriteResponse,
    TaskGroupHostVolumeClaim,
};
use orch_api::{AllocListParts, HostVolume as HostVolumeShape, HostVolumeStub};
use orch_model::admission::validate_host_volume;
use orch_model::ids::VolumeClaimId;
use orch_model::volume::{VolumeCapability, VolumeClaim, VolumeState};
use orch_model::{HostVolume, HostVolumeId, Namespace, NodeId, StateIndex, Timestamp};

use super::allocations::node_name;
use super::forward::{self, Place};
use crate::Response;
use crate::call::{Call, Verb};
use crate::control::{Consistency, DeleteHostVolume, PutHostVolume, Scope, Table, View};
use crate::error::{Error, Kind};
use crate::ids;
use crate::lenient::field_names;
use crate::list::{Key, Page, Rows, page, to_value};
use crate::params::Read;
use crate::query;

/// Where the directory of a volume comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// Its node makes it.
    Made,
    /// It is there, and its node takes it over.
    TakenOver,
}

fn missing() -> Error {
    Error::not_found("host volume not found")
}

/// What is asked about CSI volumes.
pub(crate) fn of_csi() -> Result<Response, Error> {
    Err(Error::new(Kind::NotImplemented, "CSI volumes are not supported yet; host volumes are: use type \"host\""))
}

/// `/v1/volumes`
pub(crate) async fn all(call: Call) -> Result<Response, Error> {
    match (call.verb, call.params.get("type")) {
        (Verb::Get, "host") => list(call).await,
        // There are no CSI volumes, and without a type none are asked for.
        (Verb::Get, "" | "csi") => call.answer::<[HostVolumeStub]>(&[]),
        (Verb::Get, _) => Err(Error::not_found("No volumes of this type")),
        (Verb::Put, _) => of_csi(),
        (Verb::Delete, _) => Err(Error::method()),
    }
}

async fn list(call: Call) -> Result<Response, Error> {
    let node = match call.params.get("node_id") {
        "" => None,
        prefix => Some(ids::range(prefix)?),
    };
    let (pool, plugin) = (call.params.get("node_pool"), call.params.get("plugin_id"));
    query::list(&call, &[scope_of(&call, Table::HostVolumes)?], |view, read| {
        let mut volumes = view.host_volumes(read.namespace.as_ref());
        volumes.retain(|volume| {
            let is_on = |(first, last)| (first..=last).contains(&volume.node_id.as_uuid());
            (volume.id.to_string().starts_with(&read.prefix) || volume.name.starts_with(&read.prefix))
                && node.is_none_or(is_on)
                && matches!(pool, "" | "*" | "all") | (volume.node_pool == pool)
                && (plugin.is_empty() || volume.plugin_id == plugin)
        });
        rows(read, volumes)
    })
    .await
}

fn scope_of(call: &Call, table: Table) -> Result<Scope, Error> {
    Ok(match call.read()?.namespace {
        Some(namespace) => Scope::Namespace(table, namespace),
        None => Scope::Table(table),
    })
}

fn rows(read: &Read, volumes: Vec<Arc<HostVolume>>) -> Result<Page<HostVolumeStub>, Error> {
    page(
        read,
        volumes,
        &Rows {
            key: &|volume: &Arc<HostVolume>| Key::Text(format!("{}.{}", volume.namespace, volume.id)),
            full: &|volume| to_value(&HostVolumeShape::new(volume, Vec::new())),
            fields: field_names::<HostVolumeShape>(),
            row: &|volume| HostVolumeStub::new(volume),
        },
    )
}

/// `/v1/volume/host/:id`
pub(crate) async fn one(call: Call, id: &str) -> Result<Response, Error> {
    let id: HostVolumeId = id.parse().map_err(|_| missing())?;
    let namespace = call.params.namespace();
    match call.verb {
        Verb::Get => {
            // Those who use it change without the volume, so the query waits for the allocations of its node, too.
            let view = call.agent.control()?.view(call.read()?.consistency).await?;
            let node = view.host_volume(id).ok_or_else(missing)?.node_id;
            drop(view);
            let scopes = [Scope::HostVolume(id), Scope::Node(Table::Allocs, node)];
            query::object(&call, &scopes, |view| {
                let volume = view.host_volume(id).filter(|volume| is_in(&namespace, &volume.namespace));
                volume.map(|volume| full(view, &volume)).ok_or_else(missing)
            })
            .await
        }
        Verb::Delete => {
            let force = call.params.flag("force")?.unwrap_or(false);
            let request = DeleteHostVolume { id, namespace, force };
            let index = call.agent.control()?.delete_host_volume(request).await?;
            call.written(&HostVolumeDeleteResponse { index: index.0 }, index)
        }
        Verb::Put => Err(Error::method()),
    }
}

fn is_in(wanted: &Namespace, namespace: &Namespace) -> bool {
    wanted.as_str() == "*" || wanted == namespace
}

fn full(view: &dyn View, volume: &HostVolume) -> HostVolumeShape {
    let users = view.allocs_of_host_volume(volume);
    let parts = AllocListParts { resources: false, task_states: false };
    let stub = |alloc: &Arc<orch_model::Allocation>| AllocListStub::of(alloc, &node_name(view, alloc.node_id), parts);
    HostVolumeShape::new(volume, users.iter().map(stub).collect())
}

/// `/v1/volume/host/create` and `/v1/volume/host/register`
pub(crate) async fn put(mut call: Call, source: Source) -> Result<Response, Error> {
    call.must_put()?;
    let request: HostVolumeWriteRequest = call.json().await?;
    let asked = request.volume.ok_or_else(|| Error::invalid("missing volume definition: set Volume"))?;
    let request = checked(&call, asked, source)?;
    let warnings = warnings(&request.volume, source);
    let control = call.agent.control()?;
    let written = control.put_host_volume(request).await?;
    let view = control.view(Consistency::Stale).await?;
    let volume = Some(full(&*view, &written.volume));
    call.written(&HostVolumeWriteResponse { volume, warnings, index: written.index.0 }, written.index)
}

/// The volume that a request asks for; what the state and the node write of it is left out.
fn checked(call: &Call, asked: HostVolumeShape, source: Source) -> Result<PutHostVolume, Error> {
    let is_there = source == Source::TakenOver;
    let node: Option<NodeId> = match asked.node_id.as_str() {
        "" if is_there => return Err(Error::invalid("a volume that is registered needs a NodeID")),
        "" => None,
        id => Some(id.parse().map_err(|error| Error::invalid(format!("NodeID: {error}")))?),
    };
    let id: Option<HostVolumeId> = match asked.id.as_str() {
        "" => None,
        id => Some(id.parse().map_err(|error| Error::invalid(format!("ID: {error}")))?),
    };
    let plugin_id = if asked.plugin_id.is_empty() && !is_there { HostVolume::MKDIR.into() } else { asked.plugin_id };
    let namespace = if asked.namespace.is_empty() { call.params.namespace() } else { Namespace::from(asked.namespace) };
    let capabilities = asked.requested_capabilities.iter().map(capability).collect::<Result<_, _>>()?;
    let volume = HostVolume {
        id: id.unwrap_or_else(|| HostVolumeId::from_uuid(uuid::Uuid::new_v4())),
        name: asked.name,
        namespace,
        plugin_id,
        node_pool: asked.node_pool,
        node_id: node.unwrap_or_default(),
        constraints: asked.constraints,
        capabilities,
        capacity_min: asked.requested_capacity_min_bytes,
        capacity_max: asked.requested_capacity_max_bytes,
        capacity: if is_there { asked.capacity_bytes } else { 0 },
        parameters: asked.parameters,
        host_path: asked.host_path,
        state: VolumeState::Pending,
        deleting: false,
        create_index: StateIndex::default(),
        modify_index: StateIndex::default(),
        create_time: Timestamp::NONE,
        modify_time: Timestamp::NONE,
    };
    let errors = validate_host_volume(&volume, is_there);
    if errors.is_empty() {
        return Ok(PutHostVolume { volume, node, exists: id.is_some() });
    }
    let told: Vec<_> = errors.iter().map(ToString::to_string).collect();
    Err(Error::invalid(format!("volume validation failed: {}", told.join("; "))))
}

fn capability(asked: &HostVolumeCapability) -> Result<VolumeCapability, Error> {
    let HostVolumeCapability { attachment_mode, access_mode } = asked;
    Ok(VolumeCapability {
        access: access_mode.parse().map_err(|error| Error::invalid(format!("AccessMode: {error}")))?,
        attachment: attachment_mode.parse().map_err(|error| Error::invalid(format!("AttachmentMode: {error}")))?,
    })
}

fn warnings(volume: &HostVolume, source: Source) -> String {
    let is_sized = volume.capacity_min > 0 || volume.capacity_max > 0;
    if source == Source::Made && volume.plugin_id == HostVolume::MKDIR && is_sized {
        return "plugin \"mkdir\" makes directories without a size: the capacity that was asked for is only noted"
            .into();
    }
    String::new()
}

/// `/v1/volumes/claims`
pub(crate) async fn claims(call: Call) -> Result<Response, Error> {
    call.must_get()?;
    let is_wanted = |name: &str, value: &str| matches!(call.params.get(name), "") || call.params.get(name) == value;
    query::list(&call, &[scope_of(&call, Table::VolumeClaims)?], |view, read| {
        let mut claims = view.volume_claims(read.namespace.as_ref());
        claims.retain(|claim| {
            is_wanted("job_id", claim.job.job_id.as_str())
                && is_wanted("task_group", &claim.group)
                && is_wanted("volume_name", &claim.volume_name)
                && claim.id.to_string().starts_with(&read.prefix)
        });
        page(
            read,
            claims,
            &Rows {
                key: &|claim: &Arc<VolumeClaim>| Key::Text(format!("{}.{}", claim.job.namespace, claim.id)),
                full: &|claim| to_value(&TaskGroupHostVolumeClaim::new(claim)),
                fields: field_names::<TaskGroupHostVolumeClaim>(),
                row: &|claim| TaskGroupHostVolumeClaim::new(claim),
            },
        )
    })
    .await
}

/// `/v1/volumes/claim/:id`
pub(crate) async fn delete_claim(call: Call, id: &str) -> Result<Response, Error> {
    if call.verb != Verb::Delete {
        return Err(Error::method());
    }
    let id: VolumeClaimId = id.parse().map_err(|_| Error::not_found("volume claim not found"))?;
    let index = call.agent.control()?.delete_volume_claim(id).await?;
    call.written(&(), index)
}

/// `/v1/client/host-volume/:id?node_id=`: what a server asks of the agent of a node, and nobody else may. Another server may have the way
/// to the node.
pub(crate) async fn on_node(call: Call, id: &str) -> Result<Response, Error> {
    if !call.was_forwarded() || call.params.get("node_id").is_empty() {
        return Err(Error::unknown_path());
    }
    let (local, mut call) = match forward::for_node(call).await? {
        Place::Here(local, call) => (local, call),
        Place::Elsewhere(answer) => return Ok(answer),
    };
    let id: HostVolumeId = ids::parse(id, "host volume not found")?;
    match call.verb {
        Verb::Put => {
            let request: HostVolumeRequest = call.json().await?;
            call.answer(&local.create_host_volume(request).await?)
        }
        Verb::Delete => {
            local.delete_host_volume(id).await?;
            Ok(call.done())
        }
        Verb::Get => Err(Error::method()),
    }
}
