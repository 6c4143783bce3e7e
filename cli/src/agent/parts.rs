//! What an agent is made of: started in order, stopped in the reverse of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ::http::{HeaderName, HeaderValue};
use anyhow::Context as _;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use orch_client::{Client, Transport};
use orch_driver::Driver;
use orch_driver_mock::MockDriver;
use orch_driver_raw_exec::RawExec;
use orch_host::limits::OriginalLimits;
use orch_http::{Admission, AgentInfo, LocalNode};
use orch_jobspec::{ParseOptions, Source, Variables};
use orch_model::NodeId;
use orch_server::{Server, StopMode};
use orch_supervisor::{Lifetime, Options};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::http::{self, HttpServer};
use super::{DRIVERS, ports};
use crate::commands::VERSION;

/// How long tasks of a development agent may live after it was killed.
const GRACE: Duration = Duration::from_secs(5);
/// How long they may take to stop when it ends.
const STOP_WITHIN: Duration = Duration::from_secs(15);
/// How often old samples of metrics are let go.
const UPKEEP: Duration = Duration::from_secs(5);

/// The running agent.
#[derive(Debug)]
pub(super) struct Parts {
    server: Option<Server>,
    client: Option<RunningClient>,
    http: HttpServer,
    http_addrs: Vec<SocketAddr>,
    upkeep: JoinSet<()>,
}

#[derive(Debug)]
struct RunningClient {
    handle: orch_client::Handle,
    shutdown: CancellationToken,
    service: JoinSet<()>,
    supervisor: Option<RunningSupervisor>,
}

#[derive(Debug)]
struct RunningSupervisor {
    handle: orch_supervisor::Handle,
    service: JoinSet<()>,
}

impl Parts {
    /// Starts everything; when it returns, the API answers.
    pub(super) async fn start(config: &orch_config::Agent, limits: OriginalLimits) -> anyhow::Result<Self> {
        make_data_dir(config)?;
        // First, because a port in use is the likeliest fault, and the ports' numbers are told to others.
        let listeners = config.http.listen.iter().map(|addr| ports::bind(*addr)).collect::<anyhow::Result<Vec<_>>>()?;
        let http_addrs = http::addresses(&listeners).context("cannot find the address of the HTTP port")?;
        let advertised = advertised(&config.http.advertise, &http_addrs);
        let metrics = metrics(config)?;
        let (server, supervisor) =
            tokio::try_join!(start_server(config, &advertised), Box::pin(start_supervisor(config, limits)))?;
        let rpc = server.as_ref().map(Server::rpc_addr);
        let client = match &config.client {
            Some(own) => Some(start_client(config, own.clone(), &advertised, rpc, supervisor).await?),
            None => None,
        };
        let agent = orch_http::Agent {
            control: server.as_ref().map(Server::handle),
            local: client.as_ref().map(|client| Arc::new(client.handle.clone()) as Arc<dyn LocalNode>),
            info: info(config),
            metrics: metrics.clone(),
            parse_job: Arc::new(parse_job),
        };
        let router = orch_http::router(agent);
        if let Some(server) = &server {
            server.set_router(router.clone());
        }
        if let Some(client) = &client {
            client.handle.set_router(router.clone());
        }
        let http = HttpServer::start(listeners, &router, config.http.connections);
        let mut upkeep = JoinSet::new();
        if let Some(metrics) = metrics {
            upkeep.spawn(keep_up(metrics));
        }
        Ok(Self { server, client, http, http_addrs, upkeep })
    }

    pub(super) fn rpc_addr(&self) -> Option<SocketAddr> {
        self.server.as_ref().map(Server::rpc_addr)
    }

    pub(super) fn node_id(&self) -> Option<NodeId> {
        self.client.as_ref().map(|client| client.handle.id())
    }

    pub(super) fn http_addrs(&self) -> &[SocketAddr] {
        &self.http_addrs
    }

    /// Waits until the server's storage failed; for ever on a client.
    pub(super) async fn failed(&self) {
        match &self.server {
            Some(server) => server.failed().await,
            None => std::future::pending().await,
        }
    }

    /// Stops everything. Tasks stay, except those of a development agent that keeps nothing.
    pub(super) async fn stop(self, config: &orch_config::Agent, mode: StopMode) {
        let Self { server, client, http, http_addrs: _, upkeep } = self;
        http.begin_stop();
        if let Some(client) = client {
            match mode {
                StopMode::Leave => client.handle.leave(),
                StopMode::Stay => {}
            }
            stop_client(client, config.scratch_dir.is_some()).await;
        }
        if let Some(server) = server {
            server.stop(mode).await;
        }
        http.finish().await;
        drop(upkeep);
    }
}

fn make_data_dir(config: &orch_config::Agent) -> anyhow::Result<()> {
    let make = std::fs::create_dir_all(&config.data_dir);
    make.with_context(|| format!("cannot make the data directory {}", config.data_dir.display()))
}

/// Where others reach the API: as configured, with the port that was taken where any would do.
fn advertised((host, port): &(String, u16), bound: &[SocketAddr]) -> String {
    let port = if *port == 0 { bound.first().map_or(0, SocketAddr::port) } else { *port };
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn metrics(config: &orch_config::Agent) -> anyhow::Result<Option<PrometheusHandle>> {
    if !config.http.prometheus {
        return Ok(None);
    }
    let recorder = PrometheusBuilder::new().install_recorder().context("cannot record metrics")?;
    super::metrics::describe();
    Ok(Some(recorder))
}

async fn keep_up(metrics: PrometheusHandle) {
    let mut ticks = tokio::time::interval(UPKEEP);
    loop {
        ticks.tick().await;
        metrics.run_upkeep();
    }
}

async fn start_server(config: &orch_config::Agent, http_advertise: &str) -> anyhow::Result<Option<Server>> {
    let Some(own) = &config.server else { return Ok(None) };
    let own = orch_server::Config { http_advertise: http_advertise.to_owned(), ..own.clone() };
    let rpc = own.rpc_bind;
    let started = Box::pin(Server::start(own)).await;
    let server = started.map_err(|error| {
        let in_use = matches!(&error, orch_server::server::StartError::Bind { source, .. }
            if source.kind() == std::io::ErrorKind::AddrInUse);
        let holder = if in_use { ports::holder(rpc.port()) } else { None };
        let error = anyhow::Error::from(error);
        match holder {
            Some(who) => error.context(format!("the RPC port is held by {who}")),
            None => error.context("the server cannot start"),
        }
    })?;
    Ok(Some(server))
}

/// Whether jobs may use a driver.
fn offered(config: &orch_config::Agent, driver: &str) -> bool {
    config.driver_allowlist.as_ref().is_none_or(|allowed| allowed.contains(driver))
        && !config.driver_denylist.contains(driver)
}

/// The supervisor and the driver over it; `None` where no driver needs one.
async fn start_supervisor(
    config: &orch_config::Agent,
    limits: OriginalLimits,
) -> anyhow::Result<Option<(RunningSupervisor, RawExec)>> {
    let Some(client) = &config.client else { return Ok(None) };
    let settings = config.plugins.get("raw_exec").cloned().unwrap_or_default();
    let driver = orch_driver_raw_exec::Config::read(&settings).context("the configuration of plugin \"raw_exec\"")?;
    let state_dir = &client.state_dir;
    let mark = orch_client::node_id(state_dir)?.to_string();
    let socket = state_dir.join("supervisor.sock");
    // Tasks of an earlier start are found again even where no new ones are allowed.
    if !offered(config, "raw_exec") || !(driver.enabled || lock_file(&socket).exists()) {
        return Ok(None);
    }
    let lifetime = match &config.scratch_dir {
        Some(directory) => Lifetime::StopsWithAgent { grace: GRACE, remove_dir: Some(directory.clone()) },
        None => Lifetime::Outlives,
    };
    let options = Options {
        socket,
        exe: std::env::current_exe().context("cannot find the agent's own program")?,
        args: vec![crate::SUPERVISOR.into()],
        node_mark: mark,
        cgroup_parent: client.cgroup_parent.clone(),
        lifetime,
        limits,
    };
    let (handle, service) =
        orch_supervisor::Handle::connect(options).await.context("the supervisor of tasks cannot be reached")?;
    let mut running = JoinSet::new();
    running.spawn(service.run());
    let raw_exec = RawExec::new(driver, handle.clone());
    Ok(Some((RunningSupervisor { handle, service: running }, raw_exec)))
}

/// What a supervisor leaves beside its socket as long as it runs.
fn lock_file(socket: &std::path::Path) -> PathBuf {
    let mut path = socket.as_os_str().to_owned();
    path.push(".lock");
    path.into()
}

async fn start_client(
    config: &orch_config::Agent,
    mut own: orch_client::Config,
    http_advertise: &str,
    rpc: Option<SocketAddr>,
    supervisor: Option<(RunningSupervisor, RawExec)>,
) -> anyhow::Result<RunningClient> {
    http_advertise.clone_into(&mut own.http_addr);
    if let Some(rpc) = rpc {
        // Its own server is the nearest.
        own.servers.insert(0, own_server(rpc).to_string());
    }
    let mut drivers: BTreeMap<String, Arc<dyn Driver>> = BTreeMap::new();
    let mock = config.plugins.get("mock_driver").and_then(|settings| settings.get("enabled"));
    if offered(config, "mock_driver") && mock == Some(&serde_json::Value::Bool(true)) {
        drivers.insert("mock_driver".to_owned(), Arc::new(MockDriver::new()));
    }
    let supervisor = supervisor.map(|(supervisor, driver)| {
        drivers.insert("raw_exec".to_owned(), Arc::new(driver));
        supervisor
    });
    let (handle, service) = Client::start(own, drivers, Transport::plain()).await.context("the client cannot start")?;
    let shutdown = CancellationToken::new();
    let mut running = JoinSet::new();
    running.spawn(service.run(shutdown.clone()));
    Ok(RunningClient { handle, shutdown, service: running, supervisor })
}

/// How a client reaches a server of the same process.
fn own_server(rpc: SocketAddr) -> SocketAddr {
    let mut addr = rpc;
    if rpc.ip().is_unspecified() {
        addr.set_ip(if rpc.is_ipv4() {
            std::net::Ipv4Addr::LOCALHOST.into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    addr
}

async fn stop_client(client: RunningClient, with_tasks: bool) {
    let RunningClient { handle, shutdown, mut service, supervisor } = client;
    if with_tasks && !handle.stop_all_tasks(STOP_WITHIN).await {
        warn!("some tasks did not stop in time and are killed");
    }
    shutdown.cancel();
    while let Some(ended) = service.join_next().await {
        if let Err(error) = ended {
            warn!(%error, "the client ended by a fault");
        }
    }
    drop(handle);
    if let Some(RunningSupervisor { handle, mut service }) = supervisor
        && with_tasks
    {
        if let Err(error) = handle.shutdown(true).await {
            warn!(%error, "the supervisor did not end");
        }
        // It ends with the connection; whatever is left of it is dropped here.
        drop(tokio::time::timeout(GRACE, service.join_next()).await);
    }
}

fn info(config: &orch_config::Agent) -> AgentInfo {
    let headers = config.http.response_headers.iter().filter_map(|(name, value)| {
        match (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value.as_str())) {
            (Ok(name), Ok(value)) => Some((name, value)),
            _ => {
                warn!(name, "a header of http_api_response_headers is not valid and is left out");
                None
            }
        }
    });
    AgentInfo {
        name: config.name.clone(),
        region: config.region.clone(),
        datacenter: config.datacenter.clone(),
        config: serde_json::json!({
            "Name": config.name,
            "Region": config.region,
            "Datacenter": config.datacenter,
            "DataDir": config.data_dir,
            "LogLevel": config.logging.level.as_str().to_uppercase(),
            "DevMode": config.dev,
            "Server": { "Enabled": config.server.is_some() },
            "Client": { "Enabled": config.client.is_some() },
            "Version": { "Version": VERSION },
            "Settings": config.shown,
        }),
        admission: Admission {
            default_priority: config.http.job_default_priority,
            max_priority: config.http.job_max_priority,
            max_count: config.http.job_max_count,
            drivers: DRIVERS.to_vec(),
        },
        response_headers: headers.collect(),
    }
}

/// Reads a job file that came over the API.
fn parse_job(request: &orch_api::job::JobParseRequest) -> Result<orch_model::Job, String> {
    let files = if request.variables.trim().is_empty() {
        Vec::new()
    } else {
        vec![Source::new("variables", request.variables.clone())]
    };
    let options = ParseOptions { variables: Variables { files, ..Variables::default() }, ..ParseOptions::default() };
    match orch_jobspec::parse(Source::new("input.hcl", request.job_hcl.clone()), &options) {
        Ok(parsed) => Ok(parsed.job),
        Err(diagnostics) => Err(diagnostics.to_string()),
    }
}
