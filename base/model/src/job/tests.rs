//! Tests of the job tree's shape on the wire, and of what groups ask for.

use serde_json::json;

use super::*;
use crate::time::Nanos;
use crate::units::{MebiBytes, Mhz, Usage};

fn read(value: serde_json::Value) -> Job {
    serde_json::from_value(value).unwrap()
}

#[test]
fn null_missing_and_unknown_fields_take_the_stated_defaults() {
    let job = read(json!({
        "ID": "a", "Name": null, "Datacenters": null, "Priority": null, "Meta": null, "Status": null, "Nonsense": [1],
        "Update": null,
        "TaskGroups": [{
            "Name": "g", "Count": null, "EphemeralDisk": {"SizeMB": null},
            "Tasks": [{"Name": "t", "Driver": "d", "Resources": {}, "LogConfig": {"MaxFiles": 3}, "KillTimeout": "20s"}]
        }, {"Count": 0}]
    }));
    assert_eq!(job.name, "");
    assert_eq!(job.task_groups[0].count, 1);
    assert_eq!(job.task_groups[1].count, 0);
    assert_eq!(job.task_groups[0].ephemeral_disk, Some(EphemeralDisk::default()));
    let task = job.group("g").unwrap().task("t").unwrap();
    assert_eq!(task.resources.as_ref().unwrap().memory_mb, 300);
    assert_eq!(task.log_config, Some(LogConfig { max_files: 3, max_file_size_mb: 10, disabled: false }));
    assert_eq!(task.kill_timeout, Nanos::from_secs(20));
    assert_eq!(job.update, UpdateStrategy::default());
}

#[test]
fn json_has_every_field_under_its_listed_name_and_prints_empty_lists_as_null() {
    let job = Job {
        task_groups: vec![TaskGroup { tasks: vec![Task::default()], ..Default::default() }],
        ..Default::default()
    };
    let value = serde_json::to_value(&job).unwrap();
    let names = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        names(&value),
        words(
            "Affinities AllAtOnce Constraints ConsulNamespace CreateIndex Datacenters DispatchIdempotencyToken Dispatched \
             ID JobModifyIndex Meta ModifyIndex Multiregion Name Namespace NodePool NomadTokenID ParameterizedJob ParentID \
             Payload Periodic Priority Region Spreads Stable Status StatusDescription Stop SubmitTime TaskGroups Type UI \
             Update VaultNamespace Version VersionTag"
        )
    );
    let group = &value["TaskGroups"][0];
    assert_eq!(
        names(group),
        words(
            "Affinities Constraints Consul Count Disconnect EphemeralDisk MaxClientDisconnect MaxRunDuration Meta Migrate \
             Name Networks PreventRescheduleOnLost ReschedulePolicy RestartPolicy Scaling Services ShutdownDelay Spreads \
             StopAfterClientDisconnect Tasks Update Volumes"
        )
    );
    assert_eq!(
        names(&group["Tasks"][0]),
        words(
            "Actions Affinities Artifacts CSIPluginConfig Config Constraints Consul DispatchPayload Driver Env Identities \
             Identity KillSignal KillTimeout Kind Leader Lifecycle LogConfig Meta Name Resources RestartPolicy \
             ScalingPolicies Schedule Secrets Services ShutdownDelay Templates User Vault VolumeMounts"
        )
    );
    assert_eq!(
        names(&serde_json::to_value(Resources::default()).unwrap()),
        words("CPU Cores Devices DiskMB IOPS MemoryMB MemoryMaxMB NUMA Networks SecretsMB")
    );
    assert!(value["Datacenters"].is_null() && group["Volumes"].is_null());
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn networks_and_ports_omit_empty_fields() {
    let network = NetworkResource {
        dynamic_ports: vec![Port { label: "http".into(), to: 8080, ..Default::default() }],
        ..Default::default()
    };
    assert_eq!(serde_json::to_value(&network).unwrap(), json!({"DynamicPorts": [{"Label": "http", "To": 8080}]}));
}

#[test]
fn a_full_job_survives_json_and_messagepack() {
    let value: serde_json::Value = serde_json::from_str(include_str!("full.json")).unwrap();
    let job = read(value.clone());
    let bytes = rmp_serde::to_vec_named(&job).unwrap();
    assert_eq!(rmp_serde::from_slice::<Job>(&bytes).unwrap(), job);
    let printed = serde_json::to_value(&job).unwrap();
    assert_eq!(read(printed.clone()), job);
    contained("", &value, &printed);
}

/// Everything that was given came back unchanged.
fn contained(path: &str, given: &serde_json::Value, printed: &serde_json::Value) {
    match (given, printed) {
        (serde_json::Value::Object(given), serde_json::Value::Object(printed)) => {
            for (name, value) in given {
                let path = format!("{path}.{name}");
                contained(&path, value, printed.get(name).unwrap_or_else(|| panic!("{path} is lost")));
            }
        }
        (serde_json::Value::Array(given), serde_json::Value::Array(printed)) => {
            assert_eq!(given.len(), printed.len(), "{path}");
            for (i, (given, printed)) in given.iter().zip(printed).enumerate() {
                contained(&format!("{path}[{i}]"), given, printed);
            }
        }
        (given, printed) => assert_eq!(given, printed, "{path}"),
    }
}

fn task(name: &str, hook: Option<(&str, bool)>, cpu: i64, memory_mb: i64) -> Task {
    Task {
        name: name.into(),
        lifecycle: hook.map(|(hook, sidecar)| TaskLifecycleConfig { hook: hook.into(), sidecar }),
        resources: Some(Resources { cpu, memory_mb, ..Default::default() }),
        ..Default::default()
    }
}

#[test]
fn a_group_asks_for_its_largest_phase_plus_its_sidecars() {
    let group = TaskGroup {
        tasks: vec![
            task("init", Some(("prestart", false)), 900, 50),
            task("proxy", Some(("prestart", true)), 100, 30),
            task("app", None, 200, 100),
            task("notify", Some(("poststart", false)), 50, 20),
            task("clean", Some(("poststop", false)), 10, 10),
        ],
        ephemeral_disk: Some(EphemeralDisk::default()),
        ..Default::default()
    };
    let ask = group.ask().unwrap();
    assert_eq!(ask.usage, Usage { cpu: Mhz(1000), memory: MebiBytes(150), disk: MebiBytes(300) });
    assert_eq!(ask.memory_max, Some(MebiBytes(150)));
}

#[test]
fn secrets_add_to_memory_and_unlimited_memory_has_no_maximum() {
    let mut a = task("a", None, 1, 100);
    let resources = a.resources.as_mut().unwrap();
    resources.secrets_mb = 8;
    resources.memory_max_mb = 200;
    assert_eq!(a.ask().unwrap().memory, MebiBytes(108));
    assert_eq!(a.ask().unwrap().memory_max, Some(MebiBytes(208)));
    a.resources.as_mut().unwrap().memory_max_mb = -1;
    let group = TaskGroup { tasks: vec![a, task("b", None, 1, 10)], ..Default::default() };
    assert_eq!(group.ask().unwrap().memory_max, None);
    assert_eq!(group.ask().unwrap().usage.memory, MebiBytes(118));
}

#[test]
fn quantities_out_of_range_are_errors_that_name_the_task() {
    let group = TaskGroup { name: "g".into(), tasks: vec![task("a", None, i64::MAX, 1)], ..Default::default() };
    assert_eq!(
        group.ask().unwrap_err().to_string(),
        format!("cpu of task \"a\" is {}, which is out of range", i64::MAX)
    );
    let many = (0..3).map(|i| task(&format!("t{i}"), None, 2_000_000_000, 1)).collect();
    assert!(matches!(TaskGroup { tasks: many, ..Default::default() }.ask(), Err(AskError::Overflow { .. })));
}

#[test]
fn ports_say_what_is_stated_and_what_is_assigned() {
    let port = |label: &str, value, to| Port { label: label.into(), value, to, ..Default::default() };
    let group = TaskGroup {
        networks: vec![NetworkResource {
            reserved_ports: vec![port("db", 5432, 0)],
            dynamic_ports: vec![port("http", 0, 8080), port("same", 0, -1)],
            ..Default::default()
        }],
        ..Default::default()
    };
    let ports = group.ask().unwrap().ports;
    assert_eq!(ports.iter().map(|port| port.value).collect::<Vec<_>>(), [Some(5432), None, None]);
    assert_eq!(ports.iter().map(|port| port.to.recorded(9)).collect::<Vec<_>>(), [0, 8080, 9]);
    assert!(ports.iter().all(|port| port.host_network == "default"));
}

#[test]
fn allocation_names_end_in_their_index() {
    assert_eq!(alloc_name("a/b", "web", 7), "a/b.web[7]");
    assert_eq!(alloc_name_index("a/b.web[7]"), Some(7));
    assert_eq!(alloc_name_index("a/b.web"), None);
}
