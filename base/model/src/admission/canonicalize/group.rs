//! Defaults of a group and of what stands directly in it.

use super::service::{self, Home};
use super::{default_text, fill_affinities, fill_constraints, task};
use crate::job::{Job, NetworkResource, TaskGroup, VolumeRequest};

/// Fills the group of that index.
pub(super) fn fill(job: &mut Job, index: usize) {
    let mut group = std::mem::take(&mut job.task_groups[index]);
    fill_own_blocks(&mut group);
    let home = Home { job, group: &group.name.clone(), task: None };
    for service in &mut group.services {
        service::fill(service, &home);
    }
    if let Some(scaling) = &mut group.scaling {
        default_text(&mut scaling.r#type, "horizontal");
        scaling.min.get_or_insert(group.count);
        scaling.target = home.scaling_target();
    }
    let name = group.name.clone();
    for task in &mut group.tasks {
        task::fill(task, job, &name);
    }
    job.task_groups[index] = group;
}

fn fill_own_blocks(group: &mut TaskGroup) {
    fill_constraints(&mut group.constraints);
    fill_affinities(&mut group.affinities);
    group.ephemeral_disk.get_or_insert_default();
    group.networks.iter_mut().for_each(fill_network);
    for (name, volume) in &mut group.volumes {
        fill_volume(name, volume);
    }
    if let Some(consul) = &mut group.consul {
        default_text(&mut consul.cluster, "default");
    }
    if let Some(disconnect) = &mut group.disconnect {
        disconnect.replace.get_or_insert(true);
        default_text(&mut disconnect.reconcile, "best_score");
    }
}

pub(super) fn fill_network(network: &mut NetworkResource) {
    for port in network.reserved_ports.iter_mut().chain(&mut network.dynamic_ports) {
        default_text(&mut port.host_network, "default");
    }
}

fn fill_volume(name: &str, volume: &mut VolumeRequest) {
    default_text(&mut volume.name, name);
    if volume.r#type == "host" {
        let access = if volume.read_only { "single-node-reader-only" } else { "single-node-writer" };
        default_text(&mut volume.access_mode, access);
        default_text(&mut volume.attachment_mode, "file-system");
    }
}
