//! What must hold of every state, whatever interleaved in the log.
//!
//! Checked after every step of the simulation and the property tests, and cheaply on the leader; each breach names what
//! broke.

use std::collections::BTreeMap;
use std::net::IpAddr;

use orch_model::units::Usage;
use orch_model::{AllocId, Allocation, NodeId, StateIndex};

use crate::state::State;
use crate::tx::counts_as_healthy;
use crate::usage::UsageView;

/// Every breach found; empty for a sound state.
pub fn check(state: &State) -> Vec<String> {
    let mut breaches = Vec::new();
    check_nodes(state, &mut breaches);
    check_indexes(state, &mut breaches);
    check_rows(state, &mut breaches);
    check_deployments(state, &mut breaches);
    check_volumes(state, &mut breaches);
    check_usage(state, &mut breaches);
    breaches
}

/// What the allocations of a node hold together.
#[derive(Default)]
struct Held {
    usage: Usage,
    /// When the newest of them was placed.
    newest: StateIndex,
    ports: BTreeMap<(IpAddr, u16), AllocId>,
    cores: BTreeMap<u16, AllocId>,
}

/// No commit gave a node more than it had then, and no port or core is held twice.
///
/// A node that became smaller after the newest placement rightly holds more than it has. So does one on which an
/// allocation counts again that had handed over to a successor which ended first: nothing of it was placed meanwhile.
fn check_nodes(state: &State, breaches: &mut Vec<String>) {
    let mut nodes: BTreeMap<NodeId, Held> = BTreeMap::new();
    for alloc in state.allocs().filter(|alloc| alloc.holds_resources() && !counts_again(state, alloc)) {
        let held = nodes.entry(alloc.node_id).or_default();
        held.usage = held.usage.saturating_add(alloc.usage);
        held.newest = held.newest.max(alloc.create_index);
        for port in alloc.ports.iter().filter(|port| !port.ignore_collision) {
            if let Some(other) = held.ports.insert((port.address, port.value), alloc.id) {
                breaches
                    .push(format!("port {} of node {} is held by {other} and {}", port.value, alloc.node_id, alloc.id));
            }
        }
        for core in &alloc.cores {
            if let Some(other) = held.cores.insert(*core, alloc.id) {
                breaches.push(format!("core {core} of node {} is held by {other} and {}", alloc.node_id, alloc.id));
            }
        }
    }
    for (id, held) in nodes {
        if let Some(node) = state.node(&id)
            && held.newest > node.modify_index
            && !held.usage.fits_in(node.capacity())
        {
            breaches.push(format!("node {id} is over-committed: {:?} of {:?}", held.usage, node.capacity()));
        }
    }
}

/// Whether an allocation was told to stop for a successor that ended before it.
fn counts_again(state: &State, alloc: &Allocation) -> bool {
    let successor = alloc.next.and_then(|id| state.alloc(&id));
    alloc.desired.is_stop() && successor.is_some_and(|successor| successor.is_client_terminal())
}

/// Secondary indexes name exactly what the tables hold.
fn check_indexes(state: &State, breaches: &mut Vec<String>) {
    let by_job: usize = state.allocs_by_job.values().map(imbl::OrdMap::len).sum();
    let by_node: usize = state.allocs_by_node.values().map(|allocs| allocs.ids.len()).sum();
    let evals: usize = state.evals_by_job.values().map(imbl::OrdSet::len).sum();
    let deployments: usize = state.deployments_by_job.values().map(imbl::OrdSet::len).sum();
    for (what, found, wanted) in [
        ("allocations by job", by_job, state.allocs.len()),
        ("allocations by node", by_node, state.allocs.len()),
        ("evaluations by job", evals, state.evals.len()),
        ("deployments by job", deployments, state.deployments.len()),
    ] {
        if found != wanted {
            breaches.push(format!("the index of {what} holds {found} of {wanted}"));
        }
    }
    for (key, allocs) in &state.allocs_by_job {
        for (id, alloc) in allocs {
            if state.allocs.get(id) != Some(alloc) || alloc.job_key() != *key {
                breaches.push(format!("the index of {key} holds allocation {id} as it is not"));
            }
        }
    }
}

/// Counts kept beside jobs are what one would count, and no two live allocations of a job share a name at rest.
fn check_rows(state: &State, breaches: &mut Vec<String>) {
    for row in state.jobs() {
        let key = row.job.key();
        let allocs = state.allocs_of_job(&key).filter(|alloc| !alloc.is_terminal()).count();
        let evals = state.evals_of_job(&key).filter(|eval| !eval.status.is_terminal()).count();
        if allocs != row.live_allocs as usize || evals != row.live_evals as usize {
            breaches.push(format!(
                "job {key} counts {} allocations and {} evaluations, but has {allocs} and {evals}",
                row.live_allocs, row.live_evals
            ));
        }
        if row.job.status != row.derived_status() {
            breaches.push(format!("job {key} says {} but is {}", row.job.status, row.derived_status()));
        }
    }
}

/// A job has at most one active deployment, which is of its current version and counts what one would count.
fn check_deployments(state: &State, breaches: &mut Vec<String>) {
    for deployment in state.deployments().filter(|deployment| deployment.is_active()) {
        let (id, key) = (deployment.id, deployment.job_key());
        let row = state.job_row(key);
        if row.and_then(|row| row.active_deployment) != Some(id) {
            breaches.push(format!("deployment {id} of job {key} is active, but the job does not know it"));
        }
        if row.is_none_or(|row| row.job.version_key() != deployment.job || row.job.stop) {
            breaches.push(format!("deployment {id} is active, but {key} has another version or was stopped"));
        }
        for (name, group) in &deployment.groups {
            let allocs = || state.allocs_of_deployment(&id).filter(|alloc| alloc.group_name() == name);
            let found = (
                allocs().count(),
                allocs().filter(|alloc| counts_as_healthy(alloc)).count(),
                allocs().filter(|alloc| alloc.is_unhealthy()).count(),
            );
            let counted = (group.placed as usize, group.healthy as usize, group.unhealthy as usize);
            if found != counted {
                breaches.push(format!(
                    "group {name} of deployment {id} counts {counted:?} placed, healthy and unhealthy, but has {found:?}"
                ));
            }
        }
    }
    for row in state.jobs() {
        let active = row.active_deployment.map(|id| state.deployment(&id).is_some_and(|found| found.is_active()));
        if active == Some(false) {
            breaches.push(format!("job {} names an active deployment that is not", row.job.key()));
        }
    }
}

/// A name stands for one dynamic volume of a node, claims are on volumes that exist, and who may write alone does.
///
/// Allocations that were placed before the volume or its node last changed may use it in ways that it no longer allows.
fn check_volumes(state: &State, breaches: &mut Vec<String>) {
    let by_node: usize = state.host_volumes_by_node.values().map(imbl::OrdSet::len).sum();
    if by_node != state.host_volumes.len() {
        breaches.push(format!("the index of host volumes by node holds {by_node} of {}", state.host_volumes.len()));
    }
    let mut names = BTreeMap::new();
    for volume in state.host_volumes() {
        if let Some(other) = names.insert((volume.node_id, volume.name.as_str()), volume.id) {
            breaches.push(format!("volumes {other} and {} of node {} have one name", volume.id, volume.node_id));
        }
        let Some(node) = state.node(&volume.node_id) else { continue };
        let is_static = node.described.host_volumes.get(&volume.name).is_some_and(|known| known.id.is_none());
        let settled = volume.modify_index.max(node.modify_index);
        let writes = |alloc: &Allocation| {
            let asks = alloc.host_volumes().filter(|ask| ask.source == volume.name && !ask.read_only);
            asks.map(|ask| ask.is_single_writer()).collect::<Vec<_>>()
        };
        let writers: Vec<_> = state
            .users_of_volume(volume)
            .filter(|alloc| alloc.holds_resources() && alloc.create_index > settled && !counts_again(state, alloc))
            .map(|alloc| writes(alloc))
            .filter(|writes| !writes.is_empty() && !is_static)
            .collect();
        if writers.len() > 1 && writers.iter().flatten().any(|is_single| *is_single) {
            breaches.push(format!("volume {} has {} writers, one of which should be alone", volume.id, writers.len()));
        }
    }
    for claim in state.volume_claims() {
        if state.host_volume(&claim.volume_id).is_none() || state.job(&claim.job).is_none() {
            breaches.push(format!("claim {} is on a volume or of a job that is gone", claim.id));
        }
    }
}

/// The view that was maintained equals one made anew.
fn check_usage(state: &State, breaches: &mut Vec<String>) {
    let rebuilt = UsageView::rebuild(state.nodes(), state.host_volumes(), state.allocs());
    for node in state.nodes() {
        let (Some(kept), Some(made)) = (state.usage().row(&node.id), rebuilt.row(&node.id)) else {
            breaches.push(format!("node {} has no row", node.id));
            continue;
        };
        if kept.used != made.used
            || kept.allocs != made.allocs
            || kept.ports != made.ports
            || kept.cores != made.cores
            || kept.volumes != made.volumes
            || kept.ready != made.ready
            || kept.capacity != made.capacity
        {
            breaches.push(format!("the row of node {} is {kept:?}, made anew it is {made:?}", node.id));
        }
    }
    if rebuilt.rows().count() != state.usage().rows().count() {
        breaches.push("the usage view has rows of nodes that are gone".into());
    }
}
