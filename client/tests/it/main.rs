//! The agent as a whole, against a server that only exists in the test.

#![allow(clippy::unwrap_used, reason = "tests")]

mod node;
mod server;

mod life;
mod lifecycle;
mod returning;
mod streams;
mod succession;
mod templates;
mod world;
