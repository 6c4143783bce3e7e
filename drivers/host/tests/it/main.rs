//! Control groups on the running host.
#![allow(clippy::unwrap_used, reason = "tests")]

mod needs_root;
