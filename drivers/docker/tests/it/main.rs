//! `docker` over a real engine and a real registry, both the test's own.

#![allow(clippy::unwrap_used, reason = "tests")]

mod node;

mod needs_docker {
    mod conformance;
    mod engine_loss;
    mod images;
    mod limits;
    mod running;
    mod sweeping;
}
