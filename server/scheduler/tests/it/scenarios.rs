//! Scenario files: what happens to a cluster, and what the scheduler makes of it.
//!
//! A file of `tests/scenarios` is a list of commands, one per line. After `run` stand, each with `> ` in front, the
//! evaluations that were processed and what came of them. `UPDATE_GOLDEN=1` writes what is found instead of comparing.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use orch_model::allocation::{ClientStatus, StopReason};
use orch_model::evaluation::{EvalOutcome, Evaluation};
use orch_model::job::{Constraint, DisconnectStrategy, Operator, Port, ReschedulePolicy};
use orch_model::node::NodeStatus;
use orch_model::testing::{job, node};
use orch_model::time::Nanos;
use orch_model::{Allocation, Job, JobKey, NodeId};
use orch_scheduler::Decision;

use crate::world::World;

#[test]
fn every_scenario_ends_as_its_file_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 5, "the scenario files are missing");
    let mut wrong = String::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let found = play(&text);
        if found == text {
            continue;
        }
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&file, found).unwrap();
        } else {
            write!(wrong, "--- {}\n{found}", file.display()).unwrap();
        }
    }
    assert!(wrong.is_empty(), "these scenarios went otherwise:\n{wrong}");
}

/// The text with the answers of this build.
fn play(text: &str) -> String {
    let mut script = Script { world: World::new(), jobs: BTreeMap::new() };
    let mut found = String::new();
    for line in text.lines().filter(|line| !line.starts_with('>')) {
        writeln!(found, "{line}").unwrap();
        let words: Vec<_> = line.split('#').next().unwrap_or_default().split_whitespace().collect();
        if let Some((command, rest)) = words.split_first() {
            for answer in script.perform(command, rest) {
                writeln!(found, "> {answer}").unwrap();
            }
        }
    }
    found
}

struct Script {
    world: World,
    jobs: BTreeMap<String, Job>,
}

impl Script {
    fn perform(&mut self, command: &str, words: &[&str]) -> Vec<String> {
        let world = &mut self.world;
        match (command, words) {
            ("nodes", [count, settings @ ..]) => {
                for number in 1..=count.parse().unwrap() {
                    register_node(world, number, settings);
                }
            }
            ("node", [number, settings @ ..]) => register_node(world, number.parse().unwrap(), settings),
            ("down-of", [name]) => {
                let number = number_of(&named(world, name).node_id);
                world.silence_node(number, NodeStatus::Down);
            }
            ("disconnect-of", [name]) => {
                let number = number_of(&named(world, name).node_id);
                world.silence_node(number, NodeStatus::Disconnected);
            }
            ("return", ["all"]) => {
                let away = |status| status != NodeStatus::Ready;
                let nodes: Vec<_> = world.state.nodes().filter(|node| away(node.status)).map(|node| node.id).collect();
                nodes.iter().for_each(|node| world.return_node(number_of(node)));
            }
            ("register", [id, settings @ ..]) => {
                let last = self.jobs.remove(*id).unwrap_or_else(|| blank(id));
                let job = settings.iter().fold(last, |job, setting| set(job, setting));
                self.jobs.insert((*id).to_owned(), job.clone());
                world.register(job);
            }
            ("deregister", [id, rest @ ..]) => {
                world.deregister(&JobKey::new(&"default".into(), &(*id).into()), *rest == ["purge"]);
            }
            ("stop", [name]) => world.stop_alloc(&named(world, name)),
            ("complete", names) => report(world, names, ClientStatus::Complete),
            ("fail", names) => report(world, names, ClientStatus::Failed),
            ("alive", names) => report(world, names, ClientStatus::Running),
            ("clients", []) => world.clients_obey(),
            ("wait", [time]) => world.wait(time.parse().unwrap()),
            ("unblock", []) => {
                let blocked = world.blocked();
                return blocked.iter().flat_map(|eval| processed(world, eval)).collect();
            }
            ("run", []) => {
                let mut answers = Vec::new();
                while let Some(eval) = world.pending().first().cloned() {
                    answers.extend(processed(world, &eval));
                }
                return answers;
            }
            (other, _) => panic!("there is no command {other}"),
        }
        Vec::new()
    }
}

fn number_of(node: &NodeId) -> u32 {
    u32::try_from(node.as_uuid().as_u128()).unwrap() - 1
}

fn register_node(world: &mut World, number: u32, settings: &[&str]) {
    let mut described = node(number).description();
    for setting in settings {
        let (key, value) = setting.split_once('=').unwrap();
        match key {
            "cpu" => described.resources.cpu.0 = value.parse().unwrap(),
            "memory" => described.resources.memory.0 = value.parse().unwrap(),
            "dc" => described.datacenter = value.into(),
            "pool" => described.node_pool = value.into(),
            "class" => described.node_class = value.into(),
            "without" => drop(described.drivers.remove(value)),
            _ => drop(described.meta.insert(key.strip_prefix("meta.").unwrap().into(), value.into())),
        }
    }
    world.register_node(number, described);
}

fn blank(id: &str) -> Job {
    let mut job = job(id, 1);
    job.task_groups[0].reschedule_policy = Some(ReschedulePolicy {
        delay: Some(Nanos::from_secs(30)),
        delay_function: "exponential".into(),
        max_delay: Some(Nanos::from_secs(3600)),
        attempts: Some(0),
        unlimited: Some(true),
        ..ReschedulePolicy::default()
    });
    job
}

fn set(mut job: Job, setting: &str) -> Job {
    let (key, value) = setting.split_once('=').unwrap();
    let group = &mut job.task_groups[0];
    let task = &mut group.tasks[0];
    let resources = task.resources.get_or_insert_default();
    match key {
        "type" => job.r#type = value.into(),
        "count" => group.count = value.parse().unwrap(),
        "image" => drop(task.config.insert("image".into(), value.into())),
        "driver" => task.driver = value.into(),
        "cpu" => resources.cpu = value.parse().unwrap(),
        "memory" => resources.memory_mb = value.parse().unwrap(),
        "dc" => job.datacenters = value.split(',').map(str::to_owned).collect(),
        "pool" => job.node_pool = value.into(),
        "all_at_once" => job.all_at_once = value == "true",
        "meta-rack" => group.constraints = vec![Constraint::new("${meta.rack}", Operator::Equal, value)],
        "distinct" => group.constraints = vec![Constraint::new("", Operator::DistinctHosts, value)],
        "static" => {
            let port = Port { label: "http".into(), value: value.parse().unwrap(), ..Port::default() };
            group.networks =
                vec![orch_model::job::NetworkResource { reserved_ports: vec![port], ..Default::default() }];
        }
        "attempts" => {
            let policy = group.reschedule_policy.as_mut().unwrap();
            policy.attempts = Some(value.parse().unwrap());
            policy.interval = Some(Nanos::from_secs(3600));
            policy.unlimited = Some(false);
        }
        "reconcile" => {
            group.disconnect = Some(DisconnectStrategy { reconcile: value.into(), ..DisconnectStrategy::default() });
        }
        "replace" => group.disconnect.get_or_insert_default().replace = Some(value == "true"),
        other => panic!("there is no setting {other}"),
    }
    job
}

fn report(world: &mut World, names: &[&str], status: ClientStatus) {
    for name in names {
        world.report(&named(world, name), status);
    }
}

/// The newest allocation of a name, or after `original-of-` the one that it replaced.
fn named(world: &World, name: &str) -> Arc<Allocation> {
    match name.strip_prefix("original-of-") {
        Some(name) => world.state.alloc(&world.named(name).previous.unwrap()).unwrap().clone(),
        None => world.named(name),
    }
}

fn processed(world: &mut World, eval: &Arc<Evaluation>) -> Vec<String> {
    let before = world.state.clone();
    let decision = world.process(eval);
    let mut lines = vec![format!("{} of {}: {}", eval.trigger, eval.job_id, decision.eval.status)];
    let describe = |alloc: &Allocation| format!("{}[{}]", alloc.group_name(), alloc.index);
    let mut stops: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for stop in &decision.plan.stops {
        let alloc = before.alloc(&stop.alloc_id).unwrap();
        let lost = if stop.client_status.is_some() && stop.reason != StopReason::Lost { ", client lost" } else { "" };
        stops.entry(format!("{}{lost}", stop.reason.description())).or_default().push(describe(alloc));
    }
    for (reason, mut names) in stops {
        names.sort();
        lines.push(format!("  stop {}: {reason}", names.join(" ")));
    }
    let job = before.job(&eval.job_key()).cloned();
    let group = |at: u16| job.as_ref().map_or("", |job| job.task_groups[usize::from(at)].name.as_str());
    let mut placed: Vec<String> = Vec::new();
    for placement in &decision.plan.placements {
        let name = format!("{}[{}]", group(placement.group), placement.index);
        let elsewhere = placement
            .previous
            .and_then(|id| before.alloc(&id))
            .map(|old| if old.node_id == placement.node_id { "on its node" } else { "on another node" });
        match elsewhere {
            Some(elsewhere) => lines.push(format!("  replace {name} {elsewhere}")),
            None => placed.push(name),
        }
    }
    if !placed.is_empty() {
        lines.push(format!("  place {}", placed.join(" ")));
    }
    let updated: Vec<_> = decision.plan.in_place.iter().map(|u| describe(before.alloc(&u.alloc_id).unwrap())).collect();
    if !updated.is_empty() {
        lines.push(format!("  update {} of them in place", updated.len()));
    }
    outcome(&decision, &mut lines);
    follow(world, eval, &decision, &mut lines);
    lines
}

fn outcome(decision: &Decision, lines: &mut Vec<String>) {
    let empty = Arc::new(EvalOutcome::default());
    let outcome = decision.eval.outcome.as_ref().unwrap_or(&empty);
    for (group, updates) in &outcome.updates {
        let counts = [
            ("ignore", updates.ignore),
            ("place", updates.place),
            ("migrate", updates.migrate),
            ("stop", updates.stop),
            ("in-place", updates.in_place),
            ("destructive", updates.destructive),
        ];
        let counts: Vec<_> =
            counts.iter().filter(|(_, count)| *count > 0).map(|(what, count)| format!("{what} {count}")).collect();
        lines.push(format!("  {group}: {}", if counts.is_empty() { "nothing".into() } else { counts.join(", ") }));
    }
    for (group, why) in &outcome.failed {
        let queued = outcome.queued.get(group).copied().unwrap_or_default();
        let mut text = format!("  {group} is short of {queued}: {} nodes looked at", why.nodes_evaluated);
        let reasons = why.constraint_filtered.iter().map(|(reason, count)| format!("{count} filtered by {reason:?}"));
        let dimensions = why.dimension_exhausted.iter().map(|(what, count)| format!("{count} exhausted of {what}"));
        for reason in reasons.chain(dimensions) {
            write!(text, ", {reason}").unwrap();
        }
        write!(text, "; {} more failed alike", why.coalesced_failures).unwrap();
        lines.push(text);
    }
}

fn follow(world: &World, eval: &Evaluation, decision: &Decision, lines: &mut Vec<String>) {
    if let Some(blocked) = &decision.blocked {
        let which = if blocked.id == eval.id { "blocked again" } else { "blocked evaluation" };
        lines.push(format!("  {which}: {}", blocked.status_description));
    }
    for follow_up in &decision.follow_ups {
        let wait = follow_up.wait_until.since(world.now);
        lines.push(format!("  follow-up {} in {wait}", follow_up.trigger));
    }
    for canceled in &decision.canceled {
        lines.push(format!("  cancel a blocked {}", canceled.trigger));
    }
}
