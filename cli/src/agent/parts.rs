//! What an agent is made of: started in order, stopped in the reverse of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ::http::{HeaderName, HeaderValue};
use anyhow::Context as _;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use orch_client::{Client, Transport};
use orch_host::limits::OriginalLimits;
use orch_http::{Admission, AgentInfo, LocalNode};
use orch_jobspec::{ParseOptions, Source, Variables};
use orch_model::NodeId;
use orch_server::{Server, StopMode};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::drivers::{Drivers, GRACE, NAMES, OPTIONS, RunningSupervisor};
use super::http::{self, HttpServer};
use super::ports;
use crate::commands::VERSION;

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

impl Parts {
    /// Starts everything; when it returns, the API answers.
    pub(super) async fn start(config: &orch_config::Agent, limits: OriginalLimits) -> anyhow::Result<Self> {
        make_data_dir(config)?;
        // First, because a port in use is the likeliest fault, and the ports' numbers are told to others.
        let listeners = config.http.listen.iter().map(|addr| ports::bind(*addr)).collect::<anyhow::Result<Vec<_>>>()?;
        let http_addrs = http::addresses(&listeners).context("cannot find the address of the HTTP port")?;
        let advertised = advertised(&config.http.advertise, &http_addrs);
        let metrics = metrics(config)?;
        let (server, drivers) =
            tokio::try_join!(start_server(config, &advertised), Box::pin(Drivers::start(config, limits)))?;
        let rpc = server.as_ref().map(Server::rpc_addr);
        let client = match &config.client {
            Some(own) => Some(start_client(own.clone(), &advertised, rpc, drivers).await?),
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

async fn start_client(
    mut own: orch_client::Config,
    http_advertise: &str,
    rpc: Option<SocketAddr>,
    drivers: Drivers,
) -> anyhow::Result<RunningClient> {
    http_advertise.clone_into(&mut own.http_addr);
    if let Some(rpc) = rpc {
        // Its own server is the nearest.
        own.servers.insert(0, own_server(rpc).to_string());
    }
    let Drivers { drivers, supervisor } = drivers;
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
            drivers: NAMES.to_vec(),
            driver_options: OPTIONS,
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
