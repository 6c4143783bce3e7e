//! The connection to the engine, and what its errors mean.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bollard::errors::Error as EngineError;
use bollard::{API_DEFAULT_VERSION, Docker};
use orch_driver::Error;

use crate::config::{Config, Tls};

/// The engine, which may be absent now and there later: a client of it is made when it is first needed.
#[derive(Debug)]
pub(crate) struct Engine {
    endpoint: String,
    tls: Option<Tls>,
    timeout: Duration,
    client: Mutex<Option<Docker>>,
}

impl Engine {
    pub(crate) fn new(config: &Config) -> Self {
        let Config { endpoint, tls, engine_timeout, .. } = config;
        Self { endpoint: endpoint.clone(), tls: tls.clone(), timeout: *engine_timeout, client: Mutex::new(None) }
    }

    /// A client of the engine; each request opens a connection of its own.
    ///
    /// # Errors
    /// Where there is no engine to speak to, or the files for TLS cannot be read.
    pub(crate) fn client(&self) -> Result<Docker, EngineError> {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(docker) = &*client {
            return Ok(docker.clone());
        }
        let timeout = self.timeout.as_secs().max(1);
        let docker = match (&self.tls, self.endpoint.strip_prefix("unix://")) {
            (_, Some(path)) => Docker::connect_with_unix(path, timeout, API_DEFAULT_VERSION)?,
            (Some(Tls { cert, key, ca }), None) => {
                Docker::connect_with_ssl(&self.endpoint, key, cert, ca, timeout, API_DEFAULT_VERSION)?
            }
            (None, None) => Docker::connect_with_http(&self.endpoint, timeout, API_DEFAULT_VERSION)?,
        };
        // Engines read credentials in the URL-safe alphabet, and take what they cannot read for none.
        let docker = docker.with_request_modifier(|mut request| {
            let headers = request.headers_mut();
            let safe = headers.get(AUTH_HEADER).and_then(|value| value.to_str().ok());
            let safe = safe.map(|text| text.replace('+', "-").replace('/', "_")).and_then(|text| text.parse().ok());
            if let Some(safe) = safe {
                headers.insert(AUTH_HEADER, safe);
            }
            request
        });
        Ok(client.insert(docker).clone())
    }
}

const AUTH_HEADER: &str = "x-registry-auth";

/// The HTTP status of the engine's answer, if it answered.
pub(crate) fn status(error: &EngineError) -> Option<u16> {
    match error {
        EngineError::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// Whether the engine says that there is no such thing.
pub(crate) fn is_missing(error: &EngineError) -> bool {
    status(error) == Some(404)
}

/// Whether something is in the way that was there before.
pub(crate) fn is_conflict(error: &EngineError) -> bool {
    status(error) == Some(409)
}

/// Refuses `option` where the engine's API is older than `since`.
pub(crate) async fn require_api(docker: &Docker, since: (u32, u32), option: &str) -> Result<(), Error> {
    let version = docker.version().await;
    let version = version.map_err(|error| Error::StartFailed { message: words(&error), recoverable: true })?;
    let version = version.api_version.unwrap_or_default();
    if api_of(&version).is_some_and(|version| version < since) {
        let (major, minor) = since;
        let message = format!("{option} needs an engine with API {major}.{minor}: this one has {version}");
        return Err(Error::StartFailed { message, recoverable: false });
    }
    Ok(())
}

fn api_of(version: &str) -> Option<(u32, u32)> {
    let (major, minor) = version.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// What the engine said, or why it said nothing, in one line.
pub(crate) fn words(error: &EngineError) -> String {
    match error {
        EngineError::DockerResponseServerError { message, .. } => message.trim().to_owned(),
        EngineError::DockerStreamError { error } => error.trim().to_owned(),
        EngineError::SocketNotFoundError(path) => format!("Failed to connect to docker daemon: there is no {path}"),
        EngineError::RequestTimeoutError => "the engine did not answer in time".to_owned(),
        other => std::iter::successors(std::error::Error::source(other), |cause| cause.source())
            .fold(other.to_string(), |text, cause| format!("{text}: {cause}")),
    }
}

/// A failure of the engine while `doing`.
pub(crate) fn failed(doing: impl std::fmt::Display, error: &EngineError) -> Error {
    Error::Failed { message: format!("{doing} failed: {}", words(error)), source: None }
}
