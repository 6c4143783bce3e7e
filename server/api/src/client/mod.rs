//! A typed client of the API: one method per endpoint, over HTTP/1.1 on TCP or a Unix socket.
//!
//! Reads answer with the value and a [`QueryMeta`]; writes with the endpoint's response. Connections that were read to
//! the end are used again. Every call has a deadline; only a read, or a write that says so, is safe to repeat.

mod address;
mod connection;
mod error;
mod frames;
mod query;

mod allocations;
mod cluster;
mod deployments;
mod evaluations;
mod interactive;
mod jobs;
mod nodes;
mod volumes;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use address::{Address, InvalidAddress};
pub use allocations::LogOptions;
pub use error::Error;
pub use frames::Frames;
pub use interactive::{ActionOptions, Exec, ExecOptions, ExecReader, ExecWriter, PortConnection};
pub use jobs::DeregisterOptions;
pub use query::{QueryMeta, QueryOptions};

use connection::{Connection, Failure};
use query::Query;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an answer may take beyond what the request itself asks to wait.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// How many unused connections are kept.
const MAX_IDLE: usize = 64;

/// Where the agent is and on whose behalf it is asked.
#[derive(Clone, Default)]
pub struct Config {
    /// `http://host:port` or `unix:///path`; the port is 4646 if none is given.
    pub address: Address,
    /// The namespace of requests that name none; empty is the agent's default.
    pub namespace: String,
    /// The region that requests are meant for; empty is the agent's own.
    pub region: String,
    /// The secret that is sent along; empty for none.
    pub token: String,
}

impl fmt::Debug for Config {
    /// Leaves the token out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, namespace, region, token: _ } = self;
        f.debug_struct("Config")
            .field("address", address)
            .field("namespace", namespace)
            .field("region", region)
            .finish_non_exhaustive()
    }
}

/// A client of one agent; cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    config: Config,
    idle: Arc<Mutex<Vec<Connection>>>,
}

/// An answer as it came: for calls that the client has no method for.
#[derive(Debug, Clone)]
pub struct RawResponse {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: http::HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// Nothing to send.
const NO_BODY: Option<&()> = None;

impl Client {
    /// A client of the agent at `config.address`; nothing is sent yet.
    pub fn new(config: Config) -> Self {
        Self { config, idle: Arc::default() }
    }

    /// Where the agent is and on whose behalf it is asked.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The same client with another namespace for requests that name none.
    #[must_use]
    pub fn in_namespace(&self, namespace: &str) -> Self {
        Self { config: Config { namespace: namespace.to_owned(), ..self.config.clone() }, idle: self.idle.clone() }
    }

    /// The same client for another region.
    #[must_use]
    pub fn in_region(&self, region: &str) -> Self {
        Self { config: Config { region: region.to_owned(), ..self.config.clone() }, idle: self.idle.clone() }
    }

    /// Sends a request to `path` (with its query, such as `/v1/jobs?prefix=a`) and returns whatever comes back.
    ///
    /// Namespace, region and token are added as in every call. The status is not looked at.
    pub async fn raw(&self, method: Method, path: &str, body: Option<Bytes>) -> Result<RawResponse, Error> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let query = Query::raw(query).add_defaults(&self.config);
        let within = query.longest_wait().saturating_add(ANSWER_TIMEOUT);
        let (connection, response) = self.send(method, path, &query, body.unwrap_or_default(), within).await?;
        let (parts, body) = response.into_parts();
        let body = self.read(connection, body, within).await?;
        Ok(RawResponse { status: parts.status, headers: parts.headers, body })
    }

    /// Reads `path`.
    async fn get<T: DeserializeOwned>(&self, path: &str, options: &QueryOptions) -> Result<(T, QueryMeta), Error> {
        self.get_with(path, options, &[]).await
    }

    /// Reads `path` with parameters of its own.
    async fn get_with<T: DeserializeOwned>(
        &self,
        path: &str,
        options: &QueryOptions,
        params: &[(&str, &str)],
    ) -> Result<(T, QueryMeta), Error> {
        let (body, meta) = self.get_bytes(path, options, params).await?;
        Ok((decode(path, &body)?, meta))
    }

    /// Reads `path` as it is.
    async fn get_bytes(
        &self,
        path: &str,
        options: &QueryOptions,
        params: &[(&str, &str)],
    ) -> Result<(Bytes, QueryMeta), Error> {
        let query = Query::of(options).add_all(params).add_defaults(&self.config);
        let wait = options.longest_wait().saturating_add(ANSWER_TIMEOUT);
        let (connection, response) = self.send(Method::GET, path, &query, Bytes::new(), wait).await?;
        let meta = QueryMeta::of(response.headers());
        let body = self.accepted(connection, response, wait).await?;
        Ok((body, meta))
    }

    /// Opens `path` as a stream of frames.
    async fn get_frames(&self, path: &str, params: &[(&str, &str)]) -> Result<Frames, Error> {
        let query = Query::default().add_all(params).add_defaults(&self.config);
        let (connection, response) = self.send(Method::GET, path, &query, Bytes::new(), ANSWER_TIMEOUT).await?;
        if response.status().is_success() {
            return Ok(Frames::new(path, connection, response.into_body()));
        }
        self.accepted(connection, response, ANSWER_TIMEOUT).await.map(|_| Frames::ended(path))
    }

    /// Writes to `path` and reads the answer.
    async fn write<B: Serialize + Sync, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        params: &[(&str, &str)],
        body: Option<&B>,
    ) -> Result<T, Error> {
        let body = self.write_bytes(method, path, params, body).await?;
        decode(path, &body)
    }

    /// Writes to `path`, of whose answer only the status counts.
    async fn write_bytes<B: Serialize + Sync>(
        &self,
        method: Method,
        path: &str,
        params: &[(&str, &str)],
        body: Option<&B>,
    ) -> Result<Bytes, Error> {
        let body = match body {
            Some(body) => serde_json::to_vec(body).map_err(Error::Encode)?.into(),
            None => Bytes::new(),
        };
        let query = Query::default().add_all(params).add_defaults(&self.config);
        let (connection, response) = self.send(method, path, &query, body, ANSWER_TIMEOUT).await?;
        self.accepted(connection, response, ANSWER_TIMEOUT).await
    }

    /// The body of an answer, or the error that it is.
    async fn accepted(
        &self,
        connection: Connection,
        response: http::Response<Incoming>,
        within: Duration,
    ) -> Result<Bytes, Error> {
        let status = response.status();
        let body = self.read(connection, response.into_body(), within).await?;
        if status.is_success() { Ok(body) } else { Err(Error::status(status, &body)) }
    }

    /// Sends a request over a connection that is open already, or a new one.
    ///
    /// The agent may close an open one at the same moment. Then the request is sent once more, unless it writes and may
    /// have arrived.
    async fn send(
        &self,
        method: Method,
        path: &str,
        query: &Query,
        body: Bytes,
        within: Duration,
    ) -> Result<(Connection, http::Response<Incoming>), Error> {
        if let Some(connection) = self.take_idle() {
            let request = self.request(method.clone(), path, query, body.clone())?;
            match self.send_over(connection, request, within).await? {
                Ok(answered) => return Ok(answered),
                Err(failure) if failure.unsent || method == Method::GET => {}
                Err(failure) => return Err(self.broken(failure.source)),
            }
        }
        let connection = Connection::open(&self.config.address, CONNECT_TIMEOUT).await?;
        let request = self.request(method, path, query, body)?;
        self.send_over(connection, request, within).await?.map_err(|failure| self.broken(failure.source))
    }

    async fn send_over(
        &self,
        mut connection: Connection,
        request: Request<Full<Bytes>>,
        within: Duration,
    ) -> Result<Result<(Connection, http::Response<Incoming>), Failure>, Error> {
        let answer = tokio::time::timeout(within, connection.send(request)).await.map_err(|_| self.too_late(within))?;
        Ok(answer.map(|response| (connection, response)))
    }

    fn broken(&self, source: hyper::Error) -> Error {
        Error::Broken { address: self.config.address.clone(), source }
    }

    fn too_late(&self, within: Duration) -> Error {
        Error::Timeout { address: self.config.address.clone(), seconds: within.as_secs() }
    }

    fn request(&self, method: Method, path: &str, query: &Query, body: Bytes) -> Result<Request<Full<Bytes>>, Error> {
        let uri = query.append_to(path);
        let mut request = Request::builder().method(method).uri(&uri).header(header::HOST, self.config.address.host());
        if !self.config.token.is_empty() {
            request = request.header("x-nomad-token", &self.config.token);
        }
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        request.body(Full::new(body)).map_err(|source| Error::Request { uri, source })
    }

    /// Reads a body to its end, after which the connection is free again.
    async fn read(&self, connection: Connection, body: Incoming, within: Duration) -> Result<Bytes, Error> {
        let collected = tokio::time::timeout(within, body.collect()).await.map_err(|_| self.too_late(within))?;
        let body = collected.map_err(|source| self.broken(source))?;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IDLE {
            idle.push(connection);
        }
        Ok(body.to_bytes())
    }

    /// An unused connection that seems to be open.
    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        std::iter::from_fn(|| idle.pop()).find(|connection| !connection.is_closed())
    }
}

fn decode<T: DeserializeOwned>(path: &str, body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|source| Error::Decode { path: path.to_owned(), source })
}

/// A path of `parts`, each of which may hold any character.
fn path<const N: usize>(parts: [&str; N]) -> String {
    let mut path = String::from("/v1");
    for part in parts {
        path.push('/');
        path.extend(percent_encoding::utf8_percent_encode(part, query::COMPONENT));
    }
    path
}

#[cfg(test)]
mod tests;
