//! Rules about networks and ports.

use std::collections::BTreeMap;

use super::Checks;
use super::text::{is_dns_name, is_interpolated};
use crate::job::{NetworkMode, NetworkResource, Port, TaskGroup};

pub(super) fn check(checks: &mut Checks<'_>, group: &TaskGroup) {
    if group.networks.len() > 1 {
        checks.refuse_block("a group has at most one network block");
    }
    checks.each("network", &group.networks, one);
    let of_tasks = group.tasks.iter().flat_map(|task| task.resources.iter().flat_map(|resources| &resources.networks));
    let ports: Vec<&Port> = group.networks.iter().chain(of_tasks).flat_map(NetworkResource::ports).collect();
    checks.unique("port", ports.iter().map(|port| port.label.as_str()));
    static_ports(checks, &ports);
}

/// Rules about one network, of a group or (older form) of a task.
pub(super) fn one(checks: &mut Checks<'_>, network: &NetworkResource) {
    let mode = network.mode();
    if mode.is_none() {
        checks.refuse("mode", format!("{:?} is not one of host, bridge, none, cni/<name>", network.mode));
    }
    if network.mbits > 0 {
        checks.warn("`mbits` is deprecated and ignored");
    }
    if !network.hostname.is_empty() && !is_interpolated(&network.hostname) && !is_dns_name(&network.hostname) {
        checks.refuse("hostname", format!("{:?} is not a valid host name", network.hostname));
    }
    if let Some(cni) = &network.cni {
        let separated = cni.args.iter().any(|(key, value)| key.contains(';') || value.contains(';'));
        checks.block("cni", "", |checks| checks.refuse_if(separated, "args", "must not contain `;`"));
    }
    for port in network.ports() {
        checks.block("port", &port.label, |checks| self::port(checks, port, mode.as_ref()));
    }
}

fn port(checks: &mut Checks<'_>, port: &Port, mode: Option<&NetworkMode>) {
    checks.refuse_if(port.label.is_empty(), "label", "a port needs a label");
    checks.refuse_if(!(0..=65535).contains(&port.value), "static", "must be between 1 and 65535");
    checks.refuse_if(!(-1..=65535).contains(&port.to), "to", "must be between -1 and 65535");
    let shared = port.ignore_collision && !matches!(mode, Some(NetworkMode::Host) | None);
    checks.refuse_if(shared, "ignore_collision", "is only possible in host mode");
}

fn static_ports(checks: &mut Checks<'_>, ports: &[&Port]) {
    let mut taken: BTreeMap<(&str, i64), &str> = BTreeMap::new();
    for port in ports.iter().filter(|port| port.value > 0 && !port.ignore_collision) {
        if let Some(other) = taken.insert((port.host_network.as_str(), port.value), &port.label) {
            let message = format!(
                "ports {other:?} and {:?} both want number {} of host network {:?}",
                port.label, port.value, port.host_network
            );
            checks.refuse_block(message);
        }
    }
}
