//! What end-to-end tests and benchmarks share: a cluster of real agents, and ways to look at it from outside.
//!
//! Every agent is a process of the binary that `ORCH_BIN` names, with a loopback address and a directory of its own. Whatever
//! a test started is gone when its [`Cluster`] is dropped, also what its tasks left behind.
//! Never in here: knowledge of the product's insides. It speaks HTTP, runs the command line and reads `/proc`.
//!
//! Read in this order: [`cluster`], [`agent`], [`api`], [`cli`], [`wait`], [`processes`], [`report`].

#![allow(clippy::missing_panics_doc, reason = "a panic is how a test fails")]

pub mod cluster;

pub mod agent;

pub mod address;

pub mod api;
pub mod http;

pub mod cli;

pub mod wait;

pub mod processes;

pub mod engine;

pub mod fleet;
pub mod jobs;

pub mod load;

pub mod report;

pub use agent::{Agent, Role};
pub use api::Api;
pub use cli::{Cli, Output};
pub use cluster::{Builder, Cluster};
pub use wait::wait_for;
