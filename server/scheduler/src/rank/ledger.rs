//! What a plan in the making, and those in flight, change on nodes.

use std::collections::BTreeMap;
use std::net::IpAddr;

use orch_model::units::Usage;
use orch_model::volume::VolumeAsk;
use orch_state::NodeRow;
use smallvec::SmallVec;

/// Stands where nothing has changed.
pub(crate) const NO_DELTA: u32 = u32::MAX;

/// What has changed on one node.
#[derive(Debug, Clone)]
pub(crate) struct Delta {
    /// The place of the node's row.
    pub(crate) place: u32,
    /// What placements take.
    pub(crate) added: Usage,
    /// What predecessors hand over to them.
    pub(crate) handed_over: Usage,
    /// How many allocations there are more.
    pub(crate) allocs: u32,
    /// The ports that placements take.
    pub(crate) ports: SmallVec<[(IpAddr, u16); 1]>,
    /// The ports that predecessors hand over to them.
    pub(crate) released: SmallVec<[(IpAddr, u16); 1]>,
    /// The cores that placements take.
    pub(crate) cores: SmallVec<[u16; 4]>,
    /// The cores that predecessors hand over to them.
    pub(crate) released_cores: SmallVec<[u16; 4]>,
    /// The host volumes that placements write to.
    pub(crate) volumes: Vec<VolumeAsk>,
    /// The host volumes that predecessors hand over to them.
    pub(crate) released_volumes: Vec<VolumeAsk>,
    /// How many allocations of the job there will be, per group.
    live: SmallVec<[(u16, u32); 1]>,
}

impl Delta {
    fn new(place: u32) -> Self {
        Self {
            place,
            added: Usage::default(),
            handed_over: Usage::default(),
            allocs: 0,
            ports: SmallVec::new(),
            released: SmallVec::new(),
            cores: SmallVec::new(),
            released_cores: SmallVec::new(),
            volumes: Vec::new(),
            released_volumes: Vec::new(),
            live: SmallVec::new(),
        }
    }

    /// What is used of the node.
    pub(crate) fn used(&self, row: &NodeRow) -> Usage {
        row.used.saturating_add(self.added).saturating_sub(self.handed_over)
    }

    /// How many allocations of `group` there will be.
    pub(crate) fn of_group(&self, group: u16) -> u32 {
        self.live.iter().find(|(other, _)| *other == group).map_or(0, |(_, count)| *count)
    }

    /// How many allocations of the job there will be.
    pub(crate) fn of_job(&self) -> u32 {
        self.live.iter().map(|(_, count)| count).sum()
    }

    /// How many allocations of the job there will be, per group.
    pub(crate) fn live(&self) -> &[(u16, u32)] {
        &self.live
    }

    /// Notes one more allocation of `group`.
    pub(crate) fn join(&mut self, group: u16) {
        match self.live.iter_mut().find(|(other, _)| *other == group) {
            Some((_, count)) => *count += 1,
            None => self.live.push((group, 1)),
        }
    }

    /// Notes one allocation of `group` less.
    pub(crate) fn leave(&mut self, group: u16) {
        if let Some((_, count)) = self.live.iter_mut().find(|(other, _)| *other == group) {
            *count = count.saturating_sub(1);
        }
    }
}

/// What has changed on every node.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    deltas: Vec<Delta>,
    by_place: BTreeMap<u32, u32>,
    /// How many of `deltas` stand in `by_place`.
    known: usize,
}

impl Ledger {
    /// The changes by the place of their row; those opened since the last call included from now on.
    pub(crate) fn by_place(&mut self) -> &BTreeMap<u32, u32> {
        for (number, delta) in self.deltas.iter().enumerate().skip(self.known) {
            self.by_place.insert(delta.place, u32::try_from(number).unwrap_or(NO_DELTA));
        }
        self.known = self.deltas.len();
        &self.by_place
    }

    /// Every node's changes.
    pub(crate) fn deltas(&self) -> &[Delta] {
        &self.deltas
    }

    pub(crate) fn get(&self, number: u32) -> Option<&Delta> {
        self.deltas.get(number as usize)
    }

    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut Delta> {
        self.deltas.get_mut(number as usize)
    }

    /// Opens the changes of a node that has none.
    pub(crate) fn open(&mut self, place: u32) -> u32 {
        self.deltas.push(Delta::new(place));
        u32::try_from(self.deltas.len() - 1).unwrap_or(NO_DELTA)
    }

    /// The changes of a node, opened if there are none.
    pub(crate) fn at(&mut self, place: u32) -> Option<&mut Delta> {
        let number = match self.by_place().get(&place) {
            Some(number) => *number,
            None => self.open(place),
        };
        self.get_mut(number)
    }
}
