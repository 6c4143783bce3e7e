//! The address of the supervisor, and who is at the other end.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::sys::socket::{getsockopt, sockopt};

/// What fits into a socket address with its closing zero.
const MAX_PATH: usize = 107;

/// The address for `path`: itself, or where it is too long an abstract name made from it and the node's mark.
fn address(path: &Path, mark: &str) -> io::Result<SocketAddr> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.len() <= MAX_PATH {
        return SocketAddr::from_pathname(path);
    }
    let hash = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
    let mark: String = mark.chars().take(40).collect();
    SocketAddr::from_abstract_name(format!("orch-supervisor-{mark}-{hash:016x}"))
}

/// Listens there, replacing what a dead supervisor left; the caller holds the lock that makes it the only one.
pub(crate) fn listen(path: &Path, mark: &str) -> io::Result<UnixListener> {
    let address = address(path, mark)?;
    if let Some(path) = address.as_pathname() {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    let listener = UnixListener::bind_addr(&address)?;
    if let Some(path) = address.as_pathname() {
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    }
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Connects to whoever listens there.
pub(crate) fn connect(path: &Path, mark: &str) -> io::Result<UnixStream> {
    let stream = UnixStream::connect_addr(&address(path, mark)?)?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// The user at the other end.
pub(crate) fn peer_uid(stream: &UnixStream) -> io::Result<u32> {
    Ok(getsockopt(stream, sockopt::PeerCredentials)?.uid())
}

/// Our own user.
pub(crate) fn own_uid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// The file whose lock makes a supervisor the only one at `socket`.
pub(crate) fn lock_path(socket: &Path) -> PathBuf {
    let mut path = socket.as_os_str().to_owned();
    path.push(".lock");
    path.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_too_long_for_a_socket_becomes_an_abstract_name_of_its_own() {
        let long = |name: &str| Path::new("/var/lib").join("x".repeat(120)).join(name);
        let name = |path: &Path| address(path, "0011aabb").unwrap().as_abstract_name().map(<[u8]>::to_vec);
        assert_eq!(name(Path::new("/run/s.sock")), None);
        assert!(name(&long("a")).unwrap().starts_with(b"orch-supervisor-0011aabb-"));
        assert_ne!(name(&long("a")), name(&long("b")));
    }
}
