//! Fetches and unpacks what tasks name as artifacts, in a child process that can write to its own scratch directory only.
//!
//! The agent's half ([`Fetcher`]) reads the source, starts the child, and afterwards inspects what the child left and
//! moves it to its destination. The child's half ([`child_main`]) gives up its rights first and only then speaks to
//! the network and reads archives. Nothing here knows of jobs, allocations or agents.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod config;
mod error;
mod request;

mod netrc;
mod order;
mod source;

mod fetcher;

mod child;
mod unpack;

mod dir;
mod place;

pub use child::child_main;
pub use config::{Config, ExtraPath};
pub use error::Error;
pub use fetcher::Fetcher;
pub use request::{Mode, Request, destination};

/// The first argument of a process that is to become the child; its program calls [`child_main`] then.
pub const CHILD: &str = "__artifact";
