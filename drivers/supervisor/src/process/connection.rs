use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use crate::frame::{self, Frame, Reader, Writer};
use crate::protocol::{Hello, Intent, Message, VERSION};

/// An agent, or somebody who says so.
#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    reader: Reader,
    writer: Writer,
    /// Whether it has greeted in our version.
    pub(super) greeted: bool,
    /// Whether it has been told all tasks, and so wants to hear of their ends.
    pub(super) attached: bool,
    pub(super) token: u64,
    /// Whether the event loop has been asked to tell when it can be written to.
    pub(super) waits_to_write: bool,
}

impl Connection {
    pub(super) fn new(stream: UnixStream, token: u64) -> Self {
        let (reader, writer) = (Reader::default(), Writer::default());
        Self { stream, reader, writer, greeted: false, attached: false, token, waits_to_write: false }
    }

    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// Receives what is there; false at the end of the stream.
    pub(super) fn receive(&mut self) -> io::Result<bool> {
        // Bounded, so that one agent that never stops asking leaves time for the rest.
        for _ in 0..16 {
            match self.reader.fill(self.stream.as_fd()) {
                Ok(0) => return Ok(false),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    pub(super) fn next_frame(&mut self) -> io::Result<Option<Frame>> {
        self.reader.next()
    }

    /// Answers a greeting.
    pub(super) fn greet(&mut self) -> io::Result<()> {
        self.writer.push(&Hello { version: VERSION, intent: Intent::Talk }.encode(), Vec::new())
    }

    /// Queues a message; it is sent when the event loop comes round.
    pub(super) fn send(&mut self, message: &Message, fds: Vec<OwnedFd>) -> io::Result<()> {
        self.writer.push(&frame::encode(message)?, fds)
    }

    /// Sends what the socket takes; whether nothing is left.
    pub(super) fn flush(&mut self) -> io::Result<bool> {
        self.writer.flush(self.stream.as_fd())
    }

    pub(super) fn is_flushed(&self) -> bool {
        self.writer.is_empty()
    }
}
