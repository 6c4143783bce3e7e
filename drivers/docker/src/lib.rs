//! The driver `docker`: tasks as containers of a Docker engine, spoken to over its socket.
//!
//! Nothing here knows of agents or servers; what the engine keeps is found again by the labels that it was given. The engine may be
//! absent, restarted or slow at any time: tasks are waited for until it says what became of them.
//!
//! Read in this order: [`Config`], `task_config`, `plan` (from a task to a container, without touching anything), `driver`, `launch`,
//! `task`, `logs`, then what stands beside: `images` and `pull`, `auth`, `exec`, `clamp`.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod auth;
mod clamp;
mod config;
mod driver;
mod engine;
mod exec;
mod fingerprint;
mod images;
mod launch;
mod logs;
mod plan;
mod prepare;
mod pull;
mod reference;
mod stats;
mod table;
mod task;
mod task_config;
mod time;

pub use config::{AllowedModes, Auth, Config, Gc, Logging, Tls};
pub use driver::DockerDriver;
pub use task_config::OPTIONS;

/// Which node this is: its containers carry it, and only those are ever swept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeIdentity {
    /// The node's id.
    pub node_id: String,
    /// Its name, for labels.
    pub node_name: String,
}
