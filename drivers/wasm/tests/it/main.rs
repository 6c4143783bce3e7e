//! `wasm` over a real supervisor, with programs built by clang.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../guests/mod.rs"]
mod guests;
mod node;

mod needs_root {
    mod caching;
    mod confinement;
    mod conformance;
    mod programs;
    mod refusals;
    mod serving;
}
