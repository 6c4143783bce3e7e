//! What a task asks of its node.

use orch_model::job::{Numa, RequestedDevice, Resources};

use super::{Body, network, placement};

pub(super) fn resources(mut body: Body<'_, '_>) -> Resources {
    let resources = Resources {
        cpu: body.int("cpu"),
        cores: body.int("cores"),
        memory_mb: body.opt_int("memory").unwrap_or(300),
        memory_max_mb: body.int("memory_max"),
        disk_mb: body.int("disk"),
        iops: body.int("iops"),
        networks: network::networks(&mut body),
        devices: body.labelled("device", "name").into_iter().map(|(name, body)| device(name, body)).collect(),
        numa: body.block("numa").map(numa),
        secrets_mb: body.int("secrets"),
    };
    body.finish();
    resources
}

fn device(name: String, mut body: Body<'_, '_>) -> RequestedDevice {
    let device = RequestedDevice {
        name,
        count: body.opt_int("count").unwrap_or(1),
        constraints: placement::constraints(&mut body),
        affinities: placement::affinities(&mut body),
    };
    body.finish();
    device
}

fn numa(mut body: Body<'_, '_>) -> Numa {
    let numa = Numa { affinity: body.text("affinity"), devices: body.texts("devices") };
    body.finish();
    numa
}
