//! What a run has come across.

use orch_model::Allocation;
use orch_model::allocation::ClientStatus;
use orch_model::deployment::DeploymentStatus;
use orch_model::evaluation::EvalStatus::{self, Blocked, Canceled, Failed};
use orch_model::plan::PlanResult;
use orch_state::{Reply, State};

/// What a run has come across; one that misses something has tested little.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) entries: u64,
    placed: u64,
    refused: u64,
    stale: u64,
    pub(crate) repeated: u64,
    blocked: u64,
    canceled: u64,
    failed_evals: u64,
    lost: u64,
    unknown: u64,
    handed_over: u64,
    collected: u64,
    pub(crate) leaders: u64,
    /// Deployments that ended well, failed, failed with a way back, and were cancelled; and that were paused.
    successful: u64,
    failed: u64,
    rolled_back: u64,
    cancelled: u64,
    paused: u64,
    /// Allocations found unhealthy, and failed ones marked to be placed again.
    unhealthy: u64,
    marked: u64,
}

impl Seen {
    pub(crate) fn add(&mut self, other: &Self) {
        for (sum, more) in self.counts().into_iter().zip(other.copied()) {
            *sum.1 += more;
        }
    }

    /// Counts what an entry brought.
    pub(crate) fn note(&mut self, before: &State, after: &State, reply: &Reply) {
        if let Reply::Plans(results) = reply {
            for result in results {
                match result {
                    PlanResult::Committed { refused, .. } => self.refused += refused.len() as u64,
                    PlanResult::Stale { .. } => self.stale += 1,
                }
            }
        }
        let count = |state: &State, status| state.allocs().filter(|alloc| alloc.client_status == status).count();
        let more = |status| count(after, status).saturating_sub(count(before, status)) as u64;
        self.lost += more(ClientStatus::Lost);
        self.unknown += more(ClientStatus::Unknown);
        self.placed += after.alloc_count().saturating_sub(before.alloc_count()) as u64;
        self.collected += before.alloc_count().saturating_sub(after.alloc_count()) as u64;
        let handed = |state: &State| state.allocs().filter(|alloc| alloc.handed_over).count();
        self.handed_over += handed(after).saturating_sub(handed(before)) as u64;
        let evals = |state: &State, status: EvalStatus| state.evals().filter(|eval| eval.status == status).count();
        let more = |status| evals(after, status).saturating_sub(evals(before, status)) as u64;
        let [blocked, canceled, failed] = [Blocked, Canceled, Failed].map(more);
        self.blocked += blocked;
        self.canceled += canceled;
        self.failed_evals += failed;
        self.note_deployments(before, after);
    }

    fn note_deployments(&mut self, before: &State, after: &State) {
        for now in after.deployments() {
            if before.deployment(&now.id).map(|was| was.status) == Some(now.status) {
                continue;
            }
            match now.status {
                DeploymentStatus::Running => {}
                DeploymentStatus::Paused => self.paused += 1,
                DeploymentStatus::Successful => self.successful += 1,
                DeploymentStatus::Failed => self.failed += 1,
                DeploymentStatus::Cancelled => self.cancelled += 1,
            }
            self.rolled_back += u64::from(now.description().contains(" - rolling back"));
        }
        let count = |state: &State, is: fn(&Allocation) -> bool| state.allocs().filter(|alloc| is(alloc)).count();
        let more = |is| count(after, is).saturating_sub(count(before, is)) as u64;
        self.unhealthy += more(Allocation::is_unhealthy);
        self.marked += more(|alloc| alloc.transition.reschedule);
    }

    fn counts(&mut self) -> [(&'static str, &mut u64); 20] {
        [
            ("entries", &mut self.entries),
            ("placements", &mut self.placed),
            ("refused placements", &mut self.refused),
            ("stale plans", &mut self.stale),
            ("repeated entries", &mut self.repeated),
            ("blocked evaluations", &mut self.blocked),
            ("canceled evaluations", &mut self.canceled),
            ("failed evaluations", &mut self.failed_evals),
            ("lost allocations", &mut self.lost),
            ("unknown allocations", &mut self.unknown),
            ("allocations handed over", &mut self.handed_over),
            ("things collected", &mut self.collected),
            ("changes of leader", &mut self.leaders),
            ("successful deployments", &mut self.successful),
            ("failed deployments", &mut self.failed),
            ("ways back", &mut self.rolled_back),
            ("cancelled deployments", &mut self.cancelled),
            ("paused deployments", &mut self.paused),
            ("unhealthy allocations", &mut self.unhealthy),
            ("allocations marked to be placed again", &mut self.marked),
        ]
    }

    fn copied(&self) -> [u64; 20] {
        [
            self.entries,
            self.placed,
            self.refused,
            self.stale,
            self.repeated,
            self.blocked,
            self.canceled,
            self.failed_evals,
            self.lost,
            self.unknown,
            self.handed_over,
            self.collected,
            self.leaders,
            self.successful,
            self.failed,
            self.rolled_back,
            self.cancelled,
            self.paused,
            self.unhealthy,
            self.marked,
        ]
    }

    /// Whatever the simulation is there for has happened at least once.
    pub(crate) fn assert_nothing_is_missing(&mut self) {
        for (what, count) in self.counts() {
            assert!(*count > 0, "no seed came across {what}");
        }
    }
}
