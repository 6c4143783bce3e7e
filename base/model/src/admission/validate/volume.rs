//! Rules about volumes.

use super::Checks;
use crate::job::{JobType, TaskGroup, VolumeRequest};

const HOST_ACCESS: [&str; 4] =
    ["single-node-reader-only", "single-node-writer", "single-node-single-writer", "single-node-multi-writer"];
const CSI_ACCESS: [&str; 5] = [
    "single-node-reader-only",
    "single-node-writer",
    "multi-node-reader-only",
    "multi-node-single-writer",
    "multi-node-multi-writer",
];
const ATTACHMENT: [&str; 2] = ["file-system", "block-device"];

pub(super) fn check(checks: &mut Checks<'_>, group: &TaskGroup) {
    for (name, volume) in &group.volumes {
        checks.block("volume", name, |checks| one(checks, group, volume));
    }
}

fn one(checks: &mut Checks<'_>, group: &TaskGroup, volume: &VolumeRequest) {
    checks.refuse_if(volume.source.is_empty(), "source", "a volume needs a source");
    match volume.r#type.as_str() {
        "host" => {
            checks.choice("access_mode", &volume.access_mode, &HOST_ACCESS);
            checks.choice("attachment_mode", &volume.attachment_mode, &ATTACHMENT);
            checks.refuse_if(volume.mount_options.is_some(), "mount_options", "only CSI volumes have them");
        }
        "csi" => {
            checks.refuse_if(volume.sticky, "sticky", "only host volumes have it");
            checks.choice("access_mode", &volume.access_mode, &CSI_ACCESS);
            checks.choice("attachment_mode", &volume.attachment_mode, &ATTACHMENT);
            let raw = volume.attachment_mode == "block-device";
            checks.refuse_if(raw && volume.mount_options.is_some(), "mount_options", "a block device is not mounted");
        }
        other => checks.refuse("type", format!("{other:?} is not one of host, csi")),
    }
    let reads_only = volume.access_mode.ends_with("reader-only");
    checks.refuse_if(reads_only && !volume.read_only, "read_only", "this access mode needs read_only = true");
    let one_user = volume.access_mode.starts_with("single-node-") || volume.access_mode == "multi-node-single-writer";
    let csi = volume.r#type == "csi";
    checks.refuse_if(
        csi && one_user && group.count > 1 && !volume.per_alloc,
        "access_mode",
        "allows one allocation: lower the group's count or set per_alloc",
    );
    if volume.per_alloc {
        let on_every_node = matches!(checks.kind, Some(JobType::System | JobType::Sysbatch));
        checks.refuse_if(on_every_node, "per_alloc", "is not possible in system and sysbatch jobs");
        let canaries = group.update.as_ref().is_some_and(|update| update.canary() > 0);
        checks.refuse_if(canaries, "per_alloc", "is not possible with canaries");
        checks.refuse_if(volume.sticky, "sticky", "excludes per_alloc");
    }
}
