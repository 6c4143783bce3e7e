use super::*;
use orch_model::StateIndex;
use orch_model::deployment::GroupRollout;
use uuid::Uuid;

const START: Timestamp = Timestamp(1_000_000_000_000);

/// A watcher with two clocks that go together.
struct World {
    watcher: Watcher,
    now: Now,
}

impl World {
    fn new() -> Self {
        Self { watcher: Watcher::default(), now: Now { at: Instant::now(), time: START } }
    }

    fn pass(&mut self, millis: i64) -> Vec<Action> {
        self.now.at += Nanos::from_millis(millis).to_std();
        self.now.time = self.now.time.plus(Nanos::from_millis(millis));
        self.watcher.step(self.now, Event::Tick)
    }

    fn stands(&mut self, standing: Standing) -> Vec<Action> {
        self.watcher.step(self.now, Event::Stands(standing))
    }

    fn answered(&mut self, done: bool) -> Vec<Action> {
        self.watcher.step(self.now, Event::Answered { id: id(), done })
    }
}

fn id() -> DeploymentId {
    DeploymentId::from_uuid(Uuid::from_u128(1))
}

fn secs(secs: i64) -> Timestamp {
    START.plus(Nanos::from_secs(secs))
}

/// A running deployment that must move on within a minute.
fn running() -> Standing {
    Standing {
        id: id(),
        job: JobKey::new(&"default".into(), &"web".into()),
        status: DeploymentStatus::Running,
        healthy: 0,
        progress_by: Some(secs(60)),
        patience: Some(Nanos::from_secs(60)),
        unhealthy: Vec::new(),
    }
}

fn unhealthy(remedy: Remedy) -> Unhealthy {
    Unhealthy { id: AllocId::from_uuid(Uuid::from_u128(7)), remedy }
}

fn evaluate() -> Vec<Action> {
    vec![Action::Evaluate { id: id(), job: running().job }]
}

fn fail(cause: Cause) -> Vec<Action> {
    vec![Action::Fail { id: id(), cause }]
}

#[test]
fn a_deployment_that_does_not_move_on_fails_at_its_deadline() {
    let mut world = World::new();
    assert_eq!(world.stands(running()), []);
    assert_eq!(world.watcher.wakes_at(world.now), Some(world.now.at + Duration::from_secs(60)));
    assert_eq!(world.pass(59_999), []);
    assert_eq!(world.pass(1), fail(Cause::ProgressDeadline));
    assert_eq!(world.pass(59_999), [], "it is asked for once while an answer may come");
    assert_eq!(world.pass(1), fail(Cause::ProgressDeadline), "an answer that was lost holds nothing up");
}

#[test]
fn a_deadline_keeps_its_moment_while_the_replicated_clock_stands_still() {
    let mut world = World::new();
    world.stands(running());
    let replicated = world.now.time;
    world.pass(59_000);
    world.now.time = replicated;
    assert_eq!(world.stands(Standing { unhealthy: vec![unhealthy(Remedy::Wait)], ..running() }), []);
    assert_eq!(world.pass(1_000), fail(Cause::ProgressDeadline));
}

#[test]
fn each_healthy_allocation_pushes_the_deadline_and_brings_the_next_batch() {
    let mut world = World::new();
    world.stands(running());
    world.pass(50_000);
    let moved = Standing { healthy: 1, progress_by: Some(secs(110)), ..running() };
    assert_eq!(world.stands(moved), evaluate(), "at once");
    world.answered(true);
    assert_eq!(world.pass(59_999), []);
    assert_eq!(world.pass(1), fail(Cause::ProgressDeadline));
}

#[test]
fn allocations_that_become_healthy_together_share_an_evaluation() {
    let mut world = World::new();
    assert_eq!(world.stands(Standing { healthy: 1, ..running() }), evaluate());
    world.answered(true);
    for healthy in 2..20 {
        assert_eq!(world.stands(Standing { healthy, ..running() }), []);
    }
    assert_eq!(world.watcher.wakes_at(world.now), Some(world.now.at + BATCH));
    assert_eq!(world.pass(250), evaluate());
    world.answered(true);
    assert_eq!(world.pass(10_000), [], "those are all known now");
}

#[test]
fn an_evaluation_that_could_not_be_stored_is_asked_for_again() {
    let mut world = World::new();
    assert_eq!(world.stands(Standing { healthy: 1, ..running() }), evaluate());
    assert_eq!(world.answered(false), []);
    assert_eq!(world.watcher.wakes_at(world.now), Some(world.now.at + RETRY));
    assert_eq!(world.pass(1_000), evaluate());
}

#[test]
fn a_new_leader_looks_afresh_at_what_was_healthy_before() {
    let mut world = World::new();
    assert_eq!(world.stands(Standing { healthy: 3, ..running() }), evaluate());
}

#[test]
fn an_unhealthy_allocation_that_cannot_be_replaced_fails_the_deployment_early() {
    let mut world = World::new();
    let standing = Standing { healthy: 1, unhealthy: vec![unhealthy(Remedy::None)], ..running() };
    assert_eq!(world.stands(standing), fail(Cause::UnhealthyAllocs));
}

#[test]
fn a_failure_that_could_not_be_stored_is_asked_for_again_soon() {
    let mut world = World::new();
    let standing = Standing { unhealthy: vec![unhealthy(Remedy::None)], ..running() };
    assert_eq!(world.stands(standing), fail(Cause::UnhealthyAllocs));
    assert_eq!(world.answered(false), []);
    assert_eq!(world.watcher.wakes_at(world.now), Some(world.now.at + RETRY));
    assert_eq!(world.pass(1_000), fail(Cause::UnhealthyAllocs));
}

#[test]
fn an_unhealthy_allocation_is_replaced_once_its_policy_allows() {
    let mut world = World::new();
    let standing = Standing { unhealthy: vec![unhealthy(Remedy::Replace(secs(5)))], ..running() };
    assert_eq!(world.stands(standing), []);
    assert_eq!(world.watcher.wakes_at(world.now), Some(world.now.at + Duration::from_secs(5)));
    assert_eq!(world.pass(5_000), [Action::Reschedule { id: id(), allocs: vec![unhealthy(Remedy::Wait).id] }]);
    world.stands(Standing { unhealthy: vec![unhealthy(Remedy::Wait)], ..running() });
    world.answered(true);
    assert_eq!(world.pass(5_000), []);
}

#[test]
fn a_request_that_changes_nothing_is_not_repeated_at_once() {
    let mut world = World::new();
    let standing = Standing { unhealthy: vec![unhealthy(Remedy::Replace(START))], ..running() };
    assert_eq!(world.stands(standing.clone()).len(), 1);
    assert_eq!(world.stands(standing.clone()), []);
    assert_eq!(world.answered(true), []);
    assert_eq!(world.stands(standing), []);
    assert_eq!(world.pass(250).len(), 1);
}

#[test]
fn a_paused_deployment_has_no_deadline_and_gets_a_new_one_when_it_goes_on() {
    let mut world = World::new();
    world.stands(running());
    let paused = Standing { status: DeploymentStatus::Paused, healthy: 1, ..running() };
    assert_eq!(world.stands(Standing { unhealthy: vec![unhealthy(Remedy::None)], ..paused }), []);
    assert_eq!(world.watcher.wakes_at(world.now), None);
    assert_eq!(world.pass(3_600_000), []);
    let by = world.now.time.plus(Nanos::from_secs(60));
    assert_eq!(world.stands(Standing { progress_by: Some(by), ..running() }), []);
    assert_eq!(world.pass(59_999), []);
    assert_eq!(world.pass(1), fail(Cause::ProgressDeadline));
}

#[test]
fn a_deployment_that_has_all_it_wants_and_runs_on_is_nudged_and_ends() {
    let mut world = World::new();
    let full = Standing { healthy: 3, progress_by: None, ..running() };
    assert_eq!(world.stands(full), evaluate());
    world.answered(true);
    assert_eq!(world.pass(29_999), []);
    assert_eq!(world.pass(1), evaluate());
    world.answered(true);
    assert_eq!(world.pass(30_000), fail(Cause::ProgressDeadline));
}

#[test]
fn canaries_that_nobody_promotes_are_waited_for() {
    let mut world = World::new();
    let full = Standing { healthy: 1, progress_by: None, patience: None, ..running() };
    assert_eq!(world.stands(full), evaluate());
    world.answered(true);
    assert_eq!(world.pass(24 * 3_600_000), []);
}

#[test]
fn what_has_ended_or_gone_is_watched_no_more() {
    let mut world = World::new();
    for end in [Event::Gone(id()), Event::Stands(Standing { status: DeploymentStatus::Successful, ..running() })] {
        world.stands(running());
        assert_eq!(world.watcher.counts(), (1, 0));
        assert_eq!(world.watcher.step(world.now, end), []);
        assert_eq!(world.watcher.counts(), (0, 0));
    }
    assert_eq!(world.pass(600_000), []);
}

fn deployment(groups: &[(&str, GroupRollout)]) -> Deployment {
    let groups = groups.iter().map(|(name, group)| ((*name).to_owned(), group.clone())).collect();
    let job = orch_model::JobVersionKey::default();
    let mut deployment = Deployment::new(id(), job, StateIndex(1), 50, groups);
    deployment.create_time = START;
    deployment.modify_time = secs(2);
    deployment
}

#[test]
fn every_running_deployment_has_a_deadline() {
    let group = GroupRollout { desired_total: 2, progress_deadline: Nanos::from_secs(60), ..GroupRollout::default() };
    let placed = GroupRollout { require_progress_by: secs(70), ..group.clone() };
    let whole = GroupRollout { healthy: 2, require_progress_by: secs(1), ..group.clone() };
    let without = GroupRollout { progress_deadline: Nanos::ZERO, require_progress_by: secs(3), ..group.clone() };
    let by = |groups: &[(&str, GroupRollout)]| Standing::new(&deployment(groups), Vec::new()).progress_by;
    assert_eq!(by(&[("a", placed.clone())]), Some(secs(70)));
    assert_eq!(by(&[("a", group.clone())]), Some(secs(62)), "nothing of it could be placed");
    assert_eq!(by(&[("a", group), ("b", placed)]), Some(secs(62)), "the earliest counts");
    assert_eq!(by(&[("a", without.clone())]), Some(secs(3).plus(LONGEST)));
    assert_eq!(by(&[("a", whole.clone()), ("b", without)]), Some(secs(3).plus(LONGEST)), "what is done does not");
    assert_eq!(by(&[("a", whole.clone())]), None);
    assert_eq!(Standing::new(&deployment(&[("a", whole)]), Vec::new()).patience, Some(Nanos::from_secs(60)));
}
