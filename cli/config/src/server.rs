//! The server's configuration.

use std::path::Path;

use orch_server::Config;
use orch_server::config::{DetectionConfig, GcConfig, RpcLimits};
use orch_server::raft::RaftOptions;

use crate::agent::{Addresses, DEFAULT_RPC_PORT, Host, Naming, with_port};
use crate::merged::Merged;

pub(crate) fn build(
    merged: &mut Merged,
    naming: &Naming,
    addresses: &Addresses,
    host: &Host,
    data_dir: &Path,
    dev: bool,
) -> Config {
    let expect = bootstrap_expect(merged, dev);
    let retry_join = retry_join(merged);
    if expect > 1 && retry_join.is_empty() {
        merged.problems.push(format!(
            "this server is to form a cluster of {expect} and knows none of the others: name them with `retry_join` in \
             `server_join` or with -retry-join"
        ));
    }
    if expect == 0 && retry_join.is_empty() {
        merged.warnings.push(
            "this server neither forms a cluster (`bootstrap_expect`) nor knows one to join (`retry_join`): it waits for \
             a cluster that is already in its data directory"
                .to_owned(),
        );
    }
    if expect > 1 && expect.is_multiple_of(2) {
        merged
            .warnings
            .push(format!("{expect} servers survive no more failures than {}: an odd number is better", expect - 1));
    }
    let mut raft = RaftOptions::default();
    if let Some(multiplier) = merged.int("server.raft_multiplier", 1, 10) {
        raft.multiplier = multiplier;
    }
    if let Some(threshold) = merged.int("server.raft_snapshot_threshold", 16, i64::MAX) {
        raft.snapshot_threshold = threshold;
    }
    let own_dir = merged.text("server.data_dir").map_or_else(|| data_dir.join("server"), Into::into);
    Config {
        name: naming.name.clone(),
        region: naming.region.clone(),
        datacenter: naming.datacenter.clone(),
        version: host.version.clone(),
        data_dir: own_dir,
        rpc_bind: addresses.rpc,
        // Empty stands for the address that the port got.
        rpc_advertise: if addresses.rpc_advertise.1 == 0 {
            String::new()
        } else {
            format_host_port(&addresses.rpc_advertise)
        },
        http_advertise: format_host_port(&addresses.http_advertise),
        bootstrap_expect: expect,
        retry_join,
        retry_interval: merged
            .duration("server.server_join.retry_interval")
            .or_else(|| merged.duration("server.retry_interval"))
            .unwrap_or(std::time::Duration::from_secs(1)),
        raft,
        num_schedulers: merged.int("server.num_schedulers", 0, 1024).filter(|n| *n > 0).unwrap_or(host.cores.max(1)),
        gc: gc(merged),
        detection: DetectionConfig::default(),
        rpc_limits: rpc_limits(merged),
    }
}

fn rpc_limits(merged: &mut Merged) -> RpcLimits {
    let usual = RpcLimits::default();
    let given = merged.int("limits.rpc_max_conns_per_client", 0, i64::MAX);
    RpcLimits {
        conns_per_client: given.unwrap_or(usual.conns_per_client),
        for_loopback: given.is_some(),
        handshake_timeout: merged.duration("limits.rpc_handshake_timeout").unwrap_or(usual.handshake_timeout),
    }
}

fn bootstrap_expect(merged: &mut Merged, dev: bool) -> u32 {
    let given = merged.int("server.bootstrap_expect", 0, 99);
    if let (true, Some(expect)) = (dev, given)
        && expect != 1
    {
        merged.refuse("server.bootstrap_expect", format_args!("must be 1 with -dev, not {expect}"));
    }
    given.unwrap_or(u32::from(dev))
}

fn retry_join(merged: &mut Merged) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for path in
        ["server.server_join.retry_join", "server.server_join.start_join", "server.retry_join", "server.start_join"]
    {
        for address in merged.list(path) {
            match with_port(&address, DEFAULT_RPC_PORT) {
                Ok(address) if all.contains(&address) => {}
                Ok(address) => all.push(address),
                Err(message) => merged.refuse(path, message),
            }
        }
    }
    all
}

fn gc(merged: &Merged) -> GcConfig {
    let usual = GcConfig::default();
    let or = |path, usual| merged.duration(path).unwrap_or(usual);
    GcConfig {
        interval: or("server.job_gc_interval", usual.interval).max(std::time::Duration::from_secs(1)),
        evals: or("server.eval_gc_threshold", usual.evals),
        batch_evals: or("server.batch_eval_gc_threshold", usual.batch_evals),
        jobs: or("server.job_gc_threshold", usual.jobs),
        nodes: or("server.node_gc_threshold", usual.nodes),
        deployments: or("server.deployment_gc_threshold", usual.deployments),
    }
}

/// `host:port`, with brackets where the host is an IPv6 address.
pub(crate) fn format_host_port((host, port): &(String, u16)) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
