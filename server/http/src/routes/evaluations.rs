//! Evaluations.

use std::sync::Arc;

use orch_api::Evaluation as EvaluationShape;
use orch_api::evaluation::{EvalCountResponse, EvaluationStub};
use orch_model::{EvalId, Evaluation};

use super::allocations;
use crate::Response;
use crate::call::Call;
use crate::control::{Scope, Table, View};
use crate::error::Error;
use crate::ids;
use crate::lenient::field_names;
use crate::list::{Key, Page, Rows, page, to_value};
use crate::params::{Params, Read};
use crate::query;

const MISSING: &str = "eval not found";

/// `/v1/evaluations`
pub(crate) async fn all(call: Call) -> Result<Response, Error> {
    call.must_get()?;
    let plain = Plain::of(&call.params, &call.read()?)?;
    let scope = scope(&call.read()?);
    query::list(&call, &[scope], |view, read| rows(read, plain.select(view, read)?)).await
}

/// `/v1/evaluations/count`
pub(crate) async fn count(call: Call) -> Result<Response, Error> {
    call.must_get()?;
    let plain = Plain::of(&call.params, &call.read()?)?;
    let unpaged = Read { per_page: 0, next_token: String::new(), ..call.read()? };
    query::enveloped(&call, &[scope(&unpaged)], |view, meta| {
        let found = rows(&unpaged, plain.select(view, &unpaged)?)?;
        Ok(EvalCountResponse {
            count: u64::try_from(found.items.len()).unwrap_or(u64::MAX),
            index: meta.index.0,
            last_contact: meta.last_contact_nanos(),
            known_leader: meta.known_leader,
            next_token: String::new(),
        })
    })
    .await
}

fn scope(read: &Read) -> Scope {
    match &read.namespace {
        Some(namespace) => Scope::Namespace(Table::Evals, namespace.clone()),
        None => Scope::Table(Table::Evals),
    }
}

/// The filters that have parameters of their own.
struct Plain {
    status: String,
    job: String,
}

impl Plain {
    fn of(params: &Params, read: &Read) -> Result<Self, Error> {
        let plain = Self { status: params.get("status").to_owned(), job: params.get("job").to_owned() };
        let given = !plain.status.is_empty() || !plain.job.is_empty();
        if given && !read.filter.is_empty() {
            return Err(Error::invalid("Filter expression cannot be used with other filter parameters"));
        }
        Ok(plain)
    }

    fn select(&self, view: &dyn View, read: &Read) -> Result<Vec<Arc<Evaluation>>, Error> {
        let mut evals = if read.prefix.is_empty() {
            view.evals(read.namespace.as_ref())
        } else {
            let (first, last) = ids::range(&read.prefix)?;
            view.evals_between(EvalId::from_uuid(first), EvalId::from_uuid(last))
        };
        evals.retain(|eval| {
            read.namespace.as_ref().is_none_or(|namespace| eval.namespace == *namespace)
                && (self.status.is_empty() || eval.status.as_str() == self.status)
                && (self.job.is_empty() || eval.job_id.as_str() == self.job)
        });
        Ok(evals)
    }
}

/// The rows of `evals`.
pub(crate) fn rows(read: &Read, evals: Vec<Arc<Evaluation>>) -> Result<Page<EvaluationShape>, Error> {
    let by_id = !read.prefix.is_empty();
    page(
        read,
        evals,
        &Rows {
            key: &|eval: &Arc<Evaluation>| match by_id {
                true => Key::Text(eval.id.to_string()),
                false => Key::Created(eval.create_index.0, eval.id.to_string()),
            },
            full: &|eval| to_value(&EvaluationShape::of(eval)),
            fields: field_names::<EvaluationShape>(),
            row: &|eval| EvaluationShape::of(eval),
        },
    )
}

/// `/v1/evaluation/:id`
pub(crate) async fn one(call: Call, id: &str) -> Result<Response, Error> {
    call.must_get()?;
    let id: EvalId = ids::parse(id, MISSING)?;
    let related = call.params.flag("related")?.unwrap_or(false);
    query::object(&call, &[Scope::Eval(Table::Evals, id)], |view| {
        let eval = view.eval(id).ok_or_else(|| Error::not_found(MISSING))?;
        let mut shape = EvaluationShape::of(&eval);
        if related {
            shape.related_evals = related_to(view, &eval);
        }
        Ok(shape)
    })
    .await
}

/// Those before and after `eval` in its chain, and what waits for what it could not place.
fn related_to(view: &dyn View, eval: &Evaluation) -> Vec<EvaluationStub> {
    let mut known = vec![eval.id];
    let mut found = Vec::new();
    let mut open = vec![eval.previous, eval.next, eval.blocked];
    while let Some(next) = open.pop() {
        let Some(other) = next.filter(|id| !known.contains(id)).and_then(|id| view.eval(id)) else { continue };
        known.push(other.id);
        open.extend([other.previous, other.next, other.blocked]);
        found.push(EvaluationStub::of(&other));
    }
    found
}

/// `/v1/evaluation/:id/allocations`
pub(crate) async fn allocations(call: Call, id: &str) -> Result<Response, Error> {
    call.must_get()?;
    let id: EvalId = ids::parse(id, MISSING)?;
    let parts = allocations::parts(&call)?;
    query::list(&call, &[Scope::Eval(Table::Allocs, id)], |view, read| {
        allocations::stubs(view, read, view.allocs_of_eval(id), parts)
    })
    .await
}
