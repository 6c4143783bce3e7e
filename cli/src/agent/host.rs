//! Facts of the machine that defaults are made from.

use std::net::{IpAddr, UdpSocket};

use orch_config::Host;

use crate::commands::VERSION;

/// What this machine is.
pub(super) fn facts() -> Host {
    Host {
        hostname: orch_client::hostname(),
        address: address(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        version: VERSION.to_owned(),
        env: std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect(),
        scratch_dir: std::env::temp_dir().join(format!("orch-dev-{}", uuid::Uuid::new_v4().simple())),
    }
}

/// The address from which this machine would reach the outside; nothing is sent to find it.
fn address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // An address of documentation: routed like any other, and nobody's.
    socket.connect("192.0.2.1:9").ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_loopback() && !ip.is_unspecified()).then_some(ip)
}
