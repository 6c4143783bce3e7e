//! Connections to the RPC port as they come in: how many one address may have, and how soon they must speak.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures::{Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Sleep, sleep};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::server::{Connected, TcpConnectInfo};
use tracing::{debug, warn};

use crate::config::RpcLimits;
use crate::metrics;

/// The bytes with which every connection begins: the preface of HTTP/2.
const PREFACE: usize = 24;

/// The connections that `listener` accepts, within `limits`.
pub fn incoming(listener: TcpListener, limits: RpcLimits) -> impl Stream<Item = io::Result<Incoming>> {
    let callers = Arc::new(Callers { limits, open: Mutex::default() });
    TcpListenerStream::new(listener).filter_map(move |accepted| {
        let admitted = accepted.and_then(|stream| callers.admit(stream)).transpose();
        futures::future::ready(admitted)
    })
}

/// Who has how many connections open.
#[derive(Debug)]
struct Callers {
    limits: RpcLimits,
    open: Mutex<BTreeMap<IpAddr, usize>>,
}

impl Callers {
    /// Counts a connection and makes it ready; `None` if its address has too many, which closes it.
    fn admit(self: &Arc<Self>, stream: TcpStream) -> io::Result<Option<Incoming>> {
        // Whoever has gone already has no address.
        let Ok(peer) = stream.peer_addr() else { return Ok(None) };
        let Some(seat) = self.seat(peer.ip()) else {
            metrics::rpc_refused();
            warn!(%peer, limit = self.limits.conns_per_client, "a connection is refused, its address has too many");
            return Ok(None);
        };
        // Small frames must not wait for an acknowledgement; tonic leaves accepted sockets as they are.
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, "a connection keeps its delay");
        }
        let handshake = self.limits.handshake_timeout;
        let handshake =
            (!handshake.is_zero()).then(|| Handshake { left: PREFACE, deadline: Box::pin(sleep(handshake)) });
        Ok(Some(Incoming { stream, handshake, _seat: seat }))
    }

    fn seat(self: &Arc<Self>, ip: IpAddr) -> Option<Seat> {
        let ip = ip.to_canonical();
        let limit = self.limits.conns_per_client;
        let limited = limit > 0 && (self.limits.for_loopback || !ip.is_loopback());
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(ip).or_default();
        if limited && *count >= limit {
            return None;
        }
        *count += 1;
        Some(Seat { callers: Arc::clone(self), ip })
    }
}

/// A connection that is counted for as long as this is kept.
#[derive(Debug)]
struct Seat {
    callers: Arc<Callers>,
    ip: IpAddr,
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

/// What a connection must still say, and by when.
#[derive(Debug)]
struct Handshake {
    left: usize,
    deadline: Pin<Box<Sleep>>,
}

/// A connection that was accepted.
#[derive(Debug)]
pub struct Incoming {
    stream: TcpStream,
    handshake: Option<Handshake>,
    _seat: Seat,
}

impl Connected for Incoming {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Incoming {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        let Some(handshake) = &mut self.handshake else { return read };
        handshake.left = handshake.left.saturating_sub(buffer.filled().len() - before);
        if handshake.left == 0 {
            self.handshake = None;
        } else if read.is_pending() && handshake.deadline.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl AsyncWrite for Incoming {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn limits(conns_per_client: usize, for_loopback: bool) -> RpcLimits {
        RpcLimits { conns_per_client, for_loopback, handshake_timeout: Duration::from_secs(5) }
    }

    #[tokio::test]
    async fn an_address_with_too_many_connections_is_turned_away_until_one_of_them_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let mut incoming = Box::pin(incoming(listener, limits(1, true)));
        let _first = TcpStream::connect(addr).await.unwrap();
        let accepted = incoming.next().await.unwrap().unwrap();
        let mut second = TcpStream::connect(addr).await.unwrap();
        let closed = async { second.read(&mut [0; 1]).await };
        tokio::select! {
            _ = incoming.next() => panic!("a second connection was accepted"),
            read = closed => assert!(matches!(read, Ok(0) | Err(_)), "{read:?}"),
        }
        drop(accepted);
        let _third = TcpStream::connect(addr).await.unwrap();
        incoming.next().await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn the_machine_itself_is_limited_only_where_the_operator_says_so() {
        for (ip, for_loopback, second) in
            [("127.0.0.9", false, true), ("127.0.0.9", true, false), ("10.0.0.1", false, false)]
        {
            let callers = Arc::new(Callers { limits: limits(1, for_loopback), open: Mutex::default() });
            let ip = ip.parse().unwrap();
            let first = callers.seat(ip).unwrap();
            assert_eq!(callers.seat(ip).is_some(), second, "{ip}");
            drop(first);
            assert!(callers.seat(ip).is_some() && callers.open.lock().unwrap().is_empty(), "{ip}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_does_not_speak_ends_and_one_that_spoke_may_be_silent() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let mut incoming = Box::pin(incoming(listener, limits(0, true)));
        let mut speaks = TcpStream::connect(addr).await.unwrap();
        let mut accepted = incoming.next().await.unwrap().unwrap();
        speaks.write_all(&[1; PREFACE]).await.unwrap();
        accepted.read_exact(&mut [0; PREFACE]).await.unwrap();
        let waiting = tokio::time::timeout(Duration::from_secs(60), accepted.read(&mut [0; 1])).await;
        assert!(waiting.is_err(), "{waiting:?}");

        let mut silent = TcpStream::connect(addr).await.unwrap();
        let mut accepted = incoming.next().await.unwrap().unwrap();
        silent.write_all(&[1; PREFACE - 1]).await.unwrap();
        let read = accepted.read_exact(&mut [0; PREFACE]).await;
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
