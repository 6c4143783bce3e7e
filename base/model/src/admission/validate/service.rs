//! Rules about services and checks.

use std::collections::BTreeSet;

use super::text::{is_dns_label, is_interpolated, without_interpolation};
use super::{Checks, gates};
use crate::job::{NetworkResource, Service, ServiceCheck, ServiceProvider, Task, TaskGroup};

/// Rules about a group's services, and about those of its tasks together with them.
pub(super) fn of_group(checks: &mut Checks<'_>, group: &TaskGroup) {
    let home = Home { ports: port_labels(&group.networks), task: None, group };
    checks.each("service", &group.services, |checks, service| one(checks, service, &home));
    let of_tasks =
        group.tasks.iter().flat_map(|task| task.services.iter().map(move |service| (service, task.name.as_str())));
    let all: Vec<_> = group.services.iter().map(|service| (service, "group")).chain(of_tasks).collect();
    let providers: BTreeSet<_> = all.iter().map(|(service, _)| service.provider.as_str()).collect();
    if providers.len() > 1 {
        checks.refuse_block("all services of a group must have the same provider");
    }
    let mut seen = BTreeSet::new();
    for (service, owner) in &all {
        if !seen.insert((&service.name, *owner, &service.port_label)) {
            checks.refuse_block(format!("service {:?} is given twice with the same port", service.name));
        }
    }
    let waits = group.shutdown_delay.is_some_and(|delay| delay.0 > 0)
        || group.tasks.iter().any(|task| task.shutdown_delay.0 > 0);
    if !all.is_empty() && !waits && !gates::stands("service") {
        checks.warn("services without a shutdown_delay may get requests while they stop");
    }
}

/// Rules about a task's own services.
pub(super) fn of_task(checks: &mut Checks<'_>, group: &TaskGroup, task: &Task) {
    let networks = task.resources.iter().flat_map(|resources| &resources.networks);
    let mut ports = port_labels(&group.networks);
    ports.extend(networks.flat_map(|network| network.ports()).map(|port| port.label.as_str()));
    let home = Home { ports, task: Some(&task.name), group };
    checks.each("service", &task.services, |checks, service| one(checks, service, &home));
}

/// Where a service stands.
struct Home<'a> {
    ports: BTreeSet<&'a str>,
    task: Option<&'a str>,
    group: &'a TaskGroup,
}

fn port_labels(networks: &[NetworkResource]) -> BTreeSet<&str> {
    networks.iter().flat_map(NetworkResource::ports).map(|port| port.label.as_str()).collect()
}

fn one(checks: &mut Checks<'_>, service: &Service, home: &Home<'_>) {
    if !is_dns_label(&without_interpolation(&service.name)) {
        checks.refuse("name", format!("{:?} is not a name of at most 63 letters, digits and -", service.name));
    }
    let Some(provider) = service.provider() else {
        checks.refuse("provider", format!("{:?} is not one of {}", service.provider, ServiceProvider::choices()));
        return;
    };
    address(checks, service, home);
    checks.choice("on_update", &service.on_update, &["require_healthy", "ignore_warnings", "ignore"]);
    let kinds = ["", "api-gateway", "ingress-gateway", "mesh-gateway", "terminating-gateway"];
    checks.choice("kind", &service.kind, &kinds);
    match home.task {
        Some(task) if !service.task_name.is_empty() && service.task_name != task => {
            checks.refuse("task", format!("a task's service belongs to it: {:?} is another task", service.task_name));
        }
        None if !service.task_name.is_empty() && home.group.task(&service.task_name).is_none() => {
            checks.refuse("task", format!("the group has no task {:?}", service.task_name));
        }
        Some(_) | None => {}
    }
    if let Some(identity) = &service.identity {
        let nobody = identity.audience.is_empty();
        checks
            .block("identity", "", |checks| checks.refuse_if(nobody, "aud", "a service's identity needs an audience"));
    }
    connect(checks, service, provider, home);
    checks.unique("check", service.checks.iter().map(|check| check.name.as_str()));
    checks.each("check", &service.checks, |checks, check| self::check(checks, check, service, provider, home));
}

fn address(checks: &mut Checks<'_>, service: &Service, home: &Home<'_>) {
    checks.choice("address_mode", &service.address_mode, &["auto", "host", "driver", "alloc", "alloc_ipv6"]);
    let mode = service.address_mode.as_str();
    checks.refuse_if(
        mode == "driver" && home.task.is_none(),
        "address_mode",
        "driver is only possible in a task's service",
    );
    let of_alloc = ["alloc", "alloc_ipv6"].contains(&mode);
    checks.refuse_if(of_alloc && home.task.is_some(), "address_mode", "alloc is only possible in a group's service");
    checks.refuse_if(
        !service.address.is_empty() && mode != "auto",
        "address",
        "is only possible with address_mode auto",
    );
    let numeric_allowed = mode == "driver" || of_alloc || service.connect.is_some();
    port_exists(checks, &service.port_label, home, numeric_allowed, mode);
}

/// Refuses a port that is neither a label of the network nor, where allowed, a number.
fn port_exists(checks: &mut Checks<'_>, label: &str, home: &Home<'_>, numeric_allowed: bool, mode: &str) {
    if label.is_empty() || is_interpolated(label) || home.ports.contains(label) {
        return;
    }
    match label.parse::<u32>() {
        Ok(number) if numeric_allowed => {
            checks.refuse_if(!(1..=65535).contains(&number), "port", "must be between 1 and 65535");
        }
        Ok(_) => checks
            .refuse("port", format!("a number is not possible with address_mode {mode:?}: name a port of the network")),
        Err(_) => checks.refuse("port", format!("the network has no port {label:?}")),
    }
}

fn connect(checks: &mut Checks<'_>, service: &Service, provider: ServiceProvider, home: &Home<'_>) {
    let Some(connect) = &service.connect else { return };
    checks.block("connect", "", |checks| {
        if provider != ServiceProvider::Consul {
            checks.refuse_block("the mesh needs provider consul");
        }
        if home.task.is_some() {
            checks.refuse_block("only services of a group can be in the mesh");
        }
        let kinds = [connect.native, connect.sidecar_service.is_some(), connect.gateway.is_some()];
        if kinds.iter().filter(|given| **given).count() != 1 {
            checks.refuse_block("state exactly one of native, sidecar_service and gateway");
        }
        let native_without_task = connect.native && service.task_name.is_empty() && home.group.tasks.len() > 1;
        if native_without_task {
            checks.refuse_block("a native service must name its task");
        }
    });
}

fn check(checks: &mut Checks<'_>, check: &ServiceCheck, service: &Service, provider: ServiceProvider, home: &Home<'_>) {
    let one_second = crate::time::Nanos::from_secs(1);
    checks.refuse_if(check.interval < one_second, "interval", "must be at least 1s");
    checks.refuse_if(check.timeout < one_second, "timeout", "must be at least 1s");
    match provider {
        ServiceProvider::Nomad => {
            checks.choice("type", &check.r#type, &["tcp", "http"]);
            nomad_check(checks, check);
        }
        ServiceProvider::Consul => {
            checks.choice("type", &check.r#type, &["tcp", "http", "grpc", "script"]);
            let counted = check.success_before_passing != 0 || check.failures_before_critical != 0;
            checks.refuse_if(
                check.r#type == "script" && counted,
                "type",
                "script checks do not count successes and failures",
            );
        }
    }
    match check.r#type.as_str() {
        "http" => {
            checks.refuse_if(check.path.is_empty(), "path", "an http check needs a path");
            let absolute = check.path.contains("://") || check.path.starts_with("//");
            checks.refuse_if(absolute, "path", "must be a path without scheme and host");
            checks.choice("protocol", &check.protocol, &["", "http", "https"]);
        }
        "script" => {
            checks.refuse_if(check.command.is_empty(), "command", "a script check needs a command");
            checks.refuse_if(check.task_name.is_empty(), "task", "a group's script check must name its task");
        }
        _ => {}
    }
    checks.refuse_if(check.notes.len() > 255, "notes", "must not be longer than 255 bytes");
    let counts = [check.success_before_passing, check.failures_before_critical, check.failures_before_warning];
    checks.refuse_if(counts.iter().any(|count| *count < 0), "failures_before_critical", "must not be negative");
    checks.choice("initial_status", &check.initial_status, &["", "passing", "warning", "critical"]);
    checks.choice("on_update", &check.on_update, &["", "require_healthy", "ignore_warnings", "ignore"]);
    let script = check.r#type == "script";
    checks.refuse_if(
        check.expose && (script || check.r#type == "tcp"),
        "expose",
        "only http and grpc checks can be exposed",
    );
    restart(checks, check, provider);
    if !script {
        port(checks, check, service, home);
    }
}

fn nomad_check(checks: &mut Checks<'_>, check: &ServiceCheck) {
    const METHODS: [&str; 10] = ["", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE"];
    checks.choice("method", &check.method, &METHODS);
    checks.refuse_if(check.address_mode == "driver", "address_mode", "driver is not possible with provider nomad");
    checks.refuse_if(!check.tls_server_name.is_empty(), "tls_server_name", "is not possible with provider nomad");
    checks.refuse_if(
        check.on_update == "ignore_warnings",
        "on_update",
        "ignore_warnings is not possible with provider nomad",
    );
    let counts = [
        ("success_before_passing", check.success_before_passing),
        ("failures_before_critical", check.failures_before_critical),
        ("failures_before_warning", check.failures_before_warning),
    ];
    for (attribute, _) in counts.into_iter().filter(|(_, count)| *count != 0) {
        checks.refuse(attribute, "is not possible with provider nomad");
    }
}

fn restart(checks: &mut Checks<'_>, check: &ServiceCheck, provider: ServiceProvider) {
    let Some(restart) = &check.check_restart else { return };
    let ignored = check.on_update == "ignore";
    checks.block("check_restart", "", |checks| {
        checks.refuse_if(restart.limit < 0, "limit", "must not be negative");
        checks.refuse_if(restart.grace.0 < 0, "grace", "must not be negative");
        let of_nomad = provider == ServiceProvider::Nomad;
        checks.refuse_if(of_nomad && restart.ignore_warnings, "ignore_warnings", "is not possible with provider nomad");
        if ignored {
            checks.refuse_block("a check that is ignored by on_update cannot restart a task");
        }
    });
}

fn port(checks: &mut Checks<'_>, check: &ServiceCheck, service: &Service, home: &Home<'_>) {
    checks.choice("address_mode", &check.address_mode, &["", "host", "driver", "alloc", "alloc_ipv6"]);
    let numeric_allowed = ["driver", "alloc", "alloc_ipv6"].contains(&check.address_mode.as_str());
    if check.port_label.is_empty() {
        if service.port_label.is_empty() {
            checks.refuse("port", "the check and its service have no port");
        } else if service.port_label.parse::<u32>().is_ok()
            && !numeric_allowed
            && !home.ports.contains(service.port_label.as_str())
        {
            checks.refuse(
                "port",
                "the service's port is a number: name a port, or set the check's address_mode to driver",
            );
        }
        return;
    }
    port_exists(checks, &check.port_label, home, numeric_allowed, &check.address_mode);
}
