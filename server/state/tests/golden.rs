//! A log and a snapshot of each released format must load for ever. `UPDATE_GOLDEN=1` writes those of the present one.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};

use orch_model::allocation::{
    AllocPort, AllocUpdate, ClientStatus, RescheduleEvent, Score, ScoreEntry, Scorer, StopReason, TaskRunState,
    TaskState,
};
use orch_model::deployment::{DeploymentStatus, GroupRollout};
use orch_model::evaluation::{EvalOutcome, EvalStatus, Evaluation, Explanation, Trigger, WaitsFor};
use orch_model::ids::{ClusterId, PlanId, RaftId, VolumeClaimId};
use orch_model::job::{Constraint, JobStatus, JobType, Operator, UpdateStrategy, VolumeRequest};
use orch_model::node::{ComputedClass, Eligibility, NodeStatus, NodeVolume};
use orch_model::operator::SchedulerConfig;
use orch_model::plan::{FollowUp, InPlaceUpdate, Placement, Plan, Stop};
use orch_model::units::Usage;
use orch_model::volume::VolumeState;
use orch_model::{
    AllocId, Deployment, DeploymentId, EvalId, HostVolume, HostVolumeId, Job, JobKey, JobVersionKey, MebiBytes, Mhz,
    Nanos, NodeId, StateIndex, Timestamp, testing,
};
use orch_state::commands::*;
use orch_state::{Command, Entry, RULES, State, Submission, apply, invariants, snapshot};
use uuid::Uuid;

const FORMATS: std::ops::RangeInclusive<u16> = 1..=snapshot::FORMAT;

fn golden(format: u16, what: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{what}-{format}.bin"))
}

fn read(path: &Path) -> Vec<u8> {
    static UPDATED: Once = Once::new();
    UPDATED.call_once(|| {
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(golden(RULES, "log"), write_log(&history())).unwrap();
            fs::write(golden(snapshot::FORMAT, "snapshot"), snapshot_of(&replay(&history()))).unwrap();
        }
    });
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}; UPDATE_GOLDEN=1 writes it", path.display()))
}

fn uuid(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

fn node_id(number: u32) -> NodeId {
    testing::node(number).build().id
}

fn key(job: &str) -> JobKey {
    JobKey::new(&"default".into(), &job.into())
}

fn register(job: Job, eval: u128) -> Command {
    let submission =
        Some(Submission { source: "job \"web\" {}".into(), format: "hcl2".into(), ..Submission::default() });
    let eval_id = EvalId::from_uuid(uuid(eval));
    Command::RegisterJob(Box::new(RegisterJob {
        job,
        eval_id,
        eval_priority: Some(60),
        enforce_index: None,
        submission,
    }))
}

fn placement(id: u128, node: u32) -> Placement {
    Placement {
        alloc_id: AllocId::from_uuid(uuid(id)),
        group: 0,
        index: u32::try_from(id).unwrap() - 1,
        node_id: node_id(node),
        usage: Usage { cpu: Mhz(500), memory: MebiBytes(256), disk: MebiBytes(300) },
        ports: [AllocPort { ask: 0, value: 20_000, address: "10.0.0.1".parse().unwrap(), ignore_collision: false }]
            .into_iter()
            .filter(|_| id == 1)
            .collect(),
        cores: smallvec::SmallVec::new(),
        deployment: None,
        reschedules: Arc::default(),
        oversubscribed: false,
        previous: (id == 3).then(|| AllocId::from_uuid(uuid(2))),
        scores: Arc::from([ScoreEntry { scorer: Scorer::Normalized, score: Score::default() }]),
    }
}

fn blocked(id: u128) -> Evaluation {
    let id = EvalId::from_uuid(uuid(id));
    let mut eval = Evaluation::new(id, &key("web"), 60, JobType::Service, Trigger::QueuedAllocs);
    eval.status = EvalStatus::Blocked;
    eval.snapshot_index = StateIndex(7);
    let classes = [(ComputedClass(1), true), (ComputedClass(2), false)].into();
    eval.waits_for = Some(Arc::new(WaitsFor { classes, escaped: false }));
    eval
}

fn plan(id: u128, version: u64, placed_index: u64) -> Plan {
    let mut eval = Evaluation::new(EvalId::from_uuid(uuid(1)), &key("web"), 60, JobType::Service, Trigger::JobRegister);
    eval.status = EvalStatus::Complete;
    let mut outcome = EvalOutcome::default();
    outcome.queued.insert("web".into(), 1);
    outcome.failed.insert("web".into(), Explanation { nodes_evaluated: 2, nodes_exhausted: 2, ..Default::default() });
    eval.outcome = Some(Arc::new(outcome));
    let job = JobVersionKey { job: key("web"), created: StateIndex(5), version };
    let plan = Plan::new(PlanId::from_uuid(uuid(id)), eval.id, job, StateIndex(placed_index));
    Plan { when_whole: vec![eval, blocked(50)], ..plan }
}

fn update(alloc: u128, client_status: ClientStatus) -> Command {
    let task =
        TaskState { state: TaskRunState::Running, restarts: 1, started_at: Timestamp(5), ..TaskState::default() };
    let update =
        AllocUpdate { id: AllocId::from_uuid(uuid(alloc)), client_status, tasks: Arc::from([task]), health: None };
    let node = node_id(u32::from(alloc > 1) + 1);
    Command::UpdateAllocs(UpdateAllocs { updates: vec![(node, update)], seed: 11 })
}

/// A short history in which every command occurs.
fn history() -> Vec<Entry> {
    let commands = first_commands().into_iter().chain(commands_of_rules_2()).chain(commands_of_rules_3());
    let stamped = (1..).zip(commands);
    stamped.map(|(stamp, command)| Entry { rules: RULES, stamp: Timestamp(stamp * 1_000_000_000), command }).collect()
}

fn deployment_id(number: u128) -> DeploymentId {
    DeploymentId::from_uuid(uuid(number))
}

/// A plan for job `roll`, created at 25, that starts a deployment of one placement.
fn rolling(id: u128, version: u64, placed_index: u64, alloc: u128) -> Plan {
    let job = JobVersionKey { job: key("roll"), created: StateIndex(25), version };
    let plan = Plan::new(PlanId::from_uuid(uuid(id)), EvalId::from_uuid(uuid(7)), job, StateIndex(placed_index));
    let group = GroupRollout {
        auto_revert: true,
        desired_total: 1,
        progress_deadline: Nanos::from_secs(600),
        ..GroupRollout::default()
    };
    let groups = [("web".to_owned(), group)].into();
    let deployment = Deployment::new(deployment_id(id), plan.job.clone(), StateIndex(0), 50, groups);
    let placement = Placement {
        deployment: Some(deployment.id),
        ports: smallvec::SmallVec::new(),
        index: 0,
        ..placement(alloc, 2)
    };
    Plan { deployment: Some(deployment), placements: vec![placement], ..plan }
}

/// What came with rules 2: a job is deployed, fails to be updated, goes back, is scaled and goes on.
fn commands_of_rules_2() -> Vec<Command> {
    let job = |count, env: &str| {
        let mut job = testing::job("roll", count);
        job.task_groups[0].update = Some(UpdateStrategy { max_parallel: Some(1), ..UpdateStrategy::default() });
        job.task_groups[0].tasks[0].env.insert("VERSION".into(), env.into());
        job
    };
    let eval = |number| EvalId::from_uuid(uuid(number));
    let alloc = |number| AllocId::from_uuid(uuid(number));
    let healthy = |number, client_status, healthy| match update(number, client_status) {
        Command::UpdateAllocs(mut update) => {
            update.updates[0].1.health = Some(healthy);
            Command::UpdateAllocs(update)
        }
        other => other,
    };
    let change = |id, change, eval_id| {
        Command::ChangeDeployment(ChangeDeployment { id: deployment_id(id), change, eval_id: eval(eval_id) })
    };
    let mut second = rolling(61, 1, 29, 5);
    let failure = RescheduleEvent { at: Timestamp(3), alloc: alloc(4), node: node_id(2), delay: Nanos::from_secs(30) };
    second.placements[0].previous = Some(alloc(4));
    second.placements[0].reschedules = Arc::from([failure]);
    second.stops = vec![Stop { alloc_id: alloc(4), reason: StopReason::Updated, client_status: None }];
    let mut later = rolling(62, 2, 34, 6);
    (later.deployment, later.placements) = (None, Vec::new());
    later.follow_ups = vec![FollowUp { alloc_id: alloc(5), eval_id: eval(15) }];
    vec![
        register(job(1, "0"), 7),
        Command::ApplyPlans(ApplyPlans { plans: vec![rolling(60, 0, 25, 4)] }),
        healthy(4, ClientStatus::Running, true),
        change(60, DeploymentChange::Succeed, 8),
        register(job(1, "1"), 9),
        Command::ApplyPlans(ApplyPlans { plans: vec![second] }),
        Command::SetAllocHealth(SetAllocHealth {
            deployment: deployment_id(61),
            healthy: Vec::new(),
            unhealthy: vec![alloc(5)],
            eval_id: eval(10),
        }),
        healthy(5, ClientStatus::Failed, false),
        Command::RescheduleAllocs(RescheduleAllocs {
            allocs: vec![alloc(5)],
            evals_seed: 21,
            trigger: Trigger::DeploymentWatcher,
        }),
        change(61, DeploymentChange::Fail(DeploymentFailure::UnhealthyAllocs), 11),
        Command::ApplyPlans(ApplyPlans { plans: vec![later] }),
        Command::SetJobStability(SetJobStability { key: key("roll"), version: 1, stable: true }),
        Command::ScaleJob(ScaleJob {
            key: key("roll"),
            group: "web".into(),
            count: Some(2),
            message: "busy".into(),
            error: false,
            meta: [("load".to_owned(), 3.into())].into(),
            eval_id: eval(12),
            enforce_index: None,
        }),
        Command::RevertJob(RevertJob { key: key("roll"), to_version: 1, enforce_prior: Some(3), eval_id: eval(13) }),
        Command::CheckDigest(CheckDigest { at: StateIndex(1), digest: 5 }),
        Command::Reap(Reap { deployments: vec![deployment_id(61)], ..Reap::default() }),
    ]
}

/// What came with rules 3: a volume is made and claimed, another is given up.
fn commands_of_rules_3() -> Vec<Command> {
    let volume = |number, name: &str, state| HostVolume {
        node_id: node_id(2),
        capacity_min: 1 << 20,
        constraints: vec![Constraint::new("${meta.rack}", Operator::Equal, "r1")],
        parameters: [("mode".to_owned(), "0750".to_owned())].into(),
        state,
        ..testing::host_volume(number, name)
    };
    let put = |volume| Command::PutHostVolume(Box::new(PutHostVolume { volume }));
    let delete =
        |number, step| Command::DeleteHostVolume(DeleteHostVolume { id: HostVolumeId::from_uuid(uuid(number)), step });
    let mut job = testing::job("keep", 1);
    let request = VolumeRequest {
        name: "data".into(),
        r#type: "host".into(),
        source: "data".into(),
        sticky: true,
        access_mode: "single-node-writer".into(),
        attachment_mode: "file-system".into(),
        ..VolumeRequest::default()
    };
    job.task_groups[0].volumes.insert("data".into(), request);
    let version = JobVersionKey { job: key("keep"), created: StateIndex(43), version: 0 };
    let plan = Plan::new(PlanId::from_uuid(uuid(63)), EvalId::from_uuid(uuid(20)), version, StateIndex(43));
    let mut placing = placement(7, 2);
    placing.index = 0;
    let mut description = testing::node(2).meta("rack", "r1").host_volume("logs", true).description();
    let listed = NodeVolume { path: "/v/data".into(), read_only: false, id: Some(HostVolumeId::from_uuid(uuid(70))) };
    description.host_volumes.insert("data".into(), listed);
    vec![
        put(volume(70, "data", VolumeState::Pending)),
        put(volume(70, "data", VolumeState::Ready)),
        register(job, 20),
        Command::ApplyPlans(ApplyPlans { plans: vec![Plan { placements: vec![placing], ..plan }] }),
        Command::DescribeNode(DescribeNode { node_id: node_id(2), epoch: 1, description: Arc::new(description) }),
        delete(70, DeleteStep::Begin { force: true }),
        put(volume(71, "old", VolumeState::Pending)),
        delete(71, DeleteStep::Begin { force: false }),
        delete(71, DeleteStep::Abort),
        delete(71, DeleteStep::Begin { force: false }),
        delete(71, DeleteStep::Finish),
        Command::DeleteVolumeClaim(DeleteVolumeClaim { id: VolumeClaimId::from_uuid(uuid(1)) }),
    ]
}

/// The commands of rules 1.
fn first_commands() -> Vec<Command> {
    let node = |number| {
        let description = Arc::new(testing::node(number).meta("rack", "r1").description());
        Command::RegisterNode(RegisterNode { node_id: node_id(number), description, server: RaftId(1), seed: 1 })
    };
    let described = Arc::new(testing::node(1).size(8000, 16_384).description());
    let placing = Plan { placements: vec![placement(1, 1), placement(2, 2)], ..plan(1, 0, 5) };
    let replacing = Plan {
        placements: vec![placement(3, 2)],
        stops: vec![Stop { alloc_id: AllocId::from_uuid(uuid(2)), reason: StopReason::Updated, client_status: None }],
        in_place: vec![InPlaceUpdate { alloc_id: AllocId::from_uuid(uuid(1)), group: 0, deployment: None }],
        ..plan(2, 1, 9)
    };
    let silent =
        NodeTransition { node_id: node_id(3), epoch: 1, status: NodeStatus::Down, description: "silent".into() };
    vec![
        Command::FormCluster(FormCluster { cluster_id: ClusterId::from_uuid(uuid(77)), version: 1 }),
        node(1),
        node(2),
        node(3),
        register(testing::job("web", 3), 1),
        Command::ApplyPlans(ApplyPlans { plans: vec![placing] }),
        update(1, ClientStatus::Running),
        update(2, ClientStatus::Running),
        register(testing::job("web", 4), 2),
        Command::ApplyPlans(ApplyPlans { plans: vec![replacing] }),
        update(2, ClientStatus::Complete),
        Command::DescribeNode(DescribeNode { node_id: node_id(1), epoch: 1, description: described }),
        Command::NodeTransitions(NodeTransitions { transitions: vec![silent], seed: 12 }),
        Command::SetEligibility(SetEligibility { node_id: node_id(1), eligibility: Eligibility::Ineligible }),
        Command::EvaluateNode(EvaluateNode { node_id: node_id(1), seed: 13 }),
        Command::EvaluateJob(EvaluateJob { job: key("web"), eval_id: EvalId::from_uuid(uuid(3)) }),
        Command::StopAlloc(StopAlloc {
            alloc_id: AllocId::from_uuid(uuid(3)),
            no_shutdown_delay: true,
            eval_id: EvalId::from_uuid(uuid(4)),
        }),
        Command::PutEvals(PutEvals { evals: vec![blocked(51)] }),
        Command::SetSchedulerConfig(SetSchedulerConfig { config: SchedulerConfig::default(), check_index: None }),
        register(testing::job("old", 0), 5),
        Command::DeregisterJob(DeregisterJob {
            job: key("old"),
            purge: false,
            eval_id: EvalId::from_uuid(uuid(6)),
            eval_priority: None,
            no_shutdown_delay: true,
        }),
        Command::PurgeNode(PurgeNode { node_id: node_id(3), seed: 14 }),
        Command::Reap(Reap { allocs: vec![AllocId::from_uuid(uuid(2))], ..Reap::default() }),
        Command::RaiseVersion(RaiseVersion { version: 2 }),
    ]
}

/// Entries one after another, each behind its length (u32, little endian).
fn write_log(entries: &[Entry]) -> Vec<u8> {
    let mut out = Vec::new();
    for entry in entries {
        let bytes = entry.encode().unwrap();
        out.extend(u32::try_from(bytes.len()).unwrap().to_le_bytes());
        out.extend(bytes);
    }
    out
}

fn read_log(mut bytes: &[u8]) -> Vec<Entry> {
    let mut entries = Vec::new();
    while let Some((len, rest)) = bytes.split_first_chunk::<4>() {
        let (entry, rest) = rest.split_at(u32::from_le_bytes(*len) as usize);
        entries.push(Entry::decode(entry).unwrap());
        bytes = rest;
    }
    entries
}

fn replay(entries: &[Entry]) -> State {
    let mut state = State::default();
    for (index, entry) in (1..).zip(entries) {
        apply(&mut state, index, entry);
    }
    state
}

fn snapshot_of(state: &State) -> Vec<u8> {
    let mut out = Vec::new();
    snapshot::write(state, &mut out).unwrap();
    out
}

/// What the history leads to, whichever version wrote it down.
fn check(state: &State, format: u16) {
    assert_eq!(invariants::check(state), Vec::<String>::new());
    match format {
        1 => assert_eq!((state.last_index(), state.meta().digest), (StateIndex(24), 0)),
        2 => check_deployments(state, StateIndex(40)),
        _ => {
            check_deployments(state, StateIndex(52));
            check_volumes(state);
        }
    }
    assert_eq!(state.meta().version, 2);
    let web = state.job_row(&key("web")).unwrap();
    assert_eq!((web.job.version, web.job.status, web.live_allocs), (1, JobStatus::Running, 1));
    assert_eq!((web.summary["web"].running, web.summary["web"].starting, web.summary["web"].complete), (1, 1, 1));
    assert_eq!(state.job_versions(&key("web")).count(), 2);
    let text = state.submission(&web.job.version_key()).unwrap();
    assert_eq!(text.source, "job \"web\" {}");
    let first = state.alloc(&AllocId::from_uuid(uuid(1))).unwrap();
    assert_eq!((first.job.version, first.client_status, first.ports[0].value), (1, ClientStatus::Running, 20_000));
    assert_eq!(first.tasks[0].restarts, 1);
    assert!(state.alloc(&AllocId::from_uuid(uuid(2))).is_none());
    let third = state.alloc(&AllocId::from_uuid(uuid(3))).unwrap();
    assert_eq!(
        (third.stop_reason, third.previous),
        (Some(StopReason::StoppedByUser), Some(AllocId::from_uuid(uuid(2))))
    );
    assert!(state.eval(&EvalId::from_uuid(uuid(50))).unwrap().waits_for.is_some());
    assert!(state.node(&node_id(3)).is_none() && !state.node(&node_id(1)).unwrap().is_ready());
    assert!(state.usage().row(&node_id(2)).unwrap().used.cpu >= Mhz(500));
    assert!(state.job(&key("old")).unwrap().stop);
}

fn check_volumes(state: &State) {
    let volumes: Vec<_> = state.host_volumes().collect();
    let [volume] = &volumes[..] else { panic!("one is left: {volumes:#?}") };
    assert_eq!((volume.name.as_str(), volume.state, volume.deleting), ("data", VolumeState::Ready, false));
    assert_eq!((volume.create_index, volume.modify_index), (StateIndex(41), StateIndex(42)));
    assert_eq!((volume.capacity_min, volume.parameters["mode"].as_str()), (1 << 20, "0750"));
    let claims: Vec<_> = state.volume_claims().collect();
    let [claim] = &claims[..] else { panic!("{claims:#?}") };
    assert_eq!((claim.volume_id, claim.index, claim.create_index), (volume.id, 0, StateIndex(44)));
    let alloc = state.alloc(&claim.alloc_id).unwrap();
    assert_eq!(alloc.name(), "keep.web[0]");
    assert!(state.users_of_volume(volume).eq([alloc]));
    assert_eq!(state.usage().row(&node_id(2)).unwrap().writers("data").all, 1);
}

fn check_deployments(state: &State, last_index: StateIndex) {
    assert_eq!(state.last_index(), last_index);
    assert_ne!(state.meta().digest, 0);
    let row = state.job_row(&key("roll")).unwrap();
    let env = |job: &Job| job.task_groups[0].tasks[0].env["VERSION"].clone();
    assert_eq!((row.job.version, env(&row.job), row.active_deployment), (4, "1".to_owned(), None));
    let stable: Vec<_> = state.job_versions(&key("roll")).map(|job| job.stable).collect();
    assert_eq!(stable, [true, true, false, false, false]);
    let event = &state.scaling_events(&key("roll")).unwrap()["web"][0];
    assert_eq!((event.previous_count, event.count, event.message.as_str()), (1, Some(2), "busy"));
    assert!(state.deployment(&deployment_id(61)).is_none(), "it was forgotten");
    let kept = state.latest_deployment(&key("roll")).unwrap();
    assert_eq!(
        (kept.id, kept.status, kept.groups["web"].healthy),
        (deployment_id(60), DeploymentStatus::Successful, 1)
    );
    let failed = state.alloc(&AllocId::from_uuid(uuid(5))).unwrap();
    assert!(failed.is_unhealthy() && failed.transition.reschedule);
    let old = state.alloc(&AllocId::from_uuid(uuid(4))).unwrap();
    assert!(old.holds_resources(), "its successor ended first");
    assert_eq!(failed.followup_eval, Some(EvalId::from_uuid(uuid(15))));
    assert_eq!(failed.reschedules[0].delay, Nanos::from_secs(30));
}

#[test]
fn the_history_of_this_version_is_the_golden_one() {
    let state = replay(&history());
    check(&state, RULES);
    assert_eq!(read(&golden(RULES, "log")), write_log(&history()), "the encoding of entries has changed");
    // Compressed bytes may differ between versions of the compressor; what is compressed must not.
    let loaded = snapshot::read(&read(&golden(snapshot::FORMAT, "snapshot"))[..]).unwrap();
    assert_eq!(snapshot_of(&loaded), snapshot_of(&state), "what snapshots hold has changed");
}

#[test]
fn logs_and_snapshots_of_every_format_still_load() {
    for format in FORMATS {
        let replayed = replay(&read_log(&read(&golden(format, "log"))));
        check(&replayed, format);
        let loaded = snapshot::read(&read(&golden(format, "snapshot"))[..]).unwrap();
        check(&loaded, format);
        assert_eq!(snapshot_of(&loaded), snapshot_of(&replayed), "format {format}");
    }
}

#[test]
fn what_a_newer_version_wrote_is_refused_and_says_so() {
    let mut entry = history().remove(0);
    entry.rules = RULES + 1;
    let error = Entry::decode(&entry.encode().unwrap()).unwrap_err();
    assert!(error.to_string().contains("run a newer orch"), "{error}");
    let mut bytes = read(&golden(snapshot::FORMAT, "snapshot"));
    bytes[8] += 1;
    let error = snapshot::read(&bytes[..]).unwrap_err();
    assert!(error.to_string().contains("run a newer orch"), "{error}");
    assert!(snapshot::read(&b"PK\x03\x04 something else"[..]).unwrap_err().to_string().contains("not a snapshot"));
}
