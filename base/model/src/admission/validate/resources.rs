//! Rules about what tasks ask of their node.

use super::{Checks, network, placement};
use crate::job::{RequestedDevice, Resources};

pub(super) fn check(checks: &mut Checks<'_>, resources: &Resources) {
    processor(checks, resources);
    memory(checks, resources);
    checks.refuse_if(resources.disk_mb > 0, "disk", "disk is asked for by the group's ephemeral_disk");
    checks.refuse_if(resources.disk_mb < 0, "disk", "must not be negative");
    if resources.iops > 0 {
        checks.warn("`iops` is deprecated and ignored");
    }
    if !resources.networks.is_empty() {
        checks.warn("`network` in resources is deprecated: write it in the group");
    }
    checks.each("network", &resources.networks, network::one);
    for device in &resources.devices {
        checks.block("device", &device.name, |checks| self::device(checks, device));
    }
    let Some(numa) = &resources.numa else { return };
    checks.block("numa", "", |checks| {
        checks.choice("affinity", &numa.affinity, &["none", "prefer", "require"]);
        let known = |name: &String| resources.devices.iter().any(|device| device.name == *name);
        for name in numa.devices.iter().filter(|name| !known(name)) {
            checks.refuse("devices", format!("the task asks for no device {name:?}"));
        }
    });
}

fn processor(checks: &mut Checks<'_>, resources: &Resources) {
    checks.refuse_if(resources.cores < 0, "cores", "must not be negative");
    checks.refuse_if(resources.cores > 0 && resources.cpu > 0, "cpu", "excludes cores: state one of them");
    checks.refuse_if(resources.cores == 0 && resources.cpu < 1, "cpu", "must be at least 1 MHz");
}

fn memory(checks: &mut Checks<'_>, resources: &Resources) {
    let Resources { memory_mb, memory_max_mb, secrets_mb, .. } = *resources;
    checks.refuse_if(memory_mb < 10, "memory", "must be at least 10 MB");
    checks.refuse_if(
        memory_max_mb != 0 && memory_max_mb != -1 && memory_max_mb < memory_mb,
        "memory_max",
        "must not be less than memory; -1 is unlimited",
    );
    if memory_max_mb != 0 && !checks.ctx.memory_oversubscription {
        checks.warn("memory_max has no effect: the cluster does not allow memory oversubscription");
    }
    checks.refuse_if(!(0..=memory_mb.max(0)).contains(&secrets_mb), "secrets", "must be between 0 and memory");
}

fn device(checks: &mut Checks<'_>, device: &RequestedDevice) {
    let parts: Vec<_> = device.name.split('/').collect();
    let named = (1..=3).contains(&parts.len()) && parts.iter().all(|part| !part.is_empty());
    checks.refuse_if(!named, "name", "must be type, vendor/type or vendor/type/model");
    checks.refuse_if(device.count < 1, "count", "must be at least 1");
    placement::constraints(checks, &device.constraints, placement::Level::Device);
    placement::affinities(checks, &device.affinities);
}
