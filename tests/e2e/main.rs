//! The real binary: clusters of real processes, the command line, and every file in `examples/`.
//!
//! A cluster takes seconds to start, so a test here is a story: one cluster, several things that happen to it.

#![allow(clippy::unwrap_used, reason = "tests")]

mod churn;
mod command_line;
mod damage;
mod density;
mod dev;
mod examples;
mod leader_loss;
mod needs_docker;
mod needs_root;
mod node_loss;
mod placement;
mod tasks;
mod updates;
mod world;

use std::time::Duration;

use orch_tests::processes;

/// How long a job may take to run everywhere; far more than it should, for machines under load.
const SOON: Duration = Duration::from_secs(60);

/// Waits until no process of any of these allocations is left.
#[track_caller]
fn wait_no_processes(allocs: &[orch_tests::api::Alloc]) {
    orch_tests::wait_for("no process of the allocations is left", SOON, || {
        let left: Vec<_> = allocs.iter().flat_map(|alloc| processes::of_alloc(&alloc.id)).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
}
