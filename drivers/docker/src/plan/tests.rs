use std::collections::BTreeMap;

use bollard::models::{MountType, PortBinding};
use orch_driver::{LogSpec, Propagation, TaskDirs, TaskLimits, TaskMount, TaskPort};
use orch_model::job::DnsConfig;
use orch_model::{MebiBytes, Mhz};
use serde_json::{Value, json};

use super::*;

fn spec() -> TaskSpec {
    let alloc = PathBuf::from("/data/alloc/1");
    TaskSpec {
        id: TaskId { task: "web/a".to_owned(), run: 3, ..TaskId::default() },
        namespace: "default".to_owned(),
        job_id: "shop/dispatch-1-2".to_owned(),
        job_name: "shop".to_owned(),
        group: "front".to_owned(),
        env: BTreeMap::from([("A".to_owned(), "1=2".to_owned())]),
        limits: TaskLimits { cpu: Mhz(500), node_cpu: Mhz(4_000), memory: MebiBytes(64), ..TaskLimits::default() },
        dirs: TaskDirs {
            task: alloc.join("web"),
            local: alloc.join("web/local"),
            secrets: alloc.join("web/secrets"),
            shared: alloc.join("alloc"),
        },
        logs: LogSpec { dir: alloc.join("alloc/logs"), max_files: 2, max_file_bytes: 1 << 20, disabled: false },
        ports: vec![
            TaskPort { label: "http".to_owned(), host_ip: "10.0.0.7".parse().unwrap(), host: 20_000, inside: 80 },
            TaskPort { label: "admin".to_owned(), host_ip: "::1".parse().unwrap(), host: 20_001, inside: 20_001 },
        ],
        ..TaskSpec::default()
    }
}

fn identity() -> NodeIdentity {
    NodeIdentity { node_id: "node-1".to_owned(), node_name: "rack7".to_owned() }
}

fn plan_on(node: &Config, spec: &TaskSpec, config: Value) -> Result<Plan, Error> {
    let task = TaskConfig::read(&serde_json::from_value(config).unwrap()).unwrap();
    container(spec, &task, Host { config: node, identity: &identity(), cores: 2 })
}

fn plan(spec: &TaskSpec, config: Value) -> ContainerCreateBody {
    plan_on(&Config::default(), spec, config).unwrap().body
}

fn host(config: Value) -> HostConfig {
    plan(&spec(), config).host_config.unwrap()
}

fn refusal(node: &Config, config: Value) -> String {
    let error = plan_on(node, &spec(), config).unwrap_err();
    assert!(!error.is_recoverable());
    error.to_string()
}

fn open_node() -> Config {
    Config { volumes_enabled: true, ..Config::default() }
}

fn texts<const N: usize>(list: [&str; N]) -> Option<Vec<String>> {
    Some(list.map(str::to_owned).into())
}

#[test]
fn the_process_is_what_the_task_says() {
    let mut spec = spec();
    spec.user = Some("1000:2".to_owned());
    let body = plan(
        &spec,
        json!({"image": "web:1", "command": "/bin/web", "args": ["-p", 80], "entrypoint": ["/init"], "work_dir": "/srv",
            "tty": true, "interactive": true, "init": true, "hostname": "h", "healthchecks": {"disable": true}}),
    );
    assert_eq!(body.image.as_deref(), Some("web:1"));
    assert_eq!(body.entrypoint, texts(["/init"]));
    assert_eq!(body.cmd, texts(["/bin/web", "-p", "80"]));
    assert_eq!(body.env, texts(["A=1=2"]));
    assert_eq!((body.user.as_deref(), body.working_dir.as_deref()), (Some("1000:2"), Some("/srv")));
    assert_eq!((body.tty, body.open_stdin, body.hostname.as_deref()), (Some(true), Some(true), Some("h")));
    assert_eq!(body.healthcheck.unwrap().test, texts(["NONE"]));
    assert_eq!(body.host_config.unwrap().init, Some(true));
    let bare = plan(&spec, json!({"image": "web:1", "args": ["serve"]}));
    assert_eq!((bare.cmd, bare.entrypoint, bare.healthcheck), (texts(["serve"]), None, None));
}

#[test]
fn names_and_labels_tell_whose_it_is() {
    let node = Config { extra_labels: vec!["*_id".to_owned(), "node_*".to_owned()], ..Config::default() };
    let config = json!({"image": "i", "labels": [{"team": "a"}, {"io.orch.node_id": "forged"}]});
    let planned = plan_on(&node, &spec(), config).unwrap();
    assert_eq!(planned.name, "web_a-00000000-0000-0000-0000-000000000000");
    let labels = planned.body.labels.unwrap();
    for (name, value) in [
        ("team", Some("a")),
        ("io.orch.node_id", Some("node-1")),
        ("com.hashicorp.nomad.alloc_id", Some("00000000-0000-0000-0000-000000000000")),
        ("com.hashicorp.nomad.job_id", Some("shop/dispatch-1-2")),
        ("com.hashicorp.nomad.parent_job_id", Some("shop")),
        ("com.hashicorp.nomad.node_name", Some("rack7")),
        ("com.hashicorp.nomad.namespace", None),
    ] {
        assert_eq!(labels.get(name).map(String::as_str), value, "{name}");
    }
    let note = note_of(Some(&labels), "node-1").unwrap();
    assert_eq!((note.id, note.logs), (spec().id, spec().logs));
    assert_eq!(note_of(Some(&labels), "node-2"), None, "a container of another node is not ours");
}

#[test]
fn memory_is_limited_without_swap() {
    const MIB: i64 = 1 << 20;
    let limits = |memory_max: Option<u64>, hard: u64| {
        let mut spec = spec();
        spec.limits.memory_max = memory_max.map(MebiBytes);
        let host = plan(&spec, json!({"image": "i", "memory_hard_limit": hard})).host_config.unwrap();
        (host.memory, host.memory_swap, host.memory_reservation)
    };
    assert_eq!(limits(None, 0), (Some(64 * MIB), Some(64 * MIB), None));
    assert_eq!(limits(Some(128), 0), (Some(128 * MIB), Some(128 * MIB), Some(64 * MIB)));
    assert_eq!(limits(Some(128), 256), (Some(256 * MIB), Some(256 * MIB), Some(64 * MIB)));
    assert!(refusal(&Config::default(), json!({"image": "i", "memory_hard_limit": 32})).contains("32 MiB"));
}

#[test]
fn other_limits_are_passed_on() {
    let mut reserved = spec();
    reserved.limits.cpuset_cores = vec![1, 3];
    let config = json!({"image": "i", "cpu_hard_limit": true, "cpuset_cpus": "0", "pids_limit": 9, "shm_size": 4096,
        "oom_score_adj": 100, "ulimit": {"nofile": "10:20", "core": "0"}, "sysctl": {"net.core.somaxconn": 16}});
    let host = plan(&reserved, config.clone()).host_config.unwrap();
    assert_eq!((host.cpu_shares, host.cpu_quota, host.cpu_period), (Some(500), Some(25_000), Some(100_000)));
    assert_eq!(host.cpuset_cpus.as_deref(), Some("1,3"));
    assert_eq!((host.pids_limit, host.shm_size, host.oom_score_adj), (Some(9), Some(4096), Some(100)));
    let ulimits: Vec<_> = host.ulimits.unwrap().into_iter().map(|limit| (limit.name.unwrap(), limit.soft)).collect();
    assert_eq!(ulimits, [("core".to_owned(), Some(0)), ("nofile".to_owned(), Some(10))]);
    assert_eq!(host.sysctls.unwrap()["net.core.somaxconn"], "16");
    assert_eq!(plan(&spec(), config).host_config.unwrap().cpuset_cpus.as_deref(), Some("0"));
    let node = Config { pids_limit: 5, oom_score_adj: 7, ..Config::default() };
    let host = plan_on(&node, &spec(), json!({"image": "i"})).unwrap().body.host_config.unwrap();
    assert_eq!((host.pids_limit, host.oom_score_adj), (Some(5), Some(7)));
    assert!(refusal(&node, json!({"image": "i", "pids_limit": 6})).contains("pids_limit"));
}

#[test]
fn ports_are_published_where_the_group_has_them() {
    let config = json!({"image": "i", "ports": ["http"], "port_map": {"admin": 9000}});
    let body = plan(&spec(), config);
    assert_eq!(body.exposed_ports, texts(["80/tcp", "80/udp", "9000/tcp", "9000/udp"]));
    let bindings = body.host_config.unwrap().port_bindings.unwrap();
    let binding = |ip: &str, port: &str| {
        Some(vec![PortBinding { host_ip: Some(ip.to_owned()), host_port: Some(port.to_owned()) }])
    };
    assert_eq!(bindings["80/udp"], binding("10.0.0.7", "20000"));
    assert_eq!(bindings["9000/tcp"], binding("::1", "20001"));
    assert_eq!(
        refusal(&Config::default(), json!({"image": "i", "ports": ["metrics"]})),
        "Port \"metrics\" not found, check network block"
    );
    assert_eq!(host(json!({"image": "i"})).port_bindings, None);
}

#[test]
fn the_network_is_what_the_task_says_and_dns_what_the_group_says() {
    let config = json!({"image": "i", "network_mode": "shop", "network_aliases": ["web"], "ipv4_address": "10.1.0.9",
        "dns_servers": ["1.1.1.1"], "dns_search_domains": ["a"], "dns_options": ["ndots:2"],
        "extra_hosts": ["db:10.0.0.1"], "mac_address": "02:42:ac:11:00:09"});
    let body = plan(&spec(), config.clone());
    let endpoint = &body.networking_config.unwrap().endpoints_config.unwrap()["shop"];
    assert_eq!(endpoint.aliases, texts(["web"]));
    assert_eq!(endpoint.mac_address.as_deref(), Some("02:42:ac:11:00:09"));
    assert_eq!(endpoint.ipam_config.as_ref().unwrap().ipv4_address.as_deref(), Some("10.1.0.9"));
    let host = body.host_config.unwrap();
    assert_eq!((host.network_mode.as_deref(), &host.dns), (Some("shop"), &texts(["1.1.1.1"])));
    assert_eq!((host.dns_search, host.dns_options), (texts(["a"]), texts(["ndots:2"])));
    assert_eq!(host.extra_hosts, texts(["db:10.0.0.1"]));
    let mut group = spec();
    group.dns = Some(DnsConfig { servers: vec!["9.9.9.9".to_owned()], ..DnsConfig::default() });
    let host = plan(&group, config).host_config.unwrap();
    assert_eq!((host.dns, host.dns_search), (texts(["9.9.9.9"]), None));
}

#[test]
fn a_task_has_its_own_directories_and_reads_its_logs() {
    let node = Config { selinux_label: Some("z".to_owned()), ..Config::default() };
    let host = plan_on(&node, &spec(), json!({"image": "i", "readonly_rootfs": true})).unwrap().body.host_config;
    let host = host.unwrap();
    let expected = texts([
        "/data/alloc/1/alloc:/alloc:z",
        "/data/alloc/1/web/local:/local:z",
        "/data/alloc/1/web/secrets:/secrets:z",
        "/data/alloc/1/alloc/logs:/alloc/logs:ro,z",
    ]);
    assert_eq!((host.binds, host.readonly_rootfs), (expected, Some(true)));
}

#[test]
fn volumes_outside_of_the_allocation_take_the_nodes_leave() {
    let config = |volume: &str| json!({"image": "i", "volumes": [volume]});
    let planned = plan_on(&Config::default(), &spec(), config("local/./data/../x:/data:ro")).unwrap();
    let binds = planned.body.host_config.unwrap().binds.unwrap();
    assert_eq!(binds.last().unwrap(), "/data/alloc/1/web/local/x:/data:ro");
    assert_eq!(planned.inside, [PathBuf::from("/data/alloc/1/web/local/x")], "links in it are looked at later");
    for outside in ["/etc:/data", "../../2/web:/data", "local/../../../x:/data"] {
        let message = refusal(&Config::default(), config(outside));
        assert!(message.contains("outside of the allocation"), "{outside}: {message}");
    }
    let planned = plan_on(&open_node(), &spec(), config("/etc:/data:ro")).unwrap();
    assert_eq!(planned.body.host_config.unwrap().binds.unwrap().last().unwrap(), "/etc:/data:ro");
    assert!(planned.inside.is_empty());
    for wrong in ["/etc", ":/data", "x:data"] {
        assert!(refusal(&open_node(), config(wrong)).contains("must be source:/target"), "{wrong}");
    }
    let driver = json!({"image": "i", "volumes": ["name:/data"], "volume_driver": "nfs"});
    assert!(refusal(&Config::default(), driver.clone()).contains("volume"));
    let host = plan_on(&open_node(), &spec(), driver).unwrap().body.host_config.unwrap();
    assert_eq!(host.binds.unwrap().last().unwrap(), "name:/data");
}

#[test]
fn mounts_of_every_kind() {
    let config = json!({"image": "i", "mount": [
        {"target": "/v", "source": "data", "volume_options": {"no_copy": true, "labels": {"a": "b"},
            "driver_config": {"name": "nfs", "options": {"o": "x"}}}},
        {"type": "bind", "target": "/b", "source": "local/b", "readonly": true, "bind_options": [{"propagation": "rslave"}]},
    ], "mounts": [{"type": "tmpfs", "target": "/t", "tmpfs_options": {"size": 1_000_000, "mode": 0o700}}]});
    let mut given = spec();
    given.mounts = vec![TaskMount {
        host_path: "/srv/data".into(),
        task_path: "/data".into(),
        read_only: true,
        propagation: Propagation::HostToTask,
    }];
    let host = plan_on(&open_node(), &given, config.clone()).unwrap().body.host_config.unwrap();
    let [own, volume, bind, tmpfs] = &host.mounts.unwrap()[..] else { panic!("four mounts") };
    assert_eq!(
        (own.source.as_deref(), own.target.as_deref(), own.read_only),
        (Some("/srv/data"), Some("/data"), Some(true))
    );
    assert_eq!(own.bind_options.as_ref().unwrap().propagation.unwrap().as_ref(), "rslave");
    assert_eq!((volume.typ, volume.source.as_deref()), (Some(MountType::VOLUME), Some("data")));
    assert_eq!(volume.volume_options.as_ref().unwrap().driver_config.as_ref().unwrap().name.as_deref(), Some("nfs"));
    assert_eq!((bind.typ, bind.read_only), (Some(MountType::BIND), Some(true)));
    assert_eq!(bind.source.as_deref(), Some("/data/alloc/1/web/local/b"));
    assert_eq!(tmpfs.tmpfs_options.as_ref().unwrap().size_bytes, Some(1_000_000));
    assert!(refusal(&Config::default(), config).contains("driver_config"));
}

#[test]
fn privileges_take_the_nodes_leave() {
    let closed = Config::default();
    for (config, part) in [
        (json!({"image": "i", "privileged": true}), "allow_privileged"),
        (json!({"image": "i", "pid_mode": "host"}), "pid_mode"),
        (json!({"image": "i", "ipc_mode": "container:other"}), "allowed_modes.ipc"),
        (json!({"image": "i", "uts_mode": "host"}), "uts_mode"),
        (json!({"image": "i", "userns_mode": "host"}), "userns_mode"),
        (json!({"image": "i", "cap_add": ["net_admin", "chown"]}), "net_admin"),
        (json!({"image": "i", "cap_add": ["all"]}), "all"),
        (json!({"image": "i", "runtime": "crun"}), "crun"),
    ] {
        let message = refusal(&closed, config.clone());
        assert!(message.contains(part), "{config}: {message}");
    }
    let mut open = Config { allow_privileged: true, allow_caps: vec!["all".to_owned()], ..Config::default() };
    open.allow_runtimes.push("crun".to_owned());
    let config = json!({"image": "i", "privileged": true, "pid_mode": "host", "cap_add": ["CAP_NET_ADMIN"],
        "cap_drop": ["mknod"], "runtime": "crun", "cgroupns": "private", "security_opt": ["no-new-privileges"],
        "group_add": ["audio"], "devices": [{"host_path": "/dev/fuse"}]});
    let host = plan_on(&open, &spec(), config).unwrap().body.host_config.unwrap();
    assert_eq!(
        (host.privileged, host.pid_mode.as_deref(), host.runtime.as_deref()),
        (Some(true), Some("host"), Some("crun"))
    );
    assert_eq!((host.cap_add, host.cap_drop), (texts(["NET_ADMIN"]), texts(["MKNOD"])));
    assert_eq!(host.devices.unwrap()[0].path_in_container.as_deref(), Some("/dev/fuse"));
    assert_eq!((host.security_opt, host.group_add), (texts(["no-new-privileges"]), texts(["audio"])));
}

#[test]
fn what_the_node_does_not_allow_is_taken_from_what_the_engine_gives() {
    let node = Config { allow_caps: vec!["chown".to_owned(), "kill".to_owned()], ..Config::default() };
    let host = plan_on(&node, &spec(), json!({"image": "i", "cap_drop": ["chown"]})).unwrap().body.host_config.unwrap();
    let dropped = host.cap_drop.unwrap();
    assert!(dropped.contains(&"NET_RAW".to_owned()) && dropped.contains(&"CHOWN".to_owned()), "{dropped:?}");
    assert!(!dropped.contains(&"KILL".to_owned()), "{dropped:?}");
    let mode = Config { ..Config::default() };
    let mode = Config {
        allowed_modes: crate::config::AllowedModes { pid: vec!["ho*".to_owned()], ..mode.allowed_modes },
        ..Config::default()
    };
    assert!(plan_on(&mode, &spec(), json!({"image": "i", "pid_mode": "host"})).is_ok());
}

#[test]
fn nvidia_devices_choose_their_runtime() {
    let mut spec = spec();
    spec.env.insert("NVIDIA_VISIBLE_DEVICES".to_owned(), "0".to_owned());
    assert_eq!(plan(&spec, json!({"image": "i"})).host_config.unwrap().runtime.as_deref(), Some("nvidia"));
}

#[test]
fn output_goes_where_the_task_or_else_the_node_says() {
    let log = |config: Value| host(config).log_config.unwrap();
    let default = log(json!({"image": "i"}));
    assert_eq!(default.typ.as_deref(), Some("json-file"));
    assert_eq!(default.config.unwrap()["max-size"], "2m");
    let own = log(json!({"image": "i", "logging": {"driver": "syslog", "config": [{"tag": "x"}]}}));
    assert_eq!((own.typ.as_deref(), own.config.unwrap().len()), (Some("syslog"), 1));
    let options = log(json!({"image": "i", "logging": {"config": {"max-size": "9m"}}}));
    assert_eq!((options.typ.as_deref(), options.config.unwrap()["max-size"].as_str()), (Some("json-file"), "9m"));
}
