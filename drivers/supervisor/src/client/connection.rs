use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use tokio::io::unix::AsyncFd;
use tokio::io::{Interest, Ready};

use crate::frame::{Frame, Reader, Writer};

/// A connected socket with what is half sent and half received.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: AsyncFd<UnixStream>,
    reader: Reader,
    writer: Writer,
}

impl Connection {
    /// Wraps a socket that does not block.
    pub(crate) fn new(stream: UnixStream) -> io::Result<Self> {
        // SAFETY: a UnixStream owns its descriptor and answers with the same one until it is dropped.
        let stream = unsafe { AsyncFd::register(stream)? };
        Ok(Self { stream, reader: Reader::default(), writer: Writer::default() })
    }

    /// Queues a frame, and sends what the socket takes at once.
    pub(crate) fn push(&mut self, body: &[u8], fds: Vec<OwnedFd>) -> io::Result<()> {
        self.writer.push(body, fds)?;
        self.writer.flush(self.stream.get_ref().as_fd())?;
        Ok(())
    }

    /// Sends what is queued until a frame arrives. Nothing is lost if the future is dropped.
    pub(crate) async fn next(&mut self) -> io::Result<Frame> {
        loop {
            if let Some(frame) = self.reader.next()? {
                return Ok(frame);
            }
            let interest =
                if self.writer.is_empty() { Interest::READABLE } else { Interest::READABLE | Interest::WRITABLE };
            let mut guard = self.stream.ready(interest).await?;
            let socket = guard.get_inner().as_fd();
            let mut exhausted = Ready::EMPTY;
            if guard.ready().is_writable() && !self.writer.flush(socket)? {
                exhausted |= Ready::WRITABLE;
            }
            if guard.ready().is_readable() {
                match self.reader.fill(socket) {
                    Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => exhausted |= Ready::READABLE,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            guard.clear_ready_matching(exhausted);
        }
    }
}
