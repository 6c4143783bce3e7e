//! One request on its way through the router: what handlers read of it, and the answers they make.

use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use orch_model::StateIndex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

use crate::agent::Agent;
use crate::body;
use crate::control::View;
use crate::error::Error;
use crate::gzip::Whole;
use crate::params::{Params, Read};
use crate::upgrade::Upgrades;
use crate::{Body, Request, Response};

const INDEX: HeaderName = HeaderName::from_static("x-nomad-index");
const KNOWN_LEADER: HeaderName = HeaderName::from_static("x-nomad-knownleader");
const LAST_CONTACT: HeaderName = HeaderName::from_static("x-nomad-lastcontact");
const NEXT_TOKEN: HeaderName = HeaderName::from_static("x-nomad-nexttoken");

/// What a handler does, as far as the method says; PUT and POST are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    /// GET or HEAD.
    Get,
    /// PUT or POST.
    Put,
    /// DELETE.
    Delete,
}

impl Verb {
    pub(crate) fn of(method: &Method) -> Option<Self> {
        match *method {
            Method::GET | Method::HEAD => Some(Self::Get),
            Method::PUT | Method::POST => Some(Self::Put),
            Method::DELETE => Some(Self::Delete),
            _ => None,
        }
    }
}

/// One request.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) agent: Arc<Agent>,
    /// One permit for each read of this agent that waits.
    pub(crate) waiting: Arc<Semaphore>,
    /// The connections of this agent that left HTTP behind.
    pub(crate) upgrades: Arc<Upgrades>,
    pub(crate) verb: Verb,
    pub(crate) params: Params,
    /// Never contended: it lets a call be shared between threads although a body cannot be.
    request: Mutex<Request>,
}

impl Call {
    pub(crate) fn new(
        agent: Arc<Agent>,
        waiting: Arc<Semaphore>,
        upgrades: Arc<Upgrades>,
        verb: Verb,
        params: Params,
        request: Request,
    ) -> Self {
        Self { agent, waiting, upgrades, verb, params, request: Mutex::new(request) }
    }

    /// Whether the request has a header of this name.
    pub(crate) fn has_header(&self, name: &HeaderName) -> bool {
        self.request.lock().unwrap_or_else(PoisonError::into_inner).headers().contains_key(name)
    }

    /// The request as it came, to be passed on.
    pub(crate) fn into_request(self) -> Request {
        self.request.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// The request, to be changed or upgraded.
    pub(crate) fn request_mut(&mut self) -> &mut Request {
        self.request.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    /// An error unless the request only reads.
    pub(crate) fn must_get(&self) -> Result<(), Error> {
        if self.verb == Verb::Get { Ok(()) } else { Err(Error::method()) }
    }

    /// An error unless the request writes.
    pub(crate) fn must_put(&self) -> Result<(), Error> {
        if self.verb == Verb::Put { Ok(()) } else { Err(Error::method()) }
    }

    /// What every read understands.
    pub(crate) fn read(&self) -> Result<Read, Error> {
        Read::of(&self.params)
    }

    /// The body as JSON; an error that names the field if it does not fit, or if there is none.
    pub(crate) async fn json<T: DeserializeOwned>(&mut self) -> Result<T, Error> {
        self.json_if_any().await?.ok_or_else(|| Error::invalid("Request body is empty"))
    }

    /// The body as JSON, if there is one.
    pub(crate) async fn json_if_any<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Error> {
        let body = std::mem::take(self.request_mut().body_mut());
        body::read_json(body).await
    }

    /// Answers with `value`.
    pub(crate) fn answer<T: Serialize + ?Sized>(&self, value: &T) -> Result<Response, Error> {
        let body = body::render(value, self.params.pretty())?;
        let mut response = Response::new(Body::from(body));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response.extensions_mut().insert(Whole);
        Ok(response)
    }

    /// Answers a write with `value` and the index of the write.
    pub(crate) fn written<T: Serialize + ?Sized>(&self, value: &T, index: StateIndex) -> Result<Response, Error> {
        let mut response = self.answer(value)?;
        response.headers_mut().insert(INDEX, HeaderValue::from(index.0));
        Ok(response)
    }

    /// Answers with nothing but success.
    pub(crate) fn done(&self) -> Response {
        Response::new(Body::empty())
    }
}

/// What an answer to a read says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReadMeta {
    pub(crate) index: StateIndex,
    pub(crate) known_leader: bool,
    pub(crate) last_contact: std::time::Duration,
    pub(crate) next_token: Option<String>,
}

impl ReadMeta {
    pub(crate) fn of(view: &dyn View, index: StateIndex) -> Self {
        Self { index, known_leader: view.known_leader(), last_contact: view.last_contact(), next_token: None }
    }

    pub(crate) fn write_to(&self, headers: &mut HeaderMap) {
        headers.insert(INDEX, HeaderValue::from(self.index.0));
        headers.insert(KNOWN_LEADER, HeaderValue::from_static(if self.known_leader { "true" } else { "false" }));
        let contact = u64::try_from(self.last_contact.as_millis()).unwrap_or(u64::MAX);
        headers.insert(LAST_CONTACT, HeaderValue::from(contact));
        if let Some(token) = self.next_token.as_deref().and_then(|token| HeaderValue::from_str(token).ok()) {
            headers.insert(NEXT_TOKEN, token);
        }
    }

    /// Nanoseconds since the server heard from the leader, as bodies say it.
    pub(crate) fn last_contact_nanos(&self) -> i64 {
        i64::try_from(self.last_contact.as_nanos()).unwrap_or(i64::MAX)
    }
}
