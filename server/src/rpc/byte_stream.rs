//! A gRPC stream of bytes as a connection that HTTP can be spoken over.

use std::io;

use bytes::Bytes;
use futures::{SinkExt, Stream, StreamExt};
use orch_proto::v1;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::io::{CopyToBytes, SinkWriter, StreamReader};
use tokio_util::sync::PollSender;
use tonic::Status;

/// How many pieces wait for the other side; when full, the writer waits.
const WINDOW: usize = 16;

/// A connection made of two byte streams.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// The sending half of a gRPC byte stream, to be handed to tonic.
pub type Outbound = ReceiverStream<v1::Bytes>;

/// The sending half, and what is needed to make a connection of it once the other side's stream is there.
pub fn channel() -> (mpsc::Sender<v1::Bytes>, Outbound) {
    let (sender, receiver) = mpsc::channel(WINDOW);
    (sender, ReceiverStream::new(receiver))
}

/// A connection that reads what comes in by `inbound` and writes to `outbound`.
pub fn connection<S>(inbound: S, outbound: mpsc::Sender<v1::Bytes>) -> Box<dyn Connection>
where
    S: Stream<Item = Result<v1::Bytes, Status>> + Send + Unpin + 'static,
{
    let reader = StreamReader::new(inbound.map(|piece| match piece {
        Ok(piece) => Ok(Bytes::from(piece.data)),
        Err(status) => Err(io::Error::new(io::ErrorKind::ConnectionReset, status)),
    }));
    let sink = PollSender::new(outbound)
        .sink_map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
        .with(|data: Bytes| futures::future::ready(Ok::<_, io::Error>(v1::Bytes { data: data.to_vec() })));
    let writer = SinkWriter::new(CopyToBytes::new(sink));
    Box::new(tokio::io::join(reader, writer))
}
