//! Scenario files: what happens to a cluster, and what the scheduler makes of it.
//!
//! A file of `tests/scenarios` is a list of commands, one per line. After `run` stand, each with `> ` in front, the
//! evaluations that were processed and what came of them; after `deployment` and `failures` how things stand. Files named
//! `v07_...` are the cases of the reference that they number. `UPDATE_GOLDEN=1` writes what is found instead of comparing.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use orch_model::allocation::ClientStatus;
use orch_model::job::{
    Constraint, DisconnectStrategy, Operator, Port, ReschedulePolicy, UpdateStrategy, VolumeRequest,
};
use orch_model::node::{NodeDescription, NodeStatus, NodeVolume};
use orch_model::testing::{job, node};
use orch_model::time::Nanos;
use orch_model::volume::AccessMode;
use orch_model::{Allocation, Job, JobKey, NodeId};
use orch_state::commands::{DeploymentChange, DeploymentFailure};

use crate::answers::{claims, deployment, failures, processed};
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
                world.deregister(&key(id), *rest == ["purge"]);
            }
            ("stop", [name]) => world.stop_alloc(&named(world, name)),
            ("complete", names) => report(world, names, ClientStatus::Complete),
            ("fail", names) => report(world, names, ClientStatus::Failed),
            ("alive", names) => report(world, names, ClientStatus::Running),
            ("healthy", names) => health(world, names, true),
            ("unhealthy", names) => health(world, names, false),
            ("watch", [id]) => world.watch(&key(id)),
            ("mark", names) => {
                let allocs: Vec<_> = names.iter().map(|name| named(world, name).id).collect();
                world.mark_for_reschedule(allocs);
            }
            ("pause", [id]) => world.change_deployment(&key(id), DeploymentChange::Pause),
            ("resume", [id]) => world.change_deployment(&key(id), DeploymentChange::Resume),
            ("miss-deadline", [id]) => {
                let late = DeploymentChange::Fail(DeploymentFailure::ProgressDeadline);
                world.change_deployment(&key(id), late);
            }
            ("deployment", [id]) => return deployment(world, &key(id)),
            ("failures", [name]) => return failures(world, &named(world, name)),
            ("volume", [name, number, modes @ ..]) => world.make_volume(name, number.parse().unwrap(), modes),
            ("claims", []) => return claims(world),
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

fn key(id: &str) -> JobKey {
    JobKey::new(&"default".into(), &id.into())
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
            "volume" => add_volume(&mut described, value, false),
            "read-only-volume" => add_volume(&mut described, value, true),
            "without" => drop(described.drivers.remove(value)),
            _ => drop(described.meta.insert(key.strip_prefix("meta.").unwrap().into(), value.into())),
        }
    }
    world.register_node(number, described);
}

fn add_volume(described: &mut NodeDescription, name: &str, read_only: bool) {
    let volume = NodeVolume { path: format!("/srv/{name}"), read_only, id: None };
    described.host_volumes.insert(name.into(), volume);
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
        "volume" => {
            let (source, options) = value.split_once(':').unwrap_or((value, ""));
            let options: Vec<_> = options.split('+').collect();
            let read_only = options.contains(&"ro");
            let modes = AccessMode::ALL.map(AccessMode::as_str);
            let mode = modes.into_iter().find(|mode| options.iter().any(|option| mode.ends_with(option)));
            let request = VolumeRequest {
                name: source.into(),
                r#type: "host".into(),
                source: source.into(),
                read_only,
                sticky: options.contains(&"sticky"),
                per_alloc: options.contains(&"per_alloc"),
                access_mode: mode.unwrap_or(VolumeRequest::default_access(read_only).as_str()).into(),
                attachment_mode: "file-system".into(),
                ..VolumeRequest::default()
            };
            group.volumes.insert(source.into(), request);
        }
        "no-volumes" => group.volumes.clear(),
        "max_parallel" => {
            group.update.get_or_insert_with(UpdateStrategy::default).max_parallel = Some(value.parse().unwrap());
            group.update.as_mut().unwrap().progress_deadline = Some(Nanos::from_secs(600));
        }
        "beside" => {
            let mut other = job.task_groups[0].clone();
            other.name = "beside".into();
            other.count = value.parse().unwrap();
            other.update = None;
            job.task_groups.push(other);
        }
        "delay" | "max_delay" | "function" => {
            let policy = group.reschedule_policy.as_mut().unwrap();
            match key {
                "delay" => policy.delay = Some(value.parse().unwrap()),
                "max_delay" => policy.max_delay = Some(value.parse().unwrap()),
                _ => policy.delay_function = value.into(),
            }
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

/// What the client says of the health of running allocations, and the evaluation that follows.
fn health(world: &mut World, names: &[&str], healthy: bool) {
    let allocs: Vec<_> = names.iter().map(|name| named(world, name)).collect();
    for alloc in &allocs {
        world.report_health(alloc, healthy);
    }
    world.watch(&allocs[0].job_key());
}

/// The newest allocation of a name, or after `original-of-` the one that it replaced.
fn named(world: &World, name: &str) -> Arc<Allocation> {
    match name.strip_prefix("original-of-") {
        Some(name) => world.state.alloc(&world.named(name).previous.unwrap()).unwrap().clone(),
        None => world.named(name),
    }
}
