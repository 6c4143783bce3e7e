//! The environment of a task: where it is, who it is, which ports it has.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;

use orch_driver::{FsIsolation, TaskDirs};
use orch_model::job::{JobType, Task, TaskGroup};
use orch_model::node::NodeDescription;
use orch_model::{Allocation, Mhz, NodeId};

use crate::interpolate::Names;

/// What the environment of a task is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) alloc: &'a Allocation,
    pub(crate) group: &'a TaskGroup,
    pub(crate) task: &'a Task,
    /// The cores that the task has for itself.
    pub(crate) cores: &'a [u16],
    pub(crate) node_id: NodeId,
    pub(crate) node: &'a NodeDescription,
    pub(crate) region: &'a str,
    pub(crate) dirs: &'a TaskDirs,
    pub(crate) isolation: FsIsolation,
    pub(crate) host_env: &'a BTreeMap<String, String>,
    pub(crate) denied: &'a BTreeSet<String>,
}

/// The environment of a task, complete, with the names that its configuration may mention.
///
/// Later ones win: the agent's variables, meta, the job's `env`. The host's environment only fills what is missing, for
/// drivers that do not isolate files.
pub(crate) fn build(source: &Source<'_>) -> Names {
    let mut names = Names { env: BTreeMap::new(), node: node_names(source) };
    let env = &mut names.env;
    paths(env, source);
    identity(env, source);
    limits(env, source);
    ports(env, source);
    meta(env, source);
    if inherits_host(source) {
        for (name, value) in source.host_env.iter().filter(|(name, _)| !source.denied.contains(*name)) {
            env.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
    let own: Vec<_> = source.task.env.iter().map(|(key, value)| (names.fill(key), names.fill(value))).collect();
    names.env.extend(own);
    names
}

fn inherits_host(source: &Source<'_>) -> bool {
    match source.isolation {
        FsIsolation::None | FsIsolation::Chroot => true,
        FsIsolation::Image => false,
    }
}

fn paths(env: &mut BTreeMap<String, String>, source: &Source<'_>) {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let (shared, local, secrets) = match source.isolation {
        FsIsolation::None => (text(&source.dirs.shared), text(&source.dirs.local), text(&source.dirs.secrets)),
        FsIsolation::Chroot | FsIsolation::Image => ("/alloc".into(), "/local".into(), "/secrets".into()),
    };
    env.insert("NOMAD_ALLOC_DIR".into(), shared);
    env.insert("NOMAD_TASK_DIR".into(), local);
    env.insert("NOMAD_SECRETS_DIR".into(), secrets);
}

fn identity(env: &mut BTreeMap<String, String>, source: &Source<'_>) {
    let Source { alloc, group, task, node, .. } = source;
    let job = &alloc.job;
    for (name, value) in [
        ("NOMAD_ALLOC_ID", alloc.id.to_string()),
        ("NOMAD_SHORT_ALLOC_ID", alloc.id.short()),
        ("NOMAD_ALLOC_NAME", alloc.name()),
        ("NOMAD_ALLOC_INDEX", alloc.index.to_string()),
        ("NOMAD_TASK_NAME", task.name.clone()),
        ("NOMAD_GROUP_NAME", group.name.clone()),
        ("NOMAD_JOB_ID", job.id.to_string()),
        ("NOMAD_JOB_NAME", job.name.clone()),
        ("NOMAD_JOB_PARENT_ID", job.parent_id.clone()),
        ("NOMAD_DC", node.datacenter.clone()),
        ("NOMAD_REGION", source.region.to_owned()),
        ("NOMAD_NAMESPACE", job.namespace.to_string()),
        ("NOMAD_PARENT_CGROUP", node.cgroup_parent.clone()),
    ] {
        if !value.is_empty() {
            env.insert(name.to_owned(), value);
        }
    }
}

fn limits(env: &mut BTreeMap<String, String>, source: &Source<'_>) {
    let Some(resources) = &source.task.resources else { return };
    let cpu = if source.cores.is_empty() {
        resources.cpu.to_string()
    } else {
        env.insert("NOMAD_CPU_CORES".into(), core_list(source.cores));
        cores_capacity(source.node, source.cores.len()).0.to_string()
    };
    env.insert("NOMAD_CPU_LIMIT".into(), cpu);
    env.insert("NOMAD_MEMORY_LIMIT".into(), resources.memory_mb.to_string());
    if source.alloc.oversubscribed && resources.memory_max_mb != 0 {
        env.insert("NOMAD_MEMORY_MAX_LIMIT".into(), resources.memory_max_mb.to_string());
    }
}

/// The capacity of so many of a node's cores.
pub(crate) fn cores_capacity(node: &NodeDescription, cores: usize) -> Mhz {
    let whole = u64::from(node.resources.cpu.0).saturating_mul(u64::try_from(cores).unwrap_or(u64::MAX));
    let share = whole / u64::from(node.resources.total_cores.max(1));
    Mhz(u32::try_from(share).unwrap_or(u32::MAX).min(node.resources.cpu.0))
}

/// Cores as the kernel lists them: `0-2,7`.
fn core_list(cores: &[u16]) -> String {
    let sorted: BTreeSet<u16> = cores.iter().copied().collect();
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for core in sorted {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(core) => *last = core,
            Some(_) | None => ranges.push((core, core)),
        }
    }
    let text = |(first, last): &(u16, u16)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    ranges.iter().map(text).collect::<Vec<_>>().join(",")
}

/// A port of an allocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LabelledPort {
    pub(crate) label: String,
    /// The address on the host.
    pub(crate) address: IpAddr,
    /// The number on the host.
    pub(crate) host: u16,
    /// The number inside a network of the allocation's own; that on the host where the job names none.
    pub(crate) inside: u16,
}

/// The ports of an allocation, in the order of its group.
pub(crate) fn ports_of(alloc: &Allocation) -> impl Iterator<Item = LabelledPort> {
    let asked = alloc.task_group().and_then(|group| group.ask().ok()).map(|ask| ask.ports).unwrap_or_default();
    alloc.ports.iter().filter_map(move |port| {
        let ask = asked.get(usize::from(port.ask))?;
        let inside = match ask.to.recorded(port.value) {
            0 => port.value,
            to => to,
        };
        Some(LabelledPort { label: ask.label.clone(), address: port.address, host: port.value, inside })
    })
}

fn ports(env: &mut BTreeMap<String, String>, source: &Source<'_>) {
    for LabelledPort { label, address, host, inside } in ports_of(source.alloc) {
        let clean = clean(&label);
        let whole = std::net::SocketAddr::new(address, host).to_string();
        let ip = address.to_string();
        env.insert(format!("NOMAD_IP_{clean}"), ip.clone());
        env.insert(format!("NOMAD_PORT_{clean}"), inside.to_string());
        env.insert(format!("NOMAD_ADDR_{clean}"), whole.clone());
        env.insert(format!("NOMAD_HOST_PORT_{clean}"), host.to_string());
        env.insert(format!("NOMAD_HOST_IP_{label}"), ip);
        env.insert(format!("NOMAD_HOST_ADDR_{label}"), whole);
        env.insert(format!("NOMAD_ALLOC_PORT_{label}"), inside.to_string());
    }
}

fn meta(env: &mut BTreeMap<String, String>, source: &Source<'_>) {
    let job = &source.alloc.job;
    let mut meta = job.combined_meta(&source.group.name, &source.task.name);
    if job.dispatched
        && let Some(parameters) = &job.parameterized_job
    {
        for key in &parameters.meta_optional {
            meta.entry(key.clone()).or_default();
        }
    }
    for (key, value) in meta {
        let clean = clean(&key);
        env.insert(format!("NOMAD_META_{}", clean.to_ascii_uppercase()), value.clone());
        env.insert(format!("NOMAD_META_{clean}"), value);
    }
}

/// A label or key in a form that shells accept as part of a name.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect()
}

fn node_names(source: &Source<'_>) -> BTreeMap<String, String> {
    let node = source.node;
    let mut names = BTreeMap::from([
        ("node.unique.id".to_owned(), source.node_id.to_string()),
        ("node.unique.name".to_owned(), node.name.clone()),
        ("node.datacenter".to_owned(), node.datacenter.clone()),
        ("node.region".to_owned(), source.region.to_owned()),
        ("node.class".to_owned(), node.node_class.clone()),
        ("node.pool".to_owned(), node.node_pool.clone()),
    ]);
    names.extend(node.attributes.iter().map(|(key, value)| (format!("attr.{key}"), value.clone())));
    names.extend(node.meta.iter().map(|(key, value)| (format!("meta.{key}"), value.clone())));
    names
}

/// Which kind of job an allocation belongs to; an unknown word counts as a service.
pub(crate) fn job_kind(alloc: &Allocation) -> JobType {
    alloc.job.kind().unwrap_or(JobType::Service)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use orch_model::allocation::AllocPort;
    use orch_model::job::{NetworkResource, Port, Resources};

    use super::*;

    fn example() -> (Allocation, TaskGroup) {
        let mut job = orch_model::testing::job("web", 1);
        job.meta.insert("tier".into(), "job".into());
        let group = &mut job.task_groups[0];
        group.name = "front".into();
        group.meta.insert("owner-team".into(), "x".into());
        let port = |label: &str, value, to| Port { label: label.into(), value, to, ..Port::default() };
        group.networks = vec![NetworkResource {
            reserved_ports: vec![port("db", 5432, 0)],
            dynamic_ports: vec![port("http-api", 0, 8080)],
            ..NetworkResource::default()
        }];
        let task = &mut group.tasks[0];
        task.meta.insert("tier".into(), "task".into());
        task.resources = Some(Resources { cpu: 100, memory_mb: 300, ..Resources::default() });
        task.env.insert("URL".into(), "http://${NOMAD_ADDR_http_api}/${node.class}".into());
        task.env.insert("PATH".into(), "/mine".into());
        let group = group.clone();
        let mut alloc = crate::testing::alloc(7, &Arc::new(job));
        alloc.index = 1;
        let port = |ask, value| AllocPort { ask, value, address: [192, 0, 2, 10].into(), ignore_collision: false };
        alloc.ports = [port(0, 5432), port(1, 23456)].into_iter().collect();
        (alloc, group)
    }

    fn env(isolation: FsIsolation) -> BTreeMap<String, String> {
        let (alloc, group) = example();
        env_of(&alloc, &group, &[], isolation)
    }

    fn env_of(
        alloc: &Allocation,
        group: &TaskGroup,
        cores: &[u16],
        isolation: FsIsolation,
    ) -> BTreeMap<String, String> {
        let host = [("PATH", "/bin"), ("HOME", "/root"), ("NOMAD_TOKEN", "secret"), ("NOMAD_DC", "host")];
        let host = host.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let denied = crate::Config::ENV_DENYLIST.map(str::to_owned).into();
        let node = NodeDescription { datacenter: "dc1".into(), node_class: "big".into(), ..NodeDescription::default() };
        let dirs = crate::alloc_dir::AllocDir::new(Path::new("/a"), alloc.id).task("app");
        let source = Source {
            alloc,
            group,
            task: &group.tasks[0],
            cores,
            node_id: NodeId::default(),
            node: &node,
            region: "global",
            dirs: &dirs,
            isolation,
            host_env: &host,
            denied: &denied,
        };
        build(&source).env
    }

    #[test]
    fn a_task_learns_who_and_where_it_is_and_which_ports_it_has() {
        let env = env(FsIsolation::None);
        for (name, value) in [
            ("NOMAD_ALLOC_NAME", "web.front[1]"),
            ("NOMAD_ALLOC_INDEX", "1"),
            ("NOMAD_SHORT_ALLOC_ID", "00000000"),
            ("NOMAD_CPU_LIMIT", "100"),
            ("NOMAD_MEMORY_LIMIT", "300"),
            ("NOMAD_DC", "dc1"),
            ("NOMAD_IP_http_api", "192.0.2.10"),
            ("NOMAD_PORT_http_api", "8080"),
            ("NOMAD_ALLOC_PORT_http-api", "8080"),
            ("NOMAD_HOST_PORT_http_api", "23456"),
            ("NOMAD_ADDR_http_api", "192.0.2.10:23456"),
            ("NOMAD_HOST_ADDR_http-api", "192.0.2.10:23456"),
            ("NOMAD_PORT_db", "5432"),
            ("NOMAD_META_owner_team", "x"),
            ("NOMAD_META_OWNER_TEAM", "x"),
            ("NOMAD_META_tier", "task"),
            ("URL", "http://192.0.2.10:23456/big"),
            ("PATH", "/mine"),
            ("HOME", "/root"),
        ] {
            assert_eq!(env.get(name).map(String::as_str), Some(value), "{name}");
        }
        for absent in ["NOMAD_TOKEN", "NOMAD_MEMORY_MAX_LIMIT", "NOMAD_JOB_PARENT_ID", "NOMAD_ALLOC_IP_db"] {
            assert_eq!(env.get(absent), None, "{absent}");
        }
    }

    #[test]
    fn a_task_with_cores_of_its_own_learns_which_and_how_much_they_can_do() {
        for (cores, expected) in [(vec![7], "7"), (vec![2, 0, 1, 7], "0-2,7"), (vec![0, 2, 4, 5], "0,2,4-5")] {
            assert_eq!(core_list(&cores), expected);
        }
        let mut node = NodeDescription::default();
        node.resources.cpu = Mhz(10_000);
        node.resources.total_cores = 4;
        assert_eq!(cores_capacity(&node, 3), Mhz(7_500));
        assert_eq!(cores_capacity(&node, 9), Mhz(10_000));
        assert_eq!(cores_capacity(&NodeDescription::default(), 1), Mhz(0));
        let (alloc, group) = example();
        let env = env_of(&alloc, &group, &[4, 5], FsIsolation::None);
        assert_eq!(env["NOMAD_CPU_CORES"], "4-5");
    }

    #[test]
    fn the_memory_beyond_the_reserved_is_told_where_it_may_be_used() {
        let (mut alloc, mut group) = example();
        group.tasks[0].resources.as_mut().unwrap().memory_max_mb = 900;
        for (oversubscribed, expected) in [(false, None), (true, Some("900"))] {
            alloc.oversubscribed = oversubscribed;
            let env = env_of(&alloc, &group, &[], FsIsolation::None);
            assert_eq!(env.get("NOMAD_MEMORY_MAX_LIMIT").map(String::as_str), expected);
        }
    }

    #[test]
    fn an_isolated_task_sees_the_paths_inside_and_an_image_nothing_of_the_host() {
        assert!(env(FsIsolation::None)["NOMAD_TASK_DIR"].ends_with("/app/local"));
        assert_eq!(env(FsIsolation::Chroot)["NOMAD_TASK_DIR"], "/local");
        assert_eq!(env(FsIsolation::Image).get("HOME"), None);
    }
}
