//! What the client part of an agent does with its allocations and says of its machine.

use http::{HeaderValue, header};
use orch_api::allocation::{ActionResponse, AllocRestartRequest, AllocSignalRequest};
use orch_model::AllocId;

use super::forward::{Place, for_alloc, for_node};
use crate::call::Call;
use crate::error::Error;
use crate::ids;
use crate::local::RestartTarget;
use crate::{Body, Response};

/// `/v1/client/allocation/:id/:action`
pub(crate) async fn allocation(call: Call, id: &str, action: &str) -> Result<Response, Error> {
    match action {
        "stats" | "gc" | "snapshot" => call.must_get()?,
        "restart" | "signal" => call.must_put()?,
        _ => return Err(Error::unknown_path()),
    }
    let alloc: AllocId = ids::parse(id, &format!("Unknown allocation {id:?}"))?;
    let (local, mut call) = match for_alloc(call, alloc).await? {
        Place::Here(local, call) => (local, call),
        Place::Elsewhere(response) => return Ok(response),
    };
    match action {
        "stats" => {
            let task = Some(call.params.get("task")).filter(|task| !task.is_empty());
            call.answer(&local.alloc_stats(alloc, task).await?)
        }
        "restart" => {
            local.restart(alloc, restart_target(&mut call).await?).await?;
            call.answer(&ActionResponse::default())
        }
        "signal" => {
            let request: AllocSignalRequest = call.json().await?;
            if request.signal.is_empty() {
                return Err(Error::invalid("Signal must be given, such as \"SIGHUP\""));
            }
            let task = Some(request.task.as_str()).filter(|task| !task.is_empty());
            local.signal(alloc, task, &request.signal).await?;
            call.answer(&ActionResponse::default())
        }
        "snapshot" => {
            let mut response = Response::new(Body::from_stream(local.snapshot(alloc).await?));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-tar"));
            Ok(response)
        }
        _ => {
            local.gc_alloc(alloc).await?;
            Ok(call.done())
        }
    }
}

async fn restart_target(call: &mut Call) -> Result<RestartTarget, Error> {
    let request: AllocRestartRequest = call.json_if_any().await?.unwrap_or_default();
    match (request.all_tasks, request.task_name.is_empty()) {
        (true, true) => Ok(RestartTarget::All),
        (true, false) => Err(Error::invalid("AllTasks and TaskName cannot be given together")),
        (false, true) => Ok(RestartTarget::Running),
        (false, false) => Ok(RestartTarget::Task(request.task_name)),
    }
}

/// `/v1/client/stats`
pub(crate) async fn stats(call: Call) -> Result<Response, Error> {
    call.must_get()?;
    match for_node(call).await? {
        Place::Here(local, call) => call.answer(&local.host_stats().await?),
        Place::Elsewhere(response) => Ok(response),
    }
}

/// `/v1/client/gc`
pub(crate) async fn gc(call: Call) -> Result<Response, Error> {
    call.must_get()?;
    match for_node(call).await? {
        Place::Here(local, call) => {
            local.gc().await?;
            Ok(call.done())
        }
        Place::Elsewhere(response) => Ok(response),
    }
}

/// `/v1/client/metadata`
pub(crate) async fn metadata(call: Call) -> Result<Response, Error> {
    call.must_get()?;
    match for_node(call).await? {
        Place::Here(local, call) => call.answer(&local.metadata()),
        Place::Elsewhere(response) => Ok(response),
    }
}
