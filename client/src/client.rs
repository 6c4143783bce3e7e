//! Putting the agent together, starting it and stopping it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use orch_driver::Driver;
use orch_model::node::NodeDescription;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::agent::{Agent, Channels};
use crate::alloc_metrics;
use crate::clock::Clock;
use crate::config::Config;
use crate::context::Context;
use crate::disk_watch;
use crate::error::Error;
use crate::fingerprint;
use crate::handle::{Handle, Ties};
use crate::identity::Identity;
use crate::registry::Registry;
use crate::session::{Greeting, Session};
use crate::state::LocalState;
use crate::telemetry;
use crate::transport::Transport;
use crate::volumes::Volumes;

/// How many events of the session, words to it, and requests of others may wait.
const QUEUE: usize = 16;
/// How long streams that serve others may take to end when the agent stops.
const STREAMS_WITHIN: Duration = Duration::from_millis(500);

/// A client agent.
#[derive(Debug, Clone, Copy)]
pub struct Client;

impl Client {
    /// Prepares an agent: reads its identity and local state and describes the machine. Nothing runs before [`Service::run`].
    ///
    /// `drivers` are by the names that jobs use. Damaged local state is logged and never an error; an error is a directory that
    /// cannot be used, an identity that cannot be read, or state of a newer version.
    pub async fn start(
        config: Config,
        drivers: BTreeMap<String, Arc<dyn Driver>>,
        transport: Transport,
    ) -> Result<(Handle, Service), Error> {
        crate::metrics::describe();
        let clock = Clock::start();
        make_dir(&config.state_dir, 0o700)?;
        make_dir(&config.alloc_dir, 0o711)?;
        let identity = Identity::load(&config.state_dir)?;
        let (state, mut remembered) = LocalState::open(&config)?;
        let boot_id = orch_host::process::boot_id().unwrap_or_default().to_owned();
        let rebooted = !remembered.meta.boot_id.is_empty() && remembered.meta.boot_id != boot_id;
        remembered.meta.boots += 1;
        remembered.meta.boot_id = boot_id;
        state.put_meta(&remembered.meta);

        let volumes = Volumes::new(&config, state.clone(), std::mem::take(&mut remembered.volumes));
        let mut node = fingerprint::describe(&config, &identity);
        volumes.describe(&mut node);
        fingerprint::first_drivers(&drivers, clock, &mut node).await;
        info!(node_id = %identity.node_id, name = node.name, "client is set up");
        let (description, described) = watch::channel(Arc::new(node));
        let (channel, connected) = watch::channel(None);
        let tasks = TaskTracker::new();
        let context = Arc::new(Context {
            node_id: identity.node_id,
            clock,
            state: state.clone(),
            drivers: drivers.clone(),
            description: described.clone(),
            volumes,
            fetcher: orch_artifact::Fetcher::new(config.artifacts.clone()),
            connected: connected.clone(),
            streams: tasks.clone(),
            config,
        });

        let mut servers = context.config.servers.clone();
        servers
            .extend(remembered.meta.servers.iter().filter(|server| !context.config.servers.contains(server)).cloned());
        let (servers, server_list) = watch::channel(servers);
        let (greeting, greeted) = watch::channel(Greeting {
            cluster_id: remembered.meta.cluster_id.clone(),
            seen_index: remembered.meta.seen_index.0,
            running: 0,
        });
        let (events, session_events) = mpsc::channel(QUEUE);
        let (outgoing, session_outgoing) = mpsc::channel(QUEUE);
        let (requests, agent_requests) = mpsc::channel(QUEUE);
        let router = Arc::new(OnceLock::new());
        let registry = Registry::default();
        let leaving = Arc::<AtomicBool>::default();

        let session = Session {
            node_id: identity.node_id,
            boot: remembered.meta.boots,
            transport,
            description: described,
            greeting: greeted,
            servers: server_list.clone(),
            events,
            outgoing: session_outgoing,
            channel,
            router: Arc::clone(&router),
            tasks: tasks.clone(),
            leaving: Arc::clone(&leaving),
        };
        let channels = Channels { session: session_events, outgoing, requests: agent_requests, greeting, servers };
        let agent = Agent::new(Arc::clone(&context), channels, registry.clone(), remembered, rebooted);
        let ties =
            Ties { requests, connected, known_servers: server_list, router, leaving, describe: description.clone() };
        let handle = Handle::new(context, registry, tasks.clone(), ties);
        let measured = handle.clone();
        Ok((handle, Service { agent, session, state, drivers, clock, description, tasks, measured }))
    }
}

/// The running agent.
#[derive(Debug)]
pub struct Service {
    agent: Agent,
    session: Session,
    state: LocalState,
    drivers: BTreeMap<String, Arc<dyn Driver>>,
    clock: Clock,
    description: watch::Sender<Arc<NodeDescription>>,
    tasks: TaskTracker,
    /// Where machine and allocations are measured.
    measured: Handle,
}

impl Service {
    /// Runs until `shutdown`. Then it leaves the tasks running, tells the server whether it comes back, and flushes its
    /// state.
    pub async fn run(self, shutdown: CancellationToken) {
        let Self { agent, session, state, drivers, clock, description, tasks, measured } = self;
        // In the order in which they end: nobody may be left without the one it speaks to.
        let session_end = CancellationToken::new();
        let flush_end = CancellationToken::new();
        let mut beside = JoinSet::new();
        beside.spawn(session.run(session_end.clone()));
        beside.spawn(fingerprint::watch_drivers(drivers, clock, description, session_end.clone()));
        if measured.context.config.telemetry.node {
            beside.spawn(telemetry::publish_node(measured.clone(), session_end.clone()));
        }
        if measured.context.config.telemetry.allocations {
            beside.spawn(alloc_metrics::publish(measured.clone(), session_end.clone()));
        }
        beside.spawn(disk_watch::watch(measured, session_end.clone()));
        let flusher = JoinSet::from_iter([state.keep_flushed(flush_end.clone())]);
        let mut events_left = Box::pin(agent.run(shutdown)).await;
        session_end.cancel();
        loop {
            // The session may still want to tell something; nobody needs it any more.
            tokio::select! {
                ended = beside.join_next() => match ended {
                    Some(Ok(())) => {}
                    Some(Err(error)) => warn!(%error, "a part of the client ended by a fault"),
                    None => break,
                },
                Some(_unheard) = events_left.recv() => {}
            }
        }
        tasks.close();
        if tokio::time::timeout(STREAMS_WITHIN, tasks.wait()).await.is_err() {
            warn!("streams of this node's API were still open when the client stopped");
        }
        flush_end.cancel();
        flusher.join_all().await;
    }
}

fn make_dir(path: &Path, mode: u32) -> Result<(), Error> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(Error::io("make the directory", path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(Error::io("set the mode of", path))
}
