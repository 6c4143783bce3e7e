//! `exec` over a real supervisor and real processes.

#![allow(clippy::unwrap_used, reason = "tests")]

mod node;

mod needs_root {
    mod conformance;
    mod escapes;
    mod files;
    mod limits;
    mod running;
    mod sessions;
}
