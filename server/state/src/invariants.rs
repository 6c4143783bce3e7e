//! What must hold of every state, whatever interleaved in the log.
//!
//! Checked after every step of the simulation and the property tests, and cheaply on the leader; each breach names what
//! broke.

use std::collections::BTreeMap;
use std::net::IpAddr;

use orch_model::units::Usage;
use orch_model::{AllocId, NodeId};

use crate::state::State;
use crate::usage::UsageView;

/// Every breach found; empty for a sound state.
pub fn check(state: &State) -> Vec<String> {
    let mut breaches = Vec::new();
    check_nodes(state, &mut breaches);
    check_indexes(state, &mut breaches);
    check_rows(state, &mut breaches);
    check_usage(state, &mut breaches);
    breaches
}

/// No node holds more than it has, and no port is held twice on one address.
fn check_nodes(state: &State, breaches: &mut Vec<String>) {
    let mut used: BTreeMap<NodeId, Usage> = BTreeMap::new();
    let mut ports: BTreeMap<(NodeId, IpAddr, u16), AllocId> = BTreeMap::new();
    for alloc in state.allocs().filter(|alloc| alloc.holds_resources()) {
        let sum = used.entry(alloc.node_id).or_default();
        *sum = sum.saturating_add(alloc.usage);
        for port in alloc.ports.iter().filter(|port| !port.ignore_collision) {
            if let Some(other) = ports.insert((alloc.node_id, port.address, port.value), alloc.id) {
                breaches
                    .push(format!("port {} of node {} is held by {other} and {}", port.value, alloc.node_id, alloc.id));
            }
        }
    }
    for (id, used) in used {
        if let Some(node) = state.node(&id)
            && !used.fits_in(node.capacity())
        {
            breaches.push(format!("node {id} is over-committed: {used:?} of {:?}", node.capacity()));
        }
    }
}

/// Secondary indexes name exactly what the tables hold.
fn check_indexes(state: &State, breaches: &mut Vec<String>) {
    let by_job: usize = state.allocs_by_job.values().map(imbl::OrdMap::len).sum();
    let by_node: usize = state.allocs_by_node.values().map(|allocs| allocs.ids.len()).sum();
    let evals: usize = state.evals_by_job.values().map(imbl::OrdSet::len).sum();
    for (what, found, wanted) in [
        ("allocations by job", by_job, state.allocs.len()),
        ("allocations by node", by_node, state.allocs.len()),
        ("evaluations by job", evals, state.evals.len()),
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

/// The view that was maintained equals one made anew.
fn check_usage(state: &State, breaches: &mut Vec<String>) {
    let rebuilt = UsageView::rebuild(state.nodes(), state.allocs());
    for node in state.nodes() {
        let (Some(kept), Some(made)) = (state.usage().row(&node.id), rebuilt.row(&node.id)) else {
            breaches.push(format!("node {} has no row", node.id));
            continue;
        };
        if kept.used != made.used
            || kept.allocs != made.allocs
            || kept.ports != made.ports
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
