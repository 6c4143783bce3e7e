//! No two live allocations of a job have one name.

use std::collections::BTreeMap;

use orch_state::State;

pub(crate) fn check(state: &State) {
    let mut names = BTreeMap::new();
    for alloc in state.allocs().filter(|alloc| !alloc.is_terminal()) {
        if let Some(other) = names.insert((alloc.job_key(), alloc.name()), alloc.id) {
            panic!("{} is the name of {other} and of {}", alloc.name(), alloc.id);
        }
    }
}
