//! From a request to whoever answers it: the path, the method, and the rules that hold for all of them.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse as _;
use http::{HeaderValue, header};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::agent::Agent;
use crate::call::{Call, Verb};
use crate::error::{Error, Kind};
use crate::params::{Params, decode_path};
use crate::routes::forward::tunnel;
use crate::routes::{
    agent, allocations, client, deployments, evaluations, files, interactive, job, jobs, metrics, namespaces, nodes,
    operator, pools, search, status, volumes,
};
use crate::upgrade::Upgrades;
use crate::{Request, Response, gzip, limits, telemetry};

/// The `/v1` API of an agent.
pub fn router(agent: Agent) -> Router {
    telemetry::describe();
    let shared = Shared {
        agent: Arc::new(agent),
        waiting: Arc::new(Semaphore::new(limits::WAITING_READS)),
        upgrades: Arc::new(Upgrades::new()),
        started: Instant::now(),
    };
    Router::new().fallback(handle).with_state(shared)
}

/// What all requests share.
#[derive(Debug, Clone)]
struct Shared {
    agent: Arc<Agent>,
    /// One permit for each read that waits.
    waiting: Arc<Semaphore>,
    upgrades: Arc<Upgrades>,
    /// When the agent began to answer.
    started: Instant,
}

async fn handle(State(shared): State<Shared>, request: Request) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let gzip_accepted = gzip::is_accepted(request.headers());
    let span = tracing::debug_span!("http.request", %method, path = request.uri().path());
    let response = async {
        let answered = Box::pin(answer(&shared, request)).await;
        answered.unwrap_or_else(|error| {
            if matches!(error.kind(), Kind::Internal | Kind::Unavailable) {
                tracing::warn!(%error, "request failed");
            } else {
                tracing::debug!(%error, "request refused");
            }
            error.into_response()
        })
    }
    .instrument(span)
    .await;
    let mut response = gzip::squeeze(response, gzip_accepted).await;
    for (name, value) in &shared.agent.info.response_headers {
        response.headers_mut().insert(name.clone(), value.clone());
    }
    telemetry::request(&method, response.status(), started.elapsed());
    response
}

async fn answer(shared: &Shared, request: Request) -> Result<Response, Error> {
    let path = decode_path(request.uri().path())?.into_owned();
    let rest = path.strip_prefix("/v1/").ok_or_else(Error::unknown_path)?;
    let verb = Verb::of(request.method()).ok_or_else(Error::method)?;
    let params = Params::parse(request.uri().query().unwrap_or(""))?;
    let region = params.get("region");
    if !region.is_empty() && region != shared.agent.info.region {
        return Err(Error::other_region());
    }
    let call = Call::new(shared.agent.clone(), shared.waiting.clone(), shared.upgrades.clone(), verb, params, request);
    let segments: Vec<&str> = rest.split('/').collect();
    match segments.as_slice() {
        ["client", ..] => of_client(call, &segments).await,
        ["agent", "self"] => agent::own(call).await,
        ["agent", "health"] => agent::health(call).await,
        ["agent", "servers"] => agent::servers(call).await,
        ["agent", "join"] => agent::join(call).await,
        ["metrics"] => metrics::all(&call, shared.started),
        _ if call.agent.control.is_none() => tunnel(call).await,
        _ => of_servers(call, rest, &segments).await,
    }
}

/// What the agent of a node answers, wherever that is; scripts of other sites may read it.
async fn of_client(call: Call, segments: &[&str]) -> Result<Response, Error> {
    let mut response = match segments {
        ["client", "fs", action, alloc] => files::files(call, action, alloc).await?,
        ["client", "allocation", id, "exec"] => interactive::exec(call, id).await?,
        ["client", "allocation", id, "port-forward"] => interactive::port_forward(call, id).await?,
        ["client", "allocation", id, action] => client::allocation(call, id, action).await?,
        ["client", "stats"] => client::stats(call).await?,
        ["client", "gc"] => return client::gc(call).await,
        ["client", "metadata"] => client::metadata(call).await?,
        ["client", "host-volume", id] => return volumes::on_node(call, id).await,
        _ => return Err(Error::unknown_path()),
    };
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("HEAD, GET"));
    Ok(response)
}

/// What servers answer.
async fn of_servers(call: Call, rest: &str, segments: &[&str]) -> Result<Response, Error> {
    match segments {
        ["jobs"] => jobs::all(call).await,
        ["jobs", "parse"] => jobs::parse(call).await,
        ["job", ..] => job::one(call, rest.strip_prefix("job/").unwrap_or("")).await,
        ["validate", "job"] => jobs::validate(call).await,
        ["allocations"] => allocations::all(call).await,
        ["allocation", id] => allocations::one(call, id).await,
        ["allocation", id, "stop"] => allocations::stop(call, id).await,
        ["evaluations"] => evaluations::all(call).await,
        ["evaluations", "count"] => evaluations::count(call).await,
        ["evaluation", id] => evaluations::one(call, id).await,
        ["evaluation", id, "allocations"] => evaluations::allocations(call, id).await,
        ["deployments"] => deployments::all(call).await,
        ["deployment", id] => deployments::one(call, id).await,
        ["deployment", action, id] => deployments::action(call, action, id).await,
        ["volumes"] => volumes::all(call).await,
        ["volumes", "claims"] => volumes::claims(call).await,
        ["volumes", "claim", id] => volumes::delete_claim(call, id).await,
        ["volume", "host"] | ["volume", "host", "create"] => volumes::put(call, volumes::Source::Made).await,
        ["volume", "host", "register"] => volumes::put(call, volumes::Source::TakenOver).await,
        ["volume", "host", id] => volumes::one(call, id).await,
        ["volumes", "external" | "snapshot"] | ["volume", "csi", ..] => volumes::of_csi(),
        ["nodes"] => nodes::all(call).await,
        ["node", "pools"] => pools::all(call).await,
        ["node", "pool", name] => pools::one(call, name).await,
        ["node", "pool", name, "nodes"] => pools::nodes_of(call, name).await,
        ["node", "pool", name, "jobs"] => pools::jobs_of(call, name).await,
        ["node", id] => nodes::one(call, id).await,
        ["node", id, action] => nodes::action(call, id, action).await,
        ["namespaces"] => namespaces::all(call).await,
        ["namespace", name] => namespaces::one(call, name).await,
        ["agent", "members"] => agent::members(call).await,
        ["agent", "force-leave"] => agent::force_leave(call).await,
        ["operator", "raft", "configuration"] => operator::raft_configuration(call).await,
        ["operator", "raft", "peer"] => operator::raft_peer(call).await,
        ["operator", "raft", "transfer-leadership"] => operator::transfer_leadership(call).await,
        ["operator", "scheduler", "configuration"] => operator::scheduler_configuration(call).await,
        ["operator", "brake"] => operator::brake(call).await,
        ["operator", "brake", "release"] => operator::release_brake(call).await,
        ["status", "leader"] => status::leader(call).await,
        ["status", "peers"] => status::peers(call).await,
        ["regions"] => status::regions(call).await,
        ["system", "gc"] => status::gc(call).await,
        ["system", "reconcile", "summaries"] => status::reconcile_summaries(call).await,
        ["search"] => search::prefix(call).await,
        _ => Err(Error::unknown_path()),
    }
}
