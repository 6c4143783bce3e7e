//! Jobs: registering, stopping, purging, looking afresh, and what is derived of them.

use orch_model::job::JobStatus;
use orch_model::operator::SchedulerConfig;

use super::*;
use crate::{Scope, Submission, Table};

fn versions(log: &Log, job: &str) -> Vec<u64> {
    log.state.job_versions(&key(job)).map(|job| job.version).collect()
}

#[test]
fn registering_a_job_writes_it_with_its_indexes_and_has_an_evaluation_follow() {
    let mut log = Log::with_nodes(1);
    let applied = log.register(testing::job("web", 2), 1);
    let job = log.state.job(&key("web")).unwrap();
    assert_eq!((job.version, job.create_index, job.job_modify_index), (0, applied.index, applied.index));
    assert_eq!((job.submit_time, job.status), (log.state.now(), JobStatus::Pending));
    let follows = Reply::Job { eval_id: Some(eval_id(1)), job_modify_index: applied.index };
    assert_eq!(applied.reply, follows);
    let eval = log.eval(eval_id(1));
    assert_eq!(
        (eval.status, eval.trigger, eval.create_index),
        (EvalStatus::Pending, Trigger::JobRegister, applied.index)
    );
    assert_eq!(applied.changes.evals, [Arc::clone(eval)]);
    for scope in [
        Scope::Table(Table::Jobs),
        Scope::Namespace(Table::Jobs, "default".into()),
        Scope::Job(Table::Jobs, key("web")),
        Scope::Job(Table::Evals, key("web")),
        Scope::Eval(eval_id(1)),
    ] {
        assert!(applied.changes.scopes.contains(&scope), "{scope:?} was written");
        assert_eq!(log.state.scope_index(&scope), applied.index, "{scope:?}");
    }
    assert_eq!(
        log.state.scope_index(&Scope::Job(Table::Jobs, key("other"))),
        applied.index,
        "what is not there: its table's"
    );
}

#[test]
fn a_registration_that_is_delivered_twice_is_answered_as_the_first_time_and_changes_nothing() {
    let mut log = Log::default();
    let first = log.register(testing::job("web", 2), 1);
    log.register(testing::job("web", 3), 2);
    let again = log.register(testing::job("web", 2), 1);
    assert_eq!(again.reply, first.reply);
    assert_eq!(log.state.job(&key("web")).unwrap().task_groups[0].count, 3);
    assert_eq!(versions(&log, "web"), [0, 1]);
    assert!(again.changes.evals.is_empty() && again.changes.scopes.is_empty());
}

#[test]
fn a_job_that_says_what_it_said_makes_no_version_but_an_evaluation() {
    let mut log = Log::default();
    let first = log.register(testing::job("web", 2), 1);
    let placed = log.row("web").placed_index;
    let same = log.register(testing::job("web", 2), 2);
    assert_eq!(same.reply, Reply::Job { eval_id: Some(eval_id(2)), job_modify_index: first.index });
    assert_eq!(versions(&log, "web"), [0]);
    assert_eq!(log.row("web").placed_index, placed, "plans under way stay good");
}

#[test]
fn a_registration_may_demand_that_the_job_was_last_written_at_an_index() {
    let mut log = Log::default();
    let enforced = |job: Job, eval: u128, index: u64| {
        let Command::RegisterJob(mut command) = register(job, eval) else { panic!("not a registration") };
        command.enforce_index = Some(StateIndex(index));
        Command::RegisterJob(command)
    };
    let missing = log.apply(enforced(testing::job("web", 1), 1, 9));
    assert_eq!(rejected(&missing), Some(RejectionKind::Conflict));
    assert!(log.state.job(&key("web")).is_none() && log.state.eval(&eval_id(1)).is_none());
    let new = log.apply(enforced(testing::job("web", 1), 2, 0));
    assert_eq!(rejected(&new), None);
    for (eval, wanted, conflict) in [(3, 0, true), (4, new.index.0 + 1, true), (5, new.index.0, false)] {
        let applied = log.apply(enforced(testing::job("web", 2), eval, wanted));
        assert_eq!(rejected(&applied).is_some(), conflict, "index {wanted}");
    }
    assert_eq!(versions(&log, "web"), [0, 1]);
}

#[test]
fn old_versions_are_forgotten_with_their_texts_but_allocations_keep_what_they_run() {
    let mut log = Log::with_nodes(1);
    let submit = |count: i64| {
        let Command::RegisterJob(mut command) = register(testing::job("web", count), u128::try_from(count).unwrap())
        else {
            panic!("not a registration")
        };
        command.submission = Some(Submission { source: format!("count = {count}"), ..Submission::default() });
        Command::RegisterJob(command)
    };
    log.apply(submit(1));
    let first = log.state.job(&key("web")).unwrap().version_key();
    log.place("web", 1, &[(1, 1)]);
    for count in 2..=8 {
        log.apply(submit(count));
    }
    assert_eq!(versions(&log, "web"), [2, 3, 4, 5, 6, 7]);
    assert!(log.state.submission(&first).is_none() && log.state.job_version(&first).is_none());
    let newest = log.state.job(&key("web")).unwrap().version_key();
    assert_eq!(log.state.submission(&newest).unwrap().source, "count = 8");
    assert_eq!(log.alloc(1).job.task_groups[0].count, 1);
}

#[test]
fn registering_can_be_switched_off() {
    let mut log = Log::default();
    let set = |config, check_index| Command::SetSchedulerConfig(SetSchedulerConfig { config, check_index });
    let closed = SchedulerConfig { reject_job_registration: true, ..SchedulerConfig::default() };
    let written = log.apply(set(closed.clone(), None));
    assert_eq!(rejected(&log.register(testing::job("web", 1), 1)), Some(RejectionKind::Forbidden));
    assert!(log.state.job(&key("web")).is_none());
    let old = log.apply(set(SchedulerConfig::default(), Some(StateIndex(0))));
    assert_eq!(rejected(&old), Some(RejectionKind::Conflict));
    log.apply(set(SchedulerConfig::default(), Some(written.index)));
    assert_eq!(rejected(&log.register(testing::job("web", 1), 1)), None);
    assert_eq!(log.state.meta().scheduler.create_index, written.index);
}

#[test]
fn stopping_a_job_makes_a_version_and_stopping_it_again_only_an_evaluation() {
    let mut log = Log::default();
    assert_eq!(rejected(&log.apply(deregister("web", false, 9))), Some(RejectionKind::NotFound));
    log.register(testing::job("web", 1), 1);
    let before = log.row("web").placed_index;
    let stopped = log.apply(deregister("web", false, 2));
    assert!(log.row("web").job.stop && log.row("web").placed_index > before);
    assert_eq!(log.row("web").job.version, 1);
    let again = log.apply(deregister("web", false, 3));
    assert_eq!(again.reply, Reply::Job { eval_id: Some(eval_id(3)), job_modify_index: stopped.index });
    assert_eq!(log.apply(deregister("web", false, 2)).reply, stopped.reply);
    assert_eq!(versions(&log, "web"), [0, 1]);
    log.register(testing::job("web", 1), 4);
    assert!(!log.row("web").job.stop, "registering starts it again");
    assert_eq!(log.row("web").job.version, 2);
}

#[test]
fn purging_forgets_a_job_and_the_next_one_of_its_name_counts_what_is_left() {
    let mut log = Log::with_nodes(1);
    log.register(testing::job("web", 1), 1);
    log.place("web", 1, &[(1, 1)]);
    let purged = log.apply(deregister("web", true, 2));
    assert!(log.state.job(&key("web")).is_none() && versions(&log, "web").is_empty());
    assert!(purged.changes.jobs_gone.contains(&key("web")));
    assert_eq!(log.eval(eval_id(2)).trigger, Trigger::JobDeregister);
    assert_eq!(log.alloc(1).desired, orch_model::allocation::DesiredStatus::Run, "the evaluation stops it");
    assert_eq!(log.apply(deregister("web", true, 2)).reply, purged.reply);
    let again = log.register(testing::job("web", 1), 3);
    let row = log.row("web");
    assert_eq!((row.job.create_index, row.job.version, row.live_allocs, row.live_evals), (again.index, 0, 1, 3));
}

#[test]
fn a_forced_evaluation_is_minted_once() {
    let mut log = Log::default();
    let evaluate = || Command::EvaluateJob(EvaluateJob { job: key("web"), eval_id: eval_id(2) });
    assert_eq!(rejected(&log.apply(evaluate())), Some(RejectionKind::NotFound));
    log.register(testing::job("web", 1), 1);
    let first = log.apply(evaluate());
    log.complete(eval_id(2));
    log.register(testing::job("web", 5), 3);
    assert_eq!(log.apply(evaluate()).reply, first.reply);
    log.apply(deregister("web", true, 4));
    assert_eq!(log.apply(evaluate()).reply, first.reply);
    assert_eq!(log.eval(eval_id(2)).status, EvalStatus::Complete);
}

#[test]
fn a_job_is_pending_until_something_runs_and_dead_once_nothing_is_left() {
    let mut log = Log::with_nodes(1);
    let status = |log: &Log| log.state.job(&key("web")).unwrap().status;
    log.register(testing::job("web", 1), 1);
    assert_eq!(status(&log), JobStatus::Pending);
    log.place("web", 1, &[(1, 1)]);
    assert_eq!(status(&log), JobStatus::Running);
    log.complete(eval_id(1));
    assert_eq!(status(&log), JobStatus::Running);
    let follow_up = log.report(1, ClientStatus::Failed);
    assert_eq!(status(&log), JobStatus::Pending, "an evaluation looks at the failure");
    log.complete(follow_up[0]);
    assert_eq!(status(&log), JobStatus::Dead);
    log.register(testing::job("web", 1), 2);
    assert_eq!(status(&log), JobStatus::Pending);
}

#[test]
fn the_summary_counts_allocations_by_status_and_what_still_waits() {
    let mut log = Log::with_nodes(1);
    log.register(testing::job("web", 4), 1);
    log.place("web", 1, &[(1, 1), (2, 1), (3, 1)]);
    let counts = |log: &Log| log.row("web").summary["web"];
    assert_eq!((counts(&log).starting, counts(&log).running), (3, 0));
    log.report(1, ClientStatus::Running);
    log.report(2, ClientStatus::Running);
    log.report(2, ClientStatus::Failed);
    log.report(3, ClientStatus::Complete);
    assert_eq!((counts(&log).starting, counts(&log).running), (0, 1));
    assert_eq!((counts(&log).failed, counts(&log).complete), (1, 1));
    let mut done = (**log.eval(eval_id(1))).clone();
    done.status = EvalStatus::Complete;
    let mut outcome = orch_model::evaluation::EvalOutcome::default();
    outcome.queued.insert("web".into(), 1);
    done.outcome = Some(Arc::new(outcome));
    let before = log.row("web").summary_index;
    log.apply(Command::PutEvals(PutEvals { evals: vec![done] }));
    assert_eq!(counts(&log).queued, 1);
    assert!(log.row("web").summary_index > before);
    let follow_up = log.report(1, ClientStatus::Failed);
    let mut canceled = (**log.eval(follow_up[0])).clone();
    canceled.status = EvalStatus::Canceled;
    canceled.outcome = Some(Arc::default());
    log.apply(Command::PutEvals(PutEvals { evals: vec![canceled] }));
    assert_eq!(counts(&log).queued, 1, "what was canceled has seen nothing new");
}

#[test]
fn an_evaluation_that_ended_stays_so_and_never_goes_over_to_another_job() {
    let mut log = Log::default();
    log.register(testing::job("web", 1), 1);
    log.register(testing::job("api", 1), 2);
    log.apply(Command::PutEvals(PutEvals { evals: vec![pending_eval(1, "api")] }));
    assert_eq!(log.eval(eval_id(1)).job_id.as_str(), "web");
    let created = log.eval(eval_id(1)).create_index;
    log.complete(eval_id(1));
    log.apply(Command::PutEvals(PutEvals { evals: vec![pending_eval(1, "web")] }));
    let eval = log.eval(eval_id(1));
    assert_eq!((eval.status, eval.create_index), (EvalStatus::Complete, created));
    assert_eq!(log.row("web").live_evals, 0);
}
