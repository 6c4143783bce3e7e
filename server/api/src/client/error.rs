//! What goes wrong in calling an agent.

use http::StatusCode;

use super::Address;

/// Why a call did not give an answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens there.
    #[error("cannot reach an agent at {address}: {source} (is it running? set ORCH_ADDR or -address)")]
    Unreachable {
        /// Where.
        address: Address,
        /// What the system said; part of the text, since it decides what to do.
        source: std::io::Error,
    },
    /// The connection broke before the answer was complete.
    #[error("the connection to {address} broke before the answer was complete")]
    Broken {
        /// Where.
        address: Address,
        /// What was wrong with it.
        #[source]
        source: hyper::Error,
    },
    /// There was no answer in time.
    #[error("the agent at {address} did not answer within {seconds} s")]
    Timeout {
        /// Where.
        address: Address,
        /// How long it had.
        seconds: u64,
    },
    /// The agent refused; `message` says why.
    #[error("{message} (HTTP {})", status.as_u16())]
    Status {
        /// The status.
        status: StatusCode,
        /// What the agent said.
        message: String,
    },
    /// The agent ended a command inside a task, or refused to run it; `message` says why.
    #[error("{message}")]
    Ended {
        /// What the agent said.
        message: String,
    },
    /// The connection broke before a command inside a task had ended.
    #[error("the connection to the agent broke before the command had ended")]
    Lost {
        /// What was wrong with it.
        #[source]
        source: Box<tokio_tungstenite::tungstenite::Error>,
    },
    /// The answer is not what this call answers with.
    #[error("cannot understand the answer to {path}")]
    Decode {
        /// The path that was asked.
        path: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// The request's body cannot be written as JSON.
    #[error("cannot encode the request")]
    Encode(#[source] serde_json::Error),
    /// The request's path or token holds characters that no request can.
    #[error("cannot make a request of {uri:?}")]
    Request {
        /// The path and query.
        uri: String,
        /// What is wrong with it.
        #[source]
        source: http::Error,
    },
}

impl Error {
    pub(super) fn status(status: StatusCode, body: &[u8]) -> Self {
        let message = String::from_utf8_lossy(body).trim().to_owned();
        let message = if message.is_empty() {
            status.canonical_reason().unwrap_or("the agent gave no reason").to_owned()
        } else {
            message
        };
        Self::Status { status, message }
    }

    /// Whether the agent says that there is no such thing.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Status { status, .. } if *status == StatusCode::NOT_FOUND)
    }
}
