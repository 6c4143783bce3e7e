//! The HTTP listener: connections in, requests to the router, and an end that lets answers finish.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// How many connections are served at a time; further ones wait to be accepted.
const CONNECTIONS: usize = 20_000;
/// How long a client may take to send the head of a request.
const HEAD_WITHIN: Duration = Duration::from_secs(30);
/// How long accepting pauses when the system has no descriptors left.
const PAUSE: Duration = Duration::from_millis(100);
/// How long answers may take to finish when the agent ends.
const FINISH_WITHIN: Duration = Duration::from_secs(2);

/// The running listeners.
#[derive(Debug)]
pub(super) struct HttpServer {
    shutdown: CancellationToken,
    listeners: JoinSet<()>,
}

impl HttpServer {
    /// Serves `router` on all of `listeners`.
    pub(super) fn start(listeners: Vec<TcpListener>, router: &Router) -> Self {
        let shutdown = CancellationToken::new();
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        let mut running = JoinSet::new();
        for listener in listeners {
            running.spawn(serve(listener, router.clone(), Arc::clone(&room), shutdown.clone()));
        }
        Self { shutdown, listeners: running }
    }

    /// Accepts no more, and asks open connections to end after their answers.
    pub(super) fn begin_stop(&self) {
        self.shutdown.cancel();
    }

    /// Waits until every connection has ended, for two seconds at most.
    pub(super) async fn finish(mut self) {
        self.shutdown.cancel();
        while let Some(ended) = self.listeners.join_next().await {
            if let Err(error) = ended {
                warn!(%error, "a listener ended by a fault");
            }
        }
    }
}

async fn serve(listener: TcpListener, router: Router, room: Arc<Semaphore>, shutdown: CancellationToken) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN);
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let mut stop = pin!(shutdown.cancelled());
    loop {
        // The semaphore is never closed.
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { break };
        let (stream, peer) = tokio::select! {
            () = &mut stop => break,
            Some(_ended) = connections.join_next() => continue,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            },
        };
        let connection = graceful.watch(connect(&builder, stream, &router));
        connections.spawn(async move {
            if let Err(error) = connection.await {
                debug!(%error, %peer, "a connection broke");
            }
            drop(permit);
        });
    }
    drop(listener);
    if tokio::time::timeout(FINISH_WITHIN, graceful.shutdown()).await.is_err() {
        debug!("connections were still open when the agent ended");
    }
    connections.shutdown().await;
}

/// A connection as hyper drives it.
fn connect(
    builder: &Builder<TokioExecutor>,
    stream: TcpStream,
    router: &Router,
) -> impl hyper_util::server::graceful::GracefulConnection<Error = Box<dyn std::error::Error + Send + Sync>> + Send + use<>
{
    // Answers are small and complete; waiting for more would only delay them. A socket that refuses is served all the same.
    drop(stream.set_nodelay(true));
    let service = TowerToHyperService::new(router.clone());
    builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned()
}

/// The addresses that listeners got.
pub(super) fn addresses(listeners: &[TcpListener]) -> std::io::Result<Vec<SocketAddr>> {
    listeners.iter().map(TcpListener::local_addr).collect()
}
