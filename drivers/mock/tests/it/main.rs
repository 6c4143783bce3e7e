//! The mock driver keeps the contract of drivers, and fakes what its configuration says. All of it on paused time.

#![allow(clippy::unwrap_used, reason = "tests")]

mod conformance;
mod faking;
