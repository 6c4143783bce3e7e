//! The scheduler against the real state: scenarios to read, and properties that hold whatever happens.

#![allow(clippy::unwrap_used, reason = "tests")]

mod answers;
mod properties;
mod scenarios;
mod world;
