//! Services and their checks.

use orch_model::job::{CheckRestart, Service, ServiceCheck, ServiceWeights};
use orch_model::time::Nanos;

use super::access::identity;
use super::{Body, connect};

pub(super) fn services(body: &mut Body<'_, '_>) -> Vec<Service> {
    body.blocks("service").into_iter().map(service).collect()
}

fn service(mut body: Body<'_, '_>) -> Service {
    let service = Service {
        name: body.text("name"),
        task_name: body.text("task"),
        port_label: body.text("port"),
        address_mode: body.text("address_mode"),
        address: body.text("address"),
        enable_tag_override: body.flag("enable_tag_override"),
        tags: body.texts("tags"),
        canary_tags: body.texts("canary_tags"),
        checks: body.blocks("check").into_iter().map(check).collect(),
        check_restart: body.block("check_restart").map(check_restart),
        connect: body.block("connect").map(connect::connect),
        meta: body.text_map("meta"),
        canary_meta: body.text_map("canary_meta"),
        weights: body.block("weights").map(weights),
        tagged_addresses: body.text_map("tagged_addresses"),
        namespace: String::new(),
        on_update: body.text("on_update"),
        provider: body.text("provider"),
        cluster: body.text("cluster"),
        identity: body.block("identity").map(identity),
        kind: body.text("kind"),
    };
    body.finish();
    service
}

fn check(mut body: Body<'_, '_>) -> ServiceCheck {
    if body.opt_text("advertise").is_some() {
        body.warn("advertise", "`advertise` has no effect");
    }
    let check = ServiceCheck {
        name: body.text("name"),
        r#type: body.text("type"),
        command: body.text("command"),
        args: body.texts("args"),
        path: body.text("path"),
        protocol: body.text("protocol"),
        port_label: body.text("port"),
        expose: body.flag("expose"),
        address_mode: body.text("address_mode"),
        interval: body.nanos("interval"),
        timeout: body.nanos("timeout"),
        initial_status: body.text("initial_status"),
        notes: body.text("notes"),
        tls_server_name: body.text("tls_server_name"),
        tls_skip_verify: body.flag("tls_skip_verify"),
        method: body.text("method"),
        header: body.text_lists("header"),
        check_restart: body.block("check_restart").map(check_restart),
        grpc_service: body.text("grpc_service"),
        grpc_use_tls: body.flag("grpc_use_tls"),
        task_name: body.text("task"),
        success_before_passing: body.int("success_before_passing"),
        failures_before_critical: body.int("failures_before_critical"),
        failures_before_warning: body.int("failures_before_warning"),
        body: body.text("body"),
        on_update: body.text("on_update"),
    };
    body.finish();
    check
}

fn check_restart(mut body: Body<'_, '_>) -> CheckRestart {
    let restart = CheckRestart {
        limit: body.int("limit"),
        grace: body.opt_nanos("grace").unwrap_or(Nanos::from_secs(1)),
        ignore_warnings: body.flag("ignore_warnings"),
    };
    body.finish();
    restart
}

fn weights(mut body: Body<'_, '_>) -> ServiceWeights {
    let weights =
        ServiceWeights { passing: body.opt_int("passing").unwrap_or(1), warning: body.opt_int("warning").unwrap_or(1) };
    body.finish();
    weights
}
