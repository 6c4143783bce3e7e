//! Constraints that a job's own blocks imply: a node must have what they use.

use std::collections::BTreeSet;

use super::gates;
use crate::job::{ChangeMode, Constraint, Job, NetworkMode, Operator, Service, ServiceProvider, Task, TaskGroup};

/// Adds to each group the constraints that its blocks imply and that it does not have yet.
///
/// Services whose registration is not built yet imply nothing: their allocations run on any node.
pub(super) fn add(job: &mut Job) {
    let providers: BTreeSet<String> = job
        .task_groups
        .iter()
        .flat_map(|group| &group.tasks)
        .flat_map(|task| &task.secrets)
        .map(|s| s.provider.clone())
        .collect();
    for i in 0..job.task_groups.len() {
        let mut implied = of_group(&job.task_groups[i]);
        implied.extend(providers.iter().map(|provider| {
            let attribute = format!("${{attr.plugins.secrets.{provider}.version}}");
            Implied::unless_targeted(Constraint::new(&attribute, Operator::IsSet, ""))
        }));
        for wanted in implied {
            let present = |constraint: &Constraint| match wanted.unless {
                Unless::SameTarget => constraint.l_target == wanted.constraint.l_target,
                Unless::Equal => *constraint == wanted.constraint,
            };
            if !job.constraints.iter().chain(&job.task_groups[i].constraints).any(present) {
                job.task_groups[i].constraints.push(wanted.constraint);
            }
        }
    }
}

struct Implied {
    constraint: Constraint,
    unless: Unless,
}

enum Unless {
    SameTarget,
    Equal,
}

impl Implied {
    const fn unless_targeted(constraint: Constraint) -> Self {
        Self { constraint, unless: Unless::SameTarget }
    }

    fn at_least(attribute: &str, version: &str) -> Self {
        let target = format!("${{attr.{attribute}}}");
        Self::unless_targeted(Constraint::new(&target, Operator::Semver, &format!(">= {version}")))
    }
}

const CNI_PLUGINS: [&str; 5] = ["bridge", "firewall", "host-local", "loopback", "portmap"];

fn of_group(group: &TaskGroup) -> Vec<Implied> {
    let mut implied = Vec::new();
    if group.networks.iter().any(|network| network.mode() == Some(NetworkMode::Bridge)) {
        implied.extend(CNI_PLUGINS.map(|plugin| Implied::at_least(&format!("plugins.cni.version.{plugin}"), "0.4.0")));
    }
    let services: Vec<&Service> =
        group.services.iter().chain(group.tasks.iter().flat_map(|task| &task.services)).collect();
    of_services(&services, &mut implied);
    for task in &group.tasks {
        of_task(task, &mut implied);
    }
    let signals = used_signals(group);
    if !signals.is_empty() {
        let list = signals.into_iter().collect::<Vec<_>>().join(",");
        let constraint = Constraint::new("${attr.os.signals}", Operator::SetContainsAll, &list);
        implied.push(Implied { constraint, unless: Unless::Equal });
    }
    implied
}

fn of_services(services: &[&Service], implied: &mut Vec<Implied>) {
    if services.iter().any(|service| is_transparent(service)) {
        implied.push(Implied::at_least("plugins.cni.version.consul-cni", "1.4.2"));
        implied.push(Implied::at_least("nomad.version", "1.8.0-dev"));
    }
    if gates::stands("service") {
        return;
    }
    let of = |provider| services.iter().filter(move |service| service.provider() == Some(provider));
    if of(ServiceProvider::Consul).next().is_some() {
        implied.push(Implied::at_least("consul.version", "1.8.0"));
    }
    if of(ServiceProvider::Nomad).next().is_some() {
        let constraint = Constraint::new("${attr.nomad.service_discovery}", Operator::Equal, "true");
        implied.push(Implied::unless_targeted(constraint));
    }
    if of(ServiceProvider::Nomad).any(|service| !service.checks.is_empty()) {
        implied.push(Implied::at_least("nomad.version", "1.4.0"));
    }
}

fn is_transparent(service: &Service) -> bool {
    let sidecar = service.connect.as_ref().and_then(|connect| connect.sidecar_service.as_ref());
    sidecar.and_then(|sidecar| sidecar.proxy.as_ref()).is_some_and(|proxy| proxy.transparent_proxy.is_some())
}

fn of_task(task: &Task, implied: &mut Vec<Implied>) {
    if let Some(vault) = &task.vault {
        implied.push(match vault.cluster.as_str() {
            "" | "default" => Implied::at_least("vault.version", "0.6.1"),
            cluster => Implied::at_least(&format!("vault.{cluster}.version"), "1.11.0"),
        });
    }
    let numa = task.resources.as_ref().and_then(|resources| resources.numa.as_ref());
    if numa.is_some_and(|numa| numa.affinity != "none") {
        implied.push(Implied::at_least("nomad.version", "1.6.3-dev"));
        let constraint = Constraint::new("${attr.kernel.name}", Operator::Equal, "linux");
        implied.push(Implied::unless_targeted(constraint));
    }
    if task.schedule.is_some() {
        implied.push(Implied::at_least("nomad.version", "1.8.0-dev"));
    }
    if !task.identities.is_empty() {
        implied.push(Implied::at_least("nomad.version", "1.7.0-a"));
    }
}

/// The signals that a group's tasks may be sent, sorted.
fn used_signals(group: &TaskGroup) -> BTreeSet<String> {
    let mut signals = BTreeSet::new();
    for task in &group.tasks {
        if !task.kill_signal.is_empty() {
            signals.insert(task.kill_signal.clone());
        }
        if let Some(vault) = task.vault.as_ref().filter(|vault| vault.change_mode == ChangeMode::Signal.as_str()) {
            signals.insert(vault.change_signal.clone());
        }
        let templates = task.templates.iter().filter(|template| template.change_mode() == Some(ChangeMode::Signal));
        signals.extend(templates.map(|template| template.change_signal.clone()));
    }
    signals
}
