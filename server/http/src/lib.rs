//! The `/v1` router: answers requests over a control plane, a local node, or both.
//!
//! Handlers parse, ask a handle and render; they know the dialect and nothing about Raft, sessions or drivers, which
//! the handle traits hide. Never in here: state, scheduling, or anything that a second agent would not have.
//!
//! Commands inside tasks and connections to ports of allocations leave HTTP behind: websockets with the dialect's messages
//! (`/v1/client/allocation/:id/exec`, `/v1/job/:id/action`), and an endpoint of our own,
//! `GET /v1/client/allocation/:id/port-forward?port=<label or number>[&task=<name>]` with `Connection: upgrade` and
//! `Upgrade: orch-port-forward`: after the answer 101 the connection carries the port's bytes as they are, each direction
//! ending by itself. An agent that is not the one in charge joins its caller with the connection that it makes there.
//!
//! Read in this order: [`control`], [`local`], [`agent`], [`error`], `router`, `call`, `query`, `list`, `routes`.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

pub mod agent;
pub mod control;
pub mod error;
pub mod local;

mod body;
mod call;
mod exec;
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
mod upgrade;

pub use agent::{Admission, Agent, AgentInfo, ParseJob};
pub use control::{Consistency, ControlPlane, Scope, Table, View};
pub use error::{Error, Kind};
pub use local::LocalNode;
pub use router::router;
pub use routes::forward::FORWARDED;

/// A request as handles pass it on; its body streams.
pub type Request = http::Request<Body>;

/// An answer as handles pass it on; its body streams.
pub type Response = http::Response<Body>;

/// A body of a request or an answer.
pub use axum::body::Body;
