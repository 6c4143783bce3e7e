//! The `/v1` router: answers requests over a control plane, a local node, or both.
//!
//! Handlers parse, ask a handle and render; they know the dialect and nothing about Raft, sessions or drivers, which
//! the handle traits hide. Never in here: state, scheduling, or anything that a second agent would not have.
//!
//! Read in this order: [`control`], [`local`], [`agent`], [`error`], `router`, `call`, `query`, `list`, `routes`.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

pub mod agent;
pub mod control;
pub mod error;
pub mod local;

mod body;
mod call;
mod filter;
mod gzip;
mod ids;
mod lenient;
mod limits;
mod list;
mod params;
mod query;
mod router;
mod routes;
mod telemetry;

pub use agent::{Admission, Agent, AgentInfo, ParseJob};
pub use control::{Consistency, ControlPlane, Scope, Table, View};
pub use error::{Error, Kind};
pub use local::LocalNode;
pub use router::router;

/// A request as handles pass it on; its body streams.
pub type Request = http::Request<Body>;

/// An answer as handles pass it on; its body streams.
pub type Response = http::Response<Body>;

/// A body of a request or an answer.
pub use axum::body::Body;
