//! Allocations.

use std::sync::Arc;

use orch_api::allocation::AllocStopResponse;
use orch_api::{AllocListParts, AllocListStub, Allocation as AllocationShape};
use orch_model::{AllocId, Allocation, NodeId};

use super::jobs::new_eval_id;
use crate::Response;
use crate::call::Call;
use crate::control::{Scope, StopAlloc, Table, View};
use crate::error::Error;
use crate::ids;
use crate::lenient::field_names;
use crate::list::{Key, Page, Rows, page, to_value};
use crate::params::Read;
use crate::query;

const MISSING: &str = "alloc not found";

/// `/v1/allocations`
pub(crate) async fn all(call: Call) -> Result<Response, Error> {
    call.must_get()?;
    let parts = parts(&call)?;
    let scope = match call.read()?.namespace {
        Some(namespace) => Scope::Namespace(Table::Allocs, namespace),
        None => Scope::Table(Table::Allocs),
    };
    query::list::<AllocListStub>(&call, &[scope], |view, read| {
        let allocs =
            if read.prefix.is_empty() { view.allocs(read.namespace.as_ref()) } else { with_prefix(view, read)? };
        stubs(view, read, allocs, parts)
    })
    .await
}

fn with_prefix(view: &dyn View, read: &Read) -> Result<Vec<Arc<Allocation>>, Error> {
    let (first, last) = ids::range(&read.prefix)?;
    let mut allocs = view.allocs_between(AllocId::from_uuid(first), AllocId::from_uuid(last));
    if let Some(namespace) = &read.namespace {
        allocs.retain(|alloc| alloc.job.namespace == *namespace);
    }
    Ok(allocs)
}

/// Which parts of an allocation a list shows.
pub(crate) fn parts(call: &Call) -> Result<AllocListParts, Error> {
    Ok(AllocListParts {
        resources: call.params.flag("resources")?.unwrap_or(false),
        task_states: call.params.flag("task_states")?.unwrap_or(true),
    })
}

/// The rows of `allocs`.
pub(crate) fn stubs(
    view: &dyn View,
    read: &Read,
    allocs: Vec<Arc<Allocation>>,
    parts: AllocListParts,
) -> Result<Page<AllocListStub>, Error> {
    let by_id = !read.prefix.is_empty();
    page(
        read,
        allocs,
        &Rows {
            key: &|alloc: &Arc<Allocation>| match by_id {
                true => Key::Text(alloc.id.to_string()),
                false => Key::Created(alloc.create_index.0, alloc.id.to_string()),
            },
            full: &|alloc| to_value(&full(view, alloc)),
            fields: field_names::<AllocationShape>(),
            row: &|alloc| AllocListStub::of(alloc, &node_name(view, alloc.node_id), parts),
        },
    )
}

/// An allocation in full.
pub(crate) fn full(view: &dyn View, alloc: &Allocation) -> AllocationShape {
    AllocationShape::of(alloc, &node_name(view, alloc.node_id), view.eval(alloc.eval_id).as_deref())
}

pub(crate) fn node_name(view: &dyn View, node: NodeId) -> String {
    view.node(node).map(|node| node.described.name.clone()).unwrap_or_default()
}

/// `/v1/allocation/:id`
pub(crate) async fn one(call: Call, id: &str) -> Result<Response, Error> {
    call.must_get()?;
    let id: AllocId = ids::parse(id, MISSING)?;
    query::object(&call, &[Scope::Alloc(id)], |view| {
        view.alloc(id).map(|alloc| full(view, &alloc)).ok_or_else(|| Error::not_found(MISSING))
    })
    .await
}

/// `/v1/allocation/:id/stop`
pub(crate) async fn stop(call: Call, id: &str) -> Result<Response, Error> {
    call.must_put()?;
    let request = StopAlloc {
        alloc: ids::parse(id, MISSING)?,
        eval_id: new_eval_id(),
        no_shutdown_delay: call.params.flag("no_shutdown_delay")?.unwrap_or(false),
        reschedule: call.params.flag("reschedule")?.unwrap_or(false),
    };
    let written = call.agent.control()?.stop_alloc(request).await?;
    let eval_id = written.eval_id.map(|id| id.to_string()).unwrap_or_default();
    call.written(&AllocStopResponse { eval_id, index: written.index.0 }, written.index)
}
