//! The control plane: consensus, RPC, sessions with clients, and on the leader broker, workers and detectors.
//!
//! The only crate that knows openraft and the tonic server. Desired state lives in [`orch_state`]; everything here
//! either carries commands to it or acts on what it says. Never in here: how tasks run.
//!
//! Read in this order: [`config`], [`identity`], [`consensus`], [`raft`], [`store`], [`rpc`], [`membership`],
//! [`divergence`], [`sessions`], [`leader`], [`control_plane`], [`server`].

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

pub mod alloc_updates;
pub mod config;
pub mod consensus;
pub mod control_plane;
pub mod divergence;
pub mod identity;
pub mod leader;
pub mod membership;
pub mod raft;
pub mod rpc;
pub mod server;
pub mod sessions;
pub mod store;

mod metrics;

pub use config::Config;
pub use server::{Handle, Server, StopMode};
