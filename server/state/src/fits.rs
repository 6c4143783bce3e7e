//! The one fit function: the scheduler chooses with it, `apply` commits with it.

use orch_model::allocation::AllocPort;
use orch_model::plan::{Misfit, Placement};
use orch_model::units::Usage;
use orch_model::volume::VolumeAsk;
use orch_model::{Allocation, HostVolume};

use crate::usage::{NodeRow, PortsInUse};

/// What an allocation would add to a node, and what a predecessor on the same node would hand over to it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked<'a> {
    /// What it takes.
    pub usage: Usage,
    /// The ports it takes.
    pub ports: &'a [AllocPort],
    /// The cores it takes for itself.
    pub cores: &'a [u16],
    /// What its predecessor on the same node holds, which it takes over.
    pub handed_over: Usage,
    /// The ports that its predecessor on the same node holds.
    pub handed_over_ports: &'a [AllocPort],
    /// The cores that its predecessor on the same node holds.
    pub handed_over_cores: &'a [u16],
    /// The host volumes it uses.
    pub volumes: &'a [VolumeAsk],
    /// The host volumes that its predecessor on the same node uses.
    pub handed_over_volumes: &'a [VolumeAsk],
}

impl<'a> Asked<'a> {
    /// What `placement` asks but for host volumes, which its job knows, taking over what `predecessor` holds on the same node, if there is one that ends for it.
    pub fn of(placement: &'a Placement, predecessor: Option<&'a Allocation>) -> Self {
        Self {
            usage: placement.usage,
            ports: &placement.ports,
            cores: &placement.cores,
            handed_over: predecessor.map(|old| old.usage).unwrap_or_default(),
            handed_over_ports: predecessor.map_or(&[], |old| &old.ports),
            handed_over_cores: predecessor.map_or(&[], |old| &old.cores),
            volumes: &[],
            handed_over_volumes: &[],
        }
    }
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
    fits_ports(row, &row.ports, asked)?;
    fits_cores(row, asked)?;
    fits_volumes(row, asked, [].into_iter())
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

/// Whether the node has the cores, and nobody else has them.
pub fn fits_cores(row: &NodeRow, asked: &Asked<'_>) -> Result<(), Misfit> {
    for core in asked.cores {
        let taken_over = usize::from(asked.handed_over_cores.contains(core));
        let asked_twice = asked.cores.iter().filter(|other| *other == core).count() > 1;
        if asked_twice || row.cores.count(*core) > taken_over || !row.reservable_cores().contains(core) {
            return Err(Misfit::Cores);
        }
    }
    Ok(())
}

/// Whether the node has the host volumes, and nobody is in the way of writing to them; `planned` are asks of others that
/// are not committed yet, `true` for those that come and, after them, `false` for those that go.
///
/// A volume of the agent's configuration may be used by any number of allocations in any way that its `read_only`
/// allows. Who uses a dynamic one must ask for a capability that it offers; its single writer is the only writer.
pub fn fits_volumes<'v>(
    row: &NodeRow,
    asked: &Asked<'_>,
    planned: impl Iterator<Item = (&'v VolumeAsk, bool)> + Clone,
) -> Result<(), Misfit> {
    for ask in asked.volumes {
        let Some(dynamic) = has_volume(row, ask)? else { continue };
        if ask.read_only {
            continue;
        }
        let mut writers = row.writers(&dynamic.name);
        for (other, comes) in planned.clone().filter(|(other, _)| other.source == ask.source) {
            writers.count(other, comes);
        }
        for other in asked.handed_over_volumes.iter().filter(|other| other.source == ask.source) {
            writers.count(other, false);
        }
        if writers.single > 0 || (ask.is_single_writer() && writers.all > 0) {
            return Err(Misfit::Volume);
        }
    }
    Ok(())
}

/// Whether the node has a volume that can be used in this way, whoever else uses it: the volume, if it is a dynamic one.
pub fn has_volume<'r>(row: &'r NodeRow, ask: &VolumeAsk) -> Result<Option<&'r HostVolume>, Misfit> {
    let configured = row.node.as_ref().and_then(|node| node.described.host_volumes.get(&ask.source));
    if let Some(configured) = configured.filter(|volume| volume.id.is_none()) {
        let is_allowed = (ask.read_only || !configured.read_only) && ask.claimed.is_none();
        return if is_allowed { Ok(None) } else { Err(Misfit::Volume) };
    }
    let dynamic = row.dynamic_volume(&ask.source).filter(|volume| volume.allows(ask));
    dynamic.map(|volume| Some(&**volume)).ok_or(Misfit::Volume)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::UsageView;
    use orch_model::testing::node;
    use std::sync::Arc;

    #[test]
    fn a_core_is_given_once_and_only_where_the_node_has_it() {
        let mut described = node(1).description();
        described.resources.reservable_cores = vec![1, 2, 3];
        let node = Arc::new(node(1).described(described).build());
        let view = UsageView::rebuild([&node].into_iter(), [].into_iter(), [].into_iter());
        let mut row = view.row(&node.id).cloned().unwrap();
        row.cores = crate::usage::CoresInUse::of(&[2]);
        let asks = |cores: &[u16], handed_over_cores: &[u16]| {
            fits(&row, &Asked { cores, handed_over_cores, ..Asked::default() })
        };
        assert_eq!(asks(&[1, 3], &[]), Ok(()));
        assert_eq!(asks(&[1, 2], &[]), Err(Misfit::Cores), "2 is held");
        assert_eq!(asks(&[1, 2], &[2]), Ok(()), "2 is handed over");
        assert_eq!(asks(&[0], &[]), Err(Misfit::Cores), "0 is not to be had");
        assert_eq!(asks(&[3, 3], &[]), Err(Misfit::Cores));
    }
}
