//! What this machine is and has: the node's description.
//!
//! Everything but the drivers is read from files of the kernel and takes well under a millisecond each; drivers are asked
//! beside and come in later, as changes of the description.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use orch_driver::{Driver, Fingerprint, Health};
use orch_model::Timestamp;
use orch_model::node::{DriverInfo, NodeDescription};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

mod cpu;
mod host;
pub(crate) mod machine;
mod network;

pub use host::hostname;

use crate::clock::Clock;
use crate::config::Config;
use crate::identity::Identity;

/// How long drivers are waited for before the node is described without them.
const AT_START: Duration = Duration::from_millis(30);
/// How long a driver may take; one that takes longer counts as unhealthy.
const DRIVER_TIMEOUT: Duration = Duration::from_secs(5);
/// How often drivers are asked again.
const DRIVERS_EVERY: Duration = Duration::from_secs(30);

type Drivers = BTreeMap<String, Arc<dyn Driver>>;

/// Describes the machine, drivers not yet included.
pub(crate) fn describe(config: &Config, identity: &Identity) -> NodeDescription {
    let mut node = NodeDescription {
        secret_id: identity.secret.clone(),
        name: if config.name.is_empty() { hostname() } else { config.name.clone() },
        datacenter: config.datacenter.clone(),
        node_class: config.node_class.clone(),
        node_pool: config.node_pool.clone(),
        http_addr: config.http_addr.clone(),
        version: config.version.clone(),
        meta: config.meta.clone(),
        reserved: config.reserved.clone(),
        host_networks: config.host_networks.clone(),
        cgroup_parent: config.cgroup_parent.clone(),
        max_allocs: config.max_allocs,
        default_ineligible: config.default_ineligible,
        ..NodeDescription::default()
    };
    node.resources.dynamic_ports = config.dynamic_ports;
    host::describe(&mut node);
    cpu::describe(config, &mut node);
    machine::describe(config, &mut node);
    network::describe(config, &mut node);
    agent(config, &mut node);
    node
}

fn agent(config: &Config, node: &mut NodeDescription) {
    let attributes = &mut node.attributes;
    attributes.insert("nomad.version".to_owned(), config.version.clone());
    attributes.insert("nomad.revision".to_owned(), "unknown".to_owned());
    attributes.insert("nomad.service_discovery".to_owned(), "false".to_owned());
    attributes.insert("nomad.advertise.address".to_owned(), config.http_addr.clone());
    attributes.insert("unique.advertise.address".to_owned(), config.http_addr.clone());
}

/// Adds the drivers that answer quickly.
pub(crate) async fn first_drivers(drivers: &Drivers, clock: Clock, node: &mut NodeDescription) {
    let mut answers = ask_all(drivers);
    let end = tokio::time::Instant::now() + AT_START;
    while let Ok(Some((name, found))) = tokio::time::timeout_at(end, answers.next()).await {
        note(node, &name, &found, clock.now());
    }
}

/// Asks the drivers again and again, and publishes what changed, until `shutdown`.
pub(crate) async fn watch_drivers(
    drivers: Drivers,
    clock: Clock,
    description: watch::Sender<Arc<NodeDescription>>,
    shutdown: CancellationToken,
) {
    loop {
        let mut answers = ask_all(&drivers);
        while let Some((name, found)) = tokio::select! {
            answer = answers.next() => answer,
            () = shutdown.cancelled() => return,
        } {
            description.send_if_modified(|current| {
                let mut node = NodeDescription::clone(current);
                let changed = note(&mut node, &name, &found, clock.now());
                if changed {
                    *current = Arc::new(node);
                }
                changed
            });
        }
        tokio::select! {
            () = tokio::time::sleep(DRIVERS_EVERY) => {}
            () = shutdown.cancelled() => return,
        }
    }
}

fn ask_all(drivers: &Drivers) -> FuturesUnordered<impl Future<Output = (String, Fingerprint)>> {
    let ask = |(name, driver): (&String, &Arc<dyn Driver>)| {
        let (name, driver) = (name.clone(), Arc::clone(driver));
        async move {
            let answer = tokio::time::timeout(DRIVER_TIMEOUT, driver.fingerprint()).await;
            let found = answer.unwrap_or_else(|_late| Fingerprint {
                health: Health::Unhealthy,
                description: format!("The driver did not answer within {} s", DRIVER_TIMEOUT.as_secs()),
                ..Fingerprint::default()
            });
            (name, found)
        }
    };
    drivers.iter().map(ask).collect()
}

/// Takes over what a driver said; whether that was news.
fn note(node: &mut NodeDescription, name: &str, found: &Fingerprint, now: Timestamp) -> bool {
    let healthy = found.health == Health::Healthy;
    let info = DriverInfo {
        attributes: found.attributes.clone(),
        detected: found.health != Health::Undetected,
        healthy,
        health_description: found.description.clone(),
        update_time: now,
    };
    if let Some(known) = node.drivers.get(name)
        && (DriverInfo { update_time: now, ..known.clone() }) == info
    {
        return false;
    }
    let prefix = format!("driver.{name}");
    let own = |key: &str| key.strip_prefix(&prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    node.attributes.retain(|key, _| !own(key));
    if healthy {
        node.attributes.insert(prefix.clone(), "1".to_owned());
        node.attributes.extend(found.attributes.clone());
    }
    node.drivers.insert(name.to_owned(), info);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_described_with_everything_that_constraints_rely_on() {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::new(dir.path().to_owned(), dir.path().to_owned());
        config.network_address = Some("127.0.3.4".parse().unwrap());
        let node = describe(&config, &Identity::load(dir.path()).unwrap());
        for key in [
            "cpu.arch",
            "cpu.numcores",
            "cpu.totalcompute",
            "kernel.name",
            "kernel.version",
            "memory.totalbytes",
            "nomad.version",
            "os.name",
            "os.signals",
            "unique.hostname",
            "unique.network.ip-address",
            "unique.storage.bytestotal",
        ] {
            assert!(node.attributes.get(key).is_some_and(|value| !value.is_empty()), "{key}: {:?}", node.attributes);
        }
        assert!(node.resources.cpu.0 > 0 && node.resources.memory.0 > 0 && node.resources.disk.0 > 0);
        let addresses: Vec<_> = node.resources.networks.iter().flat_map(|network| &network.addresses).collect();
        assert_eq!(addresses.len(), 1);
        assert_eq!((addresses[0].alias.as_str(), addresses[0].address.as_str()), ("default", "127.0.3.4"));
    }

    #[test]
    fn a_driver_that_falls_ill_loses_its_attributes() {
        let mut node = NodeDescription::default();
        let attributes = BTreeMap::from([("driver.x.version".to_owned(), "1".to_owned())]);
        let well = Fingerprint { attributes, health: Health::Healthy, description: String::new() };
        assert!(note(&mut node, "x", &well, Timestamp(1)));
        assert!(!note(&mut node, "x", &well, Timestamp(2)), "nothing new");
        assert_eq!(node.attributes.len(), 2);
        let ill = Fingerprint { health: Health::Unhealthy, ..Fingerprint::default() };
        assert!(note(&mut node, "x", &ill, Timestamp(3)));
        assert!(node.attributes.is_empty() && !node.has_driver("x"));
    }
}
