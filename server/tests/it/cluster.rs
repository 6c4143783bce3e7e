//! Servers for tests, each on a loopback address of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use orch_http::control::{RegisterJob, Written};
use orch_http::{Consistency, ControlPlane, View};
use orch_model::admission::{AdmissionContext, canonicalize};
use orch_model::{EvalId, Job, JobKey};
use orch_server::config::{DetectionConfig, GcConfig, RpcLimits};
use orch_server::raft::RaftOptions;
use orch_server::{Config, Server, StopMode};
use tempfile::TempDir;
use uuid::Uuid;

static NEXT: AtomicU32 = AtomicU32::new(1);

/// An address of the loopback network that no other test of any process uses.
pub(crate) fn own_address() -> SocketAddr {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let process = std::process::id();
    let [_, _, high, low] = process.to_be_bytes();
    let host = u8::try_from(number).unwrap();
    SocketAddr::from(([127, high | 0x80, low, host], 4647))
}

pub(crate) fn config(name: &str, addr: SocketAddr, dir: &Path, expect: u32, join: &[SocketAddr]) -> Config {
    Config {
        name: name.into(),
        region: "global".into(),
        datacenter: "dc1".into(),
        version: "0.1.0".into(),
        data_dir: dir.to_owned(),
        rpc_bind: addr,
        rpc_advertise: addr.to_string(),
        http_advertise: String::new(),
        bootstrap_expect: expect,
        retry_join: join.iter().map(ToString::to_string).collect(),
        retry_interval: Duration::from_millis(50),
        raft: RaftOptions { multiplier: 1, snapshot_threshold: 64 },
        num_schedulers: 1,
        gc: GcConfig::default(),
        detection: DetectionConfig::default(),
        rpc_limits: RpcLimits::default(),
    }
}

/// A server, its directory and its address; it can be stopped and started again.
pub(crate) struct Member {
    /// Keeps the directory while the member is there.
    _dir: Arc<TempDir>,
    pub(crate) config: Config,
    pub(crate) server: Option<Server>,
}

impl Member {
    pub(crate) async fn start(config: Config, dir: Arc<TempDir>) -> Self {
        let server = Server::start(config.clone()).await.unwrap();
        Self { _dir: dir, config, server: Some(server) }
    }

    pub(crate) fn plane(&self) -> Arc<dyn ControlPlane> {
        self.server.as_ref().unwrap().handle()
    }

    pub(crate) async fn stop(&mut self) {
        self.server.take().unwrap().stop(StopMode::Stay).await;
    }

    pub(crate) async fn restart(&mut self) {
        self.server = Some(Server::start(self.config.clone()).await.unwrap());
    }
}

/// As many servers that expect each other.
pub(crate) async fn servers(count: u32) -> Vec<Member> {
    servers_with(count, |_| {}).await
}

/// As many servers that expect each other, each with a changed configuration. What they log is shown where a test fails.
pub(crate) async fn servers_with(count: u32, change: impl Fn(&mut Config)) -> Vec<Member> {
    let log = tracing_subscriber::fmt().with_test_writer().with_env_filter("info,openraft=error").try_init();
    // Another test of this process has set it up already.
    drop(log);
    let addrs: Vec<_> = (0..count).map(|_| own_address()).collect();
    let mut members = Vec::new();
    for (number, addr) in addrs.iter().enumerate() {
        let dir = Arc::new(TempDir::new().unwrap());
        let mut config = config(&format!("s{number}"), *addr, dir.path(), count, &addrs);
        change(&mut config);
        members.push(Member::start(config, dir).await);
    }
    members
}

/// Waits until `check` says so, or fails with `what`.
pub(crate) async fn wait_for<F, Fut>(what: &str, mut check: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    let deadline = Instant::now() + Duration::from_secs(20);
    while !check().await {
        assert!(Instant::now() < deadline, "timed out: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until a server knows a leader.
pub(crate) async fn wait_for_leader(plane: &Arc<dyn ControlPlane>) {
    wait_for("a leader is known", || async { plane.leader().await.is_some() }).await;
}

/// Which of the servers leads.
pub(crate) async fn leader_of(members: &[Member]) -> usize {
    let mut found = None;
    wait_for("one of the servers leads", || {
        found = members
            .iter()
            .position(|member| member.server.is_some() && member.plane().stats()["nomad"]["leader"] == "true");
        let is_there = found.is_some();
        async move { is_there }
    })
    .await;
    found.unwrap()
}

/// Registers a job of `count` instances.
pub(crate) async fn register(plane: &Arc<dyn ControlPlane>, id: &str, count: i64) -> Result<Written, orch_http::Error> {
    register_job(plane, orch_model::testing::job(id, count)).await
}

/// Registers a job.
pub(crate) async fn register_job(plane: &Arc<dyn ControlPlane>, mut job: Job) -> Result<Written, orch_http::Error> {
    canonicalize(&mut job, &AdmissionContext::new(&["mock_driver"]));
    let request = RegisterJob {
        job: Arc::new(job),
        eval_id: EvalId::from_uuid(Uuid::new_v4()),
        eval_priority: None,
        enforce_index: None,
        submission: None,
        preserve: orch_http::control::Preserve::default(),
    };
    plane.register_job(request).await
}

/// What a server has, without asking the leader.
pub(crate) async fn stale(plane: &Arc<dyn ControlPlane>) -> Arc<dyn View> {
    plane.view(Consistency::Stale).await.unwrap()
}

pub(crate) fn key(id: &str) -> JobKey {
    JobKey::new(&"default".into(), &id.into())
}
