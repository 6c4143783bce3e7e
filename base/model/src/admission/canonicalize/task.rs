//! Defaults of a task and of what stands in it.

use super::group::fill_network;
use super::service::{self, Home};
use super::{default_text, fill_affinities, fill_constraints};
use crate::job::{Job, Resources, Task, TaskArtifact, Template, Vault, WorkloadIdentity};

/// The name and audience of the identity that every task has.
pub(in crate::admission) const DEFAULT_IDENTITY: (&str, &str) = ("default", "nomadproject.io");

pub(super) fn fill(task: &mut Task, job: &Job, group: &str) {
    fill_constraints(&mut task.constraints);
    fill_affinities(&mut task.affinities);
    fill_resources(task.resources.get_or_insert_default());
    task.log_config.get_or_insert_default();
    fill_identities(task);
    task.templates.iter_mut().for_each(fill_template);
    task.artifacts.iter_mut().for_each(fill_artifact);
    if let Some(vault) = &mut task.vault {
        fill_vault(vault);
    }
    if let Some(consul) = &mut task.consul {
        default_text(&mut consul.cluster, "default");
    }
    for mount in &mut task.volume_mounts {
        default_text(&mut mount.propagation_mode, "private");
    }
    if let Some(plugin) = &mut task.csi_plugin_config {
        default_text(&mut plugin.mount_dir, "/csi");
        default_text(&mut plugin.stage_publish_base_dir, "/local/csi");
    }
    if let Some(cron) = task.schedule.as_mut().and_then(|schedule| schedule.cron.as_mut()) {
        default_text(&mut cron.timezone, "Local");
    }
    let name = task.name.clone();
    let home = Home { job, group, task: Some(&name) };
    for service in &mut task.services {
        service::fill(service, &home);
    }
    for policy in &mut task.scaling_policies {
        policy.target = home.scaling_target();
    }
}

fn fill_resources(resources: &mut Resources) {
    if resources.cpu == 0 && resources.cores == 0 {
        resources.cpu = 100;
    }
    if let Some(numa) = &mut resources.numa {
        default_text(&mut numa.affinity, "none");
    }
    resources.networks.iter_mut().for_each(fill_network);
    for device in &mut resources.devices {
        fill_constraints(&mut device.constraints);
        fill_affinities(&mut device.affinities);
    }
}

/// Every task has a default identity; of the named ones the first without a name is it.
fn fill_identities(task: &mut Task) {
    let is_default = |identity: &WorkloadIdentity| identity.name.is_empty() || identity.name == DEFAULT_IDENTITY.0;
    if task.identity.is_none()
        && let Some(position) = task.identities.iter().position(is_default)
    {
        task.identity = Some(task.identities.remove(position));
    }
    let identity = task.identity.get_or_insert_default();
    DEFAULT_IDENTITY.0.clone_into(&mut identity.name);
    identity.audience = vec![DEFAULT_IDENTITY.1.to_owned()];
}

fn fill_template(template: &mut Template) {
    default_text(&mut template.change_mode, "restart");
    if template.change_mode == "signal" {
        default_text(&mut template.change_signal, "SIGHUP");
    }
    template.change_signal.make_ascii_uppercase();
    default_text(&mut template.perms, "0644");
    default_text(&mut template.left_delim, "{{");
    default_text(&mut template.right_delim, "}}");
}

fn fill_artifact(artifact: &mut TaskArtifact) {
    default_text(&mut artifact.getter_mode, "any");
    if artifact.relative_dest.is_empty() {
        artifact.relative_dest = match artifact.getter_mode.as_str() {
            "file" => {
                let path = artifact.getter_source.split(['?', '#']).next().unwrap_or_default();
                format!("local/{}", path.rsplit('/').next().unwrap_or_default())
            }
            _ => "local/".to_owned(),
        };
    }
}

fn fill_vault(vault: &mut Vault) {
    default_text(&mut vault.cluster, "default");
    default_text(&mut vault.change_mode, "restart");
    if vault.change_mode == "signal" {
        default_text(&mut vault.change_signal, "SIGHUP");
    }
}
