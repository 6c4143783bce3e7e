//! Consul's service mesh: how a service takes part in it, and its sidecar.

use orch_model::job::{
    ConsulConnect, ConsulExposeConfig, ConsulExposePath, ConsulMeshGateway, ConsulProxy, ConsulSidecarService,
    ConsulTransparentProxy, ConsulUpstream, SidecarTask,
};

use super::access::identity;
use super::task::logs;
use super::{Body, gateway, resources, volume};

pub(super) fn connect(mut body: Body<'_, '_>) -> ConsulConnect {
    let connect = ConsulConnect {
        native: body.flag("native"),
        sidecar_service: body.block("sidecar_service").map(sidecar_service),
        sidecar_task: body.block("sidecar_task").map(sidecar_task),
        gateway: body.block("gateway").map(gateway::gateway),
    };
    body.finish();
    connect
}

fn sidecar_service(mut body: Body<'_, '_>) -> ConsulSidecarService {
    let service = ConsulSidecarService {
        tags: body.texts("tags"),
        port: body.text("port"),
        proxy: body.block("proxy").map(proxy),
        disable_default_tcp_check: body.flag("disable_default_tcp_check"),
        meta: body.text_map("meta"),
    };
    body.finish();
    service
}

fn sidecar_task(mut body: Body<'_, '_>) -> SidecarTask {
    let task = SidecarTask {
        name: body.text("name"),
        driver: body.text("driver"),
        user: body.text("user"),
        config: body.values("config"),
        env: body.text_map("env"),
        resources: body.block("resources").map(resources::resources),
        meta: body.text_map("meta"),
        kill_timeout: body.opt_nanos("kill_timeout"),
        log_config: body.block("logs").map(logs),
        shutdown_delay: body.opt_nanos("shutdown_delay"),
        kill_signal: body.text("kill_signal"),
        volume_mounts: volume::mounts(&mut body),
        identities: body.blocks("identity").into_iter().map(identity).collect(),
    };
    body.finish();
    task
}

fn proxy(mut body: Body<'_, '_>) -> ConsulProxy {
    let proxy = ConsulProxy {
        local_service_address: body.text("local_service_address"),
        local_service_port: body.int("local_service_port"),
        upstreams: body.blocks("upstreams").into_iter().map(upstream).collect(),
        expose: body.block("expose").map(expose),
        transparent_proxy: body.block("transparent_proxy").map(transparent_proxy),
        config: body.values("config"),
    };
    body.finish();
    proxy
}

fn upstream(mut body: Body<'_, '_>) -> ConsulUpstream {
    let upstream = ConsulUpstream {
        destination_name: body.text("destination_name"),
        destination_namespace: body.text("destination_namespace"),
        destination_partition: body.text("destination_partition"),
        destination_peer: body.text("destination_peer"),
        destination_type: body.text("destination_type"),
        local_bind_port: body.int("local_bind_port"),
        datacenter: body.text("datacenter"),
        local_bind_address: body.text("local_bind_address"),
        local_bind_socket_path: body.text("local_bind_socket_path"),
        local_bind_socket_mode: body.text("local_bind_socket_mode"),
        mesh_gateway: body.block("mesh_gateway").map(mesh_gateway).unwrap_or_default(),
        config: body.values("config"),
    };
    body.finish();
    upstream
}

fn mesh_gateway(mut body: Body<'_, '_>) -> ConsulMeshGateway {
    let gateway = ConsulMeshGateway { mode: body.text("mode") };
    body.finish();
    gateway
}

fn expose(mut body: Body<'_, '_>) -> ConsulExposeConfig {
    let paths = body.blocks("path").into_iter().map(|mut body| {
        let path = ConsulExposePath {
            path: body.text("path"),
            protocol: body.text("protocol"),
            local_path_port: body.int("local_path_port"),
            listener_port: body.text("listener_port"),
        };
        body.finish();
        path
    });
    let expose = ConsulExposeConfig { paths: paths.collect() };
    body.finish();
    expose
}

fn transparent_proxy(mut body: Body<'_, '_>) -> ConsulTransparentProxy {
    let proxy = ConsulTransparentProxy {
        uid: body.text("uid"),
        outbound_port: body.int("outbound_port"),
        exclude_inbound_ports: body.texts("exclude_inbound_ports"),
        exclude_outbound_ports: body.ints("exclude_outbound_ports"),
        exclude_outbound_cidrs: body.texts("exclude_outbound_cidrs"),
        exclude_uids: body.texts("exclude_uids"),
        no_dns: body.flag("no_dns"),
    };
    body.finish();
    proxy
}
