//! What a task sees and may write.

use nix::mount::MsFlags;
use orch_driver::{Driver, Propagation, TaskMount};
use orch_model::job::DnsConfig;
use serde_json::json;

use crate::node::{Node, shell};

fn mount(host_path: &std::path::Path, task_path: &str, read_only: bool) -> TaskMount {
    let propagation = Propagation::Private;
    TaskMount { host_path: host_path.into(), task_path: task_path.into(), read_only, propagation }
}

#[tokio::test]
async fn a_task_finds_its_directories_and_usual_devices() {
    let node = Node::new();
    let driver = node.driver().await;
    let spec = node.spec(shell(
        "id -un; pwd; echo own > /local/a; echo secret > /secrets/b; echo shared > /alloc/data/c; echo tmp > /tmp/d; \
         cat /local/a /secrets/b /alloc/data/c /tmp/d; echo x > /dev/null; head -c 4 /dev/zero | wc -c; \
         (echo no > /alloc/logs/e) 2>/dev/null || echo logs are read-only; test -c /dev/pts/ptmx && echo terminals; \
         echo shm > /dev/shm/f && cat /dev/shm/f",
    ));
    let dirs = spec.dirs.clone();
    let told = node.output(&driver, spec).await;
    let expected = "nobody\n/\nown\nsecret\nshared\ntmp\n4\nlogs are read-only\nterminals\nshm\n";
    assert_eq!(told, expected);
    for (directory, name) in [(dirs.local, "a"), (dirs.secrets, "b"), (dirs.shared.join("data"), "c")] {
        assert!(directory.join(name).exists(), "{name} is where the agent sees it");
    }
    node.close().await;
}

#[tokio::test]
async fn volumes_are_mounted_where_the_job_says_and_as_it_says() {
    let node = Node::new();
    let driver = node.driver().await;
    let (data, fixed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(fixed.path().join("note"), "given\n").unwrap();
    let mut config =
        shell("cat /fixed/note; (echo x > /fixed/new) 2>/dev/null || echo fixed; echo kept > /deep/data/file");
    config["cap_drop"] = json!([]);
    let mut spec = node.spec(config);
    spec.user = Some("root".to_owned());
    spec.mounts = vec![mount(data.path(), "/deep/data", false), mount(fixed.path(), "/fixed", true)];
    assert_eq!(node.output(&driver, spec).await, "given\nfixed\n");
    assert_eq!(std::fs::read_to_string(data.path().join("file")).unwrap(), "kept\n");

    let mut spec = node.spec(shell("true"));
    spec.mounts = vec![mount(data.path(), "/usr/no-such-place", false)];
    let error = driver.start(spec).await.unwrap_err();
    assert!(error.to_string().contains("/usr/no-such-place cannot be mounted"), "{error}");
    node.close().await;
}

/// Takes a mount away again, also when the test fails.
struct Mounted(std::path::PathBuf);

impl Mounted {
    fn new(directory: &std::path::Path, flags: MsFlags) -> Self {
        nix::mount::mount(Some("none"), directory, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
        nix::mount::mount(None::<&str>, directory, None::<&str>, flags, None::<&str>).unwrap();
        Self(directory.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        orch_host::mounts::unmount_below(&self.0).unwrap();
    }
}

#[tokio::test]
async fn what_the_host_mounts_later_is_seen_only_where_it_is_wanted() {
    let node = Node::new();
    let driver = node.driver().await;
    let volume = tempfile::tempdir().unwrap();
    let shared = Mounted::new(volume.path(), MsFlags::MS_SHARED);
    let inner = volume.path().join("inner");
    std::fs::create_dir(&inner).unwrap();
    let mut spec = node.spec(shell(
        "echo ready; until test -e /shared/inner/file; do sleep 0.01; done; ls /private-one/inner; echo seen",
    ));
    let file = crate::node::stdout(&spec);
    spec.mounts = vec![mount(volume.path(), "/shared", true), mount(volume.path(), "/private-one", true)];
    spec.mounts[0].propagation = Propagation::HostToTask;
    let handle = driver.start(spec).await.unwrap();
    crate::node::first_line(&file).await;
    let _inner = Mounted::new(&inner, MsFlags::MS_PRIVATE);
    std::fs::write(inner.join("file"), "").unwrap();
    let ended = tokio::time::timeout(crate::node::DEADLINE, driver.wait(&handle.id)).await;
    assert!(ended.unwrap().unwrap().success());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "ready\nseen\n");
    driver.destroy(&handle.id).await.unwrap();
    drop(shared);
    node.close().await;
}

#[tokio::test]
async fn name_servers_of_the_job_take_the_place_of_the_hosts() {
    let node = Node::new();
    let driver = node.driver().await;
    let mut spec = node.spec(shell("cat /etc/resolv.conf; ls /private | wc -l"));
    spec.dns = Some(DnsConfig { servers: vec!["10.1.2.3".to_owned()], ..DnsConfig::default() });
    assert_eq!(node.output(&driver, spec).await, "nameserver 10.1.2.3\n0\n");
    node.close().await;
}

#[tokio::test]
async fn files_that_the_host_covers_are_warned_of() {
    let node = Node::new();
    let driver = node.driver().await;
    let spec = node.spec(shell("exec sleep 1000"));
    std::fs::create_dir(spec.dirs.task.join("etc")).unwrap();
    std::fs::write(spec.dirs.task.join("etc/app.conf"), "").unwrap();
    let handle = driver.start(spec).await.unwrap();
    assert!(handle.warnings.iter().any(|warning| warning.contains("put them into local/")), "{:?}", handle.warnings);
    driver.destroy(&handle.id).await.unwrap();
    node.close().await;
}

#[tokio::test]
async fn nothing_is_left_on_the_host() {
    let node = Node::new();
    let driver = node.driver().await;
    let before = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let spec = node.spec(shell("setsid sleep 1000 & echo started; exec sleep 1000"));
    let (id, file, task) = (spec.id.clone(), crate::node::stdout(&spec), spec.dirs.task.clone());
    let handle = driver.start(spec).await.unwrap();
    crate::node::first_line(&file).await;
    let below = |text: &str| text.lines().filter(|line| line.contains(&task.display().to_string())).count();
    assert_eq!(below(&std::fs::read_to_string("/proc/self/mountinfo").unwrap()), below(&before), "while it runs");
    let process = crate::node::process_of(&handle);
    driver.stop(&id, Some("SIGTERM"), std::time::Duration::from_secs(10)).await.unwrap();
    driver.destroy(&id).await.unwrap();
    assert!(!process.is_running());
    std::fs::remove_dir_all(&task).unwrap();
    node.close().await;
    let hierarchies = orch_host::cgroup::Hierarchies::detect().unwrap();
    for root in hierarchies.v1.values().chain(&hierarchies.v2) {
        assert!(!root.join("orch-test").join(&node.mark).exists(), "{}", root.display());
    }
}
