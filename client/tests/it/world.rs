//! What a task finds around it, and how people reach into it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use orch_client::Config;
use orch_client::config::HostVolume;
use orch_driver::{FsIsolation, Propagation};
use orch_driver_mock::MockDriver;
use orch_http::Kind;
use orch_http::LocalNode;
use orch_http::local::{ExecRequest, HostVolumeRequest, PortRequest, RestartTarget};
use orch_model::allocation::{AllocPort, ClientStatus, TaskRunState};
use orch_model::job::{NetworkResource, Port, TaskArtifact, VolumeMount, VolumeRequest};
use orch_model::{HostVolumeId, MebiBytes};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use uuid::Uuid;

use crate::node::{Machine, alloc, alloc_id, job};
use crate::server::{Known, Server};

fn has_event(known: &Known, kind: &str, text: &str) -> bool {
    let update = known.last(alloc_id(1));
    let mut events = update.iter().flat_map(|update| &update.tasks[0].events);
    events.any(|event| event.kind.type_name() == kind && event.kind.message().contains(text))
}

/// A machine on which artifacts may come from its own files.
fn fetching(server: &Server) -> (Machine, Config) {
    let machine = Machine::new();
    // Whoever fetches runs as nobody.
    std::fs::set_permissions(machine.dir.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    let mut config = machine.config(&[server.address.to_string()]);
    config.artifacts.exe = env!("CARGO_BIN_EXE_orch-client-test-fetch").into();
    config.artifacts.allow_file = true;
    config.artifacts.attempts = 1;
    // The test's own directories are for root alone.
    config.artifacts.disable_filesystem_isolation = true;
    (machine, config)
}

fn artifact(source: &Path) -> TaskArtifact {
    TaskArtifact {
        getter_source: format!("file://{}", source.display()),
        relative_dest: "local/${NOMAD_TASK_NAME}-files".into(),
        ..TaskArtifact::default()
    }
}

#[tokio::test]
async fn artifacts_are_fetched_before_the_task_starts_and_only_once() {
    let server = Server::start().await;
    let (machine, config) = fetching(&server);
    let source = machine.dir.path().join("hello.txt");
    std::fs::write(&source, "hello").unwrap();
    let node = machine.start_with(config.clone()).await;
    let mut job = job("web", &[json!({})]);
    job.task_groups[0].tasks[0].artifacts = vec![artifact(&source)];
    server.put(alloc(1, &job)).await;
    server.wait_status(alloc_id(1), ClientStatus::Running).await;
    let fetched = machine.alloc_dir(alloc_id(1)).join("app/local/app-files/hello.txt");
    assert_eq!(std::fs::read_to_string(&fetched).unwrap(), "hello");
    assert!(has_event(&server.known(), "Downloading Artifacts", ""));
    node.kill().await;

    std::fs::remove_file(&fetched).unwrap();
    let node = machine.start_with(config).await;
    machine.wait("the allocation", async || node.handle.has_alloc(alloc_id(1))).await;
    machine
        .wait("a restart", async || node.handle.restart(alloc_id(1), RestartTarget::Task("app".into())).await.is_ok())
        .await;
    let again = |known: &Known| {
        known
            .last(alloc_id(1))
            .is_some_and(|last| last.tasks[0].restarts == 1 && last.tasks[0].state == TaskRunState::Running)
    };
    server.wait("a second run", again).await;
    assert!(!fetched.exists(), "what was fetched belongs to the task");
    node.stop().await;
}

#[tokio::test]
async fn an_artifact_that_cannot_be_fetched_is_tried_again_by_the_restart_policy() {
    let server = Server::start().await;
    let (machine, config) = fetching(&server);
    let node = machine.start_with(config).await;
    let mut job = job("web", &[json!({})]);
    job.task_groups[0].tasks[0].artifacts = vec![artifact(&machine.dir.path().join("none"))];
    server.put(alloc(1, &job)).await;
    server.wait_status(alloc_id(1), ClientStatus::Failed).await;
    assert!(has_event(&server.known(), "Failed Artifact Download", "none"));
    assert_eq!(server.known().last(alloc_id(1)).unwrap().tasks[0].restarts, 1);
    assert!(machine.tasks().await.is_empty());
    node.stop().await;
}

fn volume_request(number: u128, name: &str) -> HostVolumeRequest {
    HostVolumeRequest {
        id: Uuid::from_u128(number).to_string(),
        name: name.into(),
        namespace: "default".into(),
        plugin_id: "mkdir".into(),
        ..HostVolumeRequest::default()
    }
}

#[tokio::test]
async fn volumes_of_the_configuration_and_dynamic_ones_are_mounted() {
    let (server, machine) = (Server::start().await, Machine::with(MockDriver::isolated(FsIsolation::Image)));
    let mut config = machine.config(&[server.address.to_string()]);
    let certs = machine.dir.path().join("certs");
    std::fs::create_dir(&certs).unwrap();
    config.host_volumes.insert("certs".into(), HostVolume { path: certs.clone(), read_only: true });
    let node = machine.start_with(config).await;
    let made = node.handle.create_host_volume(volume_request(7, "data[3]")).await.unwrap();
    server.wait("the volume", |known| known.description.host_volumes.contains_key("data[3]")).await;
    let id = HostVolumeId::from_uuid(Uuid::from_u128(7));
    assert_eq!(server.known().description.host_volumes["data[3]"].id, Some(id));

    let mut job = job("web", &[json!({})]);
    let group = &mut job.task_groups[0];
    let volume = |source: &str, per_alloc| VolumeRequest {
        r#type: "host".into(),
        source: source.into(),
        per_alloc,
        ..VolumeRequest::default()
    };
    group.volumes = [("own".to_owned(), volume("data", true)), ("shared".to_owned(), volume("certs", false))].into();
    let mount = |volume: &str, destination: &str, propagation_mode: &str| VolumeMount {
        volume: volume.into(),
        destination: destination.into(),
        propagation_mode: propagation_mode.into(),
        ..VolumeMount::default()
    };
    group.tasks[0].volume_mounts =
        vec![mount("own", "/srv/${NOMAD_TASK_NAME}", "host-to-task"), mount("shared", "etc/certs", "")];
    let mut alloc = alloc(1, &job);
    alloc.index = 3;
    server.put(alloc).await;
    server.wait_status(alloc_id(1), ClientStatus::Running).await;
    let mounts = machine.driver.mounts(&machine.tasks().await[0].id);
    let seen: Vec<_> = mounts
        .iter()
        .map(|mount| (mount.host_path.as_path(), mount.task_path.to_str().unwrap(), mount.read_only, mount.propagation))
        .collect();
    let expected = [
        (Path::new(&made.path), "/srv/app", false, Propagation::HostToTask),
        (certs.as_path(), "/etc/certs", true, Propagation::Private),
    ];
    assert_eq!(seen, expected);
    node.handle.delete_host_volume(id).await.unwrap();
    server.wait("no volume", |known| !known.description.host_volumes.contains_key("data[3]")).await;
    node.stop().await;
}

#[tokio::test]
async fn a_driver_that_cannot_mount_says_so() {
    let (server, machine) = (Server::start().await, Machine::new());
    let node = machine.start(&server).await;
    let mut job = job("web", &[json!({})]);
    let mount = VolumeMount { volume: "data".into(), destination: "/srv".into(), ..VolumeMount::default() };
    job.task_groups[0].tasks[0].volume_mounts = vec![mount];
    server.put(alloc(1, &job)).await;
    server.wait_status(alloc_id(1), ClientStatus::Failed).await;
    assert!(has_event(&server.known(), "Failed Validation", "which its driver \"mock_driver\" does not support"));
    node.stop().await;
}

#[tokio::test]
async fn a_command_runs_inside_a_task_and_its_end_is_told() {
    let (server, machine) = (Server::start().await, Machine::new());
    let mut config = machine.config(&[server.address.to_string()]);
    config.telemetry.allocations = true;
    config.telemetry.interval = Duration::from_millis(20);
    let node = machine.start_with(config).await;
    let command = json!({"exec_command": {"stdout_string": "from inside", "exit_code": 7}});
    server.put(alloc(1, &job("web", &[command]))).await;
    server.wait_status(alloc_id(1), ClientStatus::Running).await;
    let request = |task: &str| ExecRequest { task: task.into(), command: vec!["sh".into()], terminal: None };
    let mut session = node.handle.exec(alloc_id(1), request("app")).await.unwrap();
    let mut text = String::new();
    session.stdout.read_to_string(&mut text).await.unwrap();
    assert_eq!((text.as_str(), session.control.wait().await.unwrap()), ("from inside", 7));
    let measured = format!("nomad_client_allocs_processes{{alloc_id=\"{}\",", alloc_id(1));
    machine.wait("its figures", async || node.handle.allocation_metrics().contains(&measured)).await;
    let refused = node.handle.exec(alloc_id(1), request("other")).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::NotFound);
    node.stop().await;
    let mut config = machine.config(&[server.address.to_string()]);
    config.disable_remote_exec = true;
    let node = machine.start_with(config).await;
    machine.wait("the allocation", async || node.handle.has_alloc(alloc_id(1))).await;
    assert_eq!(node.handle.exec(alloc_id(1), request("app")).await.unwrap_err().kind(), Kind::Forbidden);
    node.stop().await;
}

#[tokio::test]
async fn a_connection_reaches_the_ports_of_an_allocation_and_no_others() {
    let (server, machine) = (Server::start().await, Machine::new());
    let node = machine.start(&server).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let value = listener.local_addr().unwrap().port();
    let mut job = job("web", &[json!({})]);
    let port = Port { label: "http".into(), to: 80, ..Port::default() };
    job.task_groups[0].networks = vec![NetworkResource { dynamic_ports: vec![port], ..NetworkResource::default() }];
    let mut alloc = alloc(1, &job);
    alloc.ports.push(AllocPort { ask: 0, value, address: [127, 0, 0, 1].into(), ignore_collision: false });
    server.put(alloc).await;
    server.wait_status(alloc_id(1), ClientStatus::Running).await;
    let connect = |port: String, task: Option<&str>| {
        node.handle.connect_port(alloc_id(1), PortRequest { port, task: task.map(str::to_owned) })
    };
    for name in ["http".to_owned(), "80".to_owned(), value.to_string()] {
        let mut near = connect(name, Some("app")).await.unwrap();
        let (mut far, _) = listener.accept().await.unwrap();
        near.write_all(b"ping").await.unwrap();
        near.shutdown().await.unwrap();
        let mut heard = String::new();
        far.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "ping");
    }
    let kind = async |port: &str, task| connect(port.to_owned(), task).await.err().unwrap().kind();
    assert_eq!(kind("22", None).await, Kind::NotFound);
    assert_eq!(kind("http", Some("other")).await, Kind::NotFound);
    drop(listener);
    assert_eq!(kind("http", None).await, Kind::Unavailable);
    node.stop().await;
}

#[tokio::test]
async fn an_allocation_that_uses_more_of_the_disk_than_it_asked_for_says_so() {
    let (server, machine) = (Server::start().await, Machine::new());
    let mut config = machine.config(&[server.address.to_string()]);
    config.disk_watch_interval = Duration::from_millis(20);
    let node = machine.start_with(config).await;
    let mut alloc = alloc(1, &job("web", &[json!({})]));
    alloc.usage.disk = MebiBytes(1);
    server.put(alloc).await;
    server.wait_status(alloc_id(1), ClientStatus::Running).await;
    std::fs::write(machine.alloc_dir(alloc_id(1)).join("app/local/big"), vec![1; 2 << 20]).unwrap();
    server.wait("an event", |known| has_event(known, "Disk Resources Exceeded", "ephemeral_disk has 1 MiB")).await;
    assert_eq!(machine.tasks().await.len(), 1, "it is told, and goes on");
    node.stop().await;
}
