//! One simulated node: its session with a server.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use orch_model::allocation::AllocUpdate;
use orch_model::ids::Secret;
use orch_model::node::{DriverInfo, NodeAddress, NodeDescription, NodeNetwork, NodeResources};
use orch_model::{AllocId, Allocation, Job, JobVersionKey, MebiBytes, Mhz, StateIndex, document};
use orch_proto::v1::client_frame::Frame as Says;
use orch_proto::v1::clients_client::ClientsClient;
use orch_proto::v1::server_frame::Frame as Hears;
use orch_proto::v1::{Beat, ClientFrame, Hello, Need, ServerFrame, Updates};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Endpoint;
use uuid::Uuid;

use crate::holdings::Shared;

/// How often a node says that it is there, as client agents do.
const BEAT: Duration = Duration::from_secs(3);
/// How long to wait after a session was lost.
const RETRY: Duration = Duration::from_millis(500);
const CONNECT: Duration = Duration::from_secs(5);
/// Frames under way to the server; when full, the node waits.
const FRAMES: usize = 16;
const FRAME_BYTES: usize = 64 << 20;

/// What a node is told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Have so many running allocations end badly.
    Fail(usize),
    /// Fall silent.
    Vanish,
    /// Come back.
    Return,
}

/// One simulated node.
pub(crate) struct Node {
    id: Uuid,
    description: NodeDescription,
    servers: Vec<String>,
    cluster_id: String,
    held: Arc<Shared>,
}

/// Why a session ended.
enum End {
    Vanished,
    Over,
}

impl Node {
    pub(crate) fn new(id: Uuid, number: usize, servers: Vec<String>, cpu: u32, memory: u64, held: Arc<Shared>) -> Self {
        let network = NodeNetwork {
            mode: "host".into(),
            device: "sim0".into(),
            addresses: vec![NodeAddress {
                alias: "default".into(),
                address: format!("10.{}.{}.{}", number >> 16 & 255, number >> 8 & 255, number & 255),
                ..NodeAddress::default()
            }],
            ..NodeNetwork::default()
        };
        let resources = NodeResources {
            cpu: Mhz(cpu),
            total_cores: 64,
            memory: MebiBytes(memory),
            disk: MebiBytes(100_000_000),
            networks: vec![network],
            ..NodeResources::default()
        };
        let driver = DriverInfo { detected: true, healthy: true, ..DriverInfo::default() };
        let attributes = [("kernel.name", "linux"), ("cpu.arch", "amd64"), ("driver.mock_driver", "1")];
        let description = NodeDescription {
            secret_id: Secret::new(format!("secret of {id}")),
            name: format!("sim-{number}"),
            datacenter: "dc1".into(),
            node_pool: "default".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            attributes: attributes.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            meta: BTreeMap::from([("rack".into(), format!("r{}", number % 25))]),
            resources,
            drivers: BTreeMap::from([("mock_driver".into(), driver)]),
            ..NodeDescription::default()
        };
        Self { id, description, servers, cluster_id: String::new(), held }
    }

    /// Keeps a session open, and does what it is told, until nobody gives orders any more.
    pub(crate) async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        loop {
            let end = self.session(&mut orders).await;
            self.held.set_connected(false);
            match end {
                Ok(End::Vanished) => loop {
                    match orders.recv().await {
                        Some(Order::Return) => break,
                        Some(Order::Fail(_) | Order::Vanish) => {}
                        None => return,
                    }
                },
                // Whether it ended well or not, the next server is tried.
                Ok(End::Over) | Err(_) => {
                    self.servers.rotate_left(1);
                    sleep(RETRY).await;
                }
            }
        }
    }

    async fn session(&mut self, orders: &mut mpsc::Receiver<Order>) -> Result<End> {
        let server = self.servers.first().context("there are no servers")?;
        let channel = Endpoint::from_shared(format!("http://{server}"))?.connect_timeout(CONNECT).connect().await?;
        let (frames, receiver) = mpsc::channel(FRAMES);
        let hello = Hello {
            cluster_id: self.cluster_id.clone(),
            node_id: self.id.as_bytes().to_vec(),
            description: document::encode(&self.description)?,
            boot: 1,
            seen_index: 0,
        };
        say(&frames, Says::Hello(hello)).await?;
        let mut client = ClientsClient::new(channel).max_decoding_message_size(FRAME_BYTES);
        let mut incoming = client.session(ReceiverStream::new(receiver)).await?.into_inner();
        let mut beats = interval_at(Instant::now() + BEAT, BEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut sequence = 0;
        loop {
            let updates = tokio::select! {
                frame = next(&mut incoming) => match self.hear(frame?, &frames).await? {
                    Some(updates) => updates,
                    None => return Ok(End::Over),
                },
                _ = beats.tick() => {
                    let running = u32::try_from(self.held.running()).unwrap_or(u32::MAX);
                    say(&frames, Says::Beat(Beat { running })).await?;
                    Vec::new()
                }
                order = orders.recv() => match order {
                    Some(Order::Fail(count)) => self.held.lock().fail(count),
                    Some(Order::Vanish) => return Ok(End::Vanished),
                    Some(Order::Return) => Vec::new(),
                    // The fleet ends; until then the node is there.
                    None => std::future::pending().await,
                },
            };
            if !updates.is_empty() {
                sequence += 1;
                let updates = updates.iter().map(document::encode).collect::<Result<_, _>>()?;
                say(&frames, Says::Updates(Updates { sequence, updates })).await?;
            }
        }
    }

    /// Does what a frame asks for and answers what there is to report; `None` ends the session.
    async fn hear(&mut self, frame: Hears, frames: &mpsc::Sender<ClientFrame>) -> Result<Option<Vec<AllocUpdate>>> {
        match frame {
            Hears::Welcome(welcome) => {
                self.cluster_id = welcome.cluster_id;
                self.held.set_connected(true);
                Ok(Some(Vec::new()))
            }
            Hears::Inventory(inventory) => {
                let known: BTreeMap<AllocId, StateIndex> = inventory
                    .items
                    .iter()
                    .filter_map(|item| Some((alloc_id(&item.alloc_id)?, StateIndex(item.alloc_modify_index))))
                    .collect();
                let needed = self.held.lock().compare(&known);
                let alloc_ids = needed.iter().map(|id| id.as_uuid().as_bytes().to_vec()).collect();
                say(frames, Says::Need(Need { alloc_ids, jobs: Vec::new() })).await?;
                Ok(Some(self.held.lock().all()))
            }
            Hears::Allocs(allocs) => {
                let mut held = self.held.lock();
                for job in &allocs.jobs {
                    held.learn(document::decode::<Job>(job)?);
                }
                allocs.removed.iter().filter_map(|id| alloc_id(id)).for_each(|id| held.forget(&id));
                let mut updates = Vec::new();
                for alloc in &allocs.allocs {
                    updates.extend(held.obey(&document::decode::<Allocation<JobVersionKey>>(alloc)?));
                }
                Ok(Some(updates))
            }
            Hears::Close(close) if close.refused => bail!("the server refuses this node: {}", close.reason),
            Hears::Close(_) => Ok(None),
            Hears::Acked(_) | Hears::Open(_) | Hears::Servers(_) | Hears::Beat(_) => Ok(Some(Vec::new())),
        }
    }
}

async fn say(frames: &mpsc::Sender<ClientFrame>, frame: Says) -> Result<()> {
    frames.send(ClientFrame { frame: Some(frame) }).await.context("the session is closed")
}

async fn next(incoming: &mut Streaming<ServerFrame>) -> Result<Hears> {
    let frame = incoming.message().await?.context("the server closed the session")?;
    frame.frame.context("the server said something unknown")
}

fn alloc_id(bytes: &[u8]) -> Option<AllocId> {
    Uuid::from_slice(bytes).ok().map(AllocId::from_uuid)
}
