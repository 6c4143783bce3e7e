//! What goes wrong in answering a request, and the one place where that becomes an HTTP status.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

/// What kind of thing went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// There is no such thing.
    NotFound,
    /// The request is malformed.
    Invalid,
    /// The caller may not do that.
    Forbidden,
    /// The thing is not in the state that the caller supposed.
    Conflict,
    /// Too much of it at once; to be tried again later.
    TooMany,
    /// This agent cannot do that.
    NotImplemented,
    /// There is no leader, or it could not be reached.
    NotLeader,
    /// Something that is needed does not answer.
    Unavailable,
    /// Anything else; it is our fault.
    Internal,
}

impl Kind {
    /// The status that an error of this kind is answered with.
    const fn status(self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Invalid => StatusCode::BAD_REQUEST,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::Conflict => StatusCode::CONFLICT,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::NotImplemented => StatusCode::NOT_IMPLEMENTED,
            Self::NotLeader | Self::Unavailable | Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// Where the dialect wants another status than an error's kind says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Oddity {
    /// A job that is refused, or is not at the index that the caller enforces, is answered with 500.
    JobRefused,
    /// A known path that does not take this method is answered with 405.
    Method,
    /// Metrics in a format that is switched off are answered with 415.
    MetricsFormat,
    /// A path that nothing answers to has an empty body.
    UnknownPath,
    /// A region that nobody knows a way to is answered with 500.
    OtherRegion,
}

impl Oddity {
    const fn status(self) -> StatusCode {
        match self {
            Self::JobRefused | Self::OtherRegion => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::MetricsFormat => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::UnknownPath => StatusCode::NOT_FOUND,
        }
    }
}

/// Why a request could not be answered: a kind for machines and a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: Kind,
    message: String,
    oddity: Option<Oddity>,
}

impl Error {
    /// An error of this kind, told by `message`.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), oddity: None }
    }

    /// There is no such thing.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(Kind::NotFound, message)
    }

    /// The request is malformed.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, message)
    }

    /// Something that is our fault.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, message)
    }

    /// The cluster has no leader now.
    pub fn no_leader() -> Self {
        Self::new(Kind::NotLeader, "No cluster leader")
    }

    /// A job that was not accepted.
    pub fn job_refused(message: impl Into<String>) -> Self {
        Self { oddity: Some(Oddity::JobRefused), ..Self::invalid(message) }
    }

    /// A job is not at the index that the caller enforces; `found` is the one it is at, if it exists.
    pub fn job_index(enforced: u64, found: Option<u64>) -> Self {
        let why = match (enforced, found) {
            (0, _) => "job already exists".to_owned(),
            (_, Some(found)) => format!("job exists with conflicting job modify index: {found}"),
            (_, None) => "job does not exist".to_owned(),
        };
        let message = format!("Enforcing job modify index {enforced}: {why}");
        Self { oddity: Some(Oddity::JobRefused), ..Self::new(Kind::Conflict, message) }
    }

    /// A job is not at the version that the caller enforces.
    pub fn job_version(enforced: u64, found: u64) -> Self {
        let message = format!("Current job has version {found}; enforcing version {enforced}");
        Self { oddity: Some(Oddity::JobRefused), ..Self::new(Kind::Conflict, message) }
    }

    /// The path does not take this method.
    pub(crate) fn method() -> Self {
        Self { oddity: Some(Oddity::Method), ..Self::invalid("Invalid method") }
    }

    /// Metrics in this format are switched off.
    pub(crate) fn metrics_format() -> Self {
        Self { oddity: Some(Oddity::MetricsFormat), ..Self::invalid("Prometheus is not enabled") }
    }

    /// Nothing answers to the path.
    pub(crate) fn unknown_path() -> Self {
        Self { oddity: Some(Oddity::UnknownPath), ..Self::not_found("") }
    }

    /// The request is meant for another region.
    pub(crate) fn other_region() -> Self {
        Self { oddity: Some(Oddity::OtherRegion), ..Self::invalid("No path to region") }
    }

    /// What kind of thing went wrong.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The status it is answered with.
    pub fn status(&self) -> StatusCode {
        self.oddity.map_or_else(|| self.kind.status(), Oddity::status)
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let status = self.status();
        let mut response = (status, self.message).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        response
    }
}
