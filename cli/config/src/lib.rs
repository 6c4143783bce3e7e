//! Agent files, environment and flags, merged and checked into one configuration for each part of an agent.
//!
//! Every key is known by one table ([`keys`]): it is supported, accepted with a warning because its feature is not
//! built, or refused because ignoring it would weaken the safety that the operator asked for. Later sources win: files in
//! the order given, directories in lexical order, flags last. Never in here: anything that starts, listens or asks the
//! machine; such facts come in with [`Host`].
//!
//! Read in this order: [`keys`], `value`, `file`, [`source`], `merged`, [`agent`], `server`, `client`, `world`, `http`, `logging`.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

pub mod keys;

mod value;

mod file;

pub mod source;

mod merged;

pub mod agent;

mod client;
mod http;
mod logging;
mod server;
mod world;

pub use agent::{Agent, Error, Host, load};
pub use http::{ConnectionLimit, HttpConfig};
pub use logging::{LogFile, LogFormat, LogLevel, LoggingConfig};
pub use source::{Flag, Sources};

#[cfg(test)]
mod tests;
