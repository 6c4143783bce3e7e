//! Files and logs of allocations.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use http::{HeaderValue, header};
use orch_api::StreamFrame;
use orch_model::AllocId;

use super::forward::{Place, for_alloc};
use crate::call::Call;
use crate::error::Error;
use crate::limits;
use crate::local::{ByteStream, FrameStream, LocalNode, LogKind, LogRequest, Origin, Position};
use crate::params::Params;
use crate::{Body, Response};

/// `/v1/client/fs/:action/:alloc`
pub(crate) async fn files(call: Call, action: &str, alloc: &str) -> Result<Response, Error> {
    call.must_get()?;
    let Some(request) = FileRequest::parse(action, &call.params)? else { return Err(Error::unknown_path()) };
    let alloc: AllocId = alloc.parse().map_err(|_| Error::invalid("must provide a valid alloc id"))?;
    match for_alloc(call, alloc).await? {
        Place::Here(local, call) => request.answer(&call, &local, alloc).await,
        Place::Elsewhere(response) => Ok(response),
    }
}

/// What is asked of an allocation's files.
enum FileRequest {
    List { path: String },
    Stat { path: String },
    Read { path: String, offset: u64, limit: Option<u64> },
    Stream { path: String, from: Position, follow: bool },
    Logs { request: LogRequest, plain: bool },
}

impl FileRequest {
    /// Reads the parameters of `action`; `None` if there is no such action.
    fn parse(action: &str, params: &Params) -> Result<Option<Self>, Error> {
        Ok(Some(match action {
            "ls" => Self::List { path: path_or_root(params) },
            "stat" => Self::Stat { path: path_or_root(params) },
            "cat" => Self::Read { path: file_name(params)?, offset: 0, limit: None },
            "readat" => Self::Read {
                path: file_name(params)?,
                offset: params.number("offset")?.ok_or_else(|| Error::invalid("must provide an offset"))?,
                limit: params.number("limit")?.filter(|limit| *limit > 0),
            },
            "stream" => Self::Stream {
                path: file_name(params)?,
                from: position(params)?,
                follow: params.flag("follow")?.unwrap_or(true),
            },
            "logs" => Self::Logs { request: log_request(params)?, plain: params.flag("plain")?.unwrap_or(false) },
            _ => return Ok(None),
        }))
    }

    async fn answer(self, call: &Call, local: &Arc<dyn LocalNode>, alloc: AllocId) -> Result<Response, Error> {
        match self {
            Self::List { path } => call.answer(&local.list(alloc, &path).await?),
            Self::Stat { path } => call.answer(&local.stat(alloc, &path).await?),
            Self::Read { path, offset, limit } => bytes_response(local.read(alloc, &path, offset, limit).await?).await,
            Self::Stream { path, from, follow } => Ok(frames_response(local.stream(alloc, &path, from, follow).await?)),
            Self::Logs { request, plain: false } => Ok(frames_response(local.logs(alloc, request).await?)),
            Self::Logs { request, plain: true } => Ok(plain_response(local.logs(alloc, request).await?)),
        }
    }
}

fn path_or_root(params: &Params) -> String {
    match params.get("path") {
        "" => "/".to_owned(),
        path => path.to_owned(),
    }
}

fn file_name(params: &Params) -> Result<String, Error> {
    match params.get("path") {
        "" => Err(Error::invalid("must provide a file name")),
        path => Ok(path.to_owned()),
    }
}

fn position(params: &Params) -> Result<Position, Error> {
    let origin = match params.get("origin") {
        "" | "start" => Origin::Start,
        "end" => Origin::End,
        _ => return Err(Error::invalid("origin must be start or end")),
    };
    Ok(Position { origin, offset: params.number("offset")?.unwrap_or(0) })
}

fn log_request(params: &Params) -> Result<LogRequest, Error> {
    let task = match params.get("task") {
        "" => return Err(Error::invalid("must provide task name")),
        task => task.to_owned(),
    };
    let kind = match params.get("type") {
        "stdout" => LogKind::Stdout,
        "stderr" => LogKind::Stderr,
        _ => return Err(Error::invalid("must provide log type (stdout/stderr)")),
    };
    Ok(LogRequest { task, kind, from: position(params)?, follow: params.flag("follow")?.unwrap_or(false) })
}

/// A file as it is, under a type that no browser runs.
async fn bytes_response(mut content: ByteStream) -> Result<Response, Error> {
    // An error at the very beginning can still be told by the status.
    let first = content.next().await.transpose()?.unwrap_or_default();
    let is_text = match std::str::from_utf8(&first) {
        Ok(text) => !text.contains('\0'),
        // A character may be cut at the end of the piece.
        Err(error) => error.error_len().is_none() && !first.contains(&0),
    };
    let body = Body::from_stream(stream::once(async { Ok::<_, Error>(first) }).chain(content));
    let content_type = if is_text { "text/plain; charset=utf-8" } else { "application/octet-stream" };
    Ok(streamed(body, content_type))
}

/// The bytes of frames, without their frames.
fn plain_response(frames: FrameStream) -> Response {
    let bytes = frames.map(|frame| frame.map(|frame| frame.data.0));
    streamed(Body::from_stream(bytes), "text/plain; charset=utf-8")
}

/// Frames as JSON objects one after the other, with a sign of life whenever a second was silent.
fn frames_response(frames: FrameStream) -> Response {
    streamed(Body::from_stream(with_heartbeats(frames)), "application/json")
}

fn with_heartbeats(frames: FrameStream) -> BoxStream<'static, Result<Bytes, Error>> {
    stream::unfold(frames, |mut frames| async {
        match tokio::time::timeout(limits::FRAME_HEARTBEAT, frames.next()).await {
            Ok(None) => None,
            Ok(Some(frame)) => Some((frame.and_then(|frame| encode(&frame)), frames)),
            Err(_) => Some((Ok(Bytes::from_static(b"{}")), frames)),
        }
    })
    .boxed()
}

fn encode(frame: &StreamFrame) -> Result<Bytes, Error> {
    let json = serde_json::to_vec(frame);
    json.map(Bytes::from).map_err(|error| Error::internal(format!("cannot render a frame: {error}")))
}

fn streamed(body: Body, content_type: &'static str) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
