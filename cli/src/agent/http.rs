//! The HTTP listener: connections in, requests to the router, and an end that lets answers finish.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use orch_config::ConnectionLimit;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::metrics;

/// How many connections are served at a time; further ones wait to be accepted.
const CONNECTIONS: usize = 20_000;
/// How long a client may take to send the head of a request.
const HEAD_WITHIN: Duration = Duration::from_secs(30);
/// How long accepting pauses when the system has no descriptors left.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a connection that is refused may take to read why.
const REFUSED_WITHIN: Duration = Duration::from_secs(1);
/// How long answers may take to finish when the agent ends.
const FINISH_WITHIN: Duration = Duration::from_secs(2);

/// The running listeners.
#[derive(Debug)]
pub(super) struct HttpServer {
    shutdown: CancellationToken,
    listeners: JoinSet<()>,
}

impl HttpServer {
    /// Serves `router` on all of `listeners`, which share the limit of connections.
    pub(super) fn start(listeners: Vec<TcpListener>, router: &Router, limit: ConnectionLimit) -> Self {
        let shutdown = CancellationToken::new();
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        let callers = Arc::new(Callers::new(limit));
        let mut running = JoinSet::new();
        for listener in listeners {
            running.spawn(serve(listener, router.clone(), Arc::clone(&room), Arc::clone(&callers), shutdown.clone()));
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

/// Who has how many connections open.
#[derive(Debug)]
struct Callers {
    limit: ConnectionLimit,
    open: Mutex<BTreeMap<IpAddr, usize>>,
}

/// A connection that is counted for as long as this is kept.
#[derive(Debug)]
struct Seat {
    callers: Arc<Callers>,
    ip: IpAddr,
}

impl Callers {
    fn new(limit: ConnectionLimit) -> Self {
        Self { limit, open: Mutex::default() }
    }

    /// Counts a connection from `ip`, unless there are too many already.
    fn admit(self: &Arc<Self>, ip: IpAddr) -> Option<Seat> {
        let ip = ip.to_canonical();
        let limited = self.limit.per_client > 0 && (self.limit.for_loopback || !ip.is_loopback());
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(ip).or_default();
        if limited && *count >= self.limit.per_client {
            return None;
        }
        *count += 1;
        Some(Seat { callers: Arc::clone(self), ip })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.callers.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.ip);
            }
        }
    }
}

/// Tells a caller that it has too many connections.
async fn turn_away(mut stream: TcpStream, limit: usize) -> std::io::Result<()> {
    let text = format!(
        "this address has {limit} connections open already: close some, or raise http_max_conns_per_client in the \
         agent's `limits` block\n"
    );
    let answer = format!(
        "HTTP/1.1 429 Too Many Requests\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{text}",
        text.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    // Closing with something unread would take the answer back before it is read.
    let mut rest = [0; 1024];
    while stream.read(&mut rest).await? > 0 {}
    Ok(())
}

async fn serve(
    listener: TcpListener,
    router: Router,
    room: Arc<Semaphore>,
    callers: Arc<Callers>,
    shutdown: CancellationToken,
) {
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
        let Some(seat) = callers.admit(peer.ip()) else {
            metrics::exceeded();
            debug!(%peer, "a connection is refused, its address has too many");
            let limit = callers.limit.per_client;
            connections.spawn(async move {
                drop(tokio::time::timeout(REFUSED_WITHIN, turn_away(stream, limit)).await);
                drop(permit);
            });
            continue;
        };
        let connection = graceful.watch(connect(&builder, stream, &router));
        connections.spawn(async move {
            metrics::connection(true);
            if let Err(error) = connection.await {
                debug!(%error, %peer, "a connection broke");
            }
            metrics::connection(false);
            drop((seat, permit));
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

#[cfg(test)]
mod tests {
    use axum::routing::get;

    use super::*;

    async fn ask(addr: SocketAddr) -> (TcpStream, String) {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut head = vec![0; 12];
        stream.read_exact(&mut head).await.unwrap();
        (stream, String::from_utf8(head).unwrap())
    }

    #[tokio::test]
    async fn an_address_with_too_many_connections_is_told_so_until_one_of_them_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(|| async { "well" }));
        let limit = ConnectionLimit { per_client: 2, for_loopback: true };
        let server = HttpServer::start(vec![listener], &router, limit);
        let (first, answer) = ask(addr).await;
        assert_eq!(answer, "HTTP/1.1 200");
        let (_second, answer) = ask(addr).await;
        assert_eq!(answer, "HTTP/1.1 200");
        let (mut third, answer) = ask(addr).await;
        assert_eq!(answer, "HTTP/1.1 429");
        let mut rest = String::new();
        third.read_to_string(&mut rest).await.unwrap();
        assert!(rest.contains("this address has 2 connections open already"), "{rest}");
        drop(first);
        let again = async {
            while ask(addr).await.1 != "HTTP/1.1 200" {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), again).await.unwrap();
        server.finish().await;
    }

    #[test]
    fn the_machine_itself_is_limited_only_where_the_operator_says_so() {
        let callers = |for_loopback| Arc::new(Callers::new(ConnectionLimit { per_client: 1, for_loopback }));
        for (ip, for_loopback, second) in [
            ("127.0.0.9", false, true),
            ("127.0.0.9", true, false),
            ("10.0.0.1", false, false),
            ("::ffff:127.0.0.1", false, true),
        ] {
            let (callers, ip) = (callers(for_loopback), ip.parse().unwrap());
            let first = callers.admit(ip).unwrap();
            assert_eq!(callers.admit(ip).is_some(), second, "{ip}");
            drop(first);
            assert!(callers.admit(ip).is_some() && callers.open.lock().unwrap().is_empty(), "{ip}");
        }
    }
}
