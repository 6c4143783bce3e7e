//! The address that allocations are reached at.

use std::fs;
use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;
use orch_model::node::{NodeAddress, NodeDescription, NodeNetwork};

use super::host::text;
use crate::config::Config;

/// What an interface counts for where it does not say how fast it is, in Mbit/s.
const UNKNOWN_SPEED: u32 = 1_000;
const LOOPBACK: &str = "lo";

pub(super) fn describe(config: &Config, node: &mut NodeDescription) {
    let all = addresses();
    let device = config.network_interface.clone().unwrap_or_else(|| choose_device(config.network_address, &all));
    let own = all.iter().filter(|(interface, _)| *interface == device).map(|(_, address)| *address);
    // Link-local addresses reach nobody without naming an interface.
    let usable: Vec<IpAddr> = match config.network_address {
        Some(address) => vec![address],
        None => own.filter(|address| !is_link_local(*address)).collect(),
    };
    let Some(first) = usable.iter().find(|address| address.is_ipv4()).or_else(|| usable.first()).copied() else {
        tracing::warn!(interface = device, "the network interface has no address, so jobs with ports cannot run here");
        return;
    };
    node.attributes.insert("unique.network.ip-address".to_owned(), first.to_string());
    let address = |ip: &IpAddr, alias: &str| NodeAddress {
        alias: alias.to_owned(),
        address: ip.to_string(),
        reserved_ports: config.reserved.ports.clone(),
        ipv6: ip.is_ipv6(),
    };
    let mut addresses = vec![address(&first, "default")];
    for (name, network) in &config.host_networks {
        let on = |(interface, ip): &&(String, IpAddr)| {
            (network.interface.is_empty() || network.interface == *interface) && in_block(*ip, &network.cidr)
        };
        addresses.extend(
            all.iter()
                .filter(on)
                .map(|(_, ip)| NodeAddress { reserved_ports: network.reserved_ports.clone(), ..address(ip, name) }),
        );
    }
    let speed = || text(&format!("/sys/class/net/{device}/speed"))?.parse::<u32>().ok().filter(|speed| *speed > 0);
    node.resources.networks = vec![NodeNetwork {
        mode: "host".to_owned(),
        mac_address: text(&format!("/sys/class/net/{device}/address")).unwrap_or_default(),
        speed_mbits: config.network_speed_mbits.or_else(speed).unwrap_or(UNKNOWN_SPEED),
        device,
        addresses,
    }];
}

/// The interface with the configured address, else that of the default route, else the loopback.
fn choose_device(address: Option<IpAddr>, all: &[(String, IpAddr)]) -> String {
    if let Some(address) = address {
        let holder = all.iter().find(|(_, known)| *known == address).map(|(interface, _)| interface.clone());
        return holder.unwrap_or_else(|| LOOPBACK.to_owned());
    }
    let routes = fs::read_to_string("/proc/net/route").unwrap_or_default();
    let mut routes = routes.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let default = routes.find_map(|fields| match fields[..] {
        [interface, "00000000", ..] => Some(interface.to_owned()),
        _ => None,
    });
    default.unwrap_or_else(|| LOOPBACK.to_owned())
}

fn addresses() -> Vec<(String, IpAddr)> {
    let Ok(found) = getifaddrs() else { return Vec::new() };
    let ip = |address: nix::sys::socket::SockaddrStorage| {
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::from(address.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::from(address.ip())))
    };
    found.filter_map(|entry| Some((entry.interface_name, ip(entry.address?)?))).collect()
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

/// Whether `address` lies in `block`, such as `10.0.0.0/8`; an empty block holds every address.
fn in_block(address: IpAddr, block: &str) -> bool {
    if block.is_empty() {
        return true;
    }
    let Some((base, length)) = block.split_once('/') else { return false };
    let (Ok(base), Ok(length)) = (base.parse::<IpAddr>(), length.parse::<u32>()) else { return false };
    match (address, base) {
        (IpAddr::V4(ip), IpAddr::V4(base)) if length <= 32 => {
            let shift = 32 - length;
            u64::from(ip.to_bits()) >> shift == u64::from(base.to_bits()) >> shift
        }
        (IpAddr::V6(ip), IpAddr::V6(base)) if length <= 128 => {
            ip.to_bits().checked_shr(128 - length) == base.to_bits().checked_shr(128 - length)
        }
        (IpAddr::V4(_) | IpAddr::V6(_), _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_hold_their_addresses() {
        for (address, block, expected) in [
            ("10.1.2.3", "10.0.0.0/8", true),
            ("11.1.2.3", "10.0.0.0/8", false),
            ("10.1.2.3", "0.0.0.0/0", true),
            ("10.1.2.3", "10.1.2.3/32", true),
            ("fd00::1", "fd00::/16", true),
            ("fd00::1", "::/0", true),
            ("fd00::1", "10.0.0.0/8", false),
            ("10.1.2.3", "nonsense", false),
        ] {
            assert_eq!(in_block(address.parse().unwrap(), block), expected, "{address} {block}");
        }
    }
}
