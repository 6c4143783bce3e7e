//! The driver `raw_exec`: any program of the host, as it stands, with limits where the host allows them.
//!
//! A program sees the whole host; what keeps it in bounds are its user and its control group. The supervisor is its parent, so it outlives
//! the agent. Read in this order: `config`, `command`, `plan`, `driver`.
//!
//! Never in here: forking, pipes, log files, waiting for processes. Those are the supervisor's.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod command;
mod config;
mod driver;
mod plan;

pub use config::{Config, OPTIONS};
pub use driver::RawExec;

/// The driver's name in job files.
const NAME: &str = "raw_exec";
