//! The client's connection to one of the servers.
//!
//! It is opened by the client, so that it works from behind address translation, and carries everything: registration,
//! beats and updates up, changes of allocations down, and byte streams both ways.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use orch_model::NodeId;
use orch_model::node::NodeDescription;
use orch_proto::v1;
use orch_proto::v1::client_frame::Frame as ClientSays;
use orch_proto::v1::clients_client::ClientsClient;
use orch_proto::v1::server_frame::Frame as ServerSays;
use rand::seq::SliceRandom;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Streaming;
use tonic::transport::Channel;
use tracing::{debug, error, info, warn};

mod backoff;
mod frames;
mod grpc_io;
mod streams;

pub(crate) use self::frames::{Delta, Outgoing, SessionEvent};
pub(crate) use self::streams::tunnel;

use self::backoff::Backoff;
use crate::error::chain;
use crate::transport::Transport;

/// How long a server may take to take the client in.
const WELCOME_WITHIN: Duration = Duration::from_secs(5);
/// How long a frame may wait for the connection to take it.
const SEND_WITHIN: Duration = Duration::from_secs(5);
/// The largest frame taken from a server, in bytes.
const FRAME_BYTES: usize = 64 << 20;
/// How many frames wait to be sent before the session waits.
const FRAMES: usize = 16;
/// Beats, if a server does not say how often.
const BEAT_EVERY: Duration = Duration::from_secs(3);
/// A connection that held this long was a good one, and the next is tried without much waiting.
const STEADY: Duration = Duration::from_secs(5);
/// How long the last word to a server may take when the agent stops.
const FAREWELL_WITHIN: Duration = Duration::from_millis(500);
/// The same where the servers have to agree on it first: that the node leaves.
const LEFT_WITHIN: Duration = Duration::from_secs(3);

/// What a session says of the node when it opens a connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Greeting {
    /// The cluster that the node belongs to; empty before first contact.
    pub(crate) cluster_id: String,
    /// The highest index obeyed.
    pub(crate) seen_index: u64,
    /// How many allocations run, for the beats.
    pub(crate) running: u32,
}

/// Keeps a connection to a server.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) node_id: NodeId,
    pub(crate) boot: u64,
    pub(crate) transport: Transport,
    pub(crate) description: watch::Receiver<Arc<NodeDescription>>,
    pub(crate) greeting: watch::Receiver<Greeting>,
    /// Where the servers are; the agent writes it.
    pub(crate) servers: watch::Receiver<Vec<String>>,
    /// To the agent; while it is full no more frames are read.
    pub(crate) events: mpsc::Sender<SessionEvent>,
    pub(crate) outgoing: mpsc::Receiver<Outgoing>,
    /// The connection, for others who want to use it.
    pub(crate) channel: watch::Sender<Option<Channel>>,
    pub(crate) router: Arc<OnceLock<Router>>,
    pub(crate) tasks: TaskTracker,
    /// Whether the agent does not come back when it ends.
    pub(crate) leaving: Arc<AtomicBool>,
}

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The agent stops.
    Shutdown,
    /// It could not be opened, or was lost.
    Failed,
    /// The server wants the client to go to another one now.
    GoElsewhere,
    /// The server does not take this client with what it has.
    Refused,
}

/// An open connection.
struct Connection {
    frames: mpsc::Sender<v1::ClientFrame>,
    incoming: Streaming<v1::ServerFrame>,
    channel: Channel,
}

impl Connection {
    /// Whether the connection took the frame.
    async fn say(&self, frame: ClientSays) -> bool {
        let frame = v1::ClientFrame { frame: Some(frame) };
        matches!(timeout(SEND_WITHIN, self.frames.send(frame)).await, Ok(Ok(())))
    }
}

impl Session {
    /// Keeps a connection open until `shutdown`, or until a server refuses the client for good.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let mut backoff = Backoff::default();
        let mut away = Instant::now();
        loop {
            let begun = Instant::now();
            match self.try_each(&mut away, &shutdown).await {
                End::Shutdown | End::Refused => return,
                End::GoElsewhere | End::Failed => {}
            }
            if begun.elapsed() > STEADY {
                backoff.reset();
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.next()) => {}
                () = shutdown.cancelled() => return,
            }
        }
    }

    /// Tries the servers in random order until one was connected; `away` is since when there is no session.
    async fn try_each(&mut self, away: &mut Instant, shutdown: &CancellationToken) -> End {
        let mut servers = self.servers.borrow_and_update().clone();
        servers.shuffle(&mut rand::rng());
        for address in servers {
            let opened = tokio::select! {
                opened = self.open(&address) => opened,
                () = shutdown.cancelled() => return End::Shutdown,
            };
            match opened {
                Ok((connection, welcome)) => {
                    crate::metrics::session_opened(away.elapsed());
                    info!(server = address, "connected to a server");
                    let end = self.attend(connection, welcome, shutdown).await;
                    self.channel.send_replace(None);
                    // The agent is there until the session ends.
                    let _agent_gone = self.events.send(SessionEvent::Closed).await;
                    if end != End::Shutdown {
                        crate::metrics::session_lost();
                    }
                    *away = Instant::now();
                    return end;
                }
                Err(End::Refused) => return End::Refused,
                Err(End::Shutdown | End::Failed | End::GoElsewhere) => crate::metrics::session_failed(),
            }
        }
        End::Failed
    }

    /// Connects, says hello and waits for the welcome.
    async fn open(&mut self, address: &str) -> Result<(Connection, v1::Welcome), End> {
        let failed = |error: String| {
            debug!(server = address, error, "a server cannot be reached");
            End::Failed
        };
        let channel = self.transport.connect(address).await.map_err(|error| failed(chain(&error)))?;
        let (frames, receiver) = mpsc::channel(FRAMES);
        let greeting = self.greeting.borrow().clone();
        let hello = v1::Hello {
            cluster_id: greeting.cluster_id.clone(),
            node_id: self.node_id.as_uuid().as_bytes().to_vec(),
            description: frames::encode(&**self.description.borrow_and_update()).unwrap_or_default(),
            boot: self.boot,
            seen_index: greeting.seen_index,
        };
        let hello = v1::ClientFrame { frame: Some(ClientSays::Hello(hello)) };
        frames.send(hello).await.map_err(|error| failed(error.to_string()))?;
        let mut client = ClientsClient::new(channel.clone()).max_decoding_message_size(FRAME_BYTES);
        let opened = timeout(WELCOME_WITHIN, client.session(ReceiverStream::new(receiver))).await;
        let opened = opened.map_err(|late| failed(late.to_string()))?;
        let incoming = opened.map_err(|status| failed(status.message().to_owned()))?.into_inner();
        let mut connection = Connection { frames, incoming, channel };
        let first = timeout(WELCOME_WITHIN, connection.incoming.message()).await;
        let first = first.map_err(|late| failed(late.to_string()))?;
        match first.map_err(|status| failed(status.message().to_owned()))?.and_then(|frame| frame.frame) {
            Some(ServerSays::Welcome(welcome)) => {
                if !greeting.cluster_id.is_empty() && greeting.cluster_id != welcome.cluster_id {
                    error!(
                        server = address,
                        theirs = welcome.cluster_id,
                        ours = greeting.cluster_id,
                        "a server belongs to another cluster, and is not obeyed"
                    );
                    return Err(End::Failed);
                }
                Ok((connection, welcome))
            }
            Some(ServerSays::Close(close)) => Err(closed(&close)),
            Some(_) | None => Err(failed("it did not begin with a welcome".to_owned())),
        }
    }

    /// Serves one connection until it ends.
    async fn attend(&mut self, mut connection: Connection, welcome: v1::Welcome, shutdown: &CancellationToken) -> End {
        // What was meant for an earlier connection means nothing here.
        while self.outgoing.try_recv().is_ok() {}
        self.channel.send_replace(Some(connection.channel.clone()));
        let mut events = VecDeque::from([
            SessionEvent::Opened { cluster_id: welcome.cluster_id },
            SessionEvent::Servers(welcome.servers),
        ]);
        let every = match welcome.beat_interval_ms {
            0 => BEAT_EVERY,
            millis => Duration::from_millis(u64::from(millis)),
        };
        let mut beats = interval_at(Instant::now() + every, every);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        loop {
            let said = tokio::select! {
                () = shutdown.cancelled() => return self.farewell(connection).await,
                frame = connection.incoming.message(), if events.is_empty() => {
                    heard = Instant::now();
                    match frame {
                        Ok(Some(v1::ServerFrame { frame: Some(frame) })) => match self.hear(frame, &connection.channel) {
                            Ok(event) => events.extend(event),
                            Err(end) => return end,
                        },
                        Ok(Some(v1::ServerFrame { frame: None })) => debug!("a server said something unknown"),
                        Ok(None) => return End::Failed,
                        Err(status) => {
                            warn!(error = status.message(), "the connection to the server was lost");
                            return End::Failed;
                        }
                    }
                    None
                }
                permit = self.events.reserve(), if !events.is_empty() => {
                    let Ok(permit) = permit else { return End::Shutdown };
                    if let Some(event) = events.pop_front() {
                        permit.send(event);
                    }
                    heard = Instant::now();
                    None
                }
                Some(outgoing) = self.outgoing.recv() => Some(outgoing.frame()),
                Ok(()) = self.description.changed() => {
                    let description = frames::encode(&**self.description.borrow_and_update());
                    description.map(ClientSays::Description)
                }
                _ = beats.tick() => {
                    if heard.elapsed() > 2 * every + Duration::from_secs(1) {
                        warn!("the server has fallen silent");
                        return End::GoElsewhere;
                    }
                    Some(ClientSays::Beat(v1::Beat { running: self.greeting.borrow().running }))
                }
            };
            if let Some(frame) = said
                && !connection.say(frame).await
            {
                return End::Failed;
            }
        }
    }

    /// What a frame means for the agent, if anything.
    fn hear(&self, frame: ServerSays, channel: &Channel) -> Result<Option<SessionEvent>, End> {
        Ok(match frame {
            ServerSays::Inventory(inventory) => Some(frames::inventory(&inventory)),
            ServerSays::Allocs(allocs) => Some(frames::delta(&allocs)),
            ServerSays::Acked(sequence) => Some(SessionEvent::Acked(sequence)),
            ServerSays::Servers(servers) => Some(SessionEvent::Servers(servers.addrs)),
            ServerSays::Open(id) => {
                self.tasks.spawn(streams::answer(channel.clone(), id, Arc::clone(&self.router)));
                None
            }
            ServerSays::Close(close) => return Err(closed(&close)),
            ServerSays::Beat(_) | ServerSays::Welcome(_) => None,
        })
    }

    /// Says whether the agent will be back, and waits until the server has heard it.
    async fn farewell(&self, mut connection: Connection) -> End {
        let (word, within) = if self.leaving.load(Ordering::Relaxed) {
            (ClientSays::Leaving(v1::Empty {}), LEFT_WITHIN)
        } else {
            (ClientSays::Restarting(v1::Empty {}), FAREWELL_WITHIN)
        };
        if connection.say(word).await {
            let Connection { frames, incoming, .. } = &mut connection;
            // Closing our direction makes the server close its own once it has read everything.
            let (unused, _) = mpsc::channel(1);
            drop(std::mem::replace(frames, unused));
            let drained = timeout(within, async { while let Ok(Some(_)) = incoming.message().await {} });
            if drained.await.is_err() {
                debug!("the server did not confirm the farewell in time");
            }
        }
        End::Shutdown
    }
}

fn closed(close: &v1::Close) -> End {
    if close.refused {
        error!(reason = close.reason, "the servers refuse this client; it stays away until it is started again");
        End::Refused
    } else {
        info!(reason = close.reason, "the server closed the connection");
        if close.go_elsewhere { End::GoElsewhere } else { End::Failed }
    }
}
