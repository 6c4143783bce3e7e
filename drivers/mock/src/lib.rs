//! A driver that runs nothing: everything a task does is faked as its `config` says.
//!
//! For tests and for fleets of simulated nodes. It uses tokio's clock alone, so paused time works, and a task that has nothing to do costs
//! a few hundred bytes: when it ends is computed by whoever asks.
//!
//! Never in here: processes, and anything that a task leaves behind except its log files.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod command;
mod config;
mod driver;
mod output;
mod signal;
mod task;

pub use config::OPTIONS;
pub use driver::MockDriver;
