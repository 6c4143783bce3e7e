//! A two-way gRPC stream of bytes, read and written like a socket.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use futures::Stream;
use orch_proto::v1::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio_util::sync::PollSender;
use tonic::Streaming;

/// The largest piece that is sent at once, in bytes.
const PIECE: usize = 64 * 1024;
/// How many pieces wait to be sent before the writer waits.
pub(crate) const PIECES: usize = 4;

/// A two-way stream of bytes.
#[derive(Debug)]
pub(crate) struct GrpcIo {
    incoming: Streaming<Bytes>,
    rest: bytes::Bytes,
    outgoing: PollSender<Bytes>,
}

impl GrpcIo {
    /// Joins the two directions.
    pub(crate) fn new(incoming: Streaming<Bytes>, outgoing: mpsc::Sender<Bytes>) -> Self {
        Self { incoming, rest: bytes::Bytes::new(), outgoing: PollSender::new(outgoing) }
    }
}

impl AsyncRead for GrpcIo {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.rest.is_empty() {
            match ready!(Pin::new(&mut self.incoming).poll_next(cx)) {
                Some(Ok(piece)) => self.rest = piece.data.into(),
                Some(Err(status)) => return Poll::Ready(Err(io::Error::other(status))),
                None => return Poll::Ready(Ok(())),
            }
        }
        let length = self.rest.len().min(buffer.remaining());
        buffer.put_slice(self.rest.get(..length).unwrap_or_default());
        self.rest.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for GrpcIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let closed = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        ready!(self.outgoing.poll_reserve(cx)).map_err(closed)?;
        let piece = data.get(..PIECE).unwrap_or(data);
        self.outgoing.send_item(Bytes { data: piece.to_vec() }).map_err(closed)?;
        Poll::Ready(Ok(piece.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outgoing.close();
        Poll::Ready(Ok(()))
    }
}
