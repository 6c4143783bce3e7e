//! Answers clients: their sessions, and byte streams to and from them.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use futures::Stream;
use orch_model::allocation::AllocUpdate;
use orch_model::node::{NodeDescription, NodeStatus};
use orch_model::{AllocId, Allocation, JobVersionKey, NodeId, StateIndex, document};
use orch_proto::v1::clients_server::Clients;
use orch_proto::v1::server_frame::Frame;
use orch_proto::v1::{
    Allocs, Bytes, ClientFrame, Close, Hello, Inventory, InventoryItem, Need, ServerFrame, Updates, Welcome,
    client_frame,
};
use orch_state::commands::{DescribeNode, NodeTransition, NodeTransitions, RegisterNode};
use orch_state::{Command, RejectionKind, Reply, State};
use serde::de::DeserializeOwned;
use tokio::sync::{OnceCell, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::byte_stream;
use crate::alloc_updates::AllocUpdates;
use crate::consensus::{Consensus, Error};
use crate::identity::Identity;
use crate::rpc::http_over;
use crate::sessions::{Session, Sessions};
use crate::store::Store;

/// How often a client says that it is there.
pub const BEAT_MS: u32 = 3_000;

/// Frames waiting for a client; when full, the session waits, and the client falls silent to the leader if it lasts.
const FRAMES: usize = 64;

/// About how many bytes of allocations go in one frame.
const FRAME_BYTES: usize = 1 << 20;

/// Answers clients.
#[derive(Debug, Clone)]
pub struct ClientsService {
    /// What every session needs.
    pub shared: Arc<Shared>,
}

/// What every session needs.
#[derive(Debug)]
pub struct Shared {
    /// This server's identity.
    pub identity: Arc<Identity>,
    /// Agreement with the other servers.
    pub consensus: Arc<dyn Consensus>,
    /// The state.
    pub store: Arc<Store>,
    /// The sessions held here.
    pub sessions: Arc<Sessions>,
    /// Gathers what clients say.
    pub updates: AllocUpdates,
    /// This server's HTTP API, for agents that only have a client.
    pub router: Arc<OnceCell<Router>>,
    /// Owns the tasks of sessions and tunnels.
    pub tasks: TaskTracker,
    /// Cancelled when the server stops.
    pub shutdown: CancellationToken,
}

type FrameStream = Pin<Box<dyn Stream<Item = Result<ServerFrame, Status>> + Send>>;
type BytesStream = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

#[tonic::async_trait]
impl Clients for ClientsService {
    type SessionStream = FrameStream;
    type TunnelStream = BytesStream;
    type AnswerStream = BytesStream;

    async fn session(&self, request: Request<Streaming<ClientFrame>>) -> Result<Response<FrameStream>, Status> {
        let (sender, receiver) = mpsc::channel(FRAMES);
        let shared = Arc::clone(&self.shared);
        self.shared.tasks.spawn(async move {
            shared.serve(request.into_inner(), sender).await;
        });
        let frames = tokio_stream::StreamExt::map(ReceiverStream::new(receiver), Ok);
        Ok(Response::new(Box::pin(frames)))
    }

    async fn tunnel(&self, request: Request<Streaming<Bytes>>) -> Result<Response<BytesStream>, Status> {
        tunnel(&self.shared, request)
    }

    async fn answer(&self, request: Request<Streaming<Bytes>>) -> Result<Response<BytesStream>, Status> {
        let id = request
            .metadata()
            .get("orch-stream-id")
            .and_then(|id| id.to_str().ok())
            .map(str::to_owned)
            .ok_or_else(|| Status::invalid_argument("the metadata entry orch-stream-id is missing"))?;
        let (sender, outbound) = byte_stream::channel();
        let connection = byte_stream::connection(request.into_inner(), sender);
        if !self.shared.sessions.answered(&id, connection) {
            return Err(Status::not_found("nobody asked for this stream, or nobody waits for it any more"));
        }
        Ok(Response::new(Box::pin(tokio_stream::StreamExt::map(outbound, Ok))))
    }
}

/// Answers requests that come in over a byte stream with this server's API.
pub(super) fn tunnel(shared: &Shared, request: Request<Streaming<Bytes>>) -> Result<Response<BytesStream>, Status> {
    let router = shared.router.get().cloned().ok_or_else(|| Status::unavailable("this server is still starting"))?;
    let (sender, outbound) = byte_stream::channel();
    let connection = byte_stream::connection(request.into_inner(), sender);
    let shutdown = shared.shutdown.clone();
    shared.tasks.spawn(async move {
        tokio::select! {
            () = http_over::serve(connection, router) => {}
            () = shutdown.cancelled() => {}
        }
    });
    Ok(Response::new(Box::pin(tokio_stream::StreamExt::map(outbound, Ok))))
}

impl Shared {
    /// Runs one session from its first frame to its end.
    async fn serve(&self, mut incoming: Streaming<ClientFrame>, frames: mpsc::Sender<ServerFrame>) {
        let close = |close: Close| ServerFrame { frame: Some(Frame::Close(close)) };
        let hello = match incoming.message().await {
            Ok(Some(ClientFrame { frame: Some(client_frame::Frame::Hello(hello)) })) => hello,
            Ok(_) | Err(_) => return,
        };
        match self.open(hello, &frames).await {
            Ok((session, sent)) => {
                let mut open = Open { shared: self, session: Arc::clone(&session), sent, jobs: BTreeSet::new() };
                open.run(&mut incoming).await;
                self.sessions.dropped(&session);
                debug!(node_id = %session.node_id, "a client's session ended");
            }
            Err(reason) => {
                // The client may be gone already.
                drop(frames.send(close(reason)).await);
            }
        }
    }

    /// Registers the node and sends what it is to compare with.
    async fn open(
        &self,
        hello: Hello,
        frames: &mpsc::Sender<ServerFrame>,
    ) -> Result<(Arc<Session>, BTreeMap<AllocId, StateIndex>), Close> {
        let refused = |reason: String| Close { reason, go_elsewhere: false, refused: true };
        let own = self.identity.cluster_id().map(|id| id.to_string()).unwrap_or_default();
        if own.is_empty() {
            return Err(Close {
                reason: "this server belongs to no cluster yet".into(),
                go_elsewhere: true,
                refused: false,
            });
        }
        if !hello.cluster_id.is_empty() && hello.cluster_id != own {
            return Err(refused(format!("the client belongs to cluster {}, this server to {own}", hello.cluster_id)));
        }
        let node_id = node_id(&hello.node_id).ok_or_else(|| refused("the node id is not a UUID".into()))?;
        let description: NodeDescription =
            document::decode(&hello.description).map_err(|error| refused(error.to_string()))?;
        let epoch = self.register(node_id, description).await?;
        let session = self.sessions.open(node_id, epoch, frames);
        info!(%node_id, epoch, "a client opened a session");
        let servers = self.consensus.members().into_iter().map(|status| status.member.rpc_addr).collect();
        let welcome = Welcome { cluster_id: own, epoch, beat_interval_ms: BEAT_MS, servers };
        let state = self.store.snapshot();
        let sent: BTreeMap<_, _> =
            state.allocs_of_node(&node_id).map(|alloc| (alloc.id, alloc.alloc_modify_index)).collect();
        let items = sent
            .iter()
            .map(|(id, index)| InventoryItem {
                alloc_id: id.as_uuid().as_bytes().to_vec(),
                alloc_modify_index: index.0,
            })
            .collect();
        session.send(Frame::Welcome(welcome)).await;
        session.send(Frame::Inventory(Inventory { index: state.last_index().0, items })).await;
        Ok((session, sent))
    }

    async fn register(&self, node_id: NodeId, description: NodeDescription) -> Result<u64, Close> {
        let command = Command::RegisterNode(RegisterNode {
            node_id,
            description: Arc::new(description),
            server: self.identity.raft_id(),
            seed: Uuid::new_v4().as_u64_pair().0,
        });
        match self.consensus.propose(command).await {
            Ok(committed) => match committed.reply {
                Reply::Session { epoch } => Ok(epoch),
                other => Err(Close {
                    reason: format!("the servers answered a registration with {other:?}"),
                    go_elsewhere: true,
                    refused: false,
                }),
            },
            Err(Error::Rejected(rejection)) => Err(Close {
                refused: rejection.kind == RejectionKind::Forbidden,
                reason: rejection.message,
                go_elsewhere: false,
            }),
            Err(error) => Err(Close { reason: error.to_string(), go_elsewhere: true, refused: false }),
        }
    }
}

fn node_id(bytes: &[u8]) -> Option<NodeId> {
    Uuid::from_slice(bytes).ok().map(NodeId::from_uuid)
}

fn alloc_id(bytes: &[u8]) -> Option<AllocId> {
    Uuid::from_slice(bytes).ok().map(AllocId::from_uuid)
}

/// A session that is open.
struct Open<'a> {
    shared: &'a Shared,
    session: Arc<Session>,
    /// What the client knows of each allocation, or was told to ask for.
    sent: BTreeMap<AllocId, StateIndex>,
    /// Job versions that the client has.
    jobs: BTreeSet<JobVersionKey>,
}

impl Open<'_> {
    async fn run(&mut self, incoming: &mut Streaming<ClientFrame>) {
        loop {
            let session = Arc::clone(&self.session);
            let go_on = tokio::select! {
                frame = incoming.message() => match frame {
                    Ok(Some(frame)) => self.take(frame).await,
                    Ok(None) | Err(_) => false,
                },
                () = session.changed() => self.send_changes().await,
                () = session.ended.cancelled() => {
                    self.close("the session was replaced, or this server is cut off from the leader").await;
                    false
                }
                () = self.shared.shutdown.cancelled() => {
                    self.close("this server is stopping").await;
                    false
                }
            };
            if !go_on {
                return;
            }
        }
    }

    async fn close(&self, reason: &str) {
        let close = Close { reason: reason.into(), go_elsewhere: true, refused: false };
        self.session.send(Frame::Close(close)).await;
    }

    async fn take(&mut self, frame: ClientFrame) -> bool {
        self.shared.sessions.heard(&self.session);
        match frame.frame {
            Some(client_frame::Frame::Beat(_)) => self.session.send(Frame::Beat(Default::default())).await,
            Some(client_frame::Frame::Need(need)) => self.send_needed(&need).await,
            Some(client_frame::Frame::Updates(updates)) => self.take_updates(updates).await,
            Some(client_frame::Frame::Description(bytes)) => self.take_description(&bytes).await,
            Some(client_frame::Frame::Restarting(_)) => {
                self.shared.sessions.restarting(&self.session);
                true
            }
            Some(client_frame::Frame::Leaving(_)) => self.take_leave().await,
            Some(client_frame::Frame::Hello(_)) | None => true,
        }
    }

    /// Marks the node as down: its agent says so itself, so there is no doubt that the brake should guard against.
    async fn take_leave(&self) -> bool {
        let node_id = self.session.node_id;
        let transition = NodeTransition {
            node_id,
            epoch: self.session.epoch,
            status: NodeStatus::Down,
            description: "its agent left".into(),
        };
        let seed = Uuid::new_v4().as_u64_pair().0;
        let command = Command::NodeTransitions(NodeTransitions { transitions: vec![transition], seed });
        let reason = match self.shared.consensus.propose(command).await {
            Ok(_) => {
                info!(%node_id, "a client left");
                "the node has left".to_owned()
            }
            Err(error) => {
                warn!(%node_id, %error, "a client's leaving could not be stored; it is given up when it is missed");
                error.to_string()
            }
        };
        self.session.send(Frame::Close(Close { reason, go_elsewhere: false, refused: false })).await;
        false
    }

    async fn take_updates(&mut self, updates: Updates) -> bool {
        let decoded: Result<Vec<AllocUpdate>, _> = updates.updates.iter().map(|bytes| decode(bytes)).collect();
        let decoded = match decoded {
            Ok(decoded) => decoded,
            Err(error) => {
                warn!(node_id = %self.session.node_id, %error, "a client sent an update that cannot be read");
                return false;
            }
        };
        let committed = self.shared.updates.submit(self.session.node_id, decoded).await;
        match committed {
            Ok(()) => self.session.send(Frame::Acked(updates.sequence)).await,
            Err(error) => {
                // The client keeps what is not acknowledged and sends it again over its next session.
                debug!(node_id = %self.session.node_id, %error, "a client's updates could not be stored");
                self.close(&error.to_string()).await;
                false
            }
        }
    }

    async fn take_description(&mut self, bytes: &[u8]) -> bool {
        let description: NodeDescription = match decode(bytes) {
            Ok(description) => description,
            Err(error) => {
                warn!(node_id = %self.session.node_id, %error, "a client sent a description that cannot be read");
                return false;
            }
        };
        let command = Command::DescribeNode(DescribeNode {
            node_id: self.session.node_id,
            epoch: self.session.epoch,
            description: Arc::new(description),
        });
        match self.shared.consensus.propose(command).await {
            Ok(_) => true,
            Err(error) => {
                debug!(node_id = %self.session.node_id, %error, "a client's description could not be stored");
                self.close(&error.to_string()).await;
                false
            }
        }
    }

    async fn send_needed(&mut self, need: &Need) -> bool {
        for bytes in &need.jobs {
            if let Ok(key) = decode(bytes) {
                self.jobs.insert(key);
            }
        }
        let state = self.shared.store.snapshot();
        let allocs: Vec<_> = need
            .alloc_ids
            .iter()
            .filter_map(|bytes| state.alloc(&alloc_id(bytes)?))
            .filter(|alloc| alloc.node_id == self.session.node_id)
            .cloned()
            .collect();
        self.send_allocs(&state, allocs, Vec::new()).await
    }

    /// Sends what changed since it was last sent.
    async fn send_changes(&mut self) -> bool {
        let state = self.shared.store.snapshot();
        let changed: Vec<_> = state
            .allocs_of_node(&self.session.node_id)
            .filter(|alloc| self.sent.get(&alloc.id).is_none_or(|sent| *sent < alloc.alloc_modify_index))
            .cloned()
            .collect();
        let removed: Vec<_> = self.sent.keys().filter(|id| state.alloc(id).is_none()).copied().collect();
        if changed.is_empty() && removed.is_empty() {
            return true;
        }
        self.send_allocs(&state, changed, removed).await
    }

    async fn send_allocs(&mut self, state: &State, allocs: Vec<Arc<Allocation>>, removed: Vec<AllocId>) -> bool {
        let mut frame = Allocs { index: state.last_index().0, ..Allocs::default() };
        for id in &removed {
            self.sent.remove(id);
            frame.removed.push(id.as_uuid().as_bytes().to_vec());
        }
        let mut size = 0;
        for alloc in allocs {
            self.sent.insert(alloc.id, alloc.alloc_modify_index);
            let key = alloc.job.version_key();
            if !self.jobs.contains(&key) {
                match document::encode(&*alloc.job) {
                    Ok(job) => {
                        size += job.len();
                        frame.jobs.push(job);
                        self.jobs.insert(key);
                    }
                    Err(error) => warn!(alloc_id = %alloc.id, %error, "a job cannot be sent to its client"),
                }
            }
            match document::encode(&alloc.to_record()) {
                Ok(alloc) => {
                    size += alloc.len();
                    frame.allocs.push(alloc);
                }
                Err(error) => warn!(alloc_id = %alloc.id, %error, "an allocation cannot be sent to its client"),
            }
            if size >= FRAME_BYTES {
                let full = std::mem::replace(&mut frame, Allocs { index: state.last_index().0, ..Allocs::default() });
                size = 0;
                if !self.session.send(Frame::Allocs(full)).await {
                    return false;
                }
            }
        }
        self.session.send(Frame::Allocs(frame)).await
    }
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, document::Error> {
    document::decode(bytes)
}
