//! Every evaluation has ended, or waits for something that is named; what waits is known to the leader, and whatever is
//! queued has one that waits for it.

use orch_model::evaluation::EvalStatus;
use orch_state::State;

use crate::leader::Leader;

pub(crate) fn check(state: &State, leader: &Leader) {
    let mut blocked = 0;
    for eval in state.evals().filter(|eval| !eval.status.is_terminal()) {
        assert_eq!(
            eval.status,
            EvalStatus::Blocked,
            "evaluation {} of {} never ended: {eval:#?}",
            eval.id,
            eval.job_id
        );
        assert!(eval.waits_for.is_some(), "evaluation {} waits for nothing", eval.id);
        assert!(!eval.status_description.is_empty(), "evaluation {} does not say why it waits", eval.id);
        blocked += 1;
    }
    assert_eq!(leader.blocked.counts().0, blocked, "evaluations that wait are those that the leader would wake");
    for row in state.jobs() {
        let queued: u32 = row.summary.values().map(|counts| counts.queued).sum();
        let waits = state.evals_of_job(&row.job.key()).any(|eval| eval.status == EvalStatus::Blocked);
        assert!(queued == 0 || waits, "{queued} instances of {} are queued and nothing waits for room", row.job.id);
    }
}
