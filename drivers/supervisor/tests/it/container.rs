//! An agent for tests of the first process of a container: no more than what its parent sees of one.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use orch_host::limits::OriginalLimits;
use orch_supervisor::{AgentCommand, Handle, Lifetime, LogSpec, Options, SpawnSpec, TaskKey};

/// The first argument of a process that is to be the first of a container; a directory follows.
pub(crate) const INIT: &str = "init";
/// The first argument of the agent at its first start; a descriptor and its own arguments follow.
pub(crate) const BORN: &str = "supervised";
/// The first of the agent's own arguments; a directory follows.
pub(crate) const AGENT: &str = "agent";

/// Runs the first process of a container whose agent keeps its files in `directory`.
pub(crate) fn contain(directory: OsString) -> i32 {
    let exe = std::env::current_exe().unwrap();
    let args = vec![AGENT.into(), directory];
    let code = orch_supervisor::run_as_init(AgentCommand { exe, args, born: BORN.into() }).unwrap();
    // The codes of the test are few, and this type tells none.
    (0..=255)
        .find(|number| format!("{code:?}") == format!("{:?}", std::process::ExitCode::from(*number)))
        .map_or(1, i32::from)
}

/// The agent: in its first life it starts a task and dies, in its second it finds that again and waits.
pub(crate) fn agent(fd: Option<i32>, directory: &Path) {
    if let Some(fd) = fd {
        orch_supervisor::speak_with_init(fd).unwrap();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(live(fd.is_some(), directory));
}

async fn live(first: bool, directory: &Path) {
    let options = Options {
        socket: directory.join("supervisor.sock"),
        // Nobody may try to run one.
        exe: PathBuf::from("/nowhere"),
        args: Vec::new(),
        node_mark: "test-container".to_owned(),
        cgroup_parent: "orch-test".to_owned(),
        lifetime: Lifetime::Outlives,
        limits: OriginalLimits::capture(),
    };
    let (handle, service) = Handle::connect(options).await.unwrap();
    tokio::spawn(service.run());
    let note = if first { "first" } else { "second" };
    if first {
        handle.start(task(directory)).await.unwrap();
    }
    let tasks = handle.list().await.unwrap();
    let parent = nix::unistd::getppid();
    let running = tasks.first().is_some_and(|task| task.process.is_running());
    let text = format!("{parent} {} {running}", tasks.first().map_or(0, |task| task.process.pid));
    std::fs::write(directory.join("writing"), text).unwrap();
    std::fs::rename(directory.join("writing"), directory.join(note)).unwrap();
    if first {
        // As if killed: its task stays.
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
    }
    std::future::pending::<()>().await;
}

fn task(directory: &Path) -> SpawnSpec {
    let script = "trap 'echo ended >ended; exit' TERM; while :; do sleep 0.05; done";
    SpawnSpec {
        key: TaskKey::new("kept"),
        command: "/bin/sh".into(),
        args: ["-c", script].map(str::to_owned).into(),
        env: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())],
        work_dir: directory.to_owned(),
        user: None,
        cgroup: None,
        logs: LogSpec {
            dir: directory.to_owned(),
            task: "kept".to_owned(),
            max_files: 1,
            max_file_bytes: 1 << 20,
            disabled: false,
        },
        oom_score_adj: None,
        sandbox: None,
    }
}
