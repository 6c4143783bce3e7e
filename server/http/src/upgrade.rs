//! Connections that leave HTTP behind: websockets and plain bytes, answered here or passed on.

use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use orch_api::exec::MESSAGE_BYTES;
use tokio::io::copy_bidirectional;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tracing::{Instrument as _, debug};

use crate::error::{Error, Kind};
use crate::limits;
use crate::{Body, Request, Response};

/// A websocket of a caller.
pub(crate) type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// The upgraded connections of an agent. When the router goes, they end.
#[derive(Debug)]
pub(crate) struct Upgrades {
    tasks: Mutex<JoinSet<()>>,
    /// One permit for each command that runs here.
    pub(crate) commands: Arc<Semaphore>,
    /// One permit for each connection to a port of an allocation here.
    pub(crate) connections: Arc<Semaphore>,
    /// One permit for each connection that is passed on.
    passed_on: Arc<Semaphore>,
}

impl Upgrades {
    pub(crate) fn new() -> Self {
        Self {
            tasks: Mutex::default(),
            commands: Arc::new(Semaphore::new(limits::COMMANDS)),
            connections: Arc::new(Semaphore::new(limits::PORT_CONNECTIONS)),
            passed_on: Arc::new(Semaphore::new(limits::PASSED_ON)),
        }
    }

    /// A permit, or the error that says what there is too much of.
    pub(crate) fn seat(room: &Arc<Semaphore>, of_what: &str) -> Result<OwnedSemaphorePermit, Error> {
        Arc::clone(room).try_acquire_owned().map_err(|_| {
            Error::new(Kind::TooMany, format!("this agent has too many {of_what} open: close some, or try again later"))
        })
    }

    /// Runs `task` until it ends or the router goes.
    pub(crate) fn run(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task.in_current_span());
    }

    /// Passes a request to another agent with `send`; where that one switches protocols, joins the caller with it.
    pub(crate) async fn pass_on<F>(
        &self,
        mut request: Request,
        send: impl FnOnce(Request) -> F,
    ) -> Result<Response, Error>
    where
        F: Future<Output = Result<Response, Error>>,
    {
        if !request.headers().contains_key(header::UPGRADE) {
            return send(request).await;
        }
        let Some(caller) = request.extensions_mut().remove::<OnUpgrade>() else {
            return Err(not_upgradable());
        };
        let seat = Self::seat(&self.passed_on, "connections to other agents")?;
        let mut response = send(request).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(response);
        }
        let there = hyper::upgrade::on(&mut response);
        self.run(async move {
            let _seat = seat;
            match tokio::try_join!(caller, there) {
                Ok((caller, there)) => {
                    let copied = copy_bidirectional(&mut TokioIo::new(caller), &mut TokioIo::new(there)).await;
                    if let Err(error) = copied {
                        debug!(%error, "a connection that was passed on broke");
                    }
                }
                Err(error) => debug!(%error, "a connection could not be passed on"),
            }
        });
        Ok(response)
    }
}

/// A caller that asks for another protocol, and may have it.
#[derive(Debug)]
pub(crate) struct Upgrade {
    protocol: &'static str,
    accept: Option<HeaderValue>,
    caller: OnUpgrade,
}

impl Upgrade {
    /// A caller that asks for a websocket.
    pub(crate) fn websocket(request: &mut Request) -> Result<Self, Error> {
        let mut upgrade = Self::to("websocket", request)?;
        let version = request.headers().get(header::SEC_WEBSOCKET_VERSION);
        if version.is_none_or(|version| version != "13") {
            return Err(Error::invalid("the websocket's version must be 13"));
        }
        let key = request.headers().get(header::SEC_WEBSOCKET_KEY);
        let key = key.ok_or_else(|| Error::invalid("the header Sec-WebSocket-Key is missing"))?;
        let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes()));
        upgrade.accept = Some(accept.map_err(|error| Error::internal(error.to_string()))?);
        Ok(upgrade)
    }

    /// A caller that asks for `protocol`.
    pub(crate) fn to(protocol: &'static str, request: &mut Request) -> Result<Self, Error> {
        let headers = request.headers();
        let asked = |name, wanted: &str| {
            let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
            values.flat_map(|value| value.split(',')).any(|value| value.trim().eq_ignore_ascii_case(wanted))
        };
        if request.method() != Method::GET || !asked(header::CONNECTION, "upgrade") || !asked(header::UPGRADE, protocol)
        {
            return Err(Error::invalid(format!("this path speaks {protocol}: ask for an upgrade to it by HTTP/1.1")));
        }
        same_origin(headers)?;
        let caller = request.extensions_mut().remove::<OnUpgrade>().ok_or_else(not_upgradable)?;
        Ok(Self { protocol, accept: None, caller })
    }

    /// The answer that switches to the protocol, and the connection, which is there once the answer is on its way.
    pub(crate) fn accept(self) -> (Response, OnUpgrade) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static(self.protocol));
        if let Some(accept) = self.accept {
            headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
        }
        (response, self.caller)
    }
}

/// The websocket over a connection that was upgraded to one.
pub(crate) async fn socket(upgraded: Upgraded) -> Socket {
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_BYTES))
        .max_frame_size(Some(MESSAGE_BYTES))
        .write_buffer_size(0);
    WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await
}

fn not_upgradable() -> Error {
    Error::invalid("this connection cannot switch protocols: ask by HTTP/1.1")
}

/// Browsers let every page open websockets to everywhere, so a page of another site is refused here.
fn same_origin(headers: &HeaderMap) -> Result<(), Error> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok());
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    match (origin.as_ref().and_then(Uri::authority), host) {
        (Some(origin), Some(host)) if origin.as_str().eq_ignore_ascii_case(host) => Ok(()),
        _ => Err(Error::new(Kind::Forbidden, "pages of other sites may not open connections to tasks")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_other_sites_are_refused() {
        for (origin, host, allowed) in [
            (None, "a:4646", true),
            (Some("http://a:4646"), "a:4646", true),
            (Some("http://A:4646"), "a:4646", true),
            (Some("http://b:4646"), "a:4646", false),
            (Some("http://a"), "a:4646", false),
            (Some("null"), "a:4646", false),
        ] {
            let mut headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_str(host).unwrap())]);
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            }
            assert_eq!(same_origin(&headers).is_ok(), allowed, "{origin:?}");
        }
    }
}
