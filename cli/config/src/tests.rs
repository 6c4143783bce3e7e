//! What a whole configuration becomes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::keys::{self, Contents, Fate};
use crate::{Agent, ConnectionLimit, Error, Flag, Host, LogFormat, LogLevel, Sources, load};

fn host() -> Host {
    Host {
        hostname: "box".into(),
        address: Some("10.0.0.7".parse().unwrap()),
        cores: 4,
        version: "1.2.3".into(),
        env: BTreeMap::from([("PATH".to_owned(), "/bin".to_owned())]),
        scratch_dir: "/tmp/scratch".into(),
    }
}

struct Files(tempfile::TempDir, Vec<PathBuf>);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap(), Vec::new())
    }

    fn with(mut self, name: &str, text: &str) -> Self {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        self.1.push(path);
        self
    }

    fn load(&self) -> Result<Agent, Error> {
        load(&Sources { files: self.1.clone(), ..Sources::default() }, &host())
    }
}

fn flags(dev: bool, flags: &[(&'static str, &'static str, &str)]) -> Result<Agent, Error> {
    let flags = flags.iter().map(|(name, key, value)| Flag { name, key, value: (*value).to_owned() }).collect();
    load(&Sources { dev, flags, ..Sources::default() }, &host())
}

const SERVER: &str = r#"data_dir = "/var/lib/orch"
bind_addr = "127.0.0.1"
server {
  enabled = true
  bootstrap_expect = 1
}
"#;

#[test]
fn a_development_agent_is_both_on_loopback_and_runs_any_program() {
    let agent = flags(true, &[]).unwrap();
    assert_eq!(agent.http.listen, ["127.0.0.1:4646".parse::<SocketAddr>().unwrap()]);
    assert_eq!(agent.scratch_dir, Some("/tmp/scratch".into()));
    let server = agent.server.unwrap();
    assert_eq!((server.bootstrap_expect, server.rpc_advertise.as_str()), (1, "127.0.0.1:4647"));
    let client = agent.client.unwrap();
    assert_eq!((client.dev, client.network_address), (true, Some("127.0.0.1".parse().unwrap())));
    assert_eq!(agent.plugins["raw_exec"]["enabled"], true);
    assert_eq!(agent.logging.level, LogLevel::Info);
    assert_eq!(agent.warnings, Vec::<String>::new());
}

#[test]
fn a_development_agent_with_a_data_directory_keeps_it() {
    let agent = flags(true, &[("-data-dir", "data_dir", "/srv/orch")]).unwrap();
    assert_eq!(agent.scratch_dir, None);
    let client = agent.client.unwrap();
    assert_eq!((client.dev, client.state_dir), (false, "/srv/orch/client".into()));
}

#[test]
fn every_supported_value_arrives_where_it_belongs() {
    let text = r#"
region     = "eu"
datacenter = "fra1"
name       = "n1"
data_dir   = "/var/lib/orch"
bind_addr  = "10.1.2.3"
log_level  = "WARN"
log_json   = true
ports {
  http = 5646
  rpc  = 5647
}
advertise { rpc = "192.0.2.5" }
http_api_response_headers = { "X-A" = "b" }
telemetry { prometheus_metrics = true }
server {
  enabled          = true
  bootstrap_expect = 3
  raft_multiplier  = 2
  num_schedulers   = 2
  job_gc_threshold = "1h"
  server_join {
    retry_join     = ["a", "b:9", "10.0.0.1"]
    retry_interval = "5s"
  }
}
client {
  enabled          = true
  node_class       = "big"
  node_pool        = "gpu"
  max_kill_timeout = "1m"
  min_dynamic_port = 25000
  max_dynamic_port = 26000
  options          = { "env.denylist" = "SECRET, KEY", "driver.denylist" = "mock_driver", "user.denylist" = "root,www" }
  meta { rack = "r1" }
  reserved {
    cpu            = 500
    memory         = 256
    disk           = 1024
    reserved_ports = "22,80-90"
  }
  host_network "public" {
    cidr           = "203.0.113.0/24"
    reserved_ports = "53"
  }
  host_volume "certs" {
    path      = "/etc/certs"
    read_only = true
  }
  host_volume "data" { path = "/srv/data" }
  host_volumes_dir = "/srv/made"
}
plugin "raw_exec" {
  config {
    enabled        = true
    denied_envvars = ["A"]
  }
}
"#;
    let agent = Files::new().with("a.hcl", text).load().unwrap();
    assert_eq!((agent.name.as_str(), agent.region.as_str(), agent.datacenter.as_str()), ("n1", "eu", "fra1"));
    assert_eq!((agent.logging.level, agent.logging.format), (LogLevel::Warn, LogFormat::Json));
    assert_eq!(agent.http.listen, ["10.1.2.3:5646".parse::<SocketAddr>().unwrap()]);
    assert!(agent.http.prometheus);
    let server = agent.server.unwrap();
    assert_eq!(server.retry_join, ["a:4647", "b:9", "10.0.0.1:4647"]);
    assert_eq!(server.rpc_advertise, "192.0.2.5:5647");
    assert_eq!((server.raft.multiplier, server.num_schedulers, server.bootstrap_expect), (2, 2, 3));
    assert_eq!((server.gc.jobs, server.retry_interval), (Duration::from_secs(3600), Duration::from_secs(5)));
    let client = agent.client.unwrap();
    assert_eq!((client.node_class.as_str(), client.node_pool.as_str()), ("big", "gpu"));
    assert_eq!(client.meta["rack"], "r1");
    assert_eq!((client.dynamic_ports.first, client.dynamic_ports.last), (25_000, 26_000));
    assert_eq!((client.reserved.cpu.0, client.reserved.memory.0, client.reserved.disk.0), (500, 256, 1024));
    assert_eq!(client.reserved.ports.to_string(), "22,80-90");
    assert_eq!(client.host_networks["public"].cidr, "203.0.113.0/24");
    let volume = |name: &str| (client.host_volumes[name].path.to_str(), client.host_volumes[name].read_only);
    assert_eq!((volume("certs"), volume("data")), ((Some("/etc/certs"), true), (Some("/srv/data"), false)));
    assert_eq!(client.host_volumes_dir.to_str(), Some("/srv/made"));
    assert_eq!(client.env_denylist, BTreeSet::from(["SECRET".to_owned(), "KEY".to_owned()]));
    assert_eq!(client.user_denylist, BTreeSet::from(["root".to_owned(), "www".to_owned()]));
    assert_eq!(client.max_kill_timeout, Duration::from_secs(60));
    assert_eq!(agent.driver_denylist, BTreeSet::from(["mock_driver".to_owned()]));
    assert_eq!(agent.plugins["raw_exec"]["denied_envvars"], serde_json::json!(["A"]));
    assert_eq!(agent.shown["server"]["server_join"]["retry_join"], serde_json::json!(["a", "b:9", "10.0.0.1"]));
}

#[test]
fn a_host_volume_needs_an_absolute_path() {
    let text = "data_dir = \"/d\"\nclient {\n  enabled = true\n  servers = [\"a\"]\n  host_volume \"x\" { path = \"srv\" }\n}\n";
    let error = Files::new().with("a.hcl", text).load().unwrap_err().to_string();
    assert!(error.contains("a.hcl:5") && error.contains("host_volume \"x\" needs a `path`"), "{error}");
}

#[test]
fn json_says_the_same_as_hcl() {
    let text = r#"{"data_dir": "/d", "bind_addr": "127.0.0.1", "server": {"enabled": true, "bootstrap_expect": 1},
        "plugin": {"raw_exec": {"config": {"enabled": true}}}}"#;
    let agent = Files::new().with("a.json", text).load().unwrap();
    assert_eq!(agent.server.unwrap().bootstrap_expect, 1);
    assert_eq!(agent.plugins["raw_exec"]["enabled"], true);
}

#[test]
fn later_files_win_directories_are_read_in_order_and_flags_come_last() {
    let files = Files::new()
        .with("20.hcl", "region = \"b\"\ndatacenter = \"b\"\nname = \"b\"\nclient { servers = [\"y\"] }")
        .with("10.hcl", &format!("region = \"a\"\ndatacenter = \"a\"\nclient {{ servers = [\"x\"] }}\n{SERVER}"))
        .with("30.txt", "this is { no configuration");
    let sources = Sources {
        dev: false,
        files: vec![files.0.path().to_owned()],
        flags: vec![
            Flag { name: "-region", key: "region", value: "flag".into() },
            Flag { name: "-client", key: "client.enabled", value: "true".into() },
        ],
    };
    let agent = load(&sources, &host()).unwrap();
    assert_eq!((agent.region.as_str(), agent.datacenter.as_str(), agent.name.as_str()), ("flag", "b", "b"));
    assert_eq!(agent.client.unwrap().servers, ["x:4647", "y:4647"]);
    assert_eq!(agent.files.len(), 2);
}

#[test]
fn what_is_wrong_is_told_at_its_place_all_at_once() {
    let text = "data_dir = \"/d\"\nserver {\n  enabled = true\n  bootstrap_expct = 3\n  num_schedulers = \"many\"\n}\nclint { }\n";
    let error = Files::new().with("bad.hcl", text).load().unwrap_err().to_string();
    for part in [
        "bad.hcl:4:3: error: `server` has no attribute `bootstrap_expct`",
        "help: did you mean `bootstrap_expect`?",
        "bad.hcl:5:20: error: `num_schedulers` must be a whole number",
        "bad.hcl:7:1: error:",
        "did you mean `client`?",
    ] {
        assert!(error.contains(part), "{part:?} is missing in\n{error}");
    }
}

#[test]
fn what_would_weaken_safety_is_refused() {
    for (text, part) in [
        ("acl { enabled = true }", "`acl.enabled` is refused: ACLs are not built yet"),
        ("tls { rpc = true }", "`tls.rpc` is refused: TLS is not built yet"),
        ("tls { verify_https_client = true }", "`tls.verify_https_client` is refused"),
        ("server { encrypt = \"abc\" }", "`server.encrypt` is refused"),
        ("server { non_voting_server = true }", "`server.non_voting_server` is refused"),
        (
            "server {\n client_introduction { enforcement = \"strict\" }\n}",
            "`server.client_introduction.enforcement = \"strict\"`",
        ),
        ("audit { enabled = true }", "`audit` is refused: the audit log is not built yet"),
        ("keyring \"awskms\" { active = true }", "is refused: there is no keyring yet"),
        ("bind_addr = \"{{ GetPrivateIP }}\"", "templates such as"),
        ("data_dir = \"relative\"", "must be an absolute path"),
        ("ports { http = 70000 }", "must be from 0 to 65535, not 70000"),
        ("log_level = \"loud\"", "must be one of trace, debug"),
    ] {
        let error = Files::new().with("a.hcl", text).load().unwrap_err().to_string();
        assert!(error.contains(part), "{text}: {part:?} is missing in\n{error}");
    }
    let flag = flags(true, &[("-encrypt", "server.encrypt", "abc")]).unwrap_err().to_string();
    assert!(flag.starts_with("`-encrypt` is refused"), "{flag}");
}

#[test]
fn asking_for_nothing_is_not_refused() {
    let text = format!("{SERVER}acl {{ enabled = false }}\ntls {{ http = false }}\ndisable_update_check = true\n");
    let agent = Files::new().with("a.hcl", &text).load().unwrap();
    assert_eq!(agent.warnings, Vec::<String>::new());
}

#[test]
fn what_has_no_effect_is_named_once() {
    let server = SERVER.replace("}", "  heartbeat_grace = \"30s\"\n}");
    let text = format!("{server}consul {{ address = \"x\" }}\nplugin \"qemu\" {{ }}\n");
    let files = Files::new().with("a.hcl", &text);
    let warnings = files.load().unwrap().warnings;
    let shown: Vec<&str> = warnings.iter().map(|warning| warning.rsplit_once("a.hcl:").unwrap().1).collect();
    assert_eq!(
        shown,
        [
            "6:21: `server.heartbeat_grace` has no effect: failure detection does not depend on the size of the cluster: \
             clients beat every 3 s, and a node is down after 10 s of silence",
            "8:1: `consul` has no effect: Consul is not spoken to",
            "9:1: `plugin \"qemu\"` has no effect: a driver of that name is not built yet, or takes no configuration",
        ]
    );
}

#[test]
fn an_open_port_is_warned_of() {
    let agent = Files::new().with("a.hcl", &SERVER.replace("127.0.0.1", "0.0.0.0")).load().unwrap();
    assert!(
        agent.warnings[0].starts_with("the agent listens on 0.0.0.0:4646 and 0.0.0.0:4647 without TLS"),
        "{:?}",
        agent.warnings
    );
    assert_eq!(agent.server.unwrap().rpc_advertise, "10.0.0.7:4647");
    let tests_use = Files::new().with("a.hcl", &SERVER.replace("127.0.0.1", "127.7.0.1")).load().unwrap();
    assert_eq!(tests_use.warnings, Vec::<String>::new());
}

#[test]
fn an_agent_that_cannot_work_is_refused() {
    for (text, part) in [
        ("data_dir = \"/d\"", "the agent is neither server nor client"),
        ("server { enabled = true }", "`data_dir` is missing"),
        ("data_dir = \"/d\"\nserver {\n enabled = true\n bootstrap_expect = 3\n}", "knows none of the others"),
        ("data_dir = \"/d\"\nclient { enabled = true }", "this client knows no server"),
        (
            "data_dir = \"/d\"\nclient {\n min_dynamic_port = 30000\n max_dynamic_port = 20000\n}",
            "no port would be left",
        ),
    ] {
        let files = Files::new().with("a.hcl", text);
        let sources = Sources {
            files: files.1.clone(),
            flags: if text.contains("dynamic") {
                vec![Flag { name: "-client", key: "client.enabled", value: "true".into() }]
            } else {
                Vec::new()
            },
            ..Sources::default()
        };
        let error = load(&sources, &host()).unwrap_err().to_string();
        assert!(error.contains(part), "{text}: {part:?} is missing in\n{error}");
    }
    let missing = load(&Sources { files: vec!["/nowhere.hcl".into()], ..Sources::default() }, &host()).unwrap_err();
    assert!(missing.to_string().contains("cannot read /nowhere.hcl"), "{missing}");
}

const CLIENT: &str = "data_dir = \"/d\"\nbind_addr = \"127.0.0.1\"\n";

fn client(keys: &str) -> Result<orch_client::Config, Error> {
    let text = format!("{CLIENT}client {{\n enabled = true\n servers = [\"a\"]\n{keys}\n}}\n");
    Files::new().with("a.hcl", &text).load().map(|agent| agent.client.unwrap())
}

#[test]
fn ended_allocations_keep_their_directories_as_operators_know_it() {
    let usual = client("").unwrap().gc;
    assert_eq!((usual.max_allocs, usual.parallel_destroys, usual.interval), (50, 2, Duration::from_secs(60)));
    assert!((usual.disk_usage_threshold - 80.0).abs() < 1e-9 && (usual.inode_usage_threshold - 70.0).abs() < 1e-9);
    let keys = "gc_max_allocs = 7\n gc_parallel_destroys = 3\n gc_interval = \"10s\"\n gc_disk_usage_threshold = 62.5\n \
                gc_inode_usage_threshold = 55";
    let gc = client(keys).unwrap().gc;
    assert_eq!((gc.max_allocs, gc.parallel_destroys, gc.interval), (7, 3, Duration::from_secs(10)));
    assert!((gc.disk_usage_threshold - 62.5).abs() < 1e-9 && (gc.inode_usage_threshold - 55.0).abs() < 1e-9);
    let dev = flags(true, &[]).unwrap().client.unwrap();
    assert!((dev.gc.disk_usage_threshold - 99.0).abs() < 1e-9 && dev.telemetry.node);
    for (keys, part) in [
        ("gc_disk_usage_threshold = 101", "a.hcl:6:27: `client.gc_disk_usage_threshold` is a share in percent"),
        ("gc_interval = \"0s\"", "`client.gc_interval` must be 100ms or more, not 0ns"),
        ("gc_parallel_destroys = 0", "must be from 1 to 1024, not 0"),
        ("gc_max_alocs = 3", "did you mean `gc_max_allocs`?"),
    ] {
        let error = client(keys).unwrap_err().to_string();
        assert!(error.contains(part), "{part:?} is missing in\n{error}");
    }
}

#[test]
fn cores_for_tasks_alone_are_named_as_a_set() {
    let config = client("reservable_cores = \"0-3, 8\"\n reserved { cores = \"0,2\" }").unwrap();
    assert_eq!(config.reservable_cores, Some([0, 1, 2, 3, 8].into()));
    assert_eq!(config.reserved_cores, [0, 2].into());
    assert_eq!(client("").unwrap().reservable_cores, None);
    let error = client("reservable_cores = \"3-1\"").unwrap_err().to_string();
    assert!(error.contains("`client.reservable_cores` must be a set of cores such as \"0-3,8\""), "{error}");
}

#[test]
fn one_address_has_so_many_connections_and_the_machine_itself_only_where_that_is_said() {
    let limit = |text: &str| Files::new().with("a.hcl", &format!("{SERVER}{text}")).load().map(|a| a.http.connections);
    assert_eq!(limit("").unwrap(), ConnectionLimit { per_client: 100, for_loopback: false });
    let given = limit("limits { http_max_conns_per_client = 5 }").unwrap();
    assert_eq!(given, ConnectionLimit { per_client: 5, for_loopback: true });
    let error = limit("limits { http_max_conn = 5 }").unwrap_err().to_string();
    assert!(error.contains("`limits` has no attribute `http_max_conn`"), "{error}");
}

#[test]
fn the_rpc_port_has_limits_of_its_own() {
    let limits = |text: &str| {
        let limits = Files::new().with("a.hcl", &format!("{SERVER}{text}")).load().unwrap().server.unwrap().rpc_limits;
        (limits.conns_per_client, limits.for_loopback, limits.handshake_timeout)
    };
    assert_eq!(limits(""), (100, false, Duration::from_secs(5)));
    let given = limits("limits {\n rpc_max_conns_per_client = 0\n rpc_handshake_timeout = \"0s\"\n}");
    assert_eq!(given, (0, true, Duration::ZERO));
}

#[test]
fn a_log_file_is_rotated_as_operators_know_it() {
    let file = |text: &str| Files::new().with("a.hcl", &format!("{SERVER}{text}")).load().unwrap().logging.file;
    assert_eq!(file(""), None);
    let usual = file("log_file = \"/var/log/\"").unwrap();
    assert_eq!(usual.path, PathBuf::from("/var/log/orch.log"));
    assert_eq!((usual.rotate_bytes, usual.rotate_after, usual.max_files), (0, Duration::from_secs(24 * 3600), None));
    let text =
        "log_file = \"/x/a.log\"\nlog_rotate_bytes = 1000\nlog_rotate_duration = \"1h\"\nlog_rotate_max_files = ";
    let given = file(&format!("{text}4")).unwrap();
    assert_eq!((given.rotate_bytes, given.rotate_after, given.max_files), (1000, Duration::from_secs(3600), Some(4)));
    assert_eq!(file(&format!("{text}-1")).unwrap().max_files, Some(0), "-1 keeps none");
    assert_eq!(file(&format!("{text}0")).unwrap().max_files, None, "0 keeps all");
}

#[test]
fn an_agent_leaves_by_either_signal_as_it_is_told() {
    for (text, expected) in [
        ("", (false, false)),
        ("leave_on_interrupt = true", (true, false)),
        ("leave_on_terminate = true", (false, true)),
    ] {
        let agent = Files::new().with("a.hcl", &format!("{SERVER}{text}\n")).load().unwrap();
        assert_eq!((agent.leave_on_interrupt, agent.leave_on_terminate), expected, "{text}");
        assert_eq!(agent.warnings, Vec::<String>::new(), "{text}");
    }
}

/// What a later issue builds leaves these lists.
#[test]
fn the_table_lists_what_is_refused_and_what_is_ignored() {
    let mut refused = Vec::new();
    let mut ignored = 0;
    let mut seen = BTreeSet::new();
    for section in keys::sections() {
        match section.contents {
            Contents::Keys(keys) => {
                for key in keys {
                    let path = if section.path.is_empty() {
                        key.name.to_owned()
                    } else {
                        format!("{}.{}", section.path, key.name)
                    };
                    assert!(seen.insert(path.clone()), "{path} stands in the table twice");
                    match key.fate {
                        Fate::Refused(_) => refused.push(path),
                        Fate::RefusedAs(value, _) => refused.push(format!("{path}={value}")),
                        Fate::Ignored(why) => {
                            assert!(!why.ends_with('.') && why.len() > 10, "{path}: {why}");
                            ignored += 1;
                        }
                        Fate::Supported | Fate::Moot => {}
                    }
                }
            }
            Contents::Ignored(..) => ignored += 1,
            Contents::Refused(_) => refused.push(section.path.to_owned()),
            Contents::Plugin => {}
        }
    }
    assert_eq!(
        refused,
        [
            "acl.enabled",
            "tls.http",
            "tls.rpc",
            "tls.verify_server_hostname",
            "tls.verify_https_client",
            "server.non_voting_server",
            "server.encrypt",
            "server.client_introduction.enforcement=strict",
            "client.template.function_denylist",
            "audit",
            "sentinel",
            "keyring",
        ]
    );
    assert!(ignored > 50, "{ignored}");
}
