//! The server: its parts, put together, started and stopped in order.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use orch_http::ControlPlane;
use orch_model::NodeId;
use orch_model::node::NodeStatus;
use orch_proto::v1::clients_server::ClientsServer;
use orch_proto::v1::peers_client::PeersClient;
use orch_proto::v1::peers_server::PeersServer;
use orch_proto::v1::raft_server::RaftServer;
use orch_proto::v1::{SessionBeat, SessionDigestRequest};
use orch_wal::RealDisk;
use tokio::net::TcpListener;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use crate::alloc_updates::AllocUpdates;
use crate::config::Config;
use crate::consensus::{Consensus, Error};
use crate::control_plane::Plane;
use crate::divergence::{self, Divergence, Note, Stage};
use crate::identity::{self, Identity};
use crate::leader::brake::BrakeDesk;
use crate::leader::{self, Digests};
use crate::membership::{Departure, Membership, Roster};
use crate::metrics;
use crate::raft::{Member, RaftNode};
use crate::rpc::Channels;
use crate::rpc::channels::{MAX_MESSAGE, Purpose};
use crate::rpc::clients_service::{ClientsService, Shared};
use crate::rpc::listener::incoming;
use crate::rpc::peers_service::PeersService;
use crate::rpc::raft_service::RaftService;
use crate::sessions::{Sessions, Silence};
use crate::store::Store;

/// A session that was silent for so long is told to the leader.
const LATE: Duration = Duration::from_millis(3_500);

/// How often the leader is told.
const DIGEST: Duration = Duration::from_secs(1);

/// A server that cannot reach the leader for so long closes its sessions.
const CUT_OFF: Duration = Duration::from_secs(3);

/// How often log that snapshots cover is looked at.
const PURGE: Duration = Duration::from_secs(10);

/// How long stopping may take.
const STOP: Duration = Duration::from_secs(5);

/// Why a server could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory cannot be used.
    #[error(transparent)]
    Identity(#[from] identity::Error),
    /// The log cannot be used.
    #[error("the raft log in {} cannot be used", path.display())]
    Log {
        /// Where it is.
        path: PathBuf,
        /// Why.
        #[source]
        source: orch_wal::Error,
    },
    /// The raft node cannot start.
    #[error("the server's state in {} cannot be used: {source}", path.display())]
    State {
        /// Where it is.
        path: PathBuf,
        /// Why.
        source: Error,
    },
    /// The RPC port cannot be bound.
    #[error("cannot listen on {addr} for RPC: {source}; choose another with ports.rpc or addresses.rpc")]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A task of the start was ended.
    #[error("the start was interrupted")]
    Interrupted,
}

/// What becomes of a server's place in the cluster when it stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopMode {
    /// It stays a member, and is expected back.
    Stay,
    /// It leaves for good; it may join again as a new member with an empty data directory.
    Leave,
}

/// The way to a running server's parts.
pub type Handle = Arc<dyn ControlPlane>;

/// A running server.
#[derive(Debug)]
pub struct Server {
    config: Arc<Config>,
    identity: Arc<Identity>,
    node: Arc<RaftNode>,
    plane: Arc<Plane>,
    sessions: Arc<Sessions>,
    channels: Arc<Channels>,
    router: Arc<OnceCell<Router>>,
    rpc_addr: SocketAddr,
    /// Ends what serves others: leader parts, sessions, RPC.
    serving: CancellationToken,
    /// Ends what keeps the node itself going.
    running: CancellationToken,
    tasks: TaskTracker,
    /// Cancelled when the storage failed or the state went its own way, and the process must end.
    failed: CancellationToken,
}

impl Server {
    /// Starts a server; it forms or joins a cluster by itself.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let dir = config.data_dir.clone();
        let (identity, note) = tokio::task::spawn_blocking(move || {
            let note = divergence::prepare(&dir)?;
            Identity::open(&dir).map(|identity| (identity, note))
        })
        .await
        .map_err(|_| StartError::Interrupted)??;
        let identity = Arc::new(identity);
        let bind = |source| StartError::Bind { addr: config.rpc_bind, source };
        let listener = TcpListener::bind(config.rpc_bind).await.map_err(bind)?;
        let rpc_addr = listener.local_addr().map_err(bind)?;
        let mut config = config;
        if config.rpc_advertise.is_empty() {
            config.rpc_advertise = rpc_addr.to_string();
        }
        config.retry_join.extend(note.iter().flat_map(|note| note.servers.clone()));
        let config = Arc::new(config);
        let channels = Arc::new(Channels::default());
        let failed = CancellationToken::new();
        let node = open_node(&config, &identity, &channels, &failed).await?;
        let sessions = Arc::new(Sessions::default());
        let roster = Arc::new(Roster::new(own_member(&config), identity.raft_id().0, config.bootstrap_expect));
        let brake = Arc::new(BrakeDesk::default());
        let plane = Arc::new(Plane {
            config: Arc::clone(&config),
            identity: Arc::clone(&identity),
            node: Arc::clone(&node),
            sessions: Arc::clone(&sessions),
            channels: Arc::clone(&channels),
            roster: Arc::clone(&roster),
            brake: Arc::clone(&brake),
        });
        let server = Self {
            config,
            identity,
            node,
            plane,
            sessions,
            channels,
            router: Arc::new(OnceCell::new()),
            rpc_addr,
            serving: CancellationToken::new(),
            running: CancellationToken::new(),
            tasks: TaskTracker::new(),
            failed,
        };
        server.spawn_parts(listener, roster, brake, note);
        Ok(server)
    }

    fn spawn_parts(&self, listener: TcpListener, roster: Arc<Roster>, brake: Arc<BrakeDesk>, note: Option<Note>) {
        let digests = Arc::new(Digests::default());
        let consensus: Arc<dyn Consensus> = Arc::clone(&self.node) as Arc<dyn Consensus>;
        let (updates, gatherer) = AllocUpdates::new(Arc::clone(&consensus));
        let shared = Arc::new(Shared {
            identity: Arc::clone(&self.identity),
            consensus: Arc::clone(&consensus),
            store: Arc::clone(self.node.store()),
            sessions: Arc::clone(&self.sessions),
            updates,
            router: Arc::clone(&self.router),
            tasks: self.tasks.clone(),
            shutdown: self.serving.clone(),
        });
        let node = Arc::clone(&self.node);
        let running = self.running.clone();
        self.tasks.spawn(async move { node.run(running).await });
        self.tasks.spawn(gatherer.run(self.running.clone()));
        let (sessions, store, serving) =
            (Arc::clone(&self.sessions), Arc::clone(self.node.store()), self.serving.clone());
        self.tasks.spawn(async move { sessions.follow(&store, serving).await });
        let membership = Membership {
            config: Arc::clone(&self.config),
            identity: Arc::clone(&self.identity),
            node: Arc::clone(&self.node),
            channels: Arc::clone(&self.channels),
            roster: Arc::clone(&roster),
            is_reinstalling: note.as_ref().is_some_and(|note| note.stage == Stage::Aside),
        };
        self.tasks.spawn(membership.run(self.serving.clone()));
        let context = leader::Context {
            consensus,
            store: Arc::clone(self.node.store()),
            config: Arc::clone(&self.config),
            digests: Arc::clone(&digests),
            brake,
        };
        self.tasks.spawn(leader::run(context, self.serving.clone()));
        self.tasks.spawn(self.reporter(Arc::clone(&digests)).run());
        self.tasks.spawn(purge(Arc::clone(&self.node), self.running.clone()));
        let divergence = Divergence {
            departure: self.departure(),
            sessions: Arc::clone(&self.sessions),
            note,
            serving: self.serving.clone(),
            failed: self.failed.clone(),
        };
        self.tasks.spawn(divergence.run(self.running.clone()));
        self.tasks.spawn(self.serve_rpc(listener, shared, roster, digests));
    }

    fn departure(&self) -> Departure {
        Departure {
            config: Arc::clone(&self.config),
            identity: Arc::clone(&self.identity),
            node: Arc::clone(&self.node),
            channels: Arc::clone(&self.channels),
        }
    }

    fn serve_rpc(
        &self,
        listener: TcpListener,
        shared: Arc<Shared>,
        roster: Arc<Roster>,
        digests: Arc<Digests>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let snapshots = self.config.data_dir.join("snapshots");
        let raft = RaftServer::new(RaftService::new(
            Arc::clone(&self.node),
            Arc::clone(&self.identity),
            snapshots,
            self.running.clone(),
        ))
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE);
        let peers = PeersServer::new(PeersService {
            identity: Arc::clone(&self.identity),
            node: Arc::clone(&self.node),
            roster,
            digests,
            shared: Arc::clone(&shared),
        })
        .max_decoding_message_size(MAX_MESSAGE)
        .max_encoding_message_size(MAX_MESSAGE);
        let clients = ClientsServer::new(ClientsService { shared })
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE);
        let running = self.running.clone();
        let limits = self.config.rpc_limits.clone();
        async move {
            let serving = tonic::transport::Server::builder()
                .http2_keepalive_interval(Some(Duration::from_secs(10)))
                .initial_stream_window_size(4 << 20)
                .initial_connection_window_size(16 << 20)
                .add_service(raft)
                .add_service(peers)
                .add_service(clients)
                .serve_with_incoming_shutdown(incoming(listener, limits), running.cancelled_owned());
            if let Err(error) = serving.await {
                error!(%error, "the RPC port failed");
            }
        }
    }

    fn reporter(&self, digests: Arc<Digests>) -> Reporter {
        Reporter {
            identity: Arc::clone(&self.identity),
            node: Arc::clone(&self.node),
            sessions: Arc::clone(&self.sessions),
            channels: Arc::clone(&self.channels),
            digests,
            shutdown: self.serving.clone(),
        }
    }

    /// The control plane, for the HTTP router.
    pub fn handle(&self) -> Handle {
        Arc::clone(&self.plane) as Handle
    }

    /// Gives the server the router that answers clients and other servers through tunnels; once.
    pub fn set_router(&self, router: Router) {
        // A second router changes nothing: the first is in use already.
        drop(self.router.set(router));
    }

    /// Where the RPC port listens.
    pub const fn rpc_addr(&self) -> SocketAddr {
        self.rpc_addr
    }

    /// The state as this server has it; tests damage it there to see that this is found.
    pub fn store(&self) -> &Arc<Store> {
        self.node.store()
    }

    /// Waits until the server's storage failed, or its state was found to differ from the leader's, after which the
    /// process must end.
    pub async fn failed(&self) {
        self.failed.cancelled().await;
    }

    /// Stops: hands leadership on, ends what serves others, lets what is under way finish, closes the log.
    pub async fn stop(self, mode: StopMode) {
        let departure = self.departure();
        match mode {
            StopMode::Stay => departure.hand_over().await,
            StopMode::Leave => match departure.leave().await {
                Ok(()) => info!("left the cluster"),
                Err(reason) => warn!(reason, "could not leave the cluster"),
            },
        }
        self.serving.cancel();
        self.node.store().wake_all();
        self.sessions.close_all();
        self.tasks.close();
        // Sessions and leader parts end now; the node goes on until they have.
        drop(tokio::time::timeout(Duration::from_millis(300), self.tasks.wait()).await);
        self.running.cancel();
        // Streams between raft nodes end with the node, and the RPC port with its streams.
        let (parts, node) =
            tokio::join!(tokio::time::timeout(STOP, self.tasks.wait()), tokio::time::timeout(STOP, self.node.stop()));
        if parts.is_err() {
            warn!("parts of the server did not stop in time");
        }
        if node.is_err() {
            warn!("the raft node did not stop in time");
        }
        info!("the server has stopped");
    }
}

/// This server, as others should know it.
fn own_member(config: &Config) -> Member {
    Member {
        name: config.name.clone(),
        rpc_addr: config.rpc_advertise.clone(),
        http_addr: config.http_advertise.clone(),
        datacenter: config.datacenter.clone(),
        region: config.region.clone(),
        version: config.version.clone(),
    }
}

async fn open_node(
    config: &Config,
    identity: &Arc<Identity>,
    channels: &Arc<Channels>,
    failed: &CancellationToken,
) -> Result<Arc<RaftNode>, StartError> {
    let raft_dir = config.data_dir.join("raft");
    let path = raft_dir.clone();
    let disk: Arc<dyn orch_wal::LogDisk> = tokio::task::spawn_blocking(move || RealDisk::open(path))
        .await
        .map_err(|_| StartError::Interrupted)?
        .map(Arc::new)
        .map_err(|source| StartError::Log { path: raft_dir.clone(), source })?;
    let failed = failed.clone();
    let on_fatal: orch_wal::OnFatal = Arc::new(move |error| {
        error!(%error, "the raft log failed; this server must end");
        failed.cancel();
    });
    RaftNode::start(disk, &config.data_dir, &config.raft, Arc::clone(identity), Arc::clone(channels), on_fatal)
        .await
        .map_err(|source| StartError::State { path: config.data_dir.clone(), source })
}

/// Purges log that snapshots cover, until `shutdown`.
async fn purge(node: Arc<RaftNode>, shutdown: CancellationToken) {
    let mut ticks = tokio::time::interval(PURGE);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = ticks.tick() => node.purge_covered().await,
        }
    }
}

/// Tells the leader each second which sessions are late.
struct Reporter {
    identity: Arc<Identity>,
    node: Arc<RaftNode>,
    sessions: Arc<Sessions>,
    channels: Arc<Channels>,
    digests: Arc<Digests>,
    shutdown: CancellationToken,
}

impl Reporter {
    async fn run(self) {
        let mut ticks = tokio::time::interval(DIGEST);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut last_told = tokio::time::Instant::now();
        // Sessions that are ours by the state but not here, as after a restart of this server, and since when.
        let mut missing: BTreeMap<(NodeId, u64), Instant> = BTreeMap::new();
        loop {
            tokio::select! {
                () = self.shutdown.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let state = self.node.store().snapshot();
            let own = self.identity.raft_id();
            // A node that was given up must open a session anew, also where its connection has survived.
            let away = |status| matches!(status, NodeStatus::Down | NodeStatus::Disconnected);
            self.sessions.forget_replaced(|node, epoch| match state.node(node) {
                Some(node) if node.session.epoch == epoch => node.session.server == own && !away(node.status),
                Some(node) => node.session.epoch < epoch,
                None => true,
            });
            let mut silent = self.sessions.silent(LATE);
            let unheld = state
                .nodes()
                .filter(|node| node.session.server == own && !away(node.status))
                .map(|node| (node.id, node.session.epoch))
                .filter(|(node, epoch)| !self.sessions.holds(node, *epoch));
            missing = unheld.map(|key| (key, missing.get(&key).copied().unwrap_or_else(Instant::now))).collect();
            silent.extend(missing.iter().map(|((node_id, epoch), since)| Silence {
                node_id: *node_id,
                epoch: *epoch,
                silent: since.elapsed(),
                restarting: false,
                dropped: true,
            }));
            drop(state);
            metrics::blocking_queries(self.node.store().waiting());
            metrics::apply_lag(self.node.apply_lag());
            if self.tell(silent).await {
                last_told = tokio::time::Instant::now();
            } else if last_told.elapsed() >= CUT_OFF && self.sessions.connected() > 0 {
                warn!("this server is cut off from the leader: its clients are sent to others");
                self.sessions.close_all();
            }
        }
    }

    async fn tell(&self, silent: Vec<Silence>) -> bool {
        let leadership = self.node.leadership().borrow().clone();
        if leadership.is_self {
            self.digests.put(self.identity.raft_id(), silent);
            return true;
        }
        let Some(addr) = leadership.leader_addr else { return false };
        let Ok(channel) = self.channels.to(&addr, Purpose::Heartbeat) else { return false };
        let sessions = silent
            .into_iter()
            .map(|silence| SessionBeat {
                node_id: silence.node_id.as_uuid().as_bytes().to_vec(),
                epoch: silence.epoch,
                silent_ms: u32::try_from(silence.silent.as_millis()).unwrap_or(u32::MAX),
                restarting: silence.restarting,
                dropped: silence.dropped,
            })
            .collect();
        let request = SessionDigestRequest {
            cluster_id: self.identity.cluster_id().map(|id| id.to_string()).unwrap_or_default(),
            from: self.identity.raft_id().0,
            sessions,
        };
        let told =
            tokio::time::timeout(Duration::from_secs(1), PeersClient::new(channel).session_digest(request)).await;
        matches!(told, Ok(Ok(_)))
    }
}
