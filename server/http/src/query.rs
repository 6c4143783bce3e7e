//! Reads of the state: consistent, and waiting for something newer where that is asked for.

use std::sync::Arc;
use std::time::Duration;

use orch_model::StateIndex;
use serde::Serialize;
use tokio::time::Instant;

use crate::Response;
use crate::call::{Call, ReadMeta};
use crate::control::{Scope, View};
use crate::error::{Error, Kind};
use crate::limits;
use crate::list::Page;
use crate::params::Read;
use crate::telemetry;

/// Reads one object and answers with it.
pub(crate) async fn object<T: Serialize>(
    call: &Call,
    scopes: &[Scope],
    find: impl FnOnce(&dyn View) -> Result<T, Error>,
) -> Result<Response, Error> {
    enveloped(call, scopes, |view, _| find(view)).await
}

/// Reads one object that repeats what the answer says about itself, and answers with it.
pub(crate) async fn enveloped<T: Serialize>(
    call: &Call,
    scopes: &[Scope],
    find: impl FnOnce(&dyn View, &ReadMeta) -> Result<T, Error>,
) -> Result<Response, Error> {
    let read = call.read()?;
    let view = fresh_view(call, &read, scopes).await?;
    let meta = ReadMeta::of(&*view, newest(&*view, scopes));
    let mut response = call.answer(&find(&*view, &meta)?)?;
    meta.write_to(response.headers_mut());
    Ok(response)
}

/// Reads a page of a list and answers with it.
pub(crate) async fn list<T: Serialize>(
    call: &Call,
    scopes: &[Scope],
    find: impl FnOnce(&dyn View, &Read) -> Result<Page<T>, Error>,
) -> Result<Response, Error> {
    let read = call.read()?;
    let view = fresh_view(call, &read, scopes).await?;
    let mut meta = ReadMeta::of(&*view, newest(&*view, scopes));
    let page = find(&*view, &read)?;
    meta.next_token = page.next_token;
    let mut response = call.answer(&page.items)?;
    meta.write_to(response.headers_mut());
    Ok(response)
}

/// A view in which `scopes` are above the index that `read` has seen, or what there is when its time is up.
///
/// No view is held while it waits.
async fn fresh_view(call: &Call, read: &Read, scopes: &[Scope]) -> Result<Arc<dyn View>, Error> {
    let control = call.agent.control()?;
    if read.index == StateIndex(0) {
        return control.view(read.consistency).await;
    }
    let deadline = Instant::now() + lengthened(read.wait);
    let view = control.view(read.consistency).await?;
    if newest(&*view, scopes) > read.index {
        return Ok(view);
    }
    drop(view);
    let _permit = call.waiting.try_acquire().map_err(|_| {
        telemetry::wait_refused();
        Error::new(Kind::TooMany, format!("{} reads wait here already: try again later", limits::WAITING_READS))
    })?;
    control.wait(scopes, read.index, deadline).await;
    control.view(read.consistency).await
}

/// When something in one of `scopes` was last written; at least 1.
fn newest(view: &dyn View, scopes: &[Scope]) -> StateIndex {
    scopes.iter().map(|scope| view.index(scope)).max().unwrap_or_default().max(StateIndex(1))
}

/// `wait` and up to a sixteenth of it, so that waiters do not all return at once.
fn lengthened(wait: Duration) -> Duration {
    let (random, _) = uuid::Uuid::new_v4().as_u64_pair();
    let permille = u32::try_from(random % 1000).unwrap_or_default();
    wait + wait / limits::WAIT_JITTER_PART / 1000 * permille
}
