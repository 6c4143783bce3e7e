//! How long it takes until a task is in its program: with a sandbox, without, and what fork and exec alone take.
//!
//! Each round starts one of each, so that they see the same machine. Needs root.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]
#![expect(clippy::print_stdout, reason = "figures are what it is for")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use orch_driver::{Driver, LogSpec, TaskDirs, TaskId, TaskLimits, TaskSpec};
use orch_driver_exec::{Config, Exec};
use orch_host::cgroup::Limits;
use orch_host::limits::OriginalLimits;
use orch_model::{MebiBytes, Mhz};
use orch_supervisor::{CgroupSpec, Handle, Lifetime, Options, SpawnSpec, TaskKey};
use uuid::Uuid;

/// How many of each, unless the command line says otherwise.
const ROUNDS: usize = 200;

#[tokio::main]
async fn main() {
    let rounds = std::env::args().find_map(|arg| arg.parse().ok()).unwrap_or(ROUNDS);
    let root = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(root.path(), Some(0), Some(0)).unwrap();
    let options = Options {
        socket: root.path().join("supervisor.sock"),
        exe: env!("CARGO_BIN_EXE_orch-exec-test-supervisor").into(),
        args: Vec::new(),
        node_mark: Uuid::new_v4().simple().to_string(),
        cgroup_parent: "orch-bench".to_owned(),
        lifetime: Lifetime::StopsWithAgent { grace: Duration::from_secs(3), remove_dir: None },
        limits: OriginalLimits::capture(),
    };
    let (handle, service) = Handle::connect(options).await.unwrap();
    let service = tokio::spawn(service.run());
    let driver = Exec::new(Config::default(), handle.clone());
    let mut times: [Vec<Duration>; 3] = Default::default();
    for round in 0..rounds {
        let spec = spec(root.path());
        let plain = plain(root.path(), round);
        let began = Instant::now();
        let mut child = Command::new("/bin/sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
        times[0].push(began.elapsed());
        child.kill().unwrap();
        child.wait().unwrap();
        let began = Instant::now();
        handle.start(plain.clone()).await.unwrap();
        times[1].push(began.elapsed());
        handle.forget(&plain.key).await.unwrap();
        let began = Instant::now();
        driver.start(spec.clone()).await.unwrap();
        times[2].push(began.elapsed());
        driver.destroy(&spec.id).await.unwrap();
    }
    handle.shutdown(true).await.unwrap();
    service.await.unwrap();
    for (name, times) in ["fork and exec alone", "supervisor, no sandbox", "exec"].into_iter().zip(&mut times) {
        times.sort();
        let at = |share: usize| times[(times.len() - 1) * share / 100].as_secs_f64() * 1000.0;
        println!("{name:24} median {:6.2} ms, 90% {:6.2} ms, least {:6.2} ms", at(50), at(90), at(0));
    }
}

fn plain(root: &Path, round: usize) -> SpawnSpec {
    SpawnSpec {
        key: TaskKey::new(&format!("plain-{round}")),
        command: "/bin/sleep".into(),
        args: vec!["1000".to_owned()],
        env: Vec::new(),
        work_dir: root.into(),
        user: None,
        cgroup: Some(CgroupSpec::Own(Limits { cpu_shares: Some(100), pids_max: Some(4096), ..Limits::default() })),
        logs: orch_supervisor::LogSpec {
            dir: root.into(),
            task: "plain".to_owned(),
            max_files: 1,
            max_file_bytes: 1 << 20,
            disabled: false,
        },
        oom_score_adj: None,
        sandbox: None,
    }
}

fn spec(root: &Path) -> TaskSpec {
    let id = TaskId { alloc_id: orch_model::AllocId::from_uuid(Uuid::new_v4()), task: "web".to_owned(), run: 0 };
    let alloc = root.join(id.alloc_id.to_string());
    let (task, shared) = (alloc.join("web"), alloc.join("alloc"));
    let (local, secrets, logs) = (task.join("local"), task.join("secrets"), shared.join("logs"));
    for directory in [&local, &secrets, &logs] {
        std::fs::create_dir_all(directory).unwrap();
    }
    TaskSpec {
        id,
        config: serde_json::from_value(serde_json::json!({"command": "/bin/sleep", "args": ["1000"]})).unwrap(),
        env: BTreeMap::new(),
        limits: TaskLimits { cpu: Mhz(100), node_cpu: Mhz(4000), memory: MebiBytes(64), ..TaskLimits::default() },
        dirs: TaskDirs { task, local, secrets, shared },
        logs: LogSpec { dir: logs, max_files: 1, max_file_bytes: 1 << 20, disabled: false },
        ..TaskSpec::default()
    }
}
