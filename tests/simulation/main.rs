//! Many short lives of a cluster, each drawn from a seed: the real state, broker, blocked list, failure detector,
//! deployment watcher, scheduler and collector under a virtual clock, with model clients and an unreliable network between.
//!
//! No threads, no real time: a seed always gives the same life. After every log entry, and again whenever the cluster
//! has come to rest, all invariants are checked. `ORCH_SIM_SEEDS=200` runs more seeds, `ORCH_SIM_SEED=17` one of them.

#![allow(clippy::unwrap_used, reason = "tests")]
#![expect(clippy::print_stderr, reason = "a failing seed is shown with the command that replays it")]

mod client;
mod cluster;
mod invariants;
mod leader;
mod seen;
mod trace;
mod workload;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use cluster::Cluster;

/// How many seeds are run if nothing else is asked for.
const SEEDS: u64 = 12;

fn asked(name: &str) -> Option<u64> {
    let value = std::env::var_os(name)?;
    let number = value.to_str().and_then(|text| text.parse().ok());
    Some(number.unwrap_or_else(|| panic!("{name} must be a number, not {}", value.display())))
}

fn live(seed: u64) -> Cluster {
    let mut cluster = Cluster::new(seed);
    let lived = catch_unwind(AssertUnwindSafe(|| cluster.live()));
    if let Err(panic) = lived {
        eprintln!("{}", cluster.trace.tail());
        eprintln!("seed {seed} failed at {}; replay it with:", cluster.clock());
        eprintln!("ORCH_SIM_SEED={seed} cargo test -p orch-tests --test simulation");
        resume_unwind(panic);
    }
    cluster
}

#[test]
fn whatever_happens_the_invariants_hold() {
    let seeds = match asked("ORCH_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..asked("ORCH_SIM_SEEDS").unwrap_or(SEEDS),
    };
    let mut seen = seen::Seen::default();
    for seed in seeds.clone() {
        seen.add(&live(seed).seen);
    }
    eprintln!("seeds {seeds:?}: {seen:?}");
    if seeds.end - seeds.start >= SEEDS {
        seen.assert_nothing_is_missing();
    }
}

#[test]
fn a_seed_always_gives_the_same_life() {
    let seed = asked("ORCH_SIM_SEED").unwrap_or(1);
    assert_eq!(live(seed).digest(), live(seed).digest());
}
