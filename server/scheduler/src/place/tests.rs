//! Every choice is the one that looking at each node anew would make, whatever a group wishes for.

use std::sync::Arc;

use orch_model::allocation::{AllocUpdate, ClientStatus, TaskState};
use orch_model::evaluation::Evaluation;
use orch_model::ids::RaftId;
use orch_model::job::{
    Affinity, Constraint, EphemeralDisk, NetworkResource, Operator, Port, ReschedulePolicy, Spread, SpreadTarget,
};
use orch_model::plan::PlanResult;
use orch_model::seed::Seed;
use orch_model::testing::{job, node};
use orch_model::time::Nanos;
use orch_model::{EvalId, Job, JobKey, NodeId, Timestamp};
use orch_state::commands::{ApplyPlans, RegisterJob, RegisterNode, UpdateAllocs};
use orch_state::{Command, Entry, RULES, Reply, State, apply, invariants};
use proptest::prelude::*;
use uuid::Uuid;

use crate::rank::oracle;
use crate::{Decision, Memo, Overlay, Request, schedule};

/// A cluster in memory.
struct World {
    state: State,
    ids: Seed,
    log: u64,
    now: Timestamp,
}

impl World {
    fn new(nodes: &[Machine]) -> Self {
        let mut world = Self { state: State::default(), ids: Seed::new(1), log: 0, now: Timestamp(1_000_000_000) };
        for (number, machine) in (0_u32..).zip(nodes) {
            let seed = world.ids.next_u64();
            let node_id = NodeId::from_uuid(Uuid::from_u128(u128::from(number) + 1));
            let description = Arc::new(machine.description(number));
            world.apply(Command::RegisterNode(RegisterNode { node_id, description, server: RaftId(1), seed }));
        }
        world
    }

    fn apply(&mut self, command: Command) -> Reply {
        self.log += 1;
        let entry = Entry { rules: RULES, stamp: self.now, command };
        let reply = apply(&mut self.state, self.log, &entry).reply;
        assert_eq!(invariants::check(&self.state), Vec::<String>::new());
        reply
    }

    fn register(&mut self, job: Job) -> Arc<Evaluation> {
        let eval_id = EvalId::from_uuid(self.ids.uuid());
        self.apply(Command::RegisterJob(Box::new(RegisterJob {
            job,
            eval_id,
            eval_priority: None,
            enforce_index: None,
            submission: None,
        })));
        Arc::clone(self.state.eval(&eval_id).unwrap())
    }

    /// Decides about an evaluation, checks each choice, and commits all of it.
    fn process(&mut self, eval: &Evaluation) -> Decision {
        let overlay = Overlay::default();
        let seed = Seed::of(eval.id.as_uuid(), 0);
        let request =
            Request { state: &self.state, overlay: &overlay, eval, now: self.now, seed, memo: &mut Memo::new() };
        let decision = schedule(request);
        oracle::check(&self.state, &overlay, seed, &decision.plan).unwrap();
        let reply = self.apply(Command::ApplyPlans(ApplyPlans { plans: vec![decision.plan.clone()] }));
        let Reply::Plans(results) = reply else { panic!("{reply:?}") };
        match &results[..] {
            [PlanResult::Committed { refused, .. }] => assert_eq!(refused, &[], "the plan fits what it was made from"),
            other => panic!("{other:?}"),
        }
        decision
    }

    /// Ends the allocations that should stop, fails every `nth` of the others and has the rest run.
    fn report(&mut self, key: &JobKey, nth: usize) {
        let mut updates = Vec::new();
        for (number, alloc) in self.state.allocs_of_job(key).enumerate() {
            let client_status = match (alloc.desired.is_stop(), nth > 0 && number % nth.max(1) == 0) {
                (true, _) => ClientStatus::Complete,
                (false, true) => ClientStatus::Failed,
                (false, false) => ClientStatus::Running,
            };
            let task = TaskState { started_at: self.now, finished_at: self.now, ..TaskState::default() };
            if !alloc.is_client_terminal() {
                let update = AllocUpdate { id: alloc.id, client_status, tasks: Arc::from([task]), health: None };
                updates.push((alloc.node_id, update));
            }
        }
        let seed = self.ids.next_u64();
        self.apply(Command::UpdateAllocs(UpdateAllocs { updates, seed }));
    }

    /// The racks of a job's live allocations, sorted.
    fn racks(&self, key: &JobKey) -> Vec<String> {
        let live = self.state.allocs_of_job(key).filter(|alloc| !alloc.is_terminal());
        let rack = |id: &NodeId| self.state.node(id).unwrap().described.meta.get("rack").cloned().unwrap_or_default();
        let mut racks: Vec<_> = live.map(|alloc| rack(&alloc.node_id)).collect();
        racks.sort();
        racks
    }
}

/// A node, drawn.
#[derive(Debug, Clone)]
struct Machine {
    size: u32,
    rack: u8,
    datacenter: u8,
    reserves: bool,
}

impl Machine {
    fn description(&self, number: u32) -> orch_model::node::NodeDescription {
        let mut node = node(number).size(self.size * 2000, u64::from(self.size) * 2048);
        node = node.datacenter(&format!("dc{}", self.datacenter));
        if self.rack > 0 {
            node = node.meta("rack", &format!("r{}", self.rack));
        }
        let mut described = node.description();
        described.resources.reservable_cores = if self.reserves { vec![3, 1] } else { vec![0, 1, 2, 3] };
        described.resources.dynamic_ports.last = described.resources.dynamic_ports.first + 4;
        described.reserved.cpu.0 = if self.reserves { 300 } else { 0 };
        described
    }
}

fn machine() -> impl Strategy<Value = Machine> {
    (1..4_u32, 0..4_u8, 1..4_u8, prop::bool::weighted(0.3)).prop_map(|(size, rack, datacenter, reserves)| Machine {
        size,
        rack,
        datacenter,
        reserves,
    })
}

/// What a group wishes for, drawn.
#[derive(Debug, Clone)]
struct Wishes {
    count: i64,
    cpu: i64,
    cores: i64,
    spreads: Vec<(bool, bool, i64, Vec<i64>)>,
    affinities: Vec<(u8, i64)>,
    property: Option<(u8, u8, bool)>,
    dynamic_ports: u8,
    sticky: bool,
    second_group: bool,
}

impl Wishes {
    fn job(&self) -> Job {
        let mut job = job("wishes", self.count);
        for (of_job, by_rack, weight, percents) in &self.spreads {
            let (attribute, value) = if *by_rack { ("${meta.rack}", "r") } else { ("${node.datacenter}", "dc") };
            let targets = percents.iter().enumerate();
            let spread = Spread {
                attribute: attribute.into(),
                weight: *weight,
                spread_target: targets
                    .map(|(at, percent)| SpreadTarget { value: format!("{value}{}", at + 1), percent: *percent })
                    .collect(),
            };
            if *of_job { job.spreads.push(spread) } else { job.task_groups[0].spreads.push(spread) }
        }
        for (kind, weight) in &self.affinities {
            let (left, operand, right) = match kind {
                0 => ("${meta.rack}", "=", "r1"),
                1 => ("${node.unique.name}", "regexp", "[02468]$"),
                2 => ("${attr.kernel.name}", "!=", "windows"),
                _ => ("${node.datacenter}", "set_contains_any", "dc1,dc2"),
            };
            let affinity =
                Affinity { l_target: left.into(), r_target: right.into(), operand: operand.into(), weight: *weight };
            match kind {
                0 => job.affinities.push(affinity),
                1 => job.task_groups[0].tasks[0].affinities.push(affinity),
                _ => job.task_groups[0].affinities.push(affinity),
            }
        }
        if let Some((kind, allowed, of_job)) = self.property {
            let target = ["${meta.rack}", "${node.datacenter}", "${node.unique.id}"][usize::from(kind)];
            let constraint = Constraint::new(target, Operator::DistinctProperty, &allowed.to_string());
            if of_job { job.constraints.push(constraint) } else { job.task_groups[0].constraints.push(constraint) }
        }
        let group = &mut job.task_groups[0];
        let resources = group.tasks[0].resources.as_mut().unwrap();
        resources.cpu = if self.cores > 0 { 0 } else { self.cpu };
        resources.cores = self.cores;
        group.ephemeral_disk = Some(EphemeralDisk { size_mb: 10, sticky: self.sticky, ..EphemeralDisk::default() });
        group.reschedule_policy = Some(ReschedulePolicy {
            delay: Some(Nanos::ZERO),
            delay_function: "constant".into(),
            unlimited: Some(true),
            ..ReschedulePolicy::default()
        });
        if self.dynamic_ports > 0 {
            let port = |number| Port { label: format!("p{number}"), ..Port::default() };
            let dynamic_ports = (0..self.dynamic_ports).map(port).collect();
            group.networks.push(NetworkResource { dynamic_ports, ..NetworkResource::default() });
        }
        if self.second_group {
            let mut second = job.task_groups[0].clone();
            second.name = "other".into();
            second.constraints.clear();
            job.task_groups.push(second);
        }
        job
    }
}

fn wishes() -> impl Strategy<Value = Wishes> {
    let shares = prop_oneof![
        Just(vec![]),
        Just(vec![70, 30]),
        Just(vec![50]),
        Just(vec![100, 0]),
        Just(vec![33, 33, 34]),
        Just(vec![20, 0, 10])
    ];
    let spread = (any::<bool>(), any::<bool>(), 1..100_i64, shares);
    let affinity = (0..4_u8, prop_oneof![-100..0_i64, 1..100_i64]);
    let cores = prop_oneof![3 => Just(0_i64), 1 => 1..4_i64];
    let property = prop::option::weighted(0.4, (0..3_u8, 1..4_u8, any::<bool>()));
    let flags = (prop::bool::weighted(0.2), prop::bool::weighted(0.3));
    let lists = (prop::collection::vec(spread, 0..3), prop::collection::vec(affinity, 0..3));
    (1..14_i64, 1..8_i64, cores, lists, property, 0..3_u8, flags).prop_map(
        |(count, cpu, cores, (spreads, affinities), property, dynamic_ports, (sticky, second_group))| Wishes {
            count,
            cpu: cpu * 100,
            cores,
            spreads,
            affinities,
            property,
            dynamic_ports,
            sticky,
            second_group,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_choice_is_the_best_there_is(
        machines in prop::collection::vec(machine(), 1..14),
        wishes in prop::collection::vec((wishes(), 0..4_usize), 1..4),
    ) {
        let mut world = World::new(&machines);
        let key = wishes[0].0.job().key();
        for (wishes, nth) in wishes {
            let eval = world.register(wishes.job());
            world.process(&eval);
            world.report(&key, nth);
            let due: Vec<_> = world.state.evals_of_job(&key).filter(|eval| !eval.status.is_terminal()).cloned().collect();
            for eval in due {
                world.process(&eval);
            }
        }
    }
}

fn machines(racks: &[u8]) -> Vec<Machine> {
    racks.iter().map(|rack| Machine { size: 2, rack: *rack, datacenter: 1, reserves: false }).collect()
}

#[test]
fn a_property_is_shared_by_as_many_as_allowed_and_the_rest_waits_with_the_reason() {
    let mut world = World::new(&machines(&[1, 1, 2, 2, 0]));
    let mut job = job("apart", 5);
    job.constraints.push(Constraint::new("${meta.rack}", Operator::DistinctProperty, "2"));
    let eval = world.register(job.clone());
    let decision = world.process(&eval);
    assert_eq!(world.racks(&job.key()), ["r1", "r1", "r2", "r2"]);
    let outcome = decision.eval.outcome.unwrap();
    let reasons: Vec<_> = outcome.failed["web"].constraint_filtered.iter().map(|(why, n)| (why.as_str(), *n)).collect();
    assert_eq!(
        reasons,
        [
            ("distinct_property: ${meta.rack}=r1 used by 2 allocs", 2),
            ("distinct_property: ${meta.rack}=r2 used by 2 allocs", 2),
            ("missing property \"${meta.rack}\"", 1),
        ]
    );
}

#[test]
fn replacements_keep_a_property_distinct() {
    let mut world = World::new(&machines(&[1, 1, 2, 2, 3, 3]));
    let mut job = job("apart", 3);
    job.task_groups[0].constraints.push(Constraint::new("${meta.rack}", Operator::DistinctProperty, ""));
    job.task_groups[0].update = None;
    let eval = world.register(job.clone());
    world.process(&eval);
    world.report(&job.key(), 0);
    job.task_groups[0].tasks[0].env.insert("VERSION".into(), "2".into());
    let eval = world.register(job.clone());
    let decision = world.process(&eval);
    assert_eq!(decision.plan.placements.len(), 3, "each takes the place of its predecessor");
    assert_eq!(world.racks(&job.key()), ["r1", "r2", "r3"]);
}

#[test]
fn cores_are_the_lowest_free_ones_and_count_as_processor_time() {
    let mut world = World::new(&machines(&[1]));
    let mut job = job("cores", 3);
    let resources = job.task_groups[0].tasks[0].resources.as_mut().unwrap();
    (resources.cpu, resources.cores) = (0, 2);
    let eval = world.register(job);
    let decision = world.process(&eval);
    let cores: Vec<_> = decision.plan.placements.iter().map(|placement| placement.cores.to_vec()).collect();
    assert_eq!(cores, [vec![0, 1], vec![2, 3]]);
    assert!(decision.plan.placements.iter().all(|placement| placement.usage.cpu.0 == 2000));
    let outcome = decision.eval.outcome.unwrap();
    assert_eq!(outcome.failed["web"].dimension_exhausted.get("cpu"), Some(&1));
}

#[test]
fn a_node_without_enough_cores_is_exhausted_of_cores() {
    let mut world = World::new(&[Machine { size: 2, rack: 1, datacenter: 1, reserves: true }]);
    let mut job = job("cores", 1);
    let resources = job.task_groups[0].tasks[0].resources.as_mut().unwrap();
    (resources.cpu, resources.cores) = (0, 3);
    let eval = world.register(job);
    let outcome = world.process(&eval).eval.outcome.unwrap();
    assert_eq!(outcome.failed["web"].dimension_exhausted.get("cores"), Some(&1));
}

#[test]
fn stated_shares_are_met_while_there_is_room() {
    let mut world = World::new(&machines(&[1, 1, 1, 1, 2, 2, 2, 2]));
    let mut job = job("spread", 10);
    let target = |value: &str, percent| SpreadTarget { value: value.into(), percent };
    let spread_target = vec![target("r1", 70), target("r2", 30)];
    job.spreads.push(Spread { attribute: "${meta.rack}".into(), weight: 50, spread_target });
    let eval = world.register(job.clone());
    let decision = world.process(&eval);
    let racks = world.racks(&job.key());
    assert_eq!(racks.iter().filter(|rack| *rack == "r1").count(), 7);
    let kept: Vec<_> = decision.plan.placements[0].scores.iter().map(|entry| entry.scorer.as_str()).collect();
    let expected = ["binpack", "job-anti-affinity", "node-reschedule-penalty", "allocation-spread", "normalized-score"];
    assert_eq!(kept, expected);
}

#[test]
fn affinities_attract_and_repel() {
    for (weight, expected) in [(100, "r2"), (-100, "r1")] {
        let mut world = World::new(&machines(&[1, 2]));
        let mut job = job("affine", 1);
        job.affinities.push(Affinity {
            l_target: "${meta.rack}".into(),
            r_target: "r2".into(),
            operand: "=".into(),
            weight,
        });
        let eval = world.register(job.clone());
        world.process(&eval);
        assert_eq!(world.racks(&job.key()), [expected]);
    }
}

#[test]
fn where_the_best_nodes_have_no_ports_left_the_next_best_is_found_among_those_left_out() {
    let mut all = machines(&[1; 5]);
    all.extend(machines(&[2; 5]));
    all.extend(machines(&[3; 3]));
    for (machine, size) in all.iter_mut().zip([3; 5].into_iter().chain([1; 8])) {
        machine.size = size;
    }
    let mut world = World::new(&all);
    let with_ports = |id: &str, count, ports| {
        let mut job = job(id, count);
        let port = |number: u8| Port { label: format!("p{number}"), ..Port::default() };
        let dynamic_ports = (0..ports).map(port).collect();
        job.task_groups[0].networks.push(NetworkResource { dynamic_ports, ..NetworkResource::default() });
        job
    };
    let mut filler = with_ports("filler", 5, 5);
    filler.constraints.push(Constraint::new("${meta.rack}", Operator::Equal, "r2"));
    filler.constraints.push(Constraint::new("", Operator::DistinctHosts, "true"));
    let eval = world.register(filler);
    world.process(&eval);
    let one = with_ports("one", 1, 1);
    let eval = world.register(one.clone());
    world.process(&eval);
    assert_eq!(world.racks(&one.key()), ["r3"], "the fullest have no ports, the emptiest are worse");
}
