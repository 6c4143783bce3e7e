//! What may be forgotten: a pure function from the state to a bounded list of names.

use std::time::Duration;

use orch_model::evaluation::EvalStatus;
use orch_model::job::{JobStatus, JobType};
use orch_model::node::NodeStatus;
use orch_model::{Allocation, Evaluation, Nanos, StateIndex, Timestamp};
use orch_state::commands::Reap;
use orch_state::{JobRow, State};

use crate::config::GcConfig;

/// How many names one list holds at most.
const BUDGET: usize = 2_000;

/// Names what has ended long enough ago; with `all`, whatever has ended.
pub fn collect(state: &State, config: &GcConfig, all: bool) -> Reap {
    let now = state.now();
    let age = |limit: Duration| if all { Nanos::ZERO } else { Nanos::from(limit) };
    let mut reap = Reap::default();
    for alloc in state.allocs() {
        if reap.allocs.len() < BUDGET
            && alloc_may_go(state, alloc)
            && is_old(alloc.modify_time, now, age(limit_of(alloc, config)))
        {
            reap.allocs.push(alloc.id);
        }
    }
    for eval in state.evals() {
        let limit = if eval.kind == JobType::Batch { config.batch_evals } else { config.evals };
        if reap.evals.len() < BUDGET && eval_may_go(state, eval) && is_old(eval.modify_time, now, age(limit)) {
            reap.evals.push(eval.id);
        }
    }
    for row in state.jobs() {
        if reap.jobs.len() < BUDGET && job_may_go(state, row) && is_old(last_sign(state, row), now, age(config.jobs)) {
            reap.jobs.push(row.job.key());
        }
    }
    for node in state.nodes() {
        let idle = state.allocs_of_node(&node.id).all(|alloc| alloc.is_client_terminal());
        if reap.nodes.len() < BUDGET
            && node.status == NodeStatus::Down
            && idle
            && is_old(node.status_updated_at, now, age(config.nodes))
        {
            reap.nodes.push(node.id);
        }
    }
    reap
}

/// When anything last happened to a job that is dead: so long it is at least.
fn last_sign(state: &State, row: &JobRow) -> Timestamp {
    let key = row.job.key();
    let allocs = state.allocs_of_job(&key).map(|alloc| alloc.modify_time);
    let evals = state.evals_of_job(&key).map(|eval| eval.modify_time);
    allocs.chain(evals).max().unwrap_or_default().max(row.job.submit_time)
}

/// Whether a list names nothing.
pub fn is_empty(reap: &Reap) -> bool {
    reap.allocs.is_empty() && reap.evals.is_empty() && reap.jobs.is_empty() && reap.nodes.is_empty()
}

fn is_old(since: Timestamp, now: Timestamp, limit: Nanos) -> bool {
    now.since(since) >= limit
}

fn limit_of(alloc: &Allocation, config: &GcConfig) -> Duration {
    if alloc.job.kind() == Some(JobType::Batch) { config.batch_evals } else { config.evals }
}

/// Whether an allocation is over on both sides and nothing looks at it any more.
fn alloc_may_go(state: &State, alloc: &Allocation) -> bool {
    if !alloc.is_client_terminal() {
        return false;
    }
    let Some(row) = state.job_row(&alloc.job_key()) else { return true };
    let same = row.job.create_index == alloc.job.create_index;
    let over = !same || row.job.stop || row.job.status == JobStatus::Dead && row.live_evals == 0;
    match alloc.job.kind() {
        // What a batch job completed must be remembered while the job is wanted, or it would run again.
        Some(JobType::Batch | JobType::Sysbatch) => !same || row.job.stop || alloc.job.version != row.job.version,
        Some(JobType::Service | JobType::System) | None => over || alloc.desired.is_stop() || alloc.next.is_some(),
    }
}

/// Whether an evaluation is over and no allocation that it placed is left to explain.
fn eval_may_go(state: &State, eval: &Evaluation) -> bool {
    match eval.status {
        EvalStatus::Canceled | EvalStatus::Failed => true,
        EvalStatus::Complete => {
            let key = eval.job_key();
            let placed = eval.outcome.as_ref().is_some_and(|outcome| !outcome.placed.is_empty());
            !placed || state.allocs_of_job(&key).all(|alloc| alloc.eval_id != eval.id)
        }
        EvalStatus::Pending | EvalStatus::Blocked => false,
    }
}

fn job_may_go(state: &State, row: &JobRow) -> bool {
    let key = row.job.key();
    row.job.status == JobStatus::Dead
        && row.live_evals == 0
        && row.evaluated
        && row.job.create_index > StateIndex(0)
        && state.allocs_of_job(&key).all(|alloc| alloc.is_client_terminal())
}
