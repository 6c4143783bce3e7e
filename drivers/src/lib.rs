//! The `Driver` trait, its vocabulary, and the suite of checks that every driver passes.
//!
//! A driver is written and checked without an agent: it gets everything a task needs as a [`TaskSpec`] and answers with
//! a [`TaskHandle`] that can be written down and found again. No concrete driver is here.
//!
//! Read in this order: [`spec`], [`handle`], [`capabilities`], [`exec`], [`driver`], [`error`], [`config`], then `conformance`.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

pub mod capabilities;
pub mod config;
#[cfg(feature = "testing")]
pub mod conformance;
pub mod driver;
pub mod error;
pub mod exec;
pub mod handle;
pub mod spec;

pub use capabilities::{Capabilities, FsIsolation};
pub use config::ConfigReader;
pub use driver::{Driver, Fingerprint, Health};
pub use error::Error;
pub use exec::{ExecControl, ExecSession, ExecSpec, TerminalSize};
pub use handle::{ExitStatus, TaskHandle, TaskStats};
pub use spec::{LogSpec, Progress, Propagation, TaskDirs, TaskId, TaskLimits, TaskMount, TaskPort, TaskSpec};
