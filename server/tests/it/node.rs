//! A node without an agent: it opens a session and says of its allocations what the test wants.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use orch_model::allocation::{AllocUpdate, ClientStatus};
use orch_model::{AllocId, Allocation, JobVersionKey, NodeId, document};
use orch_proto::v1::client_frame::Frame;
use orch_proto::v1::clients_client::ClientsClient;
use orch_proto::v1::{Allocs, Beat, ClientFrame, Empty, Hello, Need, Updates, server_frame};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use uuid::Uuid;

/// What a node says of the allocations that it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Says {
    /// They run and are well.
    Healthy,
    /// They run; whether they are well remains open.
    Running,
    /// They have failed.
    Failed,
}

/// What a node says of an allocation.
type Opinion = Box<dyn Fn(&Allocation<JobVersionKey>) -> Says + Send>;

struct Shared {
    says: Mutex<Opinion>,
    changed: Notify,
    leaves: Notify,
}

/// A node with an open session.
pub(crate) struct TestNode {
    pub(crate) id: NodeId,
    shared: Arc<Shared>,
    task: JoinHandle<Option<String>>,
}

impl TestNode {
    /// Opens a session of node `number` with the server at `addr`.
    pub(crate) async fn start(
        number: u32,
        addr: &str,
        says: impl Fn(&Allocation<JobVersionKey>) -> Says + Send + 'static,
    ) -> Self {
        let node = orch_model::testing::node(number);
        let id = node.clone().build().id;
        let description = node.description();
        let mut client = ClientsClient::connect(format!("http://{addr}")).await.unwrap();
        let (frames, outgoing) = mpsc::channel(64);
        let hello = Hello {
            node_id: id.as_uuid().as_bytes().to_vec(),
            description: document::encode(&description).unwrap(),
            boot: 1,
            ..Hello::default()
        };
        send(&frames, Frame::Hello(hello)).await;
        let incoming = client.session(ReceiverStream::new(outgoing)).await.unwrap().into_inner();
        let shared =
            Arc::new(Shared { says: Mutex::new(Box::new(says)), changed: Notify::new(), leaves: Notify::new() });
        let session =
            Session { shared: Arc::clone(&shared), frames, held: BTreeMap::new(), told: BTreeMap::new(), sequence: 0 };
        Self { id, shared, task: tokio::spawn(session.run(incoming)) }
    }

    /// Says something else from now on, also of what it runs already.
    pub(crate) fn says(&self, says: impl Fn(&Allocation<JobVersionKey>) -> Says + Send + 'static) {
        *self.shared.says.lock().unwrap() = Box::new(says);
        self.shared.changed.notify_one();
    }

    /// Leaves for good; answers what the server said to that.
    pub(crate) async fn leave(self) -> Option<String> {
        self.shared.leaves.notify_one();
        self.task.await.unwrap()
    }
}

struct Session {
    shared: Arc<Shared>,
    frames: mpsc::Sender<ClientFrame>,
    held: BTreeMap<AllocId, Allocation<JobVersionKey>>,
    /// What was said of each allocation last.
    told: BTreeMap<AllocId, (ClientStatus, Option<bool>)>,
    sequence: u64,
}

impl Session {
    async fn run(mut self, mut incoming: tonic::Streaming<orch_proto::v1::ServerFrame>) -> Option<String> {
        let mut beats = tokio::time::interval(Duration::from_secs(1));
        let shared = Arc::clone(&self.shared);
        loop {
            tokio::select! {
                frame = incoming.message() => match frame.ok()??.frame? {
                    server_frame::Frame::Inventory(inventory) => {
                        let alloc_ids = inventory.items.into_iter().map(|item| item.alloc_id).collect();
                        send(&self.frames, Frame::Need(Need { alloc_ids, jobs: Vec::new() })).await;
                    }
                    server_frame::Frame::Allocs(allocs) => self.take(&allocs).await,
                    server_frame::Frame::Close(close) => return Some(close.reason),
                    _ => {}
                },
                () = shared.changed.notified() => self.report().await,
                () = shared.leaves.notified() => send(&self.frames, Frame::Leaving(Empty {})).await,
                _ = beats.tick() => send(&self.frames, Frame::Beat(Beat { running: 0 })).await,
            }
        }
    }

    async fn take(&mut self, allocs: &Allocs) {
        for bytes in &allocs.allocs {
            let alloc: Allocation<JobVersionKey> = document::decode(bytes).unwrap();
            self.held.insert(alloc.id, alloc);
        }
        for id in allocs.removed.iter().map(|id| AllocId::from_uuid(Uuid::from_slice(id).unwrap())) {
            self.held.remove(&id);
        }
        self.report().await;
    }

    /// Says what has changed since it was last said.
    async fn report(&mut self) {
        let mut updates = Vec::new();
        for alloc in self.held.values() {
            let (client_status, health) = if alloc.desired.is_stop() {
                (ClientStatus::Complete, None)
            } else {
                match self.shared.says.lock().unwrap()(alloc) {
                    Says::Healthy => (ClientStatus::Running, Some(true)),
                    Says::Running => (ClientStatus::Running, None),
                    Says::Failed => (ClientStatus::Failed, Some(false)),
                }
            };
            if self.told.insert(alloc.id, (client_status, health)) != Some((client_status, health)) {
                let update = AllocUpdate { id: alloc.id, client_status, tasks: Arc::default(), health };
                updates.push(document::encode(&update).unwrap());
            }
        }
        if !updates.is_empty() {
            self.sequence += 1;
            send(&self.frames, Frame::Updates(Updates { sequence: self.sequence, updates })).await;
        }
    }
}

async fn send(frames: &mpsc::Sender<ClientFrame>, frame: Frame) {
    // The server may have ended the session.
    drop(frames.send(ClientFrame { frame: Some(frame) }).await);
}
