//! No node is over-committed, no port held twice; indexes, counts and the usage view are what one would make anew.

use orch_state::{State, invariants};

pub(crate) fn check(state: &State) {
    let breaches = invariants::check(state);
    assert!(breaches.is_empty(), "{breaches:#?}");
}
