//! The running digest: the same for the same log, another as soon as one record is another.

use super::*;
use crate::CHECKPOINT_EVERY;

fn history() -> Log {
    let mut log = Log::with_nodes(2);
    log.register(testing::job("web", 2), 1);
    log.place("web", 1, &[(1, 1), (2, 2)]);
    log.report(1, ClientStatus::Running);
    log
}

#[test]
fn a_log_gives_the_same_digest_each_time_and_across_a_snapshot() {
    let log = history();
    assert_ne!(log.state.meta().digest, 0);
    assert_eq!(history().state.meta().digest, log.state.meta().digest);
    let mut bytes = Vec::new();
    crate::snapshot::write(&log.state, &mut bytes).unwrap();
    let mut resumed = Log { state: crate::snapshot::read(&bytes[..]).unwrap(), index: log.index, now: log.now };
    let mut log = log;
    for log in [&mut log, &mut resumed] {
        log.report(2, ClientStatus::Failed);
    }
    assert_eq!(resumed.state.meta().digest, log.state.meta().digest);
}

#[test]
fn states_that_differ_in_one_record_differ_in_digest_once_it_is_written() {
    let mut right = history();
    let mut wrong = history();
    // As if this server had taken another way through `apply`.
    let mut alloc = (**wrong.alloc(1)).clone();
    alloc.client_status = ClientStatus::Pending;
    let key = alloc.job_key();
    let alloc = Arc::new(alloc);
    wrong.state.allocs.insert(alloc_id(1), Arc::clone(&alloc));
    wrong.state.allocs_by_job.get_mut(&key).unwrap().insert(alloc_id(1), alloc);
    let stop = Command::StopAlloc(StopAlloc { alloc_id: alloc_id(1), no_shutdown_delay: false, eval_id: eval_id(5) });
    for log in [&mut right, &mut wrong] {
        log.apply(stop.clone());
    }
    assert_ne!(right.state.meta().digest, wrong.state.meta().digest);
}

#[test]
fn a_server_learns_that_its_state_is_another_than_the_leaders_at_a_checkpoint() {
    let mut log = history();
    log.index = CHECKPOINT_EVERY - 2;
    let nothing = || Command::PutEvals(PutEvals { evals: Vec::new() });
    assert_eq!(log.apply(nothing()).changes.checkpoint, None);
    // The multiple itself went to an entry that never reached `apply`.
    log.index += 1;
    let taken = log.apply(nothing()).changes.checkpoint.unwrap();
    assert_eq!((taken.0, Some(taken)), (StateIndex(CHECKPOINT_EVERY + 1), log.state.meta().checkpoint));
    assert_eq!(log.apply(nothing()).changes.checkpoint, None);
    let check = |at: StateIndex, digest| Command::CheckDigest(CheckDigest { at, digest });
    assert_eq!(log.apply(check(taken.0, taken.1)).changes.diverged, None);
    assert_eq!(log.apply(check(StateIndex(7), 5)).changes.diverged, None, "nobody remembers what was there");
    let mut other = Log { state: log.state.clone(), index: log.index, now: log.now };
    let told = log.apply(check(taken.0, taken.1 ^ 1));
    assert_eq!(told.changes.diverged, Some(taken.0));
    other.apply(check(taken.0, taken.1 ^ 1));
    assert_eq!(other.state.meta(), log.state.meta(), "the state is the same, whoever is wrong");
}
