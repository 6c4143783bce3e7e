//! What holds of every decision, whatever happened before.

use std::sync::Arc;

use orch_model::allocation::ClientStatus;
use orch_model::deployment::DeploymentStatus;
use orch_model::job::{
    Constraint, EphemeralDisk, JobType, NetworkResource, Operator, Port, ReschedulePolicy, UpdateStrategy,
};
use orch_model::node::NodeStatus;
use orch_model::plan::PlanResult;
use orch_model::testing::{job, node};
use orch_model::time::Nanos;
use orch_model::{Allocation, Job, JobKey, NodeId};
use orch_scheduler::{Lease, Memo};
use orch_state::commands::{ApplyPlans, DeploymentChange, DeploymentFailure};
use orch_state::{Command, Reply};
use proptest::prelude::*;

use crate::world::World;

/// Something that happens to a cluster.
#[derive(Debug, Clone)]
enum Step {
    Node { number: u32, cpu: u32, memory: u64, rack: u8 },
    Silent { pick: usize, down: bool },
    Return { pick: usize },
    Register(Spec),
    Deregister { pick: usize, purge: bool },
    StopAlloc { pick: usize },
    Report { pick: usize, status: ClientStatus },
    Obey,
    Wait { secs: i64 },
    Health { pick: usize, healthy: bool },
    Mark { pick: usize },
    Deployment { pick: usize, change: DeploymentChange },
    Settle,
    InFlight { pick: usize },
    Unblock,
}

/// A job, drawn.
#[derive(Debug, Clone)]
struct Spec {
    number: u8,
    kind: JobType,
    count: i64,
    cpu: i64,
    memory: i64,
    driver: bool,
    rack: Option<u8>,
    distinct: Option<bool>,
    static_port: bool,
    dynamic_ports: u8,
    all_at_once: bool,
    unique: bool,
    second_group: bool,
    max_parallel: Option<i64>,
    image: u8,
}

impl Spec {
    fn job(&self) -> Job {
        let mut job = job(&format!("job-{}", self.number), self.count);
        job.r#type = self.kind.as_str().into();
        job.all_at_once = self.all_at_once;
        let group = &mut job.task_groups[0];
        let resources = group.tasks[0].resources.as_mut().unwrap();
        resources.cpu = self.cpu;
        resources.memory_mb = self.memory;
        group.ephemeral_disk = Some(EphemeralDisk { size_mb: 10, ..EphemeralDisk::default() });
        group.reschedule_policy = Some(ReschedulePolicy {
            delay: Some(Nanos::from_secs(30)),
            delay_function: "exponential".into(),
            max_delay: Some(Nanos::from_secs(600)),
            unlimited: Some(true),
            ..ReschedulePolicy::default()
        });
        group.tasks[0].config.insert("image".into(), self.image.into());
        group.update = self.max_parallel.map(|max_parallel| UpdateStrategy {
            max_parallel: Some(max_parallel),
            progress_deadline: Some(Nanos::from_secs(600)),
            ..UpdateStrategy::default()
        });
        if !self.driver {
            group.tasks[0].driver = "missing".into();
        }
        if let Some(rack) = self.rack {
            group.constraints.push(Constraint::new("${meta.rack}", Operator::Less, &rack.to_string()));
        }
        if self.unique {
            group.constraints.push(Constraint::new("${node.unique.name}", Operator::NotEqual, "node-1"));
        }
        let mut network = NetworkResource::default();
        if self.static_port {
            network.reserved_ports.push(Port { label: "http".into(), value: 8080, ..Port::default() });
        }
        for number in 0..self.dynamic_ports {
            network.dynamic_ports.push(Port { label: format!("p{number}"), ..Port::default() });
        }
        if self.static_port || self.dynamic_ports > 0 {
            group.networks.push(network);
        }
        if let Some(of_job) = self.distinct {
            let constraint = Constraint::new("", Operator::DistinctHosts, "");
            if of_job { job.constraints.push(constraint) } else { job.task_groups[0].constraints.push(constraint) }
        }
        if self.second_group {
            let mut second = job.task_groups[0].clone();
            second.name = "other".into();
            job.task_groups.push(second);
        }
        job
    }
}

fn spec() -> impl Strategy<Value = Spec> {
    let kind = prop_oneof![Just(JobType::Service), Just(JobType::Batch)];
    let flags = (any::<bool>(), prop::bool::weighted(0.2), prop::bool::weighted(0.2), prop::bool::weighted(0.3));
    let distinct = prop_oneof![4 => Just(None), 1 => any::<bool>().prop_map(Some)];
    let sizes = (0..12_i64, 1..6_i64, 1..6_i64);
    let update = (prop::option::weighted(0.6, 0..4_i64), 0..2_u8);
    let driver = prop::bool::weighted(0.95);
    (0..3_u8, kind, sizes, prop::option::weighted(0.3, 1..4_u8), distinct, flags, 0..3_u8, (driver, update)).prop_map(
        |(number, kind, (count, cpu, memory), rack, distinct, flags, dynamic_ports, (driver, update))| Spec {
            number,
            kind,
            count,
            cpu: cpu * 300,
            memory: memory * 400,
            driver,
            rack,
            distinct,
            static_port: flags.0,
            dynamic_ports,
            all_at_once: flags.1,
            unique: flags.2,
            second_group: flags.3,
            max_parallel: update.0,
            image: update.1,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let status = prop_oneof![Just(ClientStatus::Running), Just(ClientStatus::Complete), Just(ClientStatus::Failed),];
    let change = prop_oneof![
        Just(DeploymentChange::Pause),
        Just(DeploymentChange::Resume),
        Just(DeploymentChange::Fail(DeploymentFailure::ProgressDeadline)),
    ];
    prop_oneof![
        4 => (0..12_u32, 1..5_u32, 1..5_u64, 0..4_u8)
            .prop_map(|(number, cpu, memory, rack)| Step::Node { number, cpu: cpu * 1000, memory: memory * 1024, rack }),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(pick, down)| Step::Silent { pick, down }),
        1 => any::<usize>().prop_map(|pick| Step::Return { pick }),
        4 => spec().prop_map(Step::Register),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(pick, purge)| Step::Deregister { pick, purge }),
        1 => any::<usize>().prop_map(|pick| Step::StopAlloc { pick }),
        2 => (any::<usize>(), status).prop_map(|(pick, status)| Step::Report { pick, status }),
        2 => Just(Step::Obey),
        1 => (1..100_i64).prop_map(|secs| Step::Wait { secs }),
        4 => Just(Step::Settle),
        4 => (any::<usize>(), prop::bool::weighted(0.8)).prop_map(|(pick, healthy)| Step::Health { pick, healthy }),
        1 => any::<usize>().prop_map(|pick| Step::Mark { pick }),
        1 => (any::<usize>(), change).prop_map(|(pick, change)| Step::Deployment { pick, change }),
        1 => any::<usize>().prop_map(|pick| Step::InFlight { pick }),
        1 => Just(Step::Unblock),
    ]
}

fn pick<T: Clone>(items: &[T], at: usize) -> Option<T> {
    if items.is_empty() { None } else { items.get(at % items.len()).cloned() }
}

fn perform(world: &mut World, step: &Step) {
    let nodes: Vec<_> =
        world.state.nodes().map(|node| u32::try_from(node.id.as_uuid().as_u128()).unwrap() - 1).collect();
    let jobs: Vec<JobKey> = world.state.jobs().map(|row| row.job.key()).collect();
    let allocs: Vec<_> = world.state.allocs().cloned().collect();
    match step {
        Step::Node { number, cpu, memory, rack } => {
            let mut described = node(*number).size(*cpu, *memory).meta("rack", &rack.to_string()).description();
            described.resources.dynamic_ports.last = described.resources.dynamic_ports.first + 3;
            described.max_allocs = if *rack == 3 { 2 } else { 0 };
            let shrinks = world.state.node(&crate::world::node_id(*number)).is_some();
            if !shrinks {
                world.register_node(*number, described);
            }
        }
        Step::Silent { pick: at, down } => {
            if let Some(number) = pick(&nodes, *at) {
                world.silence_node(number, if *down { NodeStatus::Down } else { NodeStatus::Disconnected });
            }
        }
        Step::Return { pick: at } => {
            if let Some(number) = pick(&nodes, *at) {
                world.return_node(number);
            }
        }
        Step::Register(spec) => world.register(spec.job()),
        Step::Deregister { pick: at, purge } => {
            if let Some(key) = pick(&jobs, *at) {
                world.deregister(&key, *purge);
            }
        }
        Step::StopAlloc { pick: at } => {
            if let Some(alloc) = pick(&allocs, *at) {
                world.stop_alloc(&alloc);
            }
        }
        Step::Report { pick: at, status } => {
            let in_contact = |id: &NodeId| world.state.node(id).is_some_and(|node| node.status == NodeStatus::Ready);
            if let Some(alloc) = pick(&allocs, *at).filter(|alloc| in_contact(&alloc.node_id)) {
                world.report(&alloc, *status);
            }
        }
        Step::Obey => world.clients_obey(),
        Step::Wait { secs } => world.wait(Nanos::from_secs(*secs)),
        Step::Health { pick: at, healthy } => {
            let runs = |alloc: &&Arc<Allocation>| alloc.client_status == ClientStatus::Running;
            let watched: Vec<_> = allocs.iter().filter(|a| a.deployment_id.is_some()).filter(runs).cloned().collect();
            if let Some(alloc) = pick(&watched, *at) {
                world.report_health(&alloc, *healthy);
                world.watch(&alloc.job_key());
            }
        }
        Step::Mark { pick: at } => {
            if let Some(alloc) = pick(&allocs, *at) {
                world.mark_for_reschedule(vec![alloc.id]);
            }
        }
        Step::Deployment { pick: at, change } => {
            let active: Vec<_> = jobs.iter().filter(|key| world.state.active_deployment(key).is_some()).collect();
            if let Some(key) = pick(&active, *at) {
                world.change_deployment(key, change.clone());
            }
        }
        Step::Settle => drop(world.settle()),
        Step::InFlight { pick: at } => {
            if let Some(eval) = pick(&world.pending(), *at) {
                let plan = world.decide(&eval).plan;
                world.overlay.add(Lease(*at as u64 % 3), &plan);
            }
        }
        Step::Unblock => {
            for eval in world.blocked() {
                world.process(&eval);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 2000, ..ProptestConfig::default() })]

    /// `World::process` checks that a memo changes nothing, that each choice is the brute-force oracle's, that nothing of a
    /// plan is refused and that a step takes no more down than it may; `World::apply` that no invariant of the state is broken (the view rebuilt equals the one
    /// maintained among them).
    #[test]
    fn whatever_happens_plans_are_best_and_fit_and_work_comes_to_rest(steps in prop::collection::vec(step(), 1..40)) {
        let mut world = World::new();
        for step in &steps {
            perform(&mut world, step);
        }
        for lease in 0..3 {
            world.overlay.remove(Lease(lease));
        }
        world.wait(Nanos::from_secs(3600));
        world.settle();
        let mut has_moved = true;
        while has_moved {
            has_moved = false;
            for eval in world.blocked() {
                has_moved |= !world.process(&eval).plan.is_empty();
            }
            world.settle();
        }
        let jobs: Vec<_> = world.state.jobs().map(|row| row.job.clone()).collect();
        for job in jobs {
            world.register((*job).clone());
            let evals = world.pending();
            let eval = evals.last().unwrap();
            let decision = world.decide_with(eval, world.seed_of(eval), &mut Memo::new());
            prop_assert!(decision.plan.is_empty(), "nothing changed, yet {:#?}", decision.plan);
            world.settle();
        }
        for job in world.state.jobs() {
            for group in &job.job.task_groups {
                let mut names = world.live_names(&job.job.key());
                names.retain(|name| name.contains(&format!(".{}[", group.name)));
                let away = world.state.allocs_of_job(&job.job.key()).any(|a| a.client_status == ClientStatus::Unknown);
                let live = names.len();
                names.dedup();
                prop_assert!(away || names.len() == live, "two run under one name: {names:?}");
                let wanted = if job.job.stop { 0 } else { usize::try_from(group.count).unwrap() };
                prop_assert!(away || live <= wanted, "{live} run of {wanted}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn once_all_is_well_every_deployment_ends(steps in prop::collection::vec(step(), 1..40)) {
        let mut world = World::new();
        for step in &steps {
            perform(&mut world, step);
        }
        for lease in 0..3 {
            world.overlay.remove(Lease(lease));
        }
        let nodes: Vec<_> = world.state.nodes().map(|node| (node.id, node.status)).collect();
        for (id, _) in nodes.iter().filter(|(_, status)| *status != NodeStatus::Ready) {
            world.return_node(u32::try_from(id.as_uuid().as_u128()).unwrap() - 1);
        }
        for number in 20..40 {
            world.register_node(number, node(number).size(64_000, 256 * 1024).meta("rack", "0").description());
        }
        let mut rounds = 0;
        while rounds < 60 && world.state.deployments().any(|deployment| deployment.is_active()) {
            all_is_well(&mut world);
            rounds += 1;
        }
        let jobs: Vec<_> = world.state.jobs().map(|row| row.job.key()).collect();
        for key in jobs {
            let is_short = world.blocked().iter().any(|eval| eval.job_key() == key);
            let active = world.state.active_deployment(&key);
            prop_assert!(is_short || active.is_none(), "nothing is in the way of {active:#?}");
        }
    }
}

/// What clients, watchers and time do when nothing goes wrong.
fn all_is_well(world: &mut World) {
    world.clients_obey();
    let jobs: Vec<JobKey> = world.state.jobs().map(|row| row.job.key()).collect();
    for key in &jobs {
        let Some(deployment) = world.state.active_deployment(key).cloned() else { continue };
        if deployment.status == DeploymentStatus::Paused {
            world.change_deployment(key, DeploymentChange::Resume);
        }
        let members: Vec<_> = world.state.allocs_of_deployment(&deployment.id).cloned().collect();
        for alloc in members.iter().filter(|alloc| !alloc.is_terminal() && !alloc.is_healthy()) {
            world.report(alloc, ClientStatus::Running);
            world.report_health(alloc, true);
        }
        world.mark_for_reschedule(members.iter().map(|alloc| alloc.id).collect());
        world.watch(key);
    }
    for alloc in world.state.allocs().cloned().collect::<Vec<_>>() {
        if !alloc.is_terminal() && alloc.client_status == ClientStatus::Unknown {
            world.report(&alloc, ClientStatus::Running);
        }
    }
    world.settle();
    world.wait(Nanos::from_secs(3600));
    world.settle();
    for eval in world.blocked() {
        world.process(&eval);
    }
    world.settle();
}

/// One node's worth of work.
fn big(id: &str, count: i64) -> Job {
    let mut job = job(id, count);
    job.task_groups[0].tasks[0].resources.as_mut().unwrap().cpu = 3000;
    job
}

#[test]
fn workers_see_what_others_have_in_flight_until_it_is_committed() {
    let mut world = World::new();
    for number in 1..=2 {
        world.register_node(number, node(number).description());
    }
    world.register(big("one", 1));
    world.register(big("two", 1));
    let evals = world.pending();
    let first = world.decide(&evals[0]);
    world.overlay.add(Lease(1), &first.plan);
    let second = world.decide(&evals[1]);
    assert_ne!(first.plan.placements[0].node_id, second.plan.placements[0].node_id);
    world.overlay.add(Lease(2), &second.plan);

    world.register(big("three", 1));
    assert_eq!(world.decide(&world.pending()[2].clone()).plan.placements, [], "both nodes are spoken for");
    world.apply(Command::ApplyPlans(ApplyPlans { plans: vec![first.plan] }));
    world.stop_alloc(&world.named("web[0]"));
    world.clients_obey();
    let third = world.decide(&world.pending().iter().find(|eval| eval.job_id.as_str() == "three").unwrap().clone());
    assert_eq!(third.plan.placements.len(), 1, "what is committed counts once, by what the state says");
    world.overlay.remove(Lease(1));
    world.overlay.remove(Lease(2));
    assert!(world.overlay.is_empty());
}

#[test]
fn what_was_refused_is_left_to_a_retry_on_a_newer_state() {
    let mut world = World::new();
    for number in 1..=3 {
        world.register_node(number, node(number).description());
    }
    world.register(big("one", 2));
    world.register(big("two", 2));
    let evals = world.pending();
    let plans = [world.decide(&evals[0]).plan, world.decide(&evals[1]).plan];
    let applied = world.apply(Command::ApplyPlans(ApplyPlans { plans: plans.to_vec() }));
    let Reply::Plans(results) = applied.reply else { panic!("{:?}", applied.reply) };
    let refused: Vec<_> = results
        .iter()
        .map(|result| match result {
            PlanResult::Committed { refused, .. } => refused.len(),
            PlanResult::Stale { .. } => panic!("neither job was written"),
        })
        .collect();
    assert_eq!(refused[0], 0);
    assert!(refused[1] > 0, "two of two and two of two on three nodes");
    let retry = world.process(&evals[1]);
    let outcome = retry.eval.outcome.unwrap();
    assert_eq!(outcome.queued["web"], 1);
    assert_eq!(world.live_names(&evals[1].job_key()).len(), 1);
    let blocked = retry.blocked.unwrap();
    assert_eq!(retry.eval.blocked, Some(blocked.id));

    world.register_node(4, node(4).description());
    world.process(&blocked);
    assert_eq!(world.live_names(&evals[1].job_key()).len(), 2);
}
