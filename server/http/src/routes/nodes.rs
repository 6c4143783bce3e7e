//! Nodes.

use std::sync::Arc;

use orch_api::node::{NodeEligibilityRequest, NodeEligibilityResponse, NodeUpdateResponse};
use orch_api::{Node as NodeShape, NodeListParts, NodeListStub};
use orch_model::node::Eligibility;
use orch_model::{Node, NodeId};

use super::allocations;
use crate::Response;
use crate::call::{Call, Verb};
use crate::control::{NodeWritten, Scope, Table, View};
use crate::error::Error;
use crate::ids;
use crate::lenient::field_names;
use crate::list::{Key, Page, Rows, page, to_value};
use crate::params::Read;
use crate::query;

const MISSING: &str = "node not found";

/// `/v1/nodes`
pub(crate) async fn all(call: Call) -> Result<Response, Error> {
    call.must_get()?;
    let parts = parts(&call)?;
    query::list(&call, &[Scope::Table(Table::Nodes)], |view, read| stubs(read, with_prefix(view, read)?, parts)).await
}

/// The nodes that `read` asks for.
pub(crate) fn with_prefix(view: &dyn View, read: &Read) -> Result<Vec<Arc<Node>>, Error> {
    let (first, last) = ids::range(&read.prefix)?;
    Ok(view.nodes_between(NodeId::from_uuid(first), NodeId::from_uuid(last)))
}

/// Which parts of a node a list shows.
pub(crate) fn parts(call: &Call) -> Result<NodeListParts, Error> {
    Ok(NodeListParts {
        resources: call.params.flag("resources")?.unwrap_or(false),
        os: call.params.flag("os")?.unwrap_or(false),
    })
}

/// The rows of `nodes`.
pub(crate) fn stubs(read: &Read, nodes: Vec<Arc<Node>>, parts: NodeListParts) -> Result<Page<NodeListStub>, Error> {
    page(
        read,
        nodes,
        &Rows {
            key: &|node: &Arc<Node>| Key::Text(node.id.to_string()),
            full: &|node| to_value(&NodeShape::of(node)),
            fields: field_names::<NodeShape>(),
            row: &|node| NodeListStub::of(node, parts),
        },
    )
}

/// `/v1/node/:id`
pub(crate) async fn one(call: Call, id: &str) -> Result<Response, Error> {
    call.must_get()?;
    let id: NodeId = ids::parse(id, MISSING)?;
    query::object(&call, &[Scope::Node(Table::Nodes, id)], |view| {
        view.node(id).map(|node| NodeShape::of(&node)).ok_or_else(|| Error::not_found(MISSING))
    })
    .await
}

/// `/v1/node/:id/:action`
pub(crate) async fn action(call: Call, id: &str, action: &str) -> Result<Response, Error> {
    let parsed = || ids::parse::<NodeId>(id, MISSING);
    match (action, call.verb) {
        ("allocations", Verb::Get) => allocations_of(&call, parsed()?).await,
        ("eligibility", Verb::Put) => eligibility(call, id, parsed()?).await,
        ("evaluate", Verb::Put) => {
            let written = call.agent.control()?.evaluate_node(parsed()?).await?;
            updated(&call, written).await
        }
        ("purge", Verb::Put) => {
            let written = call.agent.control()?.purge_node(parsed()?).await?;
            updated(&call, written).await
        }
        ("allocations" | "eligibility" | "evaluate" | "purge", _) => Err(Error::method()),
        _ => Err(Error::unknown_path()),
    }
}

async fn allocations_of(call: &Call, id: NodeId) -> Result<Response, Error> {
    query::list(call, &[Scope::Node(Table::Allocs, id)], |view, _| {
        if view.node(id).is_none() {
            return Err(Error::not_found(MISSING));
        }
        let allocs = view.allocs_of_node(id);
        Ok(Page::whole(allocs.iter().map(|alloc| allocations::full(view, alloc)).collect()))
    })
    .await
}

async fn eligibility(mut call: Call, path_id: &str, id: NodeId) -> Result<Response, Error> {
    let request: NodeEligibilityRequest = call.json().await?;
    if !request.node_id.is_empty() && !request.node_id.eq_ignore_ascii_case(path_id) {
        return Err(Error::invalid("NodeID does not match the one in the path"));
    }
    let eligibility = match request.eligibility.as_str() {
        "eligible" => Eligibility::Eligible,
        "ineligible" => Eligibility::Ineligible,
        other => {
            return Err(Error::invalid(format!(
                "invalid scheduling eligibility {other:?}: use \"eligible\" or \"ineligible\""
            )));
        }
    };
    let written = call.agent.control()?.set_eligibility(id, eligibility).await?;
    let response = NodeEligibilityResponse {
        node_modify_index: written.node_modify_index.0,
        eval_ids: written.eval_ids.iter().map(ToString::to_string).collect(),
        eval_create_index: written.eval_create_index.0,
        index: written.index.0,
    };
    call.written(&response, written.index)
}

async fn updated(call: &Call, written: NodeWritten) -> Result<Response, Error> {
    let response = NodeUpdateResponse {
        eval_ids: written.eval_ids.iter().map(ToString::to_string).collect(),
        eval_create_index: written.eval_create_index.0,
        node_modify_index: written.node_modify_index.0,
        leader_rpc_addr: call.agent.control()?.leader().await.unwrap_or_default(),
        index: written.index.0,
        ..NodeUpdateResponse::default()
    };
    call.written(&response, written.index)
}
