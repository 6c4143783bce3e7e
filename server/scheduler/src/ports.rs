//! Which ports an allocation gets on a node.

use std::net::IpAddr;

use orch_model::Node;
use orch_model::allocation::AllocPort;
use orch_model::job::PortAsk;
use orch_model::plan::Misfit;
use orch_model::seed::Seed;
use orch_state::NodeRow;
use orch_state::fits::is_reserved;
use smallvec::SmallVec;

use crate::explain::Obstacle;

/// How often a free port is guessed before all are looked at.
const GUESSES: u32 = 20;

/// The ports of a node that are not to be had.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held<'a> {
    /// The node, with the ports of its allocations.
    pub(crate) row: &'a NodeRow,
    /// Ports of placements that are not committed yet.
    pub(crate) planned: &'a [(IpAddr, u16)],
    /// Ports that predecessors have handed over to those placements.
    pub(crate) released: &'a [(IpAddr, u16)],
    /// Ports that a predecessor on the same node hands over.
    pub(crate) handed_over: &'a [AllocPort],
}

impl Held<'_> {
    fn is_free(&self, address: IpAddr, value: u16) -> bool {
        if self.planned.contains(&(address, value)) {
            return false;
        }
        // A port whose collisions are ignored may be held several times: it is free once everyone hands it over.
        let same = |port: &&AllocPort| port.address == address && port.value == value;
        let leaving = self.handed_over.iter().filter(same).count()
            + self.released.iter().filter(|port| **port == (address, value)).count();
        let port = AllocPort { ask: 0, value, address, ignore_collision: false };
        self.row.ports.count(address, value) <= leaving && (leaving > 0 || !is_reserved(self.row, &port))
    }
}

/// Whether the ports that have a number are to be had.
pub(crate) fn statics_fit(asks: &[PortAsk], held: &Held<'_>) -> Result<(), Obstacle> {
    let Some(node) = &held.row.node else { return Err(Obstacle::Full(Misfit::NodeGone)) };
    for ask in asks.iter().filter(|ask| !ask.ignore_collision) {
        if let Some(value) = ask.value
            && !addresses(node, &ask.host_network).any(|address| held.is_free(address, value))
        {
            return Err(Obstacle::Full(Misfit::Port(value)));
        }
    }
    Ok(())
}

/// Chooses an address and a number for each port: numbers that are stated first, the others from the node's dynamic
/// range, guessed from `seed`.
pub(crate) fn assign(asks: &[PortAsk], held: &Held<'_>, seed: &mut Seed) -> Result<SmallVec<[AllocPort; 1]>, Obstacle> {
    let Some(node) = &held.row.node else { return Err(Obstacle::Full(Misfit::NodeGone)) };
    let mut ports: SmallVec<[AllocPort; 1]> = SmallVec::new();
    for (ask, number) in asks.iter().zip(0_u16..) {
        let free = |address: IpAddr, value: u16, ports: &[AllocPort]| {
            !ports.iter().any(|port| port.address == address && port.value == value) && held.is_free(address, value)
        };
        let (address, value) = match ask.value {
            Some(value) => {
                let found = addresses(node, &ask.host_network)
                    .find(|address| ask.ignore_collision || free(*address, value, &ports));
                (found.ok_or(Obstacle::Full(Misfit::Port(value)))?, value)
            }
            None => {
                let address = addresses(node, &ask.host_network).next().ok_or(Obstacle::NoAddress)?;
                let range = node.described.resources.dynamic_ports;
                let value = dynamic(range.first, range.len(), seed, |value| free(address, value, &ports))?;
                (address, value)
            }
        };
        ports.push(AllocPort { ask: number, value, address, ignore_collision: ask.ignore_collision });
    }
    Ok(ports)
}

fn addresses<'n>(node: &'n Node, alias: &'n str) -> impl Iterator<Item = IpAddr> + use<'n> {
    let networks = node.described.resources.networks.iter().flat_map(|network| &network.addresses);
    networks.filter(move |address| address.alias == alias).filter_map(|address| address.address.parse().ok())
}

/// A free port of the `len` from `first` on.
fn dynamic(first: u16, len: u32, seed: &mut Seed, is_free: impl Fn(u16) -> bool) -> Result<u16, Obstacle> {
    let nth = |offset: u64| u16::try_from(u64::from(first) + offset).ok();
    for _ in 0..GUESSES {
        if let Some(value) = nth(seed.below(u64::from(len))).filter(|value| len > 0 && is_free(*value)) {
            return Ok(value);
        }
    }
    let free: Vec<u16> = (0..u64::from(len)).filter_map(nth).filter(|value| is_free(*value)).collect();
    let chosen = seed.below(u64::try_from(free.len()).unwrap_or(0));
    usize::try_from(chosen).ok().and_then(|at| free.get(at).copied()).ok_or(Obstacle::NoDynamicPort)
}

#[cfg(test)]
mod tests {
    use super::*;
    use orch_model::node::PortRange;
    use orch_model::testing::node;
    use orch_state::UsageView;
    use std::sync::Arc;

    fn ask(value: Option<u16>, ignore_collision: bool) -> PortAsk {
        PortAsk {
            label: "http".into(),
            value,
            to: orch_model::job::PortTo::Unset,
            host_network: "default".into(),
            ignore_collision,
        }
    }

    fn row() -> NodeRow {
        let mut described = node(1).description();
        described.resources.dynamic_ports = PortRange { first: 20_000, last: 20_003 };
        described.reserved.ports = "22,20001".parse().unwrap();
        let node = Arc::new(node(1).described(described).build());
        let view = UsageView::rebuild([&node].into_iter(), [].into_iter(), [].into_iter());
        view.row(&node.id).cloned().unwrap()
    }

    #[test]
    fn dynamic_ports_are_repeatable_and_avoid_what_is_held_reserved_or_planned() {
        let mut row = row();
        let address: IpAddr = "10.0.0.1".parse().unwrap();
        Arc::make_mut(&mut row.ports).insert(address, 20_000);
        let planned = [(address, 20_002)];
        let held = Held { row: &row, planned: &planned, released: &[], handed_over: &[] };
        for seed in 0..50 {
            let ports = assign(&[ask(None, false)], &held, &mut Seed::new(seed)).unwrap();
            assert_eq!((ports[0].value, ports[0].address), (20_003, address));
        }
        let two = [ask(None, false), ask(None, false)];
        assert_eq!(assign(&two, &held, &mut Seed::new(1)), Err(Obstacle::NoDynamicPort));
    }

    #[test]
    fn a_static_port_is_refused_where_it_is_taken_unless_collisions_are_ignored_or_it_is_handed_over() {
        let mut row = row();
        let address: IpAddr = "10.0.0.1".parse().unwrap();
        Arc::make_mut(&mut row.ports).insert(address, 80);
        let held = Held { row: &row, planned: &[], released: &[], handed_over: &[] };
        let taken = Err(Obstacle::Full(Misfit::Port(80)));
        assert_eq!(statics_fit(&[ask(Some(80), false)], &held), taken);
        assert_eq!(statics_fit(&[ask(Some(22), false)], &held), Err(Obstacle::Full(Misfit::Port(22))));
        assert_eq!(statics_fit(&[ask(Some(80), true)], &held), Ok(()));
        assert_eq!(statics_fit(&[ask(Some(81), false)], &held), Ok(()));
        let old = [AllocPort { ask: 0, value: 80, address, ignore_collision: false }];
        assert_eq!(statics_fit(&[ask(Some(80), false)], &Held { handed_over: &old, ..held }), Ok(()));
    }
}
