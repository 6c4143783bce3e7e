//! Networks and ports.

use orch_model::job::{CniConfig, DnsConfig, NetworkResource, Port};

use super::Body;

pub(super) fn networks(body: &mut Body<'_, '_>) -> Vec<NetworkResource> {
    body.blocks("network").into_iter().map(network).collect()
}

fn network(mut body: Body<'_, '_>) -> NetworkResource {
    let mut ports = ports(&mut body, "port");
    ports.extend(self::ports(&mut body, "reserved_ports"));
    let (reserved_ports, dynamic_ports) = ports.into_iter().partition(|port| port.value > 0);
    let network = NetworkResource {
        mode: body.text("mode"),
        device: body.text("device"),
        cidr: body.text("cidr"),
        ip: body.text("ip"),
        hostname: body.text("hostname"),
        mbits: body.int("mbits"),
        dns: body.block("dns").map(dns),
        reserved_ports,
        dynamic_ports,
        cni: body.block("cni").map(cni),
    };
    body.finish();
    network
}

fn ports(body: &mut Body<'_, '_>, kind: &'static str) -> Vec<Port> {
    let ports = body.labelled(kind, "label").into_iter().map(|(label, mut body)| {
        let port = Port {
            label,
            value: body.int("static"),
            to: body.int("to"),
            host_network: body.text("host_network"),
            ignore_collision: body.flag("ignore_collision"),
        };
        body.finish();
        port
    });
    ports.collect()
}

fn dns(mut body: Body<'_, '_>) -> DnsConfig {
    let dns =
        DnsConfig { servers: body.texts("servers"), searches: body.texts("searches"), options: body.texts("options") };
    body.finish();
    dns
}

fn cni(mut body: Body<'_, '_>) -> CniConfig {
    let cni = CniConfig { args: body.text_map("args") };
    body.finish();
    cni
}
