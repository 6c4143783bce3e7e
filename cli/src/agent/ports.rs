//! Binding the HTTP ports, and saying who holds one that is taken.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 1024;

/// Listens on `addr`.
pub(super) fn bind(addr: SocketAddr) -> anyhow::Result<TcpListener> {
    listen(addr).map_err(|error| {
        let advice = "choose another with `ports { http = .. }` or `addresses { http = .. }`, or with -bind";
        match error.kind() {
            ErrorKind::AddrInUse => {
                let holder = holder(addr.port()).map(|who| format!(" by {who}")).unwrap_or_default();
                anyhow::anyhow!("cannot listen on {addr} for HTTP, it is in use{holder}: end that first, or {advice}")
            }
            ErrorKind::AddrNotAvailable => {
                anyhow::anyhow!("cannot listen on {addr} for HTTP, this machine has no such address: {advice}")
            }
            _ => anyhow::anyhow!("cannot listen on {addr} for HTTP: {error}; {advice}"),
        }
    })
}

fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Connections of an agent that ended a moment ago do not keep the next one from starting.
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

/// The process that listens on a TCP port, as far as we may see: `nginx (pid 812)`.
pub(super) fn holder(port: u16) -> Option<String> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| table.lines().filter_map(|line| listening_inode(line, port)).collect::<Vec<_>>())
        .collect();
    let processes = fs::read_dir("/proc").ok()?;
    for process in processes.flatten() {
        let name = process.file_name();
        let Some(pid) = name.to_str().filter(|name| name.bytes().all(|b| b.is_ascii_digit())) else { continue };
        let Ok(descriptors) = fs::read_dir(process.path().join("fd")) else { continue };
        for descriptor in descriptors.flatten() {
            let Ok(target) = fs::read_link(descriptor.path()) else { continue };
            let target = target.to_string_lossy();
            let inode = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
            if inode.is_some_and(|inode| inodes.iter().any(|known| known == inode)) {
                let command = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
                return Some(format!("{} (pid {pid})", command.trim()));
            }
        }
    }
    None
}

/// The inode of the socket that a line of `/proc/net/tcp` describes, if it listens on `port`.
fn listening_inode(line: &str, port: u16) -> Option<String> {
    let mut fields = line.split_whitespace();
    let local = fields.nth(1)?;
    let state = fields.nth(1)?;
    let inode = fields.nth(5)?;
    let (_, hex) = local.rsplit_once(':')?;
    (state == "0A" && u16::from_str_radix(hex, 16) == Ok(port)).then(|| inode.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_named_with_who_holds_it() {
        let first = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = first.local_addr().unwrap();
        let error = bind(addr).unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot listen on {addr} for HTTP, it is in use by ")), "{error}");
        assert!(error.contains(&format!("(pid {})", std::process::id())), "{error}");
    }

    #[test]
    fn only_listening_sockets_of_the_port_count() {
        let line =
            "   0: 0100007F:1226 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0";
        assert_eq!(listening_inode(line, 4646).as_deref(), Some("4711"));
        assert_eq!(listening_inode(line, 4647), None);
        assert_eq!(listening_inode(&line.replace(" 0A ", " 01 "), 4646), None);
    }
}
