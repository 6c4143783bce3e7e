//! A log and a snapshot of each released format must load for ever. `UPDATE_GOLDEN=1` writes those of the present one.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};

use orch_model::allocation::{
    AllocPort, AllocUpdate, ClientStatus, Score, ScoreEntry, Scorer, StopReason, TaskRunState, TaskState,
};
use orch_model::evaluation::{EvalOutcome, EvalStatus, Evaluation, Explanation, Trigger, WaitsFor};
use orch_model::ids::{ClusterId, PlanId, RaftId};
use orch_model::job::{JobStatus, JobType};
use orch_model::node::{ComputedClass, Eligibility, NodeStatus};
use orch_model::operator::SchedulerConfig;
use orch_model::plan::{InPlaceUpdate, Placement, Plan, Stop};
use orch_model::units::Usage;
use orch_model::{AllocId, EvalId, Job, JobKey, JobVersionKey, MebiBytes, Mhz, NodeId, StateIndex, Timestamp, testing};
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
    Plan {
        id: PlanId::from_uuid(uuid(id)),
        eval_id: eval.id,
        job: JobVersionKey { job: key("web"), created: StateIndex(5), version },
        placed_index: StateIndex(placed_index),
        all_at_once: false,
        placements: Vec::new(),
        stops: Vec::new(),
        in_place: Vec::new(),
        when_whole: vec![eval, blocked(50)],
    }
}

fn update(alloc: u128, client_status: ClientStatus) -> Command {
    let task =
        TaskState { state: TaskRunState::Running, restarts: 1, started_at: Timestamp(5), ..TaskState::default() };
    let update = AllocUpdate { id: AllocId::from_uuid(uuid(alloc)), client_status, tasks: Arc::from([task]) };
    let node = node_id(u32::from(alloc > 1) + 1);
    Command::UpdateAllocs(UpdateAllocs { updates: vec![(node, update)], seed: 11 })
}

/// A short history in which every command occurs.
fn history() -> Vec<Entry> {
    let node = |number| {
        let description = Arc::new(testing::node(number).meta("rack", "r1").description());
        Command::RegisterNode(RegisterNode { node_id: node_id(number), description, server: RaftId(1), seed: 1 })
    };
    let described = Arc::new(testing::node(1).size(8000, 16_384).description());
    let placing = Plan { placements: vec![placement(1, 1), placement(2, 2)], ..plan(1, 0, 5) };
    let replacing = Plan {
        placements: vec![placement(3, 2)],
        stops: vec![Stop { alloc_id: AllocId::from_uuid(uuid(2)), reason: StopReason::Updated, client_status: None }],
        in_place: vec![InPlaceUpdate { alloc_id: AllocId::from_uuid(uuid(1)), group: 0 }],
        ..plan(2, 1, 9)
    };
    let silent =
        NodeTransition { node_id: node_id(3), epoch: 1, status: NodeStatus::Down, description: "silent".into() };
    let commands = vec![
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
        }),
        Command::PurgeNode(PurgeNode { node_id: node_id(3), seed: 14 }),
        Command::Reap(Reap { allocs: vec![AllocId::from_uuid(uuid(2))], ..Reap::default() }),
        Command::RaiseVersion(RaiseVersion { version: 2 }),
    ];
    let stamped = (1..).zip(commands);
    stamped.map(|(stamp, command)| Entry { rules: RULES, stamp: Timestamp(stamp * 1_000_000_000), command }).collect()
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
fn check(state: &State) {
    assert_eq!(invariants::check(state), Vec::<String>::new());
    assert_eq!(state.last_index(), StateIndex(24));
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
    assert_eq!(state.usage().row(&node_id(2)).unwrap().used.cpu, Mhz(500));
    assert!(state.job(&key("old")).unwrap().stop);
}

#[test]
fn the_history_of_this_version_is_the_golden_one() {
    let state = replay(&history());
    check(&state);
    assert_eq!(read(&golden(RULES, "log")), write_log(&history()), "the encoding of entries has changed");
    // Compressed bytes may differ between versions of the compressor; what is compressed must not.
    let loaded = snapshot::read(&read(&golden(snapshot::FORMAT, "snapshot"))[..]).unwrap();
    assert_eq!(snapshot_of(&loaded), snapshot_of(&state), "what snapshots hold has changed");
}

#[test]
fn logs_and_snapshots_of_every_format_still_load() {
    for format in FORMATS {
        let replayed = replay(&read_log(&read(&golden(format, "log"))));
        check(&replayed);
        let loaded = snapshot::read(&read(&golden(format, "snapshot"))[..]).unwrap();
        check(&loaded);
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
