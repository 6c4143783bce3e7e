//! What the scheduler is asked and what it answers.

use orch_model::evaluation::Evaluation;
use orch_model::plan::Plan;
use orch_model::seed::Seed;
use orch_model::time::Timestamp;
use orch_state::State;

use crate::memo::Memo;
use crate::overlay::Overlay;

/// One evaluation to be processed.
#[derive(Debug)]
pub struct Request<'a> {
    /// The cluster as the scheduler sees it, at least as new as the evaluation.
    pub state: &'a State,
    /// What other workers have placed but not yet seen committed.
    pub overlay: &'a Overlay,
    /// The evaluation.
    pub eval: &'a Evaluation,
    /// The time.
    pub now: Timestamp,
    /// Where ids, ports and the order of equals come from: `Seed::of(eval id, attempt)`, so that a retry differs.
    pub seed: Seed,
    /// What earlier calls with states of the same history found out; an empty one gives the same answer, later.
    pub memo: &'a mut Memo,
}

/// What is to be done about an evaluation.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The plan. Its `when_whole` holds all the evaluations below, so that one log entry commits everything. It may be
    /// empty (see [`Plan::is_empty`]): then there are only evaluations to write.
    pub plan: Plan,
    /// The evaluation as it stands once the plan is committed whole: complete; blocked again if it was a blocked one
    /// and still could not place everything; failed if its job cannot be scheduled at all.
    pub eval: Evaluation,
    /// The evaluation that waits for what could not be placed: a new one, or the same as `eval` if that is blocked.
    pub blocked: Option<Evaluation>,
    /// Evaluations that run later, at their `wait_until`.
    pub follow_ups: Vec<Evaluation>,
    /// Blocked evaluations of the job that this one makes superfluous, as canceled.
    pub canceled: Vec<Evaluation>,
}
