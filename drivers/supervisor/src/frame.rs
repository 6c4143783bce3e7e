//! Length-prefixed messages with descriptors over a Unix stream socket.
//!
//! A frame is a little-endian `u32` length, a `u8` count of descriptors, and the body. The descriptors ride on the first byte
//! of the frame, so they have always arrived when its body has.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

/// Largest body; a command line and environment can have 2 MiB.
const MAX_BODY: usize = 8 << 20;
/// Most descriptors in one frame.
const MAX_FDS: usize = 8;
const HEADER: usize = 5;
/// Received at once. On the stack, of which each fork copies what was touched.
const CHUNK: usize = 8 << 10;

/// A body with the descriptors that came with it.
pub(crate) type Frame = (Vec<u8>, Vec<OwnedFd>);

/// Puts frames together from what arrives.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    bytes: Vec<u8>,
    fds: VecDeque<OwnedFd>,
}

impl Reader {
    /// Receives once. `Ok(0)` is the end of the stream; `WouldBlock` if nothing is there.
    pub(crate) fn fill(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let mut chunk = [0u8; CHUNK];
        let mut control = nix::cmsg_space!([RawFd; MAX_FDS]);
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
        let (count, truncated) = {
            let mut slices = [IoSliceMut::new(&mut chunk)];
            let received = recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut control), flags)?;
            for message in received.cmsgs()? {
                if let ControlMessageOwned::ScmRights(fds) = message {
                    // SAFETY: the kernel has just made these descriptors for us, and nobody else knows them.
                    self.fds.extend(fds.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
                }
            }
            (received.bytes, received.flags.contains(MsgFlags::MSG_CTRUNC))
        };
        if truncated {
            return Err(io::Error::other("descriptors got lost on the way: the limit of open files is reached"));
        }
        self.bytes.extend_from_slice(chunk.get(..count).unwrap_or_default());
        Ok(count)
    }

    /// The next whole frame, if it has arrived.
    pub(crate) fn next(&mut self) -> io::Result<Option<Frame>> {
        let Some((header, rest)) = self.bytes.split_first_chunk::<HEADER>() else { return Ok(None) };
        let [a, b, c, d, fds] = *header;
        let length = usize::try_from(u32::from_le_bytes([a, b, c, d])).map_err(io::Error::other)?;
        let fds = usize::from(fds);
        if length > MAX_BODY || fds > MAX_FDS {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("a frame of {length} bytes and {fds} descriptors"),
            ));
        }
        let Some(body) = rest.get(..length) else { return Ok(None) };
        let body = body.to_vec();
        if self.fds.len() < fds {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame without its descriptors"));
        }
        let fds = self.fds.drain(..fds).collect();
        self.bytes.drain(..HEADER + length);
        if self.bytes.is_empty() {
            self.bytes = Vec::new();
        }
        Ok(Some((body, fds)))
    }
}

/// Sends frames as the socket takes them.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    queue: VecDeque<Outgoing>,
}

#[derive(Debug)]
struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
    fds: Vec<OwnedFd>,
}

impl Writer {
    /// Queues a frame.
    pub(crate) fn push(&mut self, body: &[u8], fds: Vec<OwnedFd>) -> io::Result<()> {
        let too_large =
            || io::Error::new(io::ErrorKind::InvalidInput, format!("a message of {} bytes is too large", body.len()));
        if body.len() > MAX_BODY || fds.len() > MAX_FDS {
            return Err(too_large());
        }
        let length = u32::try_from(body.len()).map_err(|_| too_large())?;
        let mut bytes = Vec::with_capacity(HEADER + body.len());
        bytes.extend(length.to_le_bytes());
        bytes.push(u8::try_from(fds.len()).map_err(|_| too_large())?);
        bytes.extend_from_slice(body);
        self.queue.push_back(Outgoing { bytes, sent: 0, fds });
        Ok(())
    }

    /// Whether everything has been sent.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Sends what the socket takes now; `Ok(true)` once nothing is left.
    pub(crate) fn flush(&mut self, socket: BorrowedFd<'_>) -> io::Result<bool> {
        while let Some(frame) = self.queue.front_mut() {
            let rest = frame.bytes.get(frame.sent..).unwrap_or_default();
            let raw: Vec<RawFd> = frame.fds.iter().map(AsRawFd::as_raw_fd).collect();
            let rights = [ControlMessage::ScmRights(&raw)];
            let control = if raw.is_empty() { &[][..] } else { &rights[..] };
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            match sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(rest)], control, flags, None) {
                Ok(sent) => {
                    frame.fds.clear();
                    frame.sent += sent;
                    if frame.sent == frame.bytes.len() {
                        self.queue.pop_front();
                    }
                }
                // Too many descriptors in flight is as passing as a full buffer.
                Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::ETOOMANYREFS) => return Ok(false),
                Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(true)
    }
}

/// A body for `message`.
pub(crate) fn encode<T: serde::Serialize>(message: &T) -> io::Result<Vec<u8>> {
    postcard::to_stdvec(message).map_err(io::Error::other)
}

/// The message in `body`.
pub(crate) fn decode<T: serde::de::DeserializeOwned>(body: &[u8]) -> io::Result<T> {
    postcard::from_bytes(body).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn large_frames_arrive_whole_each_with_its_own_descriptors() {
        let (left, right) = UnixStream::pair().unwrap();
        let (mut keep, given) = UnixStream::pair().unwrap();
        let bodies = [vec![1u8; 1 << 20], Vec::new(), vec![3u8; 10]];
        let (mut writer, mut reader) = (Writer::default(), Reader::default());
        writer.push(&bodies[0], Vec::new()).unwrap();
        writer.push(&bodies[1], vec![given.into()]).unwrap();
        writer.push(&bodies[2], Vec::new()).unwrap();
        let mut frames = Vec::new();
        while frames.len() < 3 {
            writer.flush(left.as_fd()).unwrap();
            while reader.fill(right.as_fd()).is_ok() {}
            while let Some(frame) = reader.next().unwrap() {
                frames.push(frame);
            }
        }
        assert!(writer.is_empty());
        let counts: Vec<_> = frames.iter().map(|(body, fds)| (body.len(), fds.len())).collect();
        assert_eq!(counts, [(1 << 20, 0), (0, 1), (10, 0)]);
        let mut given = UnixStream::from(frames.remove(1).1.remove(0));
        keep.write_all(b"x").unwrap();
        let mut byte = [0];
        given.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x");
    }

    #[test]
    fn a_frame_that_claims_too_much_is_an_error() {
        let (mut left, right) = UnixStream::pair().unwrap();
        left.write_all(&[0xff, 0xff, 0xff, 0xff, 0]).unwrap();
        let mut reader = Reader::default();
        reader.fill(right.as_fd()).unwrap();
        assert!(reader.next().is_err());
    }
}
