//! The agent's end of a terminal.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use orch_driver::TerminalSize;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What a terminal takes for the end of input.
const END_OF_INPUT: u8 = 4;

/// The master of a terminal.
#[derive(Debug)]
pub(super) struct Terminal(AsyncFd<OwnedFd>);

impl Terminal {
    pub(super) fn new(master: OwnedFd) -> io::Result<Self> {
        fcntl(&master, FcntlArg::F_SETFL(OFlag::O_RDWR | OFlag::O_NONBLOCK))?;
        // SAFETY: an OwnedFd answers with the same descriptor until it is dropped.
        Ok(Self(unsafe { AsyncFd::register(master)? }))
    }

    pub(super) fn resize(&self, size: TerminalSize) -> io::Result<()> {
        let window = libc::winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: the descriptor is open, and the structure lives through the call.
        let resized = unsafe { libc::ioctl(self.0.get_ref().as_raw_fd(), libc::TIOCSWINSZ, &raw const window) };
        Errno::result(resized).map(drop).map_err(io::Error::from)
    }
}

/// What people write to the command.
pub(super) struct Input(Arc<Terminal>);

impl Input {
    pub(super) fn new(terminal: Arc<Terminal>) -> Self {
        Self(terminal)
    }
}

/// What the command writes.
pub(super) struct Output(Arc<Terminal>);

impl Output {
    pub(super) fn new(terminal: Arc<Terminal>) -> Self {
        Self(terminal)
    }
}

impl AsyncWrite for Input {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let terminal = &self.0.0;
        loop {
            let mut guard = ready!(terminal.poll_write_ready(context))?;
            let written = guard.try_io(|fd| nix::unistd::write(fd.get_ref(), bytes).map_err(io::Error::from));
            if let Ok(written) = written {
                return Poll::Ready(written);
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The line discipline makes the end of input of it, as if it had been typed.
        self.poll_write(context, &[END_OF_INPUT]).map_ok(drop)
    }
}

impl AsyncRead for Output {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let terminal = &self.0.0;
        loop {
            let mut guard = ready!(terminal.poll_read_ready(context))?;
            let space = into.initialize_unfilled();
            match guard.try_io(|fd| nix::unistd::read(fd.get_ref(), space).map_err(io::Error::from)) {
                Ok(Ok(count)) => {
                    into.advance(count);
                    return Poll::Ready(Ok(()));
                }
                // Nobody has the other end any more.
                Ok(Err(error)) if error.raw_os_error() == Some(libc::EIO) => return Poll::Ready(Ok(())),
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_not_yet) => {}
            }
        }
    }
}
