//! Volumes and where tasks mount them.

use std::collections::BTreeMap;

use orch_model::job::{CsiMountOptions, VolumeMount, VolumeRequest};

use super::Body;

pub(super) fn volumes(body: &mut Body<'_, '_>) -> BTreeMap<String, VolumeRequest> {
    let mut volumes = BTreeMap::new();
    for (name, block) in body.labelled("volume", "name") {
        if volumes.contains_key(&name) {
            block.refuse_block(&format!("volume {name:?} is given twice"));
        } else {
            volumes.insert(name.clone(), volume(name, block));
        }
    }
    volumes
}

fn volume(name: String, mut body: Body<'_, '_>) -> VolumeRequest {
    let volume = VolumeRequest {
        name,
        r#type: body.text("type"),
        source: body.text("source"),
        read_only: body.flag("read_only"),
        sticky: body.flag("sticky"),
        access_mode: body.text("access_mode"),
        attachment_mode: body.text("attachment_mode"),
        mount_options: body.block("mount_options").map(mount_options),
        per_alloc: body.flag("per_alloc"),
    };
    body.finish();
    volume
}

fn mount_options(mut body: Body<'_, '_>) -> CsiMountOptions {
    let options = CsiMountOptions { fs_type: body.text("fs_type"), mount_flags: body.texts("mount_flags") };
    body.finish();
    options
}

pub(super) fn mounts(body: &mut Body<'_, '_>) -> Vec<VolumeMount> {
    let mounts = body.blocks("volume_mount").into_iter().map(|mut body| {
        let mount = VolumeMount {
            volume: body.text("volume"),
            destination: body.text("destination"),
            read_only: body.flag("read_only"),
            propagation_mode: body.text("propagation_mode"),
            selinux_label: body.text("selinux_label"),
        };
        body.finish();
        mount
    });
    mounts.collect()
}
