//! Where the HTTP API listens and what it adds to answers.

use std::net::{IpAddr, SocketAddr};

use crate::agent::Addresses;
use crate::merged::Merged;

/// How the HTTP API is offered.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// Where it listens; port 0 takes any that is free.
    pub listen: Vec<SocketAddr>,
    /// Where others reach it: a host and a port, which is 0 where the one that was taken is meant.
    pub advertise: (String, u16),
    /// How many connections one address may have open.
    pub connections: ConnectionLimit,
    /// Headers of every answer.
    pub response_headers: Vec<(String, String)>,
    /// Whether metrics are offered in the Prometheus format.
    pub prometheus: bool,
    /// The priority of a job that names none.
    pub job_default_priority: i64,
    /// The highest priority.
    pub job_max_priority: i64,
    /// How many allocations the groups of a job may want together; 0 is unlimited.
    pub job_max_count: i64,
}

/// How many connections one address may have open at a time; a further one is answered with 429 and closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimit {
    /// So many; 0 is no limit. By default 100.
    pub per_client: usize,
    /// Whether it holds for the machine itself, too: only where the operator set a limit. Anybody on the machine has as many
    /// loopback addresses as they like, and proxies and tools there open connections for many others.
    pub for_loopback: bool,
}

fn connections(merged: &mut Merged) -> ConnectionLimit {
    let given = merged.int("limits.http_max_conns_per_client", 0, i64::MAX);
    ConnectionLimit { per_client: given.unwrap_or(100), for_loopback: given.is_some() }
}

pub(crate) fn build(merged: &mut Merged, addresses: &Addresses, dev: bool) -> HttpConfig {
    let max_priority: i64 = merged.int("server.job_max_priority", 100, 32_766).unwrap_or(100);
    let default_priority = merged.int("server.job_default_priority", 50, max_priority).unwrap_or(50);
    HttpConfig {
        listen: addresses.http.clone(),
        advertise: addresses.http_advertise.clone(),
        connections: connections(merged),
        response_headers: merged.map("http_api_response_headers").into_iter().collect(),
        prometheus: merged.flag("telemetry.prometheus_metrics").unwrap_or(dev),
        job_default_priority: default_priority,
        job_max_priority: max_priority,
        job_max_count: merged.int("server.job_max_count", 0, i64::MAX).unwrap_or(50_000),
    }
}

/// Whether somebody on another machine can connect to `ip`.
pub(crate) fn reachable(ip: IpAddr) -> bool {
    !ip.is_loopback()
}
