//! The client agent: describes its machine, obeys the servers, and keeps tasks running that outlive it.
//!
//! A [`Client`] is given its [`Config`], its drivers as values and a [`Transport`], and becomes a [`Service`] that runs and a
//! [`Handle`] by which others use it; the handle is what the HTTP router knows as a local node.
//!
//! What decides is pure: the machines of [`alloc_runner`], [`alloc_set`], [`outbox`] and [`gc`] take events and the time
//! and return what to do. Around each is a thin loop that does it. No concrete driver, no server and no reading of
//! settings from files or the environment belongs here.
//!
//! Read in this order: [`config`], [`client`], [`agent`], [`alloc_set`], [`alloc_runner`], [`state`], [`session`],
//! [`local_node`].

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]
#![allow(rustdoc::private_intra_doc_links, reason = "the map above is for those who work in here")]

mod client;
mod clock;
pub mod config;
mod context;
pub mod error;
mod handle;
mod metrics;
mod transport;

mod fingerprint;
mod identity;

mod agent;
mod alloc_metrics;
mod alloc_set;
mod disk_watch;
mod gc;
mod outbox;
mod registry;
mod telemetry;

mod alloc_dir;
mod alloc_runner;
mod env;
mod interpolate;
mod snapshot;
mod state;
mod volumes;

mod session;

mod local_node;

#[cfg(test)]
mod testing;

pub use client::{Client, Service};
pub use config::Config;
pub use error::Error;
pub use fingerprint::hostname;
pub use handle::Handle;
pub use identity::node_id;
pub use transport::Transport;
