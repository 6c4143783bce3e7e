//! The driver `exec`: programs of the host, each in a world of its own.
//!
//! A task sees its own directory as `/`, in it parts of the host that it can only read, its own processes, and no device but the harmless
//! ones. It runs as `nobody` unless told otherwise, can never gain privileges, and its system calls pass a filter. The network is the
//! host's. What the sandbox is made of is computed first, as data that tests read (`sandbox`); the supervisor's child carries it out.
//!
//! Read in this order: `config`, `capabilities`, `filter`, `sandbox`, `mountpoints`, `plan`, `host`, `driver`.
//!
//! Never in here: forking, mounting, waiting for processes. Those are the supervisor's.
#![allow(unsafe_code, reason = "asking the kernel whether it has a system call")]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod capabilities;
mod config;
mod driver;
mod filter;
mod host;
mod mountpoints;
mod plan;
mod sandbox;

pub use capabilities::{Capabilities, UnknownCapability};
pub use config::{Config, Mode, OPTIONS, default_chroot_env};
pub use driver::Exec;

/// The driver's name in job files.
const NAME: &str = "exec";
