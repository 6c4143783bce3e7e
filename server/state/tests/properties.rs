//! What holds of the state whatever interleaves in the log: plans of the real scheduler made from older states, plans
//! delivered twice or by a deposed leader, late reports, and values that nobody should send.

#![allow(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;

#[path = "properties/arbitrary.rs"]
mod arbitrary;
#[path = "properties/steps.rs"]
mod steps;
#[path = "properties/world.rs"]
mod world;

use orch_state::{Entry, State, apply, snapshot};
use steps::{Step, step};
use world::World;

fn run(steps: &[Step]) -> World {
    let mut world = World::default();
    for step in steps {
        world.perform(step);
    }
    world
}

fn bytes(state: &State) -> Vec<u8> {
    let mut out = Vec::new();
    snapshot::write(state, &mut out).unwrap();
    out
}

/// A quarter of the usual number of cases: each is a long history. `PROPTEST_CASES` asks for more.
fn config() -> ProptestConfig {
    let usual = ProptestConfig::default();
    ProptestConfig { cases: usual.cases / 4, max_shrink_iters: 4000, ..usual }
}

proptest! {
    #![proptest_config(config())]

    /// Invariants, scopes and placed-once are asserted by the world after every entry.
    #[test]
    fn every_entry_leaves_the_state_sound(steps in prop::collection::vec(step(), 1..80)) {
        run(&steps);
    }

    #[test]
    fn a_log_gives_the_same_state_however_often_and_in_whichever_parts_it_is_applied(
        steps in prop::collection::vec(step(), 1..60),
        cut in any::<prop::sample::Index>(),
    ) {
        let world = run(&steps);
        let wanted = bytes(&world.state);
        let mut again = State::default();
        let mut resumed = State::default();
        let cut = cut.index(world.log.len() + 1) as u64;
        let mut held = Vec::new();
        for (index, entry) in (1..).zip(&world.log) {
            held.push((again.clone(), bytes(&again)));
            apply(&mut again, index, entry);
            if index == cut {
                resumed = snapshot::read(&bytes(&again)[..]).unwrap();
            } else if index > cut || cut == 0 {
                apply(&mut resumed, index, entry);
            }
        }
        prop_assert_eq!(&bytes(&again), &wanted, "applied again");
        prop_assert_eq!(&bytes(&resumed), &wanted, "applied from a snapshot on, taken after entry {}", cut);
        for (state, then) in held {
            prop_assert_eq!(bytes(&state), then, "a state that someone holds does not change");
        }
    }

    #[test]
    fn entries_and_snapshots_are_read_as_they_were_written(steps in prop::collection::vec(step(), 1..60)) {
        let world = run(&steps);
        for entry in &world.log {
            prop_assert_eq!(&Entry::decode(&entry.encode().unwrap()).unwrap(), entry);
        }
        let first = bytes(&world.state);
        let read = snapshot::read(&first[..]).unwrap();
        prop_assert_eq!(orch_state::invariants::check(&read), Vec::<String>::new());
        prop_assert_eq!(bytes(&read), first);
        for row in world.state.jobs() {
            prop_assert_eq!(read.job_row(&row.job.key()), Some(row));
        }
        // An allocation holds its version as it was when it was placed; whether that is stable by now stands elsewhere.
        let records = |state: &State| state.allocs().map(|alloc| alloc.to_record()).collect::<Vec<_>>();
        prop_assert!(records(&read) == records(&world.state) && read.evals().eq(world.state.evals()));
        prop_assert!(read.deployments().eq(world.state.deployments()));
        prop_assert!(read.nodes().eq(world.state.nodes()) && read.meta() == world.state.meta());
        for scope in world.scopes() {
            prop_assert_eq!(read.scope_index(&scope), world.state.scope_index(&scope), "{:?}", scope);
        }
    }

    #[test]
    fn a_damaged_snapshot_is_an_error_and_never_another_state(
        steps in prop::collection::vec(step(), 1..30),
        damage in prop::collection::vec((any::<prop::sample::Index>(), 1..=255_u8), 40),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 20),
    ) {
        let whole = bytes(&run(&steps).state);
        for (at, mask) in damage {
            let mut damaged = whole.clone();
            damaged[at.index(whole.len())] ^= mask;
            if let Ok(state) = snapshot::read(&damaged[..]) {
                prop_assert_eq!(&bytes(&state), &whole, "byte {} under mask {}", at.index(whole.len()), mask);
            }
        }
        for cut in cuts {
            prop_assert!(snapshot::read(&whole[..cut.index(whole.len())]).is_err());
        }
        let longer = [&whole[..], b"x"].concat();
        prop_assert!(snapshot::read(&longer[..]).is_err());
    }

    #[test]
    fn a_damaged_entry_is_an_error_or_another_entry_but_never_a_panic(
        steps in prop::collection::vec(step(), 1..30),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 1..=255_u8), 30),
    ) {
        let world = run(&steps);
        let Some(last) = world.log.len().checked_sub(1) else { return Ok(()) };
        for (which, at, mask) in damage {
            let mut written = world.log[which.index(last + 1)].encode().unwrap();
            let at = at.index(written.len());
            written[at] ^= mask;
            if let Ok(entry) = Entry::decode(&written) {
                apply(&mut world.state.clone(), last as u64 + 2, &entry);
            }
        }
    }

    #[test]
    fn nothing_is_refused_that_was_planned_on_this_state_and_a_second_look_finds_nothing_to_do(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut world = run(&steps);
        world.look_twice_at_every_job();
    }
}
