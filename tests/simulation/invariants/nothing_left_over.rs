//! What was told to stop has ended, and holds nothing any more.

use orch_state::State;

pub(crate) fn check(state: &State) {
    for alloc in state.allocs() {
        let is_wanted = state.job(&alloc.job_key()).is_some_and(|job| !job.stop);
        assert!(
            alloc.is_client_terminal() || (is_wanted && !alloc.desired.is_stop()),
            "{} ({}) should be over, but is {} and wanted to {}",
            alloc.name(),
            alloc.id,
            alloc.client_status,
            alloc.desired
        );
    }
}
