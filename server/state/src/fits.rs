//! The one fit function: the scheduler chooses with it, `apply` commits with it.

use orch_model::allocation::AllocPort;
use orch_model::plan::Misfit;
use orch_model::units::Usage;

use crate::usage::{NodeRow, PortsInUse};

/// What an allocation would add to a node, and what a predecessor on the same node would hand over to it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked<'a> {
    /// What it takes.
    pub usage: Usage,
    /// The ports it takes.
    pub ports: &'a [AllocPort],
    /// What its predecessor on the same node holds, which it takes over.
    pub handed_over: Usage,
    /// The ports that its predecessor on the same node holds.
    pub handed_over_ports: &'a [AllocPort],
}

/// Whether a node takes one more allocation; `Err` names the first thing that is in the way.
///
/// Integers only. Constraints and scores are not looked at: they are the scheduler's.
pub fn fits(row: &NodeRow, asked: &Asked<'_>) -> Result<(), Misfit> {
    if row.node.is_none() {
        return Err(Misfit::NodeGone);
    }
    if !row.ready {
        return Err(Misfit::NodeNotReady);
    }
    fits_space(row, row.used, row.allocs, asked)?;
    fits_ports(row, &row.ports, asked)
}

/// Whether the node has room beyond `used`, which may count more than is committed.
pub fn fits_space(row: &NodeRow, used: Usage, allocs: u32, asked: &Asked<'_>) -> Result<(), Misfit> {
    let wanted = used.saturating_sub(asked.handed_over).saturating_add(asked.usage);
    if wanted.cpu > row.capacity.cpu {
        return Err(Misfit::Cpu);
    }
    if wanted.memory > row.capacity.memory {
        return Err(Misfit::Memory);
    }
    if wanted.disk > row.capacity.disk {
        return Err(Misfit::Disk);
    }
    let takes_over = asked.handed_over != Usage::default() || !asked.handed_over_ports.is_empty();
    if row.max_allocs > 0 && allocs.saturating_add(u32::from(!takes_over)) > row.max_allocs {
        return Err(Misfit::MaxAllocs);
    }
    Ok(())
}

/// Whether the ports are free beyond `held`, which may count more than is committed.
pub fn fits_ports(row: &NodeRow, held: &PortsInUse, asked: &Asked<'_>) -> Result<(), Misfit> {
    for port in asked.ports.iter().filter(|port| !port.ignore_collision) {
        let same = |other: &&AllocPort| other.value == port.value && other.address == port.address;
        let taken_over = asked.handed_over_ports.iter().filter(same).count();
        let asked_twice = asked.ports.iter().filter(same).count() > 1;
        let is_held = held.count(port.address, port.value) > taken_over;
        if asked_twice || is_held || (taken_over == 0 && is_reserved(row, port)) {
            return Err(Misfit::Port(port.value));
        }
    }
    Ok(())
}

/// Whether the operator keeps a port from allocations.
pub fn is_reserved(row: &NodeRow, port: &AllocPort) -> bool {
    let Some(node) = &row.node else { return false };
    node.described.reserved.ports.contains(port.value)
        || node.described.resources.networks.iter().flat_map(|network| &network.addresses).any(|address| {
            address.reserved_ports.contains(port.value)
                && address.address.parse().is_ok_and(|ip: std::net::IpAddr| ip == port.address)
        })
}
