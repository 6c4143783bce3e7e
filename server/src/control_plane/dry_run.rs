//! What registering a job would do, found out on a copy of the state.

use std::sync::Arc;

use orch_http::control::DryRun;
use orch_model::seed::Seed;
use orch_model::{EvalId, Job};
use orch_scheduler::{Memo, Overlay, Request, schedule};
use orch_state::{Command, Entry, RULES, Rejection, Reply, State, apply, commands};

/// Registers `job` on a copy of the state and runs the scheduler there. Nothing is stored.
pub(super) fn run(state: &State, job: &Arc<Job>, seed: u64) -> Result<DryRun, Rejection> {
    let stored = state.job(&job.key()).cloned();
    let mut copy = state.clone();
    let mut ids = Seed::new(seed);
    let eval_id = EvalId::from_uuid(ids.uuid());
    let command = commands::RegisterJob {
        job: (**job).clone(),
        eval_id,
        eval_priority: None,
        enforce_index: None,
        submission: None,
    };
    let entry = Entry { rules: RULES, stamp: state.now(), command: Command::RegisterJob(Box::new(command)) };
    let log_index = state.last_index().0.saturating_sub(state.meta().index_base).saturating_add(1);
    if let Reply::Rejected(rejection) = apply(&mut copy, log_index, &entry).reply {
        return Err(rejection);
    }
    let Some(eval) = copy.eval(&eval_id).cloned() else { return Ok(DryRun::default()) };
    let overlay = Overlay::default();
    let mut memo = Memo::default();
    let now = copy.now();
    let decision = schedule(Request { state: &copy, overlay: &overlay, eval: &eval, now, seed: ids, memo: &mut memo });
    let outcome = decision.eval.outcome.clone().unwrap_or_default();
    Ok(DryRun {
        index: state.last_index(),
        stored,
        updates: outcome.updates.clone(),
        failed: outcome.failed.clone(),
        created_evals: decision.blocked.into_iter().chain(decision.follow_ups).collect(),
    })
}
