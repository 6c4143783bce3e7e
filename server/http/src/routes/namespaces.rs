//! Namespaces.

use orch_api::Namespace;

use crate::Response;
use crate::call::Call;
use crate::error::Error;
use crate::lenient::field_names;
use crate::list::{Key, Rows, page, to_value};
use crate::query;

/// `/v1/namespaces`
pub(crate) async fn all(call: Call) -> Result<Response, Error> {
    call.must_get()?;
    query::list(&call, &[], |view, read| {
        let mut namespaces = view.namespaces();
        namespaces.retain(|namespace| namespace.name.starts_with(&read.prefix));
        page(
            read,
            namespaces,
            &Rows {
                key: &|namespace: &Namespace| Key::Text(namespace.name.clone()),
                full: &to_value,
                fields: field_names::<Namespace>(),
                row: &Namespace::clone,
            },
        )
    })
    .await
}

/// `/v1/namespace/:name`
pub(crate) async fn one(call: Call, name: &str) -> Result<Response, Error> {
    call.must_get()?;
    query::object(&call, &[], |view| {
        let namespace = view.namespaces().into_iter().find(|namespace| namespace.name == name);
        namespace.ok_or_else(|| Error::not_found(format!("Namespace {name:?} not found")))
    })
    .await
}
