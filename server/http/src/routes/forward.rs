//! Where a request about a node or its allocation is answered: here, by the node's agent, or by a server.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use orch_model::{AllocId, NodeId};

use crate::call::Call;
use crate::control::{Consistency, ControlPlane};
use crate::error::Error;
use crate::local::LocalNode;
use crate::{Response, ids};

/// Says that a server chose this agent to answer, so that a request is not passed round in a circle.
pub const FORWARDED: HeaderName = HeaderName::from_static("x-orch-forwarded");

/// Who answers.
pub(crate) enum Place {
    /// This agent.
    Here(Arc<dyn LocalNode>, Call),
    /// Another one, and this is what it said.
    Elsewhere(Response),
}

/// Finds out who answers for an allocation, and asks it if it is not this agent.
pub(crate) async fn for_alloc(call: Call, alloc: AllocId) -> Result<Place, Error> {
    let is_last = call.was_forwarded() && call.agent.control.is_none();
    if let Some(local) = call.agent.local.clone().filter(|local| is_last || local.has_alloc(alloc)) {
        return Ok(Place::Here(local, call));
    }
    let Some(control) = call.agent.control.clone() else { return tunnel(call).await.map(Place::Elsewhere) };
    let unknown = || Error::not_found(format!("Unknown allocation \"{alloc}\""));
    // An allocation never moves, so what this server has is enough if it is there.
    let known = control.view(Consistency::Stale).await?.alloc(alloc);
    let known = match known {
        Some(known) => known,
        None => control.view(Consistency::Linearizable).await?.alloc(alloc).ok_or_else(unknown)?,
    };
    if let Some(local) = call.agent.local.clone().filter(|local| local.node_id() == known.node_id) {
        return Ok(Place::Here(local, call));
    }
    pass_on(&*control, known.node_id, call).await
}

/// Finds out who answers for the node that the query names, by default this one, and asks it if it is not this agent.
pub(crate) async fn for_node(call: Call) -> Result<Place, Error> {
    let named = match call.params.get("node_id") {
        "" => None,
        id => Some(ids::parse::<NodeId>(id, "node not found")?),
    };
    // Also of a request that a server passed on: this agent may be a server with a node of its own.
    let mine = |local: &Arc<dyn LocalNode>| named.is_none_or(|id| id == local.node_id());
    if let Some(local) = call.agent.local.clone().filter(mine) {
        return Ok(Place::Here(local, call));
    }
    let id = named.ok_or_else(|| Error::invalid("No local Node and node_id not provided"))?;
    match call.agent.control.clone() {
        Some(control) => pass_on(&*control, id, call).await,
        None => tunnel(call).await.map(Place::Elsewhere),
    }
}

async fn pass_on(control: &dyn ControlPlane, node: NodeId, call: Call) -> Result<Place, Error> {
    let upgrades = call.upgrades.clone();
    let mut request = call.into_request();
    request.headers_mut().insert(FORWARDED, HeaderValue::from_static("1"));
    upgrades.pass_on(request, |request| control.node_http(node, request)).await.map(Place::Elsewhere)
}

impl Call {
    /// Whether a server passed the request to this agent.
    pub(crate) fn was_forwarded(&self) -> bool {
        self.has_header(&FORWARDED)
    }
}

/// Passes a request to a server.
pub(crate) async fn tunnel(call: Call) -> Result<Response, Error> {
    match call.agent.local.clone() {
        Some(local) => {
            let upgrades = call.upgrades.clone();
            upgrades.pass_on(call.into_request(), |request| local.tunnel(request)).await
        }
        None => Err(Error::internal("this agent is neither a server nor a client")),
    }
}
