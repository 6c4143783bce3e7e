//! The client's configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use orch_client::Config;
use orch_client::config::{GcConfig, HostVolume, TelemetryConfig};
use orch_model::node::{HostNetwork, NodeReserved, PortRange, PortSet};
use orch_model::{MebiBytes, Mhz};

use crate::agent::{Addresses, DEFAULT_RPC_PORT, Host, Naming, with_port};
use crate::merged::{Merged, Setting};
use crate::server::format_host_port;
use crate::value::Value;
use crate::world;

pub(crate) fn build(
    merged: &mut Merged,
    naming: &Naming,
    addresses: &Addresses,
    host: &Host,
    data_dir: &Path,
    dev: bool,
) -> Config {
    let directory = |merged: &Merged, path, name| merged.text(path).map_or_else(|| data_dir.join(name), Into::into);
    let state_dir = directory(merged, "client.state_dir", "client");
    let alloc_dir = directory(merged, "client.alloc_dir", "alloc");
    let mut config = Config::new(state_dir, alloc_dir);
    config.name.clone_from(&naming.name);
    config.region.clone_from(&naming.region);
    config.datacenter.clone_from(&naming.datacenter);
    config.version.clone_from(&host.version);
    config.http_addr = format_host_port(&addresses.http_advertise);
    config.servers = servers(merged);
    if let Some(class) = merged.text("client.node_class") {
        class.clone_into(&mut config.node_class);
    }
    if let Some(pool) = merged.text("client.node_pool") {
        if pool == "all" {
            merged.refuse("client.node_pool", "must not be \"all\", which stands for the nodes of every pool");
        } else {
            pool.clone_into(&mut config.node_pool);
        }
    }
    config.meta = meta(merged);
    config.reserved = reserved(merged);
    config.dynamic_ports = dynamic_ports(merged);
    config.host_networks = host_networks(merged);
    config.host_volumes = host_volumes(merged);
    config.host_volumes_dir = directory(merged, "client.host_volumes_dir", "host_volumes");
    network(merged, addresses, &mut config);
    config.cpu_total_compute = merged.int("client.cpu_total_compute", 0, u32::MAX.into()).filter(|n| *n > 0).map(Mhz);
    config.memory_total = mebibytes(merged, "client.memory_total_mb");
    config.disk_total = mebibytes(merged, "client.disk_total_mb");
    config.disk_free = mebibytes(merged, "client.disk_free_mb");
    config.max_allocs = merged.int("client.node_max_allocs", 0, u32::MAX.into()).unwrap_or(0);
    config.disable_remote_exec = merged.flag("client.disable_remote_exec").unwrap_or(false);
    config.default_ineligible = merged.flag("client.default_ineligible").unwrap_or(false);
    if let Some(parent) = merged.text("client.cgroup_parent") {
        parent.trim_matches('/').clone_into(&mut config.cgroup_parent);
    }
    if let Some(timeout) = merged.duration("client.max_kill_timeout") {
        config.max_kill_timeout = timeout;
    }
    if let Some(delay) = merged.duration("client.offline_restart_delay") {
        config.offline_restart_delay = delay;
    }
    config.reservable_cores = cores(merged, "client.reservable_cores");
    config.reserved_cores = cores(merged, "client.reserved.cores").unwrap_or_default();
    config.gc = gc(merged, dev);
    config.telemetry = telemetry(merged, dev);
    config.host_env = host.env.clone();
    config.dev = dev;
    options(merged, &mut config);
    world::build(merged, &mut config);
    config
}

/// A development agent leaves the disk to whoever develops.
fn gc(merged: &mut Merged, dev: bool) -> GcConfig {
    let mut gc = GcConfig::default();
    if dev {
        gc.interval = Duration::from_secs(600);
        (gc.disk_usage_threshold, gc.inode_usage_threshold) = (99.0, 99.0);
    }
    if let Some(count) = merged.int("client.gc_max_allocs", 0, i64::MAX) {
        gc.max_allocs = count;
    }
    if let Some(count) = merged.int("client.gc_parallel_destroys", 1, 1024) {
        gc.parallel_destroys = count;
    }
    if let Some(percent) = merged.percent("client.gc_disk_usage_threshold") {
        gc.disk_usage_threshold = percent;
    }
    if let Some(percent) = merged.percent("client.gc_inode_usage_threshold") {
        gc.inode_usage_threshold = percent;
    }
    if let Some(interval) = merged.interval("client.gc_interval") {
        gc.interval = interval;
    }
    gc
}

fn telemetry(merged: &mut Merged, dev: bool) -> TelemetryConfig {
    let usual = TelemetryConfig::default();
    TelemetryConfig {
        interval: merged.interval("telemetry.collection_interval").unwrap_or(usual.interval),
        node: merged.flag("telemetry.publish_node_metrics").unwrap_or(dev),
        allocations: merged.flag("telemetry.publish_allocation_metrics").unwrap_or(dev),
    }
}

fn servers(merged: &mut Merged) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for path in ["client.servers", "client.server_join.retry_join", "client.server_join.start_join"] {
        for list in merged.list(path) {
            // The flag -servers takes several, separated by commas.
            for address in list.split(',').map(str::trim).filter(|address| !address.is_empty()) {
                match with_port(address, DEFAULT_RPC_PORT) {
                    Ok(address) if all.contains(&address) => {}
                    Ok(address) => all.push(address),
                    Err(message) => merged.refuse(path, message),
                }
            }
        }
    }
    all
}

fn meta(merged: &mut Merged) -> BTreeMap<String, String> {
    let meta = merged.map("client.meta");
    for key in meta.keys() {
        if key.is_empty() || key.contains(['\0', '"', '\'', ' ']) || key.starts_with('.') || key.ends_with('.') {
            merged.refuse("client.meta", format_args!("has the key {key:?}, which jobs could not refer to"));
        }
    }
    meta
}

fn reserved(merged: &mut Merged) -> NodeReserved {
    let ports = ports_of(merged.text("client.reserved.reserved_ports")).unwrap_or_else(|message| {
        merged.refuse("client.reserved.reserved_ports", message);
        PortSet::default()
    });
    NodeReserved {
        cpu: Mhz(merged.int("client.reserved.cpu", 0, u32::MAX.into()).unwrap_or(0)),
        memory: mebibytes(merged, "client.reserved.memory").unwrap_or_default(),
        disk: mebibytes(merged, "client.reserved.disk").unwrap_or_default(),
        ports,
    }
}

fn ports_of(text: Option<&str>) -> Result<PortSet, String> {
    text.map_or(Ok(PortSet::default()), |text| text.parse().map_err(|error| format!("is not valid: {error}")))
}

/// A set of cores such as `0-3,8`.
fn cores(merged: &mut Merged, path: &str) -> Option<BTreeSet<u16>> {
    let text = merged.text(path)?.to_owned();
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.trim().parse::<u16>().ok()?, last.trim().parse::<u16>().ok()?);
        (first <= last).then_some(first..=last)
    };
    let ranges: Option<Vec<_>> = text.split(',').map(range).collect();
    if ranges.is_none() {
        merged.refuse(path, format_args!("must be a set of cores such as \"0-3,8\", not {text:?}"));
    }
    ranges.map(|ranges| ranges.into_iter().flatten().collect())
}

fn mebibytes(merged: &mut Merged, path: &str) -> Option<MebiBytes> {
    merged.int(path, 0, i64::MAX).filter(|size| *size > 0).map(MebiBytes)
}

fn dynamic_ports(merged: &mut Merged) -> PortRange {
    let usual = PortRange::default();
    let first = merged.int("client.min_dynamic_port", 1, 65_535).unwrap_or(usual.first);
    let last = merged.int("client.max_dynamic_port", 1, 65_535).unwrap_or(usual.last);
    if first > last {
        merged.problems.push(format!(
            "`client.min_dynamic_port` ({first}) is above `client.max_dynamic_port` ({last}): no port would be left"
        ));
    }
    PortRange { first, last }
}

fn host_networks(merged: &mut Merged) -> BTreeMap<String, HostNetwork> {
    let mut networks = BTreeMap::new();
    for (name, settings) in std::mem::take(&mut merged.host_networks) {
        let text = |key: &str| match settings.get(key) {
            Some(Setting { value: Value::Text(text), .. }) => text.clone(),
            _ => String::new(),
        };
        let reserved_ports = ports_of(Some(&text("reserved_ports"))).unwrap_or_else(|message| {
            let origin = settings.get("reserved_ports").map(|setting| setting.origin.clone()).unwrap_or_default();
            merged.problems.push(format!("{origin}: `reserved_ports` of host_network \"{name}\" {message}"));
            PortSet::default()
        });
        let network =
            HostNetwork { name: name.clone(), cidr: text("cidr"), interface: text("interface"), reserved_ports };
        networks.insert(name, network);
    }
    networks
}

fn host_volumes(merged: &mut Merged) -> BTreeMap<String, HostVolume> {
    let mut volumes = BTreeMap::new();
    for (name, settings) in std::mem::take(&mut merged.host_volumes) {
        let path = match settings.get("path") {
            Some(Setting { value: Value::Text(path), .. }) => PathBuf::from(path),
            _ => PathBuf::new(),
        };
        if !path.is_absolute() {
            let origin = settings.values().next().map(|setting| setting.origin.clone()).unwrap_or_default();
            let message = format!("{origin}: host_volume \"{name}\" needs a `path`, which must be absolute");
            merged.problems.push(message);
        }
        let read_only = matches!(settings.get("read_only"), Some(Setting { value: Value::Bool(true), .. }));
        volumes.insert(name, HostVolume { path, read_only });
    }
    volumes
}

/// An agent that is bound to one loopback address gives its allocations that address.
fn network(merged: &mut Merged, addresses: &Addresses, config: &mut Config) {
    config.network_interface = merged.text("client.network_interface").map(str::to_owned);
    config.network_speed_mbits = merged.int("client.network_speed", 0, u32::MAX.into()).filter(|speed| *speed > 0);
    if config.network_interface.is_none() && addresses.bind.is_loopback() {
        config.network_address = Some(addresses.bind);
    }
}

fn options(merged: &mut Merged, config: &mut Config) {
    for (key, value) in merged.map("client.options") {
        let values = || value.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned);
        match key.as_str() {
            "env.denylist" | "env.blacklist" => config.env_denylist = values().collect(),
            // Read where drivers are put together.
            "driver.allowlist"
            | "driver.whitelist"
            | "driver.denylist"
            | "driver.blacklist"
            | "driver.raw_exec.enable" => {}
            "user.denylist" | "user.blacklist" => config.user_denylist = values().collect(),
            "user.checked_drivers" => config.user_checked_drivers = values().collect(),
            _ => merged.warnings.push(format!("`client.options` has {key}, which has no effect")),
        }
    }
}
