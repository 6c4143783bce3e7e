//! Node pools.

use orch_api::NodePool;

use super::{jobs, nodes};
use crate::Response;
use crate::call::Call;
use crate::control::{Scope, Table, View};
use crate::error::Error;
use crate::lenient::field_names;
use crate::list::{Key, Rows, page, to_value};
use crate::query;

/// `/v1/node/pools`
pub(crate) async fn all(call: Call) -> Result<Response, Error> {
    call.must_get()?;
    query::list(&call, &[Scope::Table(Table::Nodes)], |view, read| {
        let mut pools = view.node_pools();
        pools.retain(|pool| pool.name.starts_with(&read.prefix));
        page(
            read,
            pools,
            &Rows {
                key: &|pool: &NodePool| Key::Text(pool.name.clone()),
                full: &to_value,
                fields: field_names::<NodePool>(),
                row: &NodePool::clone,
            },
        )
    })
    .await
}

fn find(view: &dyn View, name: &str) -> Result<NodePool, Error> {
    let pool = view.node_pools().into_iter().find(|pool| pool.name == name);
    pool.ok_or_else(|| Error::not_found("node pool not found"))
}

/// `/v1/node/pool/:name`
pub(crate) async fn one(call: Call, name: &str) -> Result<Response, Error> {
    call.must_get()?;
    query::object(&call, &[Scope::Table(Table::Nodes)], |view| find(view, name)).await
}

/// `/v1/node/pool/:name/nodes`
pub(crate) async fn nodes_of(call: Call, name: &str) -> Result<Response, Error> {
    call.must_get()?;
    let parts = nodes::parts(&call)?;
    query::list(&call, &[Scope::Table(Table::Nodes)], |view, read| {
        find(view, name)?;
        let mut found = nodes::with_prefix(view, read)?;
        found.retain(|node| name == NodePool::ALL || node.described.node_pool == name);
        nodes::stubs(read, found, parts)
    })
    .await
}

/// `/v1/node/pool/:name/jobs`
pub(crate) async fn jobs_of(call: Call, name: &str) -> Result<Response, Error> {
    call.must_get()?;
    let meta = call.params.flag("meta")?.unwrap_or(false);
    let namespace = call.read()?.namespace;
    query::list(&call, &jobs::scopes(namespace.as_ref()), |view, read| {
        find(view, name)?;
        let mut found = view.jobs(read.namespace.as_ref(), &read.prefix);
        found.retain(|job| job.node_pool == name);
        jobs::stubs(view, read, found, meta)
    })
    .await
}
