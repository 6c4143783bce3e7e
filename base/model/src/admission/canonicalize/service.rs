//! Defaults of services and checks.

use std::collections::BTreeMap;

use super::default_text;
use crate::job::{Job, Service, ServiceCheck};

/// Where a service or a scaling policy stands.
pub(super) struct Home<'a> {
    pub(super) job: &'a Job,
    pub(super) group: &'a str,
    pub(super) task: Option<&'a str>,
}

impl Home<'_> {
    /// What a scaling policy here scales.
    pub(super) fn scaling_target(&self) -> BTreeMap<String, String> {
        let mut target = BTreeMap::from([
            ("Namespace".to_owned(), self.job.namespace.as_str().to_owned()),
            ("Job".to_owned(), self.job.id.as_str().to_owned()),
            ("Group".to_owned(), self.group.to_owned()),
        ]);
        if let Some(task) = self.task {
            target.insert("Task".to_owned(), task.to_owned());
        }
        target
    }

    fn base_name(&self) -> String {
        let parts = [Some(self.job.name.as_str()), Some(self.group), self.task];
        parts.into_iter().flatten().collect::<Vec<_>>().join("-")
    }

    /// `text` with `${JOB}`, `${TASKGROUP}`, `${TASK}` and `${BASE}` replaced.
    fn expanded(&self, text: &str) -> String {
        text.replace("${JOB}", &self.job.name)
            .replace("${TASKGROUP}", self.group)
            .replace("${TASK}", self.task.unwrap_or_default())
            .replace("${BASE}", &self.base_name())
    }
}

pub(super) fn fill(service: &mut Service, home: &Home<'_>) {
    service.name = if service.name.is_empty() { home.base_name() } else { home.expanded(&service.name) };
    default_text(&mut service.provider, "consul");
    default_text(&mut service.address_mode, "auto");
    default_text(&mut service.on_update, "require_healthy");
    default_text(&mut service.cluster, "default");
    let namespace = if service.provider == "nomad" { home.job.namespace.as_str() } else { "default" };
    default_text(&mut service.namespace, namespace);
    let restart = service.check_restart.take();
    for check in &mut service.checks {
        if check.check_restart.is_none() {
            check.check_restart.clone_from(&restart);
        }
        fill_check(check, &service.name, &service.on_update, home);
    }
}

fn fill_check(check: &mut ServiceCheck, service: &str, on_update: &str, home: &Home<'_>) {
    if check.name.is_empty() {
        check.name = format!("service: {service:?} check");
    }
    default_text(&mut check.on_update, on_update);
    if let Some(task) = home.task {
        default_text(&mut check.task_name, task);
    }
}
