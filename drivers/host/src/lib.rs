//! What Linux gives to an agent that runs processes: each call in one place, with its undo.
//!
//! Processes are named so that a reused pid is never mistaken for an old one ([`process`]), groups of them are limited, counted
//! and killed whole ([`cgroup`]), and the smaller facts stand beside: resource limits ([`limits`]), the out-of-memory score
//! ([`oom`]), signal names ([`signals`]), mounts ([`mounts`]) and the names of rotated log files ([`logs`]).
//!
//! Where a host refuses something that the workload can do without, the call returns a [`Warning`] instead of failing.
//!
//! Never in here: tokio, tasks, jobs, allocations, or any policy about them.
#![allow(unsafe_code, reason = "pidfd, rlimit and signal calls have no safe wrapper that fits")]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

pub mod cgroup;
pub mod limits;
pub mod logs;
pub mod mounts;
pub mod oom;
pub mod process;
pub mod signals;
mod warning;

pub use process::{PidFd, ProcessId};
pub use warning::Warning;
