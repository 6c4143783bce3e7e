//! The socket to the first process of the container, for an agent that is its child.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::OnceLock;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{MsgFlags, recv, send, setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::process::{READY, SupervisorArgs, init_message};

/// How long it may take to become a supervisor.
const SECONDS: i64 = 10;
/// Most bytes of an answer.
const MAX_ANSWER: usize = 4 << 10;

/// A process is born with one such socket or with none.
static INIT: OnceLock<OwnedFd> = OnceLock::new();

/// Takes the socket over which the first process of the container is asked to become the supervisor.
///
/// For the program that [`run_as_init`](crate::run_as_init) started; `fd` is the number in its command line. Called once, before any
/// [`Handle`](crate::Handle) is connected.
///
/// # Errors
/// Fails if there is no such descriptor.
pub fn speak_with_init(fd: RawFd) -> io::Result<()> {
    // SAFETY: whoever started this program left the descriptor open for us and told nobody else. Where the number is wrong, the call
    // below fails, and the owner is forgotten rather than closed.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    match fcntl(&socket, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)) {
        Ok(_) => {
            // A second one would be a mistake of ours; the first stays.
            let _first_stays = INIT.set(socket);
            Ok(())
        }
        Err(errno) => {
            std::mem::forget(socket);
            Err(errno.into())
        }
    }
}

/// Whether this process has such a socket.
pub(super) fn is_there() -> bool {
    INIT.get().is_some()
}

/// Has the first process become the supervisor. Blocks until it is, or says why not.
pub(super) fn ask(args: &SupervisorArgs) -> io::Result<()> {
    let socket = INIT.get().ok_or(io::ErrorKind::NotConnected)?;
    setsockopt(socket, sockopt::ReceiveTimeout, &TimeVal::seconds(SECONDS))?;
    send(socket.as_raw_fd(), &init_message(args), MsgFlags::MSG_NOSIGNAL)?;
    let mut answer = [0; MAX_ANSWER];
    let count = recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    match answer.get(..count).unwrap_or_default() {
        READY => Ok(()),
        [] => Err(io::ErrorKind::UnexpectedEof.into()),
        error => Err(io::Error::other(String::from_utf8_lossy(error).into_owned())),
    }
}
