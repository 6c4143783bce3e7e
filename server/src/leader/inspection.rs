//! What must hold of the state, looked at a few rows at a time.
//!
//! `orch_state::invariants` checks everything and takes as long; this is cheap enough for a live leader. It also knows
//! what only a leader can see: things that wait longer than anything should.

use std::collections::BTreeMap;
use std::net::IpAddr;

use orch_model::deployment::DeploymentStatus;
use orch_model::evaluation::EvalStatus;
use orch_model::units::Usage;
use orch_model::{AllocId, JobKey, Nanos, Node, NodeId, StateIndex};
use orch_state::{JobRow, State};
use uuid::Uuid;

/// About how many rows one step looks at.
const ROWS: usize = 2_000;

/// Nothing that is due waits longer.
const OVERDUE: Nanos = Nanos::from_secs(3600);

/// A round through the state.
#[derive(Debug, Default)]
pub(super) struct Inspection {
    next: Next,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Next {
    Nodes(NodeId),
    Jobs(Option<JobKey>),
}

impl Default for Next {
    fn default() -> Self {
        Self::Nodes(NodeId::from_uuid(Uuid::nil()))
    }
}

impl Inspection {
    /// Looks at the next rows; answers what is wrong with them, a sentence each.
    pub(super) fn step(&mut self, state: &State) -> Vec<String> {
        let mut breaches = Vec::new();
        let mut looked = 0;
        self.next = match std::mem::take(&mut self.next) {
            Next::Nodes(first) => nodes(state, first, &mut looked, &mut breaches),
            Next::Jobs(after) => jobs(state, after.as_ref(), &mut looked, &mut breaches),
        };
        breaches
    }
}

fn nodes(state: &State, first: NodeId, looked: &mut usize, breaches: &mut Vec<String>) -> Next {
    for node in state.nodes_between(first, NodeId::from_uuid(Uuid::max())) {
        if *looked >= ROWS {
            return Next::Nodes(node.id);
        }
        *looked += 1;
        check_node(state, node, looked, breaches);
    }
    Next::Jobs(None)
}

fn jobs(state: &State, after: Option<&JobKey>, looked: &mut usize, breaches: &mut Vec<String>) -> Next {
    let mut last = None;
    for row in state.jobs() {
        let key = row.job.key();
        if after.is_some_and(|after| key <= *after) {
            continue;
        }
        if *looked >= ROWS {
            return Next::Jobs(last);
        }
        *looked += 1;
        check_job(state, row, &key, looked, breaches);
        last = Some(key);
    }
    Next::default()
}

/// No commit gave a node more than it had then, no port is held twice on one address, and what is summed up is true.
///
/// A node that became smaller rightly holds more than it has, and so does one on which an allocation counts again whose
/// successor ended first.
fn check_node(state: &State, node: &Node, looked: &mut usize, breaches: &mut Vec<String>) {
    let id = node.id;
    let (mut used, mut placed) = (Usage::default(), Usage::default());
    let mut newest = StateIndex::default();
    let mut ports: BTreeMap<(IpAddr, u16), AllocId> = BTreeMap::new();
    for alloc in state.allocs_of_node(&id) {
        *looked += 1;
        if !alloc.holds_resources() {
            continue;
        }
        used = used.saturating_add(alloc.usage);
        let successor = alloc.next.and_then(|next| state.alloc(&next));
        if alloc.desired.is_stop() && successor.is_some_and(|next| next.is_client_terminal()) {
            continue;
        }
        placed = placed.saturating_add(alloc.usage);
        newest = newest.max(alloc.create_index);
        for port in alloc.ports.iter().filter(|port| !port.ignore_collision) {
            if let Some(other) = ports.insert((port.address, port.value), alloc.id) {
                breaches.push(format!("port {} of node {id} is held by {other} and {}", port.value, alloc.id));
            }
        }
    }
    if newest > node.modify_index && !placed.fits_in(node.capacity()) {
        breaches.push(format!("node {id} is over-committed: {placed:?} of {:?}", node.capacity()));
    }
    match state.usage().row(&id) {
        Some(row) if row.used == used => {}
        Some(row) => breaches.push(format!("node {id} is said to hold {:?} but holds {used:?}", row.used)),
        None => breaches.push(format!("node {id} has no row of usage")),
    }
}

/// What is counted beside a job is true, it has one active deployment at most, and nothing of it waits for ever.
fn check_job(state: &State, row: &JobRow, key: &JobKey, looked: &mut usize, breaches: &mut Vec<String>) {
    let (mut allocs, mut evals, mut active) = (0_usize, 0_usize, 0_usize);
    for alloc in state.allocs_of_job(key) {
        *looked += 1;
        allocs += usize::from(!alloc.is_terminal());
    }
    for eval in state.evals_of_job(key) {
        *looked += 1;
        evals += usize::from(!eval.status.is_terminal());
        let due = eval.wait_until.max(eval.modify_time);
        let paused = state.meta().scheduler.pause_eval_broker;
        if eval.status == EvalStatus::Pending && !paused && state.now().since(due) > OVERDUE {
            breaches.push(format!("evaluation {} of job {key} has been due for more than an hour", eval.id));
        }
    }
    for deployment in state.deployments_of_job(key).filter(|deployment| deployment.is_active()) {
        *looked += 1;
        active += 1;
        let by = deployment.progress_by().filter(|_| deployment.status == DeploymentStatus::Running);
        // What sets no deadline has a day.
        let waits = deployment.groups.values().map(|group| group.progress_deadline).min().is_some_and(|by| by.0 > 0);
        if waits && by.is_some_and(|by| state.now().since(by) > OVERDUE) {
            breaches.push(format!("deployment {} of job {key} should have ended an hour ago", deployment.id));
        }
    }
    if allocs != row.live_allocs as usize || evals != row.live_evals as usize {
        let (said, counted) = (row.live_allocs, row.live_evals);
        breaches.push(format!(
            "job {key} counts {said} allocations and {counted} evaluations, but has {allocs} and {evals}"
        ));
    }
    if active > 1 {
        breaches.push(format!("job {key} has {active} active deployments"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orch_model::{EvalId, Timestamp};
    use orch_state::commands::{PutEvals, RegisterJob};
    use orch_state::{Command, Entry, RULES, apply};

    #[test]
    fn an_evaluation_that_nobody_processes_is_named() {
        let mut state = State::default();
        let job = RegisterJob {
            job: orch_model::testing::job("a", 1),
            eval_id: EvalId::from_uuid(Uuid::from_u128(1)),
            eval_priority: None,
            enforce_index: None,
            submission: None,
        };
        let entry = |stamp, command| Entry { rules: RULES, stamp: Timestamp(1).plus(Nanos::from_secs(stamp)), command };
        apply(&mut state, 1, &entry(0, Command::RegisterJob(Box::new(job))));
        let round = |state: &State| {
            let mut inspection = Inspection::default();
            [inspection.step(state), inspection.step(state)].concat()
        };
        assert_eq!(round(&state), Vec::<String>::new());
        apply(&mut state, 2, &entry(3601, Command::PutEvals(PutEvals { evals: Vec::new() })));
        let breaches = round(&state);
        assert_eq!(breaches.len(), 1);
        assert!(breaches[0].contains("has been due for more than an hour"), "{breaches:?}");
    }

    #[test]
    fn a_round_visits_every_row_and_begins_again() {
        let state = State::default();
        let mut inspection = Inspection::default();
        assert!(inspection.step(&state).is_empty());
        assert_eq!(inspection.next, Next::Jobs(None));
        assert!(inspection.step(&state).is_empty());
        assert_eq!(inspection.next, Next::default());
    }
}
