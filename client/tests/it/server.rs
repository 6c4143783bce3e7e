//! A server for tests: it keeps allocations, tells clients of them, and remembers everything it is told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use futures::Stream;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use orch_model::allocation::{AllocUpdate, ClientStatus};
use orch_model::node::NodeDescription;
use orch_model::{AllocId, Allocation, StateIndex, document};
use orch_proto::v1::clients_server::{Clients, ClientsServer};
use orch_proto::v1::{
    Allocs, Bytes, ClientFrame, Empty, Hello, Inventory, InventoryItem, ServerFrame, Welcome, client_frame,
    server_frame,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::{mpsc, watch};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;

/// How long a test waits for a state before it fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

type Frames = mpsc::Sender<Result<ServerFrame, Status>>;

/// What the server knows.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) index: u64,
    pub(crate) allocs: BTreeMap<AllocId, Arc<Allocation>>,
    /// What clients said, in order.
    pub(crate) said: Vec<AllocUpdate>,
    pub(crate) hellos: Vec<Hello>,
    pub(crate) description: NodeDescription,
    pub(crate) restarting: u32,
    frames: Option<Frames>,
    answers: BTreeMap<String, DuplexStream>,
}

impl Known {
    /// What clients last said of an allocation.
    pub(crate) fn status(&self, id: AllocId) -> Option<ClientStatus> {
        self.last(id).map(|update| update.client_status)
    }

    pub(crate) fn last(&self, id: AllocId) -> Option<&AllocUpdate> {
        self.said.iter().rev().find(|update| update.id == id)
    }
}

/// The server; clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    known: Arc<Mutex<Known>>,
    changed: watch::Sender<u64>,
    pub(crate) address: SocketAddr,
    router: Router,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(Router::new().route("/v1/status/leader", axum::routing::get(|| async { "the leader" }))).await
    }

    /// A server that answers what clients ask by `router`.
    pub(crate) async fn with(router: Router) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            known: Arc::default(),
            changed: watch::Sender::new(0),
            address: listener.local_addr().unwrap(),
            router,
        };
        let service = ClientsServer::new(server.clone());
        // Without this, answers wait for the client's delayed acknowledgements.
        let incoming =
            TcpListenerStream::new(listener).map(|stream| stream.inspect(|stream| stream.set_nodelay(true).unwrap()));
        // It ends with the test's runtime.
        tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));
        server
    }

    pub(crate) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap()
    }

    fn change<T>(&self, change: impl FnOnce(&mut Known) -> T) -> T {
        let result = change(&mut self.known());
        self.changed.send_modify(|count| *count += 1);
        result
    }

    /// Waits until `reached`; fails the test with everything the server knows if that takes too long.
    pub(crate) async fn wait(&self, what: &str, reached: impl Fn(&Known) -> bool) {
        let mut changes = self.changed.subscribe();
        let wait = async {
            loop {
                if reached(&self.known()) {
                    return;
                }
                changes.changed().await.unwrap();
            }
        };
        if tokio::time::timeout(DEADLINE, wait).await.is_err() {
            panic!("{what} was not reached: {:#?}", self.known());
        }
    }

    pub(crate) async fn wait_status(&self, id: AllocId, status: ClientStatus) {
        self.wait(&format!("{id} {status}"), |known| known.status(id) == Some(status)).await;
    }

    /// Sets an allocation as it is wanted, and tells a connected client.
    pub(crate) async fn put(&self, mut alloc: Allocation) {
        let frames = self.change(|known| {
            known.index += 1;
            alloc.alloc_modify_index = StateIndex(known.index);
            known.allocs.insert(alloc.id, Arc::new(alloc.clone()));
            known.frames.clone()
        });
        if let Some(frames) = frames {
            // A client that is away learns it when it returns.
            let _away = frames.send(Ok(self.allocs(vec![Arc::new(alloc)], Vec::new()))).await;
        }
    }

    /// Changes an allocation.
    pub(crate) async fn modify(&self, id: AllocId, change: impl FnOnce(&mut Allocation)) {
        let mut alloc = Allocation::clone(&self.known().allocs[&id]);
        change(&mut alloc);
        self.put(alloc).await;
    }

    /// Forgets an allocation, and tells a connected client.
    pub(crate) async fn remove(&self, id: AllocId) {
        let frames = self.change(|known| {
            known.index += 1;
            known.allocs.remove(&id);
            known.frames.clone()
        });
        if let Some(frames) = frames {
            let _away = frames.send(Ok(self.allocs(Vec::new(), vec![id]))).await;
        }
    }

    /// Sends a request to the client's own API.
    pub(crate) async fn ask_client(&self, path: &str) -> String {
        let frames = self.known().frames.clone().unwrap();
        let open = server_frame::Frame::Open("stream-1".into());
        frames.send(Ok(ServerFrame { frame: Some(open) })).await.unwrap();
        self.wait("the client's stream", |known| known.answers.contains_key("stream-1")).await;
        let stream = self.known().answers.remove("stream-1").unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = http::Request::get(path).header("host", "client").body(axum::body::Body::empty()).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        let bytes = axum::body::to_bytes(axum::body::Body::new(answer.into_body()), 1 << 20).await.unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    fn allocs(&self, allocs: Vec<Arc<Allocation>>, removed: Vec<AllocId>) -> ServerFrame {
        let frame = Allocs {
            index: self.known().index,
            allocs: allocs.iter().map(|alloc| document::encode(&alloc.to_record()).unwrap()).collect(),
            jobs: allocs.iter().map(|alloc| document::encode(&*alloc.job).unwrap()).collect(),
            removed: removed.into_iter().map(|id| id.as_uuid().as_bytes().to_vec()).collect(),
        };
        ServerFrame { frame: Some(server_frame::Frame::Allocs(frame)) }
    }

    async fn serve(self, mut incoming: Streaming<ClientFrame>, frames: Frames) {
        let say = async |frame| frames.send(Ok(ServerFrame { frame: Some(frame) })).await.is_ok();
        while let Ok(Some(ClientFrame { frame: Some(frame) })) = incoming.message().await {
            match frame {
                client_frame::Frame::Hello(hello) => {
                    let inventory = self.change(|known| {
                        known.description = document::decode(&hello.description).unwrap();
                        known.hellos.push(hello);
                        known.frames = Some(frames.clone());
                        let items = known.allocs.values().map(|alloc| InventoryItem {
                            alloc_id: alloc.id.as_uuid().as_bytes().to_vec(),
                            alloc_modify_index: alloc.alloc_modify_index.0,
                        });
                        Inventory { index: known.index, items: items.collect() }
                    });
                    let cluster_id = Uuid::from_u128(99).to_string();
                    let welcome = Welcome { cluster_id, epoch: 1, beat_interval_ms: 1000, servers: Vec::new() };
                    say(server_frame::Frame::Welcome(welcome)).await;
                    say(server_frame::Frame::Inventory(inventory)).await;
                }
                client_frame::Frame::Need(need) => {
                    let ids: Vec<_> =
                        need.alloc_ids.iter().map(|id| AllocId::from_uuid(Uuid::from_slice(id).unwrap())).collect();
                    let needed = ids.iter().map(|id| Arc::clone(&self.known().allocs[id])).collect();
                    let allocs = self.allocs(needed, Vec::new());
                    let _gone = frames.send(Ok(allocs)).await;
                }
                client_frame::Frame::Updates(updates) => {
                    let said = updates.updates.iter().map(|update| document::decode(update).unwrap());
                    self.change(|known| known.said.extend(said));
                    say(server_frame::Frame::Acked(updates.sequence)).await;
                }
                client_frame::Frame::Description(bytes) => {
                    self.change(|known| known.description = document::decode(&bytes).unwrap());
                }
                client_frame::Frame::Beat(_) => {
                    say(server_frame::Frame::Beat(Empty {})).await;
                }
                client_frame::Frame::Restarting(_) => self.change(|known| known.restarting += 1),
                client_frame::Frame::Leaving(_) => {}
            }
        }
        self.change(|known| known.frames = None);
    }
}

type BytesStream = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

#[tonic::async_trait]
impl Clients for Server {
    type SessionStream = ReceiverStream<Result<ServerFrame, Status>>;
    type TunnelStream = BytesStream;
    type AnswerStream = BytesStream;

    async fn session(&self, request: Request<Streaming<ClientFrame>>) -> Result<Response<Self::SessionStream>, Status> {
        let (frames, receiver) = mpsc::channel(64);
        tokio::spawn(self.clone().serve(request.into_inner(), frames));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn tunnel(&self, request: Request<Streaming<Bytes>>) -> Result<Response<BytesStream>, Status> {
        let (stream, outgoing) = bridge(request.into_inner());
        let service = TowerToHyperService::new(self.router.clone());
        tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        Ok(Response::new(outgoing))
    }

    async fn answer(&self, request: Request<Streaming<Bytes>>) -> Result<Response<BytesStream>, Status> {
        let id = request.metadata().get("orch-stream-id").unwrap().to_str().unwrap().to_owned();
        let (stream, outgoing) = bridge(request.into_inner());
        self.change(|known| known.answers.insert(id, stream));
        Ok(Response::new(outgoing))
    }
}

/// A gRPC stream as something that reads and writes.
fn bridge(mut incoming: Streaming<Bytes>) -> (DuplexStream, BytesStream) {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let (mut reader, mut writer) = tokio::io::split(far);
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(async move {
        while let Some(Ok(piece)) = incoming.next().await {
            writer.write_all(&piece.data).await.unwrap();
        }
        writer.shutdown().await.unwrap();
    });
    tokio::spawn(async move {
        let mut buffer = vec![0; 4096];
        while let Ok(read @ 1..) = reader.read(&mut buffer).await {
            if sender.send(Ok(Bytes { data: buffer[..read].to_vec() })).await.is_err() {
                return;
            }
        }
    });
    (near, Box::pin(ReceiverStream::new(receiver)))
}
