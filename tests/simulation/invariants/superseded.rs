//! What has ended or was written off is never said to run again, beside what replaced it.

use std::collections::{BTreeMap, BTreeSet};

use orch_model::AllocId;
use orch_model::allocation::TaskRunState;
use orch_state::State;

/// The allocations that were over when they were last looked at.
#[derive(Debug, Default)]
pub(crate) struct Superseded {
    over: BTreeSet<AllocId>,
    started: BTreeMap<AllocId, bool>,
}

impl Superseded {
    pub(crate) fn check(&mut self, state: &State) {
        for alloc in state.allocs() {
            if alloc.is_client_terminal() {
                let runs = alloc.tasks.iter().any(|task| task.state == TaskRunState::Running);
                let ran = *self.started.entry(alloc.id).or_insert(runs);
                assert!(!runs || ran, "a task of allocation {} started after it was {}", alloc.id, alloc.client_status);
                self.over.insert(alloc.id);
            } else {
                assert!(
                    !self.over.contains(&alloc.id),
                    "allocation {} was over and is {}",
                    alloc.id,
                    alloc.client_status
                );
            }
        }
        self.over.retain(|id| state.alloc(id).is_some());
        self.started.retain(|id, _| state.alloc(id).is_some());
    }
}
