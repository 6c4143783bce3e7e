//! What one raw_exec task costs: processor time, private memory, and the time to start and stop many.
//!
//! This process stands for the agent: driver and supervisor client, nothing above them. The floor is what the same program costs when it
//! is forked, executed, killed and reaped without anything around it.
//!
//! Needs root, as tasks get control groups.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]
#![expect(clippy::print_stdout, reason = "figures are what it is for")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use orch_driver::{Driver, LogSpec, TaskDirs, TaskId, TaskLimits, TaskSpec};
use orch_driver_raw_exec::{Config, RawExec};
use orch_host::limits::{OriginalLimits, raise_open_files};
use orch_host::process;
use orch_model::{MebiBytes, Mhz};
use orch_supervisor::{Handle, Lifetime, Options};
use tokio::task::JoinSet;
use uuid::Uuid;

/// How many tasks, unless the command line says otherwise.
const COUNTS: [usize; 3] = [100, 300, 1000];
/// How many starts and stops are under way at a time, as with an agent that is told of many allocations at once.
const AT_ONCE: usize = 64;

fn main() {
    let limits = OriginalLimits::capture();
    drop(raise_open_files(65_536).unwrap());
    let floor = floor(300);
    println!("floor: fork, exec, kill and reap one sleep: {} of processor time", ms(floor));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let asked: Vec<usize> = std::env::args().filter_map(|arg| arg.parse().ok()).collect();
    for count in if asked.is_empty() { COUNTS.to_vec() } else { asked } {
        runtime.block_on(measure(count, &limits, floor));
    }
}

async fn measure(count: usize, limits: &OriginalLimits, floor: Duration) {
    let root = tempfile::tempdir().unwrap();
    let options = Options {
        socket: root.path().join("supervisor.sock"),
        exe: env!("CARGO_BIN_EXE_orch-raw-exec-test-supervisor").into(),
        args: Vec::new(),
        node_mark: Uuid::new_v4().simple().to_string(),
        cgroup_parent: "orch-bench".to_owned(),
        lifetime: Lifetime::StopsWithAgent { grace: Duration::from_secs(3), remove_dir: None },
        limits: limits.clone(),
    };
    let socket = options.socket.clone();
    let (handle, service) = Handle::connect(options).await.unwrap();
    let service = tokio::spawn(service.run());
    let driver = Arc::new(RawExec::new(Config { enabled: true, ..Config::default() }, handle.clone()));
    let supervisor = listener_at(&socket);
    let specs: Vec<TaskSpec> = (0..count).map(|_| spec(root.path())).collect();
    let ids: Vec<TaskId> = specs.iter().map(|spec| spec.id.clone()).collect();
    let empty = (private_kib(supervisor), private_kib(own_pid()));
    let before = Cpu::now(supervisor);

    let begun = Instant::now();
    for_all(specs, &driver, |driver, spec| async move { drop(driver.start(spec).await.unwrap()) }).await;
    let started = begun.elapsed();
    let running = Cpu::now(supervisor);
    let full = (private_kib(supervisor), private_kib(own_pid()));

    let begun = Instant::now();
    for_all(ids, &driver, |driver, id| async move {
        driver.stop(&id, Some("SIGTERM"), Duration::from_secs(5)).await.unwrap();
        driver.destroy(&id).await.unwrap();
    })
    .await;
    let stopped = begun.elapsed();
    let ended = Cpu::now(supervisor);

    let each = |time: Duration| time / u32::try_from(count).unwrap();
    let kib = |full: u64, empty: u64| full.saturating_sub(empty).div_ceil(u64::try_from(count).unwrap());
    let total = ended.total().saturating_sub(before.total());
    println!("{count} tasks: {} of processor time each (floor {}, target 3 ms)", ms(each(total)), ms(floor));
    let part = |from: Duration, to: Duration| ms(each(to.saturating_sub(from)));
    println!(
        "  start: agent {} supervisor {}   stop: agent {} supervisor {}   children {}",
        part(before.agent, running.agent),
        part(before.supervisor, running.supervisor),
        part(running.agent, ended.agent),
        part(running.supervisor, ended.supervisor),
        part(before.children, ended.children),
    );
    println!("  started in {} ms, stopped in {} ms (target for 1,000: 5 s)", started.as_millis(), stopped.as_millis());
    println!(
        "  private memory: supervisor {} KiB empty, {} KiB per task; agent {} KiB per task (target 64 KiB together)",
        empty.0,
        kib(full.0, empty.0),
        kib(full.1, empty.1),
    );
    handle.shutdown(true).await.unwrap();
    drop(driver);
    service.await.unwrap();
}

/// Processor time so far.
#[derive(Debug, Clone, Copy)]
struct Cpu {
    agent: Duration,
    supervisor: Duration,
    /// Of the supervisor's children, once they have been reaped.
    children: Duration,
}

impl Cpu {
    fn now(supervisor: i32) -> Self {
        Self { agent: of_threads(own_pid()), supervisor: of_threads(supervisor), children: of_reaped(supervisor) }
    }

    fn total(&self) -> Duration {
        self.agent + self.supervisor + self.children
    }
}

async fn for_all<T, F>(items: Vec<T>, driver: &Arc<RawExec>, act: impl Fn(Arc<RawExec>, T) -> F)
where
    T: Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let mut under_way = JoinSet::new();
    for item in items {
        if under_way.len() == AT_ONCE {
            under_way.join_next().await.unwrap().unwrap();
        }
        under_way.spawn(act(Arc::clone(driver), item));
    }
    while let Some(done) = under_way.join_next().await {
        done.unwrap();
    }
}

fn spec(root: &Path) -> TaskSpec {
    let id = TaskId { alloc_id: Uuid::new_v4().to_string().parse().unwrap(), task: "sleeper".to_owned(), run: 0 };
    let shared = root.join(id.alloc_id.to_string());
    let task = shared.join(&id.task);
    let dirs =
        TaskDirs { local: task.join("local"), secrets: task.join("secrets"), shared: shared.join("alloc"), task };
    let logs = shared.join("logs");
    for directory in [&dirs.local, &dirs.secrets, &dirs.shared, &logs] {
        std::fs::create_dir_all(directory).unwrap();
    }
    // As many variables as a real task has.
    let variables = (0..30).map(|index| (format!("NOMAD_VARIABLE_{index}"), "a value of some length".to_owned()));
    let path = ("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned());
    TaskSpec {
        id,
        job_id: "job".to_owned(),
        group: "group".to_owned(),
        config: serde_json::from_value(serde_json::json!({"command": "/bin/sleep", "args": ["1000000"]})).unwrap(),
        env: variables.chain([path]).collect::<BTreeMap<_, _>>(),
        limits: TaskLimits { cpu: Mhz(20), node_cpu: Mhz(4000), memory: MebiBytes(16), ..TaskLimits::default() },
        dirs,
        logs: LogSpec { dir: logs, max_files: 10, max_file_bytes: 10 << 20, disabled: false },
        ..TaskSpec::default()
    }
}

/// The processor time of one bare process, averaged.
fn floor(count: usize) -> Duration {
    let before = of_threads(own_pid()) + of_reaped(own_pid());
    let spawn = |_| {
        let mut command = Command::new("/bin/sleep");
        command.arg("1000000").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let children: Vec<Child> = (0..count).map(spawn).collect();
    // Until the last one is asleep in its program, as a task would be.
    std::thread::sleep(Duration::from_millis(500));
    for mut child in children {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    (of_threads(own_pid()) + of_reaped(own_pid())).saturating_sub(before) / u32::try_from(count).unwrap()
}

/// What the threads of a process have used: nanoseconds, as the scheduler counts them.
fn of_threads(pid: i32) -> Duration {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let texts = threads.filter_map(|thread| std::fs::read_to_string(thread.unwrap().path().join("schedstat")).ok());
    let nanos = texts.map(|text| text.split(' ').next().unwrap().parse::<u64>().unwrap());
    Duration::from_nanos(nanos.sum())
}

/// What the reaped children of a process have used, in steps of a clock tick.
fn of_reaped(pid: i32) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = text.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks: u64 = fields[13..15].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_nanos(ticks * (1_000_000_000 / process::ticks_per_second()))
}

fn private_kib(pid: i32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let lines = text.lines().filter(|line| line.starts_with("Private_"));
    lines.map(|line| line.split_ascii_whitespace().nth(1).unwrap().parse::<u64>().unwrap()).sum()
}

fn own_pid() -> i32 {
    i32::try_from(std::process::id()).unwrap()
}

/// The supervisor that listens at `socket`.
fn listener_at(socket: &Path) -> i32 {
    let socket = socket.to_str().unwrap();
    let named = |pid: &i32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|arg| arg == socket.as_bytes())
    };
    process::all().unwrap().into_iter().map(|stat| stat.pid).find(named).unwrap()
}

fn ms(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}
