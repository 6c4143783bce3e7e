//! A task's `config`: every option, read and checked as far as that takes no engine and no node.

use std::collections::BTreeMap;
use std::time::Duration;

use bollard::models::{DeviceMapping, MountBindOptionsPropagationEnum, ResourcesUlimits};
use orch_driver::{ConfigReader, Error};
use orch_model::ids::Secret;
use serde_json::Value;

use crate::config::{Logging, caps, count, oom_score};

/// The keys that the `config` of a task may have.
pub const OPTIONS: &[&str] = &[
    "advertise_ipv6_address",
    "args",
    "auth",
    "auth_soft_fail",
    "cap_add",
    "cap_drop",
    "cgroupns",
    "command",
    "container_exists_attempts",
    "cpu_cfs_period",
    "cpu_hard_limit",
    "cpuset_cpus",
    "devices",
    "dns_options",
    "dns_search_domains",
    "dns_servers",
    "entrypoint",
    "extra_hosts",
    "force_pull",
    "group_add",
    "healthchecks",
    "hostname",
    "image",
    "image_pull_timeout",
    "init",
    "interactive",
    "ipc_mode",
    "ipv4_address",
    "ipv6_address",
    "isolation",
    "labels",
    "load",
    "logging",
    "mac_address",
    "memory_hard_limit",
    "mount",
    "mounts",
    "network_aliases",
    "network_mode",
    "oom_score_adj",
    "pid_mode",
    "pids_limit",
    "platform",
    "port_map",
    "ports",
    "privileged",
    "readonly_rootfs",
    "runtime",
    "security_opt",
    "shm_size",
    "storage_opt",
    "sysctl",
    "tty",
    "ulimit",
    "userns_mode",
    "uts_mode",
    "volume_driver",
    "volumes",
    "work_dir",
];

/// A task's `config`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct TaskConfig {
    pub(crate) image: String,
    /// Such as `linux/arm64`; empty for the engine's own.
    pub(crate) platform: String,
    /// An archive in the task's directory that holds the image.
    pub(crate) load: Option<String>,
    pub(crate) force_pull: bool,
    pub(crate) image_pull_timeout: Option<Duration>,
    pub(crate) auth: Option<TaskAuth>,
    pub(crate) auth_soft_fail: bool,
    pub(crate) container_exists_attempts: Option<u32>,
    pub(crate) process: Process,
    pub(crate) limits: Limits,
    pub(crate) privileges: Privileges,
    pub(crate) network: Network,
    pub(crate) storage: Storage,
    pub(crate) logging: Option<Logging>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) healthchecks_disabled: bool,
}

/// Credentials that a task names itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct TaskAuth {
    pub(crate) username: String,
    pub(crate) password: Secret<String>,
    pub(crate) email: Option<String>,
    pub(crate) server_address: Option<String>,
}

/// What runs in the container.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Process {
    pub(crate) entrypoint: Vec<String>,
    pub(crate) command: Option<String>,
    pub(crate) args: Vec<String>,
    pub(crate) work_dir: Option<String>,
    pub(crate) init: bool,
    pub(crate) interactive: bool,
    pub(crate) tty: bool,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Limits {
    pub(crate) cpu_hard_limit: bool,
    /// In microseconds.
    pub(crate) cpu_cfs_period: Option<i64>,
    pub(crate) cpuset_cpus: Option<String>,
    /// In MiB.
    pub(crate) memory_hard_limit: Option<u64>,
    pub(crate) oom_score_adj: Option<i64>,
    pub(crate) pids_limit: Option<i64>,
    /// In bytes.
    pub(crate) shm_size: Option<i64>,
    pub(crate) ulimits: Vec<ResourcesUlimits>,
    pub(crate) sysctl: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Privileges {
    pub(crate) privileged: bool,
    pub(crate) cap_add: Vec<String>,
    pub(crate) cap_drop: Vec<String>,
    pub(crate) cgroupns: Option<CgroupNs>,
    pub(crate) devices: Vec<DeviceMapping>,
    pub(crate) group_add: Vec<String>,
    pub(crate) ipc_mode: Option<String>,
    pub(crate) pid_mode: Option<String>,
    pub(crate) userns_mode: Option<String>,
    pub(crate) uts_mode: Option<String>,
    pub(crate) runtime: Option<String>,
    pub(crate) security_opt: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CgroupNs {
    Host,
    Private,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Network {
    pub(crate) mode: Option<String>,
    pub(crate) aliases: Vec<String>,
    pub(crate) ipv4_address: Option<String>,
    pub(crate) ipv6_address: Option<String>,
    pub(crate) mac_address: Option<String>,
    pub(crate) hostname: Option<String>,
    pub(crate) dns_servers: Vec<String>,
    pub(crate) dns_search_domains: Vec<String>,
    pub(crate) dns_options: Vec<String>,
    pub(crate) extra_hosts: Vec<String>,
    pub(crate) ports: Vec<String>,
    pub(crate) port_map: BTreeMap<String, u16>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Storage {
    pub(crate) volumes: Vec<String>,
    pub(crate) volume_driver: Option<String>,
    pub(crate) mounts: Vec<TaskMountConfig>,
    pub(crate) readonly_rootfs: bool,
    pub(crate) storage_opt: BTreeMap<String, String>,
}

/// One `mount` block.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TaskMountConfig {
    pub(crate) target: String,
    pub(crate) source: String,
    pub(crate) read_only: bool,
    pub(crate) kind: MountKind,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum MountKind {
    Volume { no_copy: bool, labels: BTreeMap<String, String>, driver: Option<(String, BTreeMap<String, String>)> },
    Bind { propagation: Option<MountBindOptionsPropagationEnum> },
    Tmpfs { size: Option<i64>, mode: Option<i64> },
}

impl TaskConfig {
    pub(crate) fn read(config: &BTreeMap<String, Value>) -> Result<Self, Error> {
        let mut reader = ConfigReader::new(config, OPTIONS);
        let read = read(&mut reader);
        reader.finish(read)
    }
}

fn read(reader: &mut ConfigReader<'_>) -> TaskConfig {
    if reader.has("isolation") {
        reader.refuse("isolation", "is for Windows");
    }
    if reader.boolean("advertise_ipv6_address") {
        reader.refuse("advertise_ipv6_address", "has no use: tasks are reached by the addresses of their ports");
    }
    TaskConfig {
        image: reader.required_text("image"),
        platform: reader.text("platform").unwrap_or_default(),
        load: text(reader, "load"),
        force_pull: reader.boolean("force_pull"),
        image_pull_timeout: reader.duration("image_pull_timeout").filter(|timeout| !timeout.is_zero()),
        auth: auth(reader),
        auth_soft_fail: reader.boolean("auth_soft_fail"),
        container_exists_attempts: count(reader, "container_exists_attempts"),
        process: process(reader),
        limits: limits(reader),
        privileges: privileges(reader),
        network: network(reader),
        storage: storage(reader),
        logging: logging(reader),
        labels: reader.text_map("labels"),
        healthchecks_disabled: reader
            .block("healthchecks", &["disable"], |checks| checks.boolean("disable"))
            .unwrap_or_default(),
    }
}

fn auth(reader: &mut ConfigReader<'_>) -> Option<TaskAuth> {
    reader.block("auth", &["username", "password", "email", "server_address"], |auth| TaskAuth {
        username: auth.text("username").unwrap_or_default(),
        password: Secret::new(auth.text("password").unwrap_or_default()),
        email: text(auth, "email"),
        server_address: text(auth, "server_address"),
    })
}

fn process(reader: &mut ConfigReader<'_>) -> Process {
    Process {
        entrypoint: reader.texts("entrypoint"),
        command: text(reader, "command"),
        args: reader.texts("args"),
        work_dir: text(reader, "work_dir"),
        init: reader.boolean("init"),
        interactive: reader.boolean("interactive"),
        tty: reader.boolean("tty"),
    }
}

fn limits(reader: &mut ConfigReader<'_>) -> Limits {
    let period = reader.integer("cpu_cfs_period").filter(|period| *period != 0);
    if let Some(period) = period.filter(|period| !(1_000..=1_000_000).contains(period)) {
        reader.refuse("cpu_cfs_period", format_args!("must be from 1000 to 1000000 microseconds, not {period}"));
    }
    Limits {
        cpu_hard_limit: reader.boolean("cpu_hard_limit"),
        cpu_cfs_period: period,
        cpuset_cpus: text(reader, "cpuset_cpus"),
        memory_hard_limit: natural(reader, "memory_hard_limit").and_then(|mib| u64::try_from(mib).ok()),
        oom_score_adj: oom_score(reader),
        pids_limit: natural(reader, "pids_limit"),
        shm_size: natural(reader, "shm_size"),
        ulimits: ulimits(reader),
        sysctl: reader.text_map("sysctl"),
    }
}

/// `nofile = "1024"` sets both limits, `"1024:4096"` the soft and the hard one.
fn ulimits(reader: &mut ConfigReader<'_>) -> Vec<ResourcesUlimits> {
    let mut ulimits = Vec::new();
    for (name, value) in reader.text_map("ulimit") {
        let (soft, hard) = value.split_once(':').unwrap_or((&value, &value));
        let (soft, hard) = (soft.trim().parse::<i64>(), hard.trim().parse::<i64>());
        match (soft, hard) {
            (Ok(soft), Ok(hard)) if hard == -1 || (soft <= hard && soft != -1) => {
                ulimits.push(ResourcesUlimits { name: Some(name), soft: Some(soft), hard: Some(hard) });
            }
            _ => reader.refuse(
                "ulimit",
                format_args!("{name} must be a number, or soft:hard with soft not above hard, not {value:?}"),
            ),
        }
    }
    ulimits
}

fn privileges(reader: &mut ConfigReader<'_>) -> Privileges {
    let cgroupns = match text(reader, "cgroupns").as_deref() {
        None => None,
        Some("host") => Some(CgroupNs::Host),
        Some("private") => Some(CgroupNs::Private),
        Some(other) => {
            reader.refuse("cgroupns", format_args!("must be host or private, not {other:?}"));
            None
        }
    };
    let devices = reader.blocks("devices", &["host_path", "container_path", "cgroup_permissions"], |device| {
        let host = device.required_text("host_path");
        let permissions = text(device, "cgroup_permissions").unwrap_or_else(|| "rwm".to_owned());
        if !permissions.chars().all(|letter| "rwm".contains(letter)) {
            device.refuse("cgroup_permissions", format_args!("must be made of r, w and m, not {permissions:?}"));
        }
        DeviceMapping {
            path_in_container: Some(text(device, "container_path").unwrap_or_else(|| host.clone())),
            path_on_host: Some(host),
            cgroup_permissions: Some(permissions),
        }
    });
    Privileges {
        privileged: reader.boolean("privileged"),
        cap_add: caps(reader, "cap_add"),
        cap_drop: caps(reader, "cap_drop"),
        cgroupns,
        devices,
        group_add: reader.texts("group_add"),
        ipc_mode: text(reader, "ipc_mode"),
        pid_mode: text(reader, "pid_mode"),
        userns_mode: text(reader, "userns_mode"),
        uts_mode: text(reader, "uts_mode"),
        runtime: text(reader, "runtime"),
        security_opt: reader.texts("security_opt"),
    }
}

fn network(reader: &mut ConfigReader<'_>) -> Network {
    let mut port_map = BTreeMap::new();
    for (label, port) in reader.text_map("port_map") {
        match port.parse::<u16>() {
            Ok(port) if port > 0 => drop(port_map.insert(label, port)),
            _ => reader.refuse("port_map", format_args!("{label} must be a port number, not {port:?}")),
        }
    }
    let network = Network {
        mode: text(reader, "network_mode"),
        aliases: reader.texts("network_aliases"),
        ipv4_address: text(reader, "ipv4_address"),
        ipv6_address: text(reader, "ipv6_address"),
        mac_address: text(reader, "mac_address"),
        hostname: text(reader, "hostname"),
        dns_servers: reader.texts("dns_servers"),
        dns_search_domains: reader.texts("dns_search_domains"),
        dns_options: reader.texts("dns_options"),
        extra_hosts: reader.texts("extra_hosts"),
        ports: reader.texts("ports"),
        port_map,
    };
    let own = network.mode.as_deref().is_some_and(is_own_network);
    if !own {
        for (key, given) in [
            ("network_aliases", !network.aliases.is_empty()),
            ("ipv4_address", network.ipv4_address.is_some()),
            ("ipv6_address", network.ipv6_address.is_some()),
        ] {
            if given {
                reader.refuse(key, "needs a network_mode that names a network of the engine");
            }
        }
    }
    network
}

/// Whether a mode is the name of a network that someone made in the engine.
fn is_own_network(mode: &str) -> bool {
    !["default", "bridge", "host", "none", "nat"].contains(&mode) && !mode.starts_with("container:")
}

fn storage(reader: &mut ConfigReader<'_>) -> Storage {
    let mut mounts = reader.blocks("mount", &MOUNT_KEYS, mount);
    mounts.extend(reader.blocks("mounts", &MOUNT_KEYS, mount));
    Storage {
        volumes: reader.texts("volumes"),
        volume_driver: text(reader, "volume_driver"),
        mounts,
        readonly_rootfs: reader.boolean("readonly_rootfs"),
        storage_opt: reader.text_map("storage_opt"),
    }
}

const MOUNT_KEYS: [&str; 7] =
    ["type", "target", "source", "readonly", "bind_options", "tmpfs_options", "volume_options"];

fn mount(reader: &mut ConfigReader<'_>) -> TaskMountConfig {
    let target = reader.required_text("target");
    let source = reader.text("source").unwrap_or_default();
    let read_only = reader.boolean("readonly");
    let kind = text(reader, "type").unwrap_or_else(|| "volume".to_owned());
    let (of_kind, kind) = match kind.as_str() {
        "volume" => ("volume_options", volume(reader)),
        "bind" => ("bind_options", bind(reader)),
        "tmpfs" => ("tmpfs_options", tmpfs(reader)),
        other => {
            reader.refuse("type", format_args!("must be volume, bind or tmpfs, not {other:?}"));
            ("", MountKind::Volume { no_copy: false, labels: BTreeMap::new(), driver: None })
        }
    };
    for options in ["volume_options", "bind_options", "tmpfs_options"] {
        if !of_kind.is_empty() && options != of_kind && reader.has(options) {
            reader.refuse(options, "does not go with the type of this mount");
        }
    }
    match &kind {
        MountKind::Bind { .. } if source.is_empty() => reader.refuse("source", "is required where the type is bind"),
        MountKind::Tmpfs { .. } if !source.is_empty() => reader.refuse("source", "does not go with type tmpfs"),
        MountKind::Bind { .. } | MountKind::Tmpfs { .. } | MountKind::Volume { .. } => {}
    }
    TaskMountConfig { target, source, read_only, kind }
}

fn volume(reader: &mut ConfigReader<'_>) -> MountKind {
    let read = reader.block("volume_options", &["no_copy", "labels", "driver_config"], |options| MountKind::Volume {
        no_copy: options.boolean("no_copy"),
        labels: options.text_map("labels"),
        driver: options.block("driver_config", &["name", "options"], |driver| {
            (driver.required_text("name"), driver.text_map("options"))
        }),
    });
    read.unwrap_or(MountKind::Volume { no_copy: false, labels: BTreeMap::new(), driver: None })
}

fn bind(reader: &mut ConfigReader<'_>) -> MountKind {
    let propagation = reader.block("bind_options", &["propagation"], |options| {
        let name = text(options, "propagation")?;
        let propagation = match name.as_str() {
            "private" => MountBindOptionsPropagationEnum::PRIVATE,
            "rprivate" => MountBindOptionsPropagationEnum::RPRIVATE,
            "shared" => MountBindOptionsPropagationEnum::SHARED,
            "rshared" => MountBindOptionsPropagationEnum::RSHARED,
            "slave" => MountBindOptionsPropagationEnum::SLAVE,
            "rslave" => MountBindOptionsPropagationEnum::RSLAVE,
            other => {
                let names = "private, rprivate, shared, rshared, slave or rslave";
                options.refuse("propagation", format_args!("must be {names}, not {other:?}"));
                return None;
            }
        };
        Some(propagation)
    });
    MountKind::Bind { propagation: propagation.flatten() }
}

fn tmpfs(reader: &mut ConfigReader<'_>) -> MountKind {
    let read = reader.block("tmpfs_options", &["size", "mode"], |options| MountKind::Tmpfs {
        size: natural(options, "size"),
        mode: natural(options, "mode"),
    });
    read.unwrap_or(MountKind::Tmpfs { size: None, mode: None })
}

fn logging(reader: &mut ConfigReader<'_>) -> Option<Logging> {
    reader.block("logging", &["type", "driver", "config"], |logging| {
        let (kind, driver) = (text(logging, "type"), text(logging, "driver"));
        if kind.is_some() && driver.is_some() && kind != driver {
            logging.refuse("driver", "and type are the same thing: name one");
        }
        Logging { driver: kind.or(driver).unwrap_or_default(), options: logging.text_map("config") }
    })
}

/// A text; an empty one is as good as none.
fn text(reader: &mut ConfigReader<'_>, key: &str) -> Option<String> {
    reader.text(key).filter(|text| !text.is_empty())
}

/// A number from 0 on; 0 is as good as none.
fn natural(reader: &mut ConfigReader<'_>, key: &str) -> Option<i64> {
    let number = reader.integer(key)?;
    if number < 0 {
        reader.refuse(key, format_args!("must not be negative: {number}"));
    }
    (number > 0).then_some(number)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: Value) -> Result<TaskConfig, Error> {
        TaskConfig::read(&serde_json::from_value(value).unwrap())
    }

    #[test]
    fn an_image_is_enough() {
        let config = read(json!({"image": "redis:7"})).unwrap();
        assert_eq!(config, TaskConfig { image: "redis:7".to_owned(), ..TaskConfig::default() });
        let empty =
            json!({"image": "redis:7", "command": "", "labels": [], "mount": [], "pids_limit": 0, "load": null});
        assert_eq!(read(empty).unwrap(), config);
    }

    #[test]
    fn every_known_key_is_read() {
        let mut all: BTreeMap<String, Value> =
            OPTIONS.iter().map(|key| ((*key).to_owned(), Value::Array(vec![3.into()]))).collect();
        let message = TaskConfig::read(&all).unwrap_err().to_string();
        // A list with a number in it is right for lists of texts only: every other key complains.
        let lists = [
            "args",
            "cap_add",
            "cap_drop",
            "dns_options",
            "dns_search_domains",
            "dns_servers",
            "entrypoint",
            "extra_hosts",
            "group_add",
            "network_aliases",
            "ports",
            "security_opt",
            "volumes",
        ];
        for key in OPTIONS {
            let complains = message.contains(&format!("{key} ")) || message.contains(&format!("{key}[0] "));
            assert!(complains || lists.contains(key), "nothing reads {key}: {message}");
            all.insert((*key).to_owned(), Value::Object(serde_json::Map::new()));
        }
        let message = TaskConfig::read(&all).unwrap_err().to_string();
        for key in lists {
            assert!(message.contains(&format!("{key} must be a list of texts, not a map")), "{key}: {message}");
        }
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        let message = read(json!({
            "imgae": "redis", "ulimit": {"nofile": "many", "core": "5:3"}, "cgroupns": "shared", "port_map": {"http": 0},
            "cpu_cfs_period": 5, "oom_score_adj": -2000, "isolation": "hyperv", "advertise_ipv6_address": true,
            "network_aliases": ["a"], "devices": [{"cgroup_permissions": "x"}], "logging": {"type": "a", "driver": "b"},
            "auth": {"user": "x"}, "healthchecks": {"disable": 3}, "pids_limit": -1, "image_pull_timeout": "soon",
            "mount": [{"type": "bind", "target": "/x", "tmpfs_options": {}}, {"type": "nfs"},
                {"type": "bind", "target": "/x", "source": "y", "bind_options": {"propagation": "public"}}],
        }))
        .unwrap_err()
        .to_string();
        for part in [
            "imgae is not a known key: did you mean image?",
            "image is required",
            "ulimit nofile must be a number",
            "ulimit core must be a number",
            "cgroupns must be host or private",
            "port_map http must be a port number",
            "cpu_cfs_period must be from 1000",
            "oom_score_adj must be between",
            "isolation is for Windows",
            "advertise_ipv6_address has no use",
            "network_aliases needs a network_mode",
            "devices[0].host_path is required",
            "devices[0].cgroup_permissions must be made of r, w and m",
            "logging.driver and type are the same",
            "auth.user is not a known key: there are username",
            "healthchecks.disable must be true or false",
            "pids_limit must not be negative",
            "image_pull_timeout must be a duration",
            "mount[0].tmpfs_options does not go with the type",
            "mount[0].source is required",
            "mount[1].type must be volume, bind or tmpfs",
            "mount[1].target is required",
            "mount[2].bind_options.propagation must be private",
        ] {
            assert!(message.contains(part), "{part:?} in {message:?}");
        }
    }
}
