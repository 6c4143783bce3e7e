//! Gateways of Consul's service mesh.

use orch_model::job::{
    ConsulGateway, ConsulGatewayBindAddress, ConsulGatewayProxy, ConsulGatewayTlsConfig, ConsulGatewayTlsSdsConfig,
    ConsulHttpHeaderModifiers, ConsulIngressConfigEntry, ConsulIngressListener, ConsulIngressService,
    ConsulLinkedService, ConsulMeshConfigEntry, ConsulTerminatingConfigEntry,
};

use super::Body;

pub(super) fn gateway(mut body: Body<'_, '_>) -> ConsulGateway {
    let gateway = ConsulGateway {
        proxy: body.block("proxy").map(proxy),
        ingress: body.block("ingress").map(ingress),
        terminating: body.block("terminating").map(terminating),
        mesh: body.block("mesh").map(mesh),
    };
    body.finish();
    gateway
}

fn mesh(body: Body<'_, '_>) -> ConsulMeshConfigEntry {
    body.finish();
    ConsulMeshConfigEntry {}
}

fn proxy(mut body: Body<'_, '_>) -> ConsulGatewayProxy {
    let addresses = body.labelled("envoy_gateway_bind_addresses", "name").into_iter().map(|(name, mut body)| {
        let address =
            ConsulGatewayBindAddress { name: name.clone(), address: body.text("address"), port: body.int("port") };
        body.finish();
        (name, address)
    });
    let proxy = ConsulGatewayProxy {
        envoy_gateway_bind_addresses: addresses.collect(),
        connect_timeout: body.opt_nanos("connect_timeout"),
        envoy_gateway_bind_tagged_addresses: body.flag("envoy_gateway_bind_tagged_addresses"),
        envoy_gateway_no_default_bind: body.flag("envoy_gateway_no_default_bind"),
        envoy_dns_discovery_type: body.text("envoy_dns_discovery_type"),
        config: body.values("config"),
    };
    body.finish();
    proxy
}

fn ingress(mut body: Body<'_, '_>) -> ConsulIngressConfigEntry {
    let listeners = body.blocks("listener").into_iter().map(|mut body| {
        let listener = ConsulIngressListener {
            port: body.int("port"),
            protocol: body.text_or("protocol", "tcp"),
            services: body.blocks("service").into_iter().map(ingress_service).collect(),
        };
        body.finish();
        listener
    });
    let ingress = ConsulIngressConfigEntry { listeners: listeners.collect(), tls: body.block("tls").map(tls) };
    body.finish();
    ingress
}

fn ingress_service(mut body: Body<'_, '_>) -> ConsulIngressService {
    let service = ConsulIngressService {
        name: body.text("name"),
        hosts: body.texts("hosts"),
        tls: body.block("tls").map(tls),
        request_headers: body.block("request_headers").map(headers),
        response_headers: body.block("response_headers").map(headers),
        max_connections: body.opt_int("max_connections"),
        max_pending_requests: body.opt_int("max_pending_requests"),
        max_concurrent_requests: body.opt_int("max_concurrent_requests"),
    };
    body.finish();
    service
}

fn headers(mut body: Body<'_, '_>) -> ConsulHttpHeaderModifiers {
    let headers = ConsulHttpHeaderModifiers {
        add: body.text_map("add"),
        set: body.text_map("set"),
        remove: body.texts("remove"),
    };
    body.finish();
    headers
}

fn tls(mut body: Body<'_, '_>) -> ConsulGatewayTlsConfig {
    let sds = body.block("sds").map(|mut body| {
        let sds = ConsulGatewayTlsSdsConfig {
            cluster_name: body.text("cluster_name"),
            cert_resource: body.text("cert_resource"),
        };
        body.finish();
        sds
    });
    let tls = ConsulGatewayTlsConfig {
        sds,
        enabled: body.flag("enabled"),
        tls_min_version: body.text("tls_min_version"),
        tls_max_version: body.text("tls_max_version"),
        cipher_suites: body.texts("cipher_suites"),
    };
    body.finish();
    tls
}

fn terminating(mut body: Body<'_, '_>) -> ConsulTerminatingConfigEntry {
    let services = body.blocks("service").into_iter().map(|mut body| {
        let service = ConsulLinkedService {
            name: body.text("name"),
            ca_file: body.text("ca_file"),
            cert_file: body.text("cert_file"),
            key_file: body.text("key_file"),
            sni: body.text("sni"),
        };
        body.finish();
        service
    });
    let terminating = ConsulTerminatingConfigEntry { services: services.collect() };
    body.finish();
    terminating
}
