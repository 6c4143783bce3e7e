//! What Wasm tasks cost: a warm start, a request, and private memory, beside what the same costs without Wasm.
//!
//! This process stands for the agent: driver and supervisor client, nothing above them. Modules are compiled before anything is measured.
//!
//! Needs root, as tasks get control groups, and clang for the programs.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]
#![expect(clippy::print_stdout, reason = "figures are what it is for")]

#[path = "../tests/guests/mod.rs"]
#[expect(dead_code, reason = "the tests have more programs")]
mod guests;

use std::convert::Infallible;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::join_all;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::client::conn::http1;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use orch_driver::{Driver, LogSpec, TaskDirs, TaskHandle, TaskId, TaskLimits, TaskPort, TaskSpec};
use orch_driver_wasm::{Config, Place, WasmDriver};
use orch_host::limits::OriginalLimits;
use orch_model::{MebiBytes, Mhz};
use orch_supervisor::{Handle, Lifetime, Options};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use uuid::Uuid;

const EXE: &str = env!("CARGO_BIN_EXE_orch-wasm-test-agent");
const STARTS: usize = 100;
const REQUESTS: usize = 5000;
/// Connections that ask at once where throughput is measured, and for how long.
const CLIENTS: usize = 16;
const THROUGHPUT_FOR: Duration = Duration::from_secs(3);

fn main() {
    let limits = OriginalLimits::capture();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(measure(&limits));
}

async fn measure(limits: &OriginalLimits) {
    let root = tempfile::tempdir().unwrap();
    let options = Options {
        socket: root.path().join("supervisor.sock"),
        exe: EXE.into(),
        args: Vec::new(),
        node_mark: Uuid::new_v4().simple().to_string(),
        cgroup_parent: "orch-bench".to_owned(),
        lifetime: Lifetime::StopsWithAgent { grace: Duration::from_secs(3), remove_dir: None },
        limits: limits.clone(),
    };
    let (handle, service) = Handle::connect(options).await.unwrap();
    let service = tokio::spawn(service.run());
    let config = Config { module_dirs: vec![guests::dir()], ..Config::default() };
    let place = Place { exe: EXE.into(), dir: root.path().join("wasm") };
    let driver = WasmDriver::new(config, handle.clone(), place);

    let mut floor = Vec::new();
    for _ in 0..STARTS {
        let begun = Instant::now();
        Command::new("true").status().unwrap();
        floor.push(begun.elapsed());
    }
    println!("floor: fork, exec and reap one `true`: {}", told(floor));
    let program = json!({"module": guests::program(), "args": ["forever"]});
    let component = json!({"module": guests::component(), "args": ["forever"]});
    let service_config = json!({"module": guests::service(), "port": "http"});
    for (name, config) in [("module", &program), ("component", &component), ("http component", &service_config)] {
        starts(&driver, root.path(), name, config).await;
    }
    requests(&driver, root.path(), &service_config).await;
    handle.shutdown(true).await.unwrap();
    service.abort();
}

/// Warm starts of one kind of task: until its program begins, or its port is open.
async fn starts(driver: &WasmDriver, root: &Path, name: &str, config: &Value) {
    // Stays, as pages of the program itself count as private where only one process has them.
    let beside = driver.start(spec(root, config).0).await.unwrap();
    let mut took = Vec::new();
    let mut private = Vec::new();
    for _ in 0..STARTS {
        let spec = spec(root, config).0;
        let begun = Instant::now();
        let handle = driver.start(spec).await.unwrap();
        took.push(begun.elapsed());
        private.push(private_kib(&handle));
        end(driver, &handle).await;
    }
    end(driver, &beside).await;
    private.sort_unstable();
    println!("warm start of a {name}: {} (target p99 10 ms)", told(took));
    println!("private memory of a {name} after its start: {} KiB (target 6144)", private[private.len() / 2]);
}

async fn requests(driver: &WasmDriver, root: &Path, config: &Value) {
    let floor = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let floor_at = floor.local_addr().unwrap().port();
    let answering = tokio::spawn(answer_all(floor));
    let (spec, port) = spec(root, config);
    let handle = driver.start(spec).await.unwrap();
    for (name, port) in [("hyper alone, in this process (floor)", floor_at), ("a Wasm component", port)] {
        let mut client = connect(port).await;
        for _ in 0..REQUESTS / 10 {
            ask(&mut client).await;
        }
        let mut took = Vec::new();
        for _ in 0..REQUESTS {
            let begun = Instant::now();
            ask(&mut client).await;
            took.push(begun.elapsed());
        }
        println!("a warm request to {name}: {}", told(took));
        let begun = Instant::now();
        let clients = (0..CLIENTS).map(|_| async move {
            let mut client = connect(port).await;
            let mut answers = 0usize;
            while begun.elapsed() < THROUGHPUT_FOR {
                ask(&mut client).await;
                answers += 1;
            }
            answers
        });
        let answers: usize = join_all(clients).await.into_iter().sum();
        println!("{CLIENTS} connections to {name}: {} requests per second", answers / 3);
    }
    println!("private memory of the http component after these: {} KiB", private_kib(&handle));
    end(driver, &handle).await;
    answering.abort();
}

async fn answer_all(listener: tokio::net::TcpListener) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let service = hyper::service::service_fn(|_| async {
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"hello\n"))))
        });
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

type Client = http1::SendRequest<Empty<Bytes>>;

async fn connect(port: u16) -> Client {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (client, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn ask(client: &mut Client) {
    client.ready().await.unwrap();
    let request = Request::builder().uri("/hello").header("host", "bench").body(Empty::new()).unwrap();
    let answer = client.send_request(request).await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "hello\n");
}

fn spec(root: &Path, config: &Value) -> (TaskSpec, u16) {
    let alloc = root.join(Uuid::new_v4().to_string());
    let task = alloc.join("task");
    let dirs = TaskDirs {
        local: task.join("local"),
        secrets: task.join("secrets"),
        shared: alloc.join("alloc"),
        task: task.clone(),
    };
    for directory in [&dirs.local, &dirs.secrets, &dirs.shared] {
        std::fs::create_dir_all(directory).unwrap();
    }
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let spec = TaskSpec {
        id: TaskId { alloc_id: orch_model::AllocId::from_uuid(Uuid::new_v4()), task: "task".to_owned(), run: 0 },
        config: serde_json::from_value(config.clone()).unwrap(),
        limits: TaskLimits { cpu: Mhz(500), node_cpu: Mhz(4000), memory: MebiBytes(64), ..TaskLimits::default() },
        logs: LogSpec { dir: dirs.shared.clone(), max_files: 1, max_file_bytes: 1 << 20, disabled: false },
        ports: vec![TaskPort { label: "http".to_owned(), host_ip: [127, 0, 0, 1].into(), host: port, inside: port }],
        dirs,
        ..TaskSpec::default()
    };
    (spec, port)
}

async fn end(driver: &WasmDriver, handle: &TaskHandle) {
    driver.destroy(&handle.id).await.unwrap();
}

fn private_kib(handle: &TaskHandle) -> u64 {
    let note: Value = serde_json::from_slice(&handle.state).unwrap();
    let text = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", note["process"]["pid"])).unwrap();
    let lines = text.lines().filter(|line| line.starts_with("Private_"));
    lines.map(|line| line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()).sum()
}

fn told(mut took: Vec<Duration>) -> String {
    took.sort_unstable();
    let at = |permille: usize| took[(took.len() - 1) * permille / 1000];
    format!("p50 {:.3} ms, p99 {:.3} ms", at(500).as_secs_f64() * 1e3, at(990).as_secs_f64() * 1e3)
}
