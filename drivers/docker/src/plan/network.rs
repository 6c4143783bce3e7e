use std::collections::{BTreeMap, HashMap};

use bollard::models::{EndpointIpamConfig, EndpointSettings, HostConfig, NetworkingConfig, PortBinding, PortMap};
use orch_driver::TaskSpec;

use super::some_of;
use crate::task_config::Network;

/// Sets what a container's network needs, and returns the ports that it has to expose.
pub(super) fn apply(container: &mut HostConfig, spec: &TaskSpec, task: &Network) -> Result<Vec<String>, String> {
    container.network_mode = task.mode.clone();
    container.extra_hosts = some_of(task.extra_hosts.clone());
    let (servers, searches, options) = match &spec.dns {
        // What the group says holds for all of its tasks.
        Some(group) => (group.servers.clone(), group.searches.clone(), group.options.clone()),
        None => (task.dns_servers.clone(), task.dns_search_domains.clone(), task.dns_options.clone()),
    };
    container.dns = some_of(servers);
    container.dns_search = some_of(searches);
    container.dns_options = some_of(options);
    let bindings = bindings(spec, task)?;
    let mut exposed: Vec<String> = bindings.keys().cloned().collect();
    exposed.sort_unstable();
    container.port_bindings = (!bindings.is_empty()).then_some(bindings);
    Ok(exposed)
}

/// Each named port for TCP and UDP, on the host's side as the group was given it.
fn bindings(spec: &TaskSpec, task: &Network) -> Result<PortMap, String> {
    let mut wanted: BTreeMap<&str, Option<u16>> = task.ports.iter().map(|label| (label.as_str(), None)).collect();
    wanted.extend(task.port_map.iter().map(|(label, port)| (label.as_str(), Some(*port))));
    let mut bindings = PortMap::new();
    for (label, inside) in wanted {
        let Some(port) = spec.ports.iter().find(|port| port.label == label) else {
            return Err(format!("Port {label:?} not found, check network block"));
        };
        let binding = PortBinding { host_ip: Some(port.host_ip.to_string()), host_port: Some(port.host.to_string()) };
        for protocol in ["tcp", "udp"] {
            let key = format!("{}/{protocol}", inside.unwrap_or(port.inside));
            bindings.entry(key).or_default().get_or_insert_default().push(binding.clone());
        }
    }
    Ok(bindings)
}

/// How the container is known in a network of the engine that it names.
pub(super) fn endpoint(task: &Network) -> Option<NetworkingConfig> {
    let addressed = task.ipv4_address.is_some() || task.ipv6_address.is_some();
    if task.aliases.is_empty() && !addressed && task.mac_address.is_none() {
        return None;
    }
    let settings = EndpointSettings {
        aliases: some_of(task.aliases.clone()),
        mac_address: task.mac_address.clone(),
        ipam_config: addressed.then(|| EndpointIpamConfig {
            ipv4_address: task.ipv4_address.clone(),
            ipv6_address: task.ipv6_address.clone(),
            ..EndpointIpamConfig::default()
        }),
        ..EndpointSettings::default()
    };
    let network = task.mode.clone().unwrap_or_else(|| "bridge".to_owned());
    Some(NetworkingConfig { endpoints_config: Some(HashMap::from([(network, settings)])) })
}
