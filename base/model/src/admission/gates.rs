//! The one table of features that jobs can ask for and that are not built yet.
//!
//! A job that would run wrongly without a feature is refused, one that merely runs without it is warned about. Whoever
//! builds a feature deletes its row.

use super::FieldError;
use super::canonicalize::default_migrate;
use super::report::{FieldPath, Report, Step};
use crate::job::{Job, JobType, NetworkMode, Task, TaskGroup};

/// What happens to a job that uses a feature which is not built yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It would run wrongly and is refused.
    Refused,
    /// It runs without the feature, and its submitter is told.
    Warned,
}

/// A feature that is not built yet.
#[derive(Debug, Clone, Copy)]
pub struct Gate {
    /// The block or attribute that asks for it.
    pub block: &'static str,
    /// What happens to a job that uses it.
    pub effect: Effect,
    /// Why, in a sentence that goes on after the block's name.
    pub sentence: &'static str,
    uses: fn(&Job) -> Vec<FieldPath>,
}

/// The features that are left to build.
pub fn remaining() -> &'static [Gate] {
    GATES
}

/// Whether the feature that `block` asks for is still left to build.
pub(super) fn stands(block: &str) -> bool {
    GATES.iter().any(|gate| gate.block == block)
}

/// Reports every use of a feature that is left to build in a canonical job.
pub(super) fn check(job: &Job, report: &mut Report) {
    for gate in GATES {
        let uses = (gate.uses)(job);
        match gate.effect {
            Effect::Refused => report.errors.extend(
                uses.into_iter()
                    .map(|path| FieldError { path, message: format!("`{}` {}", gate.block, gate.sentence) }),
            ),
            Effect::Warned => {
                let Some(first) = uses.first() else { continue };
                let more = if uses.len() > 1 { format!(" (and {} more)", uses.len() - 1) } else { String::new() };
                report.warnings.push(format!("{first}{more}: `{}` {}", gate.block, gate.sentence));
            }
        }
    }
}

const fn refused(block: &'static str, sentence: &'static str, uses: fn(&Job) -> Vec<FieldPath>) -> Gate {
    Gate { block, effect: Effect::Refused, sentence, uses }
}

const fn warned(block: &'static str, sentence: &'static str, uses: fn(&Job) -> Vec<FieldPath>) -> Gate {
    Gate { block, effect: Effect::Warned, sentence, uses }
}

#[rustfmt::skip]
const GATES: &[Gate] = &[
    refused("periodic", "is not supported yet: nothing would launch the job at its times", |job| at_job(job.periodic.is_some(), "periodic")),
    refused("parameterized", "is not supported yet: the job could not be dispatched", |job| at_job(job.parameterized_job.is_some(), "parameterized")),
    refused("multiregion", "is not supported: the job would run in one region only", |job| at_job(job.multiregion.is_some(), "multiregion")),
    refused("type", "`system` and `sysbatch` are not supported yet: the job would not run on every node", |job| {
        let on_every_node = matches!(job.kind(), Some(JobType::System | JobType::Sysbatch));
        if on_every_node { vec![FieldPath(vec![Step::Attr("type")])] } else { Vec::new() }
    }),
    refused("volume", "of type `csi` is not supported yet: the data would not be there", |job| {
        in_groups(job, |group, out| {
            let csi = group.volumes.iter().filter(|(_, volume)| volume.r#type == "csi");
            out.extend(csi.map(|(name, _)| vec![Step::Block("volume", name.clone())]));
        })
    }),
    refused("network.mode", "other than `host` is not supported yet: tasks would share the host's network", |job| {
        in_groups(job, |group, out| {
            let modes = group.networks.iter().map(|network| network.mode()).enumerate();
            let other = modes.filter(|(_, mode)| mode.as_ref().is_some_and(|mode| *mode != NetworkMode::Host));
            out.extend(other.map(|(i, _)| vec![nth_or_only("network", i, group.networks.len()), Step::Attr("mode")]));
        })
    }),
    refused("connect", "is not supported yet: the service would not be in the mesh", |job| {
        in_services(job, |service, out| if service.connect.is_some() { out.push(vec![block("connect")]) })
    }),
    refused("max_run_duration", "is not supported yet: the allocation would not be ended", |job| {
        in_groups(job, |group, out| if group.max_run_duration.is_some() { out.push(vec![Step::Attr("max_run_duration")]) })
    }),
    refused("canary", "is not supported yet: the change would replace every allocation at once", |job| {
        in_groups(job, |group, out| {
            if group.update.as_ref().is_some_and(|update| update.canary() > 0) {
                out.push(vec![block("update"), Step::Attr("canary")]);
            }
        })
    }),
    refused("stop_on_client_after", "is not supported yet: the client would not stop the allocation by itself", |job| {
        in_groups(job, |group, out| {
            if group.disconnect.as_ref().is_some_and(|disconnect| disconnect.stop_on_client_after.is_some()) {
                out.push(vec![block("disconnect"), Step::Attr("stop_on_client_after")]);
            }
        })
    }),
    refused("vault", "is not supported yet: the task would have no token", |job| in_tasks(job, |task, out| {
        if task.vault.is_some() { out.push(vec![block("vault")]) }
    })),
    refused("secret", "is not supported yet: the task would not know it", |job| in_tasks(job, |task, out| {
        out.extend(task.secrets.iter().map(|secret| vec![Step::Block("secret", secret.name.clone())]));
    })),
    refused("csi_plugin", "is not supported yet: the plugin would not be used", |job| in_tasks(job, |task, out| {
        if task.csi_plugin_config.is_some() { out.push(vec![block("csi_plugin")]) }
    })),
    refused("schedule", "is not supported: the task would run at all times", |job| in_tasks(job, |task, out| {
        if task.schedule.is_some() { out.push(vec![block("schedule")]) }
    })),
    refused("dispatch_payload", "is not supported yet: the file would not be there", |job| in_tasks(job, |task, out| {
        if task.dispatch_payload.is_some() { out.push(vec![block("dispatch_payload")]) }
    })),
    refused("identity", "with `env` or `file` is not supported yet: the task would have no token", |job| in_tasks(job, |task, out| {
        let given = |env: bool, file: bool| env || file;
        if task.identity.as_ref().is_some_and(|identity| given(identity.env, identity.file)) {
            out.push(vec![block("identity")]);
        }
        let named = task.identities.iter().filter(|identity| given(identity.env, identity.file));
        out.extend(named.map(|identity| vec![Step::Block("identity", identity.name.clone())]));
    })),
    refused("device", "is not supported yet: the task would not get it", |job| in_tasks(job, |task, out| {
        let devices = task.resources.iter().flat_map(|resources| &resources.devices);
        out.extend(devices.map(|device| vec![block("resources"), Step::Block("device", device.name.clone())]));
    })),
    refused("numa", "is not supported: memory would not be near the cores", |job| in_tasks(job, |task, out| {
        let numa = task.resources.as_ref().and_then(|resources| resources.numa.as_ref());
        if numa.is_some_and(|numa| numa.affinity != "none") {
            out.push(vec![block("resources"), block("numa")]);
        }
    })),
    refused("resources.network", "is not supported: write a network block in the group", |job| in_tasks(job, |task, out| {
        let asks = |network: &crate::job::NetworkResource| network.ports().next().is_some() || !network.mode.is_empty();
        if task.resources.as_ref().is_some_and(|resources| resources.networks.iter().any(asks)) {
            out.push(vec![block("resources"), block("network")]);
        }
    })),

    warned("service", "is not registered anywhere yet", |job| in_services(job, |_, out| out.push(Vec::new()))),
    warned("check", "does not run yet", |job| {
        in_services(job, |service, out| repeated(out, "check", service.checks.len()))
    }),
    warned("scaling", "is kept, but nothing scales the job yet", |job| {
        let mut found = in_groups(job, |group, out| if group.scaling.is_some() { out.push(vec![block("scaling")]) });
        found.extend(in_tasks(job, |task, out| repeated(out, "scaling", task.scaling_policies.len())));
        found
    }),
    warned("migrate", "is kept, but nodes are not drained yet", |job| {
        let default = default_migrate(job.kind());
        in_groups(job, |group, out| if group.migrate != default { out.push(vec![block("migrate")]) })
    }),
    warned("disconnect", "is kept, but allocations of an unreachable node are replaced at once", |job| {
        in_groups(job, |group, out| if group.disconnect.is_some() { out.push(vec![block("disconnect")]) })
    }),
    warned("consul", "has no effect yet", |job| {
        let mut found = in_groups(job, |group, out| if group.consul.is_some() { out.push(vec![block("consul")]) });
        found.extend(in_tasks(job, |task, out| if task.consul.is_some() { out.push(vec![block("consul")]) }));
        found
    }),
];

fn block(name: &'static str) -> Step {
    Step::Block(name, String::new())
}

fn nth_or_only(name: &'static str, index: usize, len: usize) -> Step {
    if len == 1 { block(name) } else { Step::Nth(name, index) }
}

fn at_job(used: bool, name: &'static str) -> Vec<FieldPath> {
    if used { vec![FieldPath(vec![block(name)])] } else { Vec::new() }
}

fn repeated(out: &mut Vec<Vec<Step>>, name: &'static str, len: usize) {
    out.extend((0..len).map(|i| vec![nth_or_only(name, i, len)]));
}

/// Uses within groups; `find` pushes paths relative to the group.
fn in_groups(job: &Job, find: impl Fn(&TaskGroup, &mut Vec<Vec<Step>>)) -> Vec<FieldPath> {
    let mut found = Vec::new();
    for group in &job.task_groups {
        let mut tails = Vec::new();
        find(group, &mut tails);
        found.extend(tails.into_iter().map(|tail| below(&[Step::Block("group", group.name.clone())], tail)));
    }
    found
}

/// Uses within tasks; `find` pushes paths relative to the task.
fn in_tasks(job: &Job, find: impl Fn(&Task, &mut Vec<Vec<Step>>)) -> Vec<FieldPath> {
    in_groups(job, |group, out| {
        for task in &group.tasks {
            let mut tails = Vec::new();
            find(task, &mut tails);
            out.extend(tails.into_iter().map(|tail| below(&[Step::Block("task", task.name.clone())], tail).0));
        }
    })
}

/// Uses within services; `find` pushes paths relative to the service.
fn in_services(job: &Job, find: impl Fn(&crate::job::Service, &mut Vec<Vec<Step>>)) -> Vec<FieldPath> {
    let in_list = |services: &[crate::job::Service], out: &mut Vec<Vec<Step>>| {
        for (i, service) in services.iter().enumerate() {
            let mut tails = Vec::new();
            find(service, &mut tails);
            let step = nth_or_only("service", i, services.len());
            out.extend(tails.into_iter().map(|tail| below(std::slice::from_ref(&step), tail).0));
        }
    };
    let mut found = in_groups(job, |group, out| in_list(&group.services, out));
    found.extend(in_tasks(job, |task, out| in_list(&task.services, out)));
    found
}

fn below(steps: &[Step], tail: Vec<Step>) -> FieldPath {
    FieldPath(steps.iter().cloned().chain(tail).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::print_stdout, reason = "the list of what is left to build is this test's product")]
    fn each_feature_left_to_build_is_listed_once() {
        for gate in remaining() {
            println!("{:?}: {} {}", gate.effect, gate.block, gate.sentence);
        }
        let mut names: Vec<_> = remaining().iter().map(|gate| gate.block).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), remaining().len());
    }
}
