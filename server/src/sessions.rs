//! The sessions of clients that this server holds.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use orch_model::NodeId;
use orch_proto::v1::{ServerFrame, server_frame::Frame};
use tokio::sync::{Notify, broadcast, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::metrics;
use crate::rpc::byte_stream::Connection;
use crate::store::Store;

/// How long a client may take to open the stream it was asked for.
const ANSWER: Duration = Duration::from_secs(5);

/// The sessions of clients that this server holds, at most one per node.
#[derive(Debug)]
pub struct Sessions {
    began: Instant,
    held: Mutex<BTreeMap<NodeId, Arc<Session>>>,
    /// Streams that clients were asked for and have not opened yet.
    awaited: Mutex<BTreeMap<String, Awaited>>,
}

struct Awaited(oneshot::Sender<Box<dyn Connection>>);

impl std::fmt::Debug for Awaited {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Awaited")
    }
}

/// One client's session.
#[derive(Debug)]
pub struct Session {
    /// The node.
    pub node_id: NodeId,
    /// The how-manieth session of the node it is.
    pub epoch: u64,
    /// Weak: the connection ends, as far as the client sees, when the task that serves it does.
    frames: mpsc::WeakSender<ServerFrame>,
    /// Milliseconds from the server's start to when the client was last heard.
    heard_ms: AtomicU64,
    restarting: AtomicBool,
    dropped: AtomicBool,
    /// Told when allocations of the node changed.
    changed: Notify,
    /// Cancelled when the session is to end.
    pub ended: CancellationToken,
}

/// How a session is, for the leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silence {
    /// The node.
    pub node_id: NodeId,
    /// Which of its sessions.
    pub epoch: u64,
    /// How long ago the client was last heard.
    pub silent: Duration,
    /// Whether the agent said that it restarts.
    pub restarting: bool,
    /// Whether the connection was dropped.
    pub dropped: bool,
}

impl Default for Sessions {
    fn default() -> Self {
        Self { began: Instant::now(), held: Mutex::default(), awaited: Mutex::default() }
    }
}

impl Sessions {
    fn held(&self) -> std::sync::MutexGuard<'_, BTreeMap<NodeId, Arc<Session>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Takes a session in; one of the same node that was here before ends.
    pub fn open(&self, node_id: NodeId, epoch: u64, frames: &mpsc::Sender<ServerFrame>) -> Arc<Session> {
        let session = Arc::new(Session {
            node_id,
            epoch,
            frames: frames.downgrade(),
            heard_ms: AtomicU64::new(self.now_ms()),
            restarting: AtomicBool::new(false),
            dropped: AtomicBool::new(false),
            changed: Notify::new(),
            ended: CancellationToken::new(),
        });
        let mut held = self.held();
        if let Some(old) = held.insert(node_id, Arc::clone(&session)) {
            old.ended.cancel();
        }
        metrics::sessions(held.len());
        session
    }

    /// Notes that a connection was dropped; the session stays until the leader gives it up or the client returns.
    pub fn dropped(&self, session: &Session) {
        session.dropped.store(true, Ordering::Relaxed);
    }

    /// Notes that a client was heard.
    pub fn heard(&self, session: &Session) {
        session.heard_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    /// Notes that a client's agent restarts.
    pub fn restarting(&self, session: &Session) {
        session.restarting.store(true, Ordering::Relaxed);
    }

    /// The session of a node, if it is here and connected.
    pub fn of(&self, node: &NodeId) -> Option<Arc<Session>> {
        self.held().get(node).filter(|session| !session.dropped.load(Ordering::Relaxed)).cloned()
    }

    /// Sessions that have been silent for at least `limit`, or were dropped.
    pub fn silent(&self, limit: Duration) -> Vec<Silence> {
        let now = self.now_ms();
        self.held()
            .values()
            .map(|session| Silence {
                node_id: session.node_id,
                epoch: session.epoch,
                silent: Duration::from_millis(now.saturating_sub(session.heard_ms.load(Ordering::Relaxed))),
                restarting: session.restarting.load(Ordering::Relaxed),
                dropped: session.dropped.load(Ordering::Relaxed),
            })
            .filter(|silence| silence.silent >= limit || silence.dropped)
            .collect()
    }

    /// Whether this very session of a node is held here.
    pub fn holds(&self, node: &NodeId, epoch: u64) -> bool {
        self.held().get(node).is_some_and(|session| session.epoch == epoch)
    }

    /// Forgets sessions that have been replaced by newer ones, here or elsewhere.
    pub fn forget_replaced(&self, is_current: impl Fn(&NodeId, u64) -> bool) {
        let mut held = self.held();
        held.retain(|node, session| {
            let keep = is_current(node, session.epoch);
            if !keep {
                session.ended.cancel();
            }
            keep
        });
        metrics::sessions(held.len());
    }

    /// Ends every session, as when this server is cut off or stops.
    pub fn close_all(&self) {
        for session in self.held().values() {
            session.ended.cancel();
        }
    }

    /// How many sessions are held and connected.
    pub fn connected(&self) -> usize {
        self.held().values().filter(|session| !session.dropped.load(Ordering::Relaxed)).count()
    }

    /// Asks a client for a stream and waits until it is open.
    pub async fn connect(&self, session: &Session) -> Option<Box<dyn Connection>> {
        let id = Uuid::new_v4().to_string();
        let (opened, answer) = oneshot::channel();
        self.awaited().insert(id.clone(), Awaited(opened));
        let connection = if session.send(Frame::Open(id.clone())).await {
            tokio::time::timeout(ANSWER, answer).await.ok().and_then(Result::ok)
        } else {
            None
        };
        self.awaited().remove(&id);
        connection
    }

    /// Takes a stream that a client opened because it was asked; `false` if it was not.
    pub fn answered(&self, id: &str, connection: Box<dyn Connection>) -> bool {
        self.awaited().remove(id).is_some_and(|awaited| awaited.0.send(connection).is_ok())
    }

    fn awaited(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Awaited>> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells sessions when allocations of their node change, until `shutdown`.
    pub async fn follow(&self, store: &Store, shutdown: CancellationToken) {
        let mut changes = store.subscribe();
        loop {
            let change = tokio::select! {
                () = shutdown.cancelled() => return,
                change = changes.recv() => change,
            };
            match change {
                Ok(change) => {
                    let held = self.held();
                    for node in &change.nodes_to_tell {
                        if let Some(session) = held.get(node) {
                            session.changed.notify_one();
                        }
                    }
                }
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    self.held().values().for_each(|session| session.changed.notify_one());
                }
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }
}

impl Session {
    /// Waits until allocations of the node changed since the last call.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Sends a frame; `false` once the connection is gone.
    pub async fn send(&self, frame: Frame) -> bool {
        match self.frames.upgrade() {
            Some(frames) => frames.send(ServerFrame { frame: Some(frame) }).await.is_ok(),
            None => false,
        }
    }
}
