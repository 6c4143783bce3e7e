use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use orch_host::limits::OriginalLimits;
use orch_host::logs::{self, Stream};
use orch_supervisor::{Handle, Lifetime, LogSpec, Options, SpawnSpec, TaskKey};
use tempfile::TempDir;
use tokio::task::JoinHandle;

pub(crate) const SUPERVISOR: &str = "supervisor";
const DEADLINE: Duration = Duration::from_secs(60);

/// A supervisor with an agent's half, in a directory of their own.
pub(crate) struct Fixture {
    dir: Option<TempDir>,
    pub(crate) options: Options,
    pub(crate) handle: Handle,
    service: Option<JoinHandle<()>>,
}

impl Fixture {
    /// One that does not outlive a failed test for long.
    pub(crate) async fn new() -> Self {
        Self::with(|options| {
            options.lifetime = Lifetime::StopsWithAgent { grace: Duration::from_secs(3), remove_dir: None }
        })
        .await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Options)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut options = Options {
            socket: dir.path().join("supervisor.sock"),
            exe: std::env::current_exe().unwrap(),
            args: vec![SUPERVISOR.into()],
            node_mark: format!("test-{}", dir.path().file_name().unwrap().to_string_lossy().trim_start_matches('.')),
            cgroup_parent: "orch-test".to_owned(),
            lifetime: Lifetime::Outlives,
            limits: OriginalLimits::capture(),
        };
        change(&mut options);
        let (handle, service) = Handle::connect(options.clone()).await.unwrap();
        Self { dir: Some(dir), options, handle, service: Some(tokio::spawn(service.run())) }
    }

    /// Ends supervisor and tasks; the directory stays as long as what is returned.
    pub(crate) async fn end(mut self) -> TempDir {
        self.handle.clone().shutdown(true).await.unwrap();
        self.service.take().unwrap().await.unwrap();
        self.dir.take().unwrap()
    }

    /// The agent goes, as if killed, and another one comes.
    pub(crate) async fn restart_agent(&mut self) {
        self.stop_agent().await;
        let (handle, service) = Handle::connect(self.options.clone()).await.unwrap();
        self.handle = handle;
        self.service = Some(tokio::spawn(service.run()));
    }

    pub(crate) async fn stop_agent(&mut self) {
        if let Some(service) = self.service.take() {
            service.abort();
            // Cancelled is what it should be.
            let _cancelled = service.await;
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.as_ref().unwrap().path()
    }

    /// A shell script as a task.
    pub(crate) fn shell(&self, name: &str, script: &str) -> SpawnSpec {
        self.task(name, "/bin/sh", &["-c", script])
    }

    pub(crate) fn task(&self, name: &str, command: &str, args: &[&str]) -> SpawnSpec {
        SpawnSpec {
            key: TaskKey::new(name),
            command: PathBuf::from(command),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            env: vec![("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned())],
            work_dir: self.path().to_owned(),
            user: None,
            cgroup: None,
            logs: LogSpec {
                dir: self.path().to_owned(),
                task: name.to_owned(),
                max_files: 1000,
                max_file_bytes: 10 << 20,
                disabled: false,
            },
            oom_score_adj: None,
            sandbox: None,
        }
    }

    /// Everything in the log files of a stream, in order.
    pub(crate) fn log(&self, task: &str, stream: Stream) -> Vec<u8> {
        let mut content = Vec::new();
        for index in logs::indexes(self.path(), task, stream).unwrap() {
            content.extend(std::fs::read(logs::path(self.path(), task, stream, index)).unwrap());
        }
        content
    }

    pub(crate) fn stdout(&self, task: &str) -> String {
        String::from_utf8(self.log(task, Stream::Stdout)).unwrap()
    }

    /// The process that listens at our socket.
    pub(crate) fn supervisor_pid(&self) -> Option<i32> {
        let socket = self.options.socket.to_str().unwrap();
        let is_ours = |pid: &i32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0).any(|arg| arg == socket.as_bytes())
        };
        let found = orch_host::process::all().unwrap().into_iter().filter(|stat| !stat.is_dead()).map(|stat| stat.pid);
        found.filter(is_ours).max()
    }

    /// Kills the supervisor with SIGKILL and waits until another one answers.
    pub(crate) async fn kill_supervisor(&self) {
        let old = self.supervisor_pid().unwrap();
        // SAFETY: kill takes two integers.
        assert_eq!(unsafe { libc::kill(old, libc::SIGKILL) }, 0);
        until("a new supervisor", || self.supervisor_pid().is_some_and(|pid| pid != old)).await;
        self.handle.list().await.unwrap();
    }
}

/// A failed test leaves no supervisor behind, nor tasks.
impl Drop for Fixture {
    fn drop(&mut self) {
        let Some(supervisor) = self.supervisor_pid().filter(|_| std::thread::panicking()) else { return };
        let tasks = orch_host::process::descendants(supervisor).unwrap_or_default();
        for pid in [supervisor].into_iter().chain(tasks.into_iter().map(|stat| stat.pid)) {
            // SAFETY: kill takes two integers.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
    }
}

/// Waits until `reached` holds, for a minute at most.
pub(crate) async fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let start = Instant::now();
    while !reached() {
        assert!(start.elapsed() < DEADLINE, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The running processes that carry the mark of a task in their environment.
pub(crate) fn marked(key: &str) -> Vec<i32> {
    let mark = format!("ORCH_TASK={key}");
    let running = orch_host::process::all().unwrap().into_iter().filter(|stat| !stat.is_dead()).map(|stat| stat.pid);
    running.filter(|pid| orch_host::process::has_environment(*pid, &mark)).collect()
}
