//! What is counted over the job's allocations while one group is placed.

use orch_model::volume::VolumeAsk;

use crate::feasible::{GroupRules, Traits};
use crate::memo::Feasibility;
use crate::rank::{Ledger, Limits, Ranking, Spreads};

/// One group being placed, and how its allocations are shared out so far.
#[derive(Debug)]
pub(super) struct Round<'r> {
    pub(super) group: u16,
    pub(super) rules: &'r GroupRules,
    pub(super) traits: &'r Traits,
    pub(super) spreads: Spreads<'r>,
    pub(super) limits: Limits<'r>,
    /// The host volumes that each of its allocations asks for.
    pub(super) volumes: &'r [VolumeAsk],
}

/// Where an allocation is: the node's row and its class.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spot {
    pub(super) place: u32,
    pub(super) class: u32,
}

impl<'r> Round<'r> {
    /// A round for `group`, with the allocations that the ledger knows of.
    pub(super) fn new(
        group: u16,
        known: &'r Feasibility,
        volumes: &'r [VolumeAsk],
        ledger: &Ledger,
        class_of: &[u32],
    ) -> Self {
        let mut round = Self {
            group,
            rules: &known.rules,
            traits: &known.traits,
            spreads: Spreads::new(&known.rules.spreads, &known.traits),
            limits: Limits::new(&known.rules, &known.traits),
            volumes,
        };
        if round.spreads.is_empty() && round.limits.is_empty() {
            return round;
        }
        for delta in ledger.deltas() {
            let Some(class) = class_of.get(delta.place as usize) else { continue };
            let spot = Spot { place: delta.place, class: *class };
            for (other, count) in delta.live() {
                for _ in 0..*count {
                    round.join(spot, *other == group);
                }
            }
        }
        round
    }

    /// Notes an allocation of the job more.
    pub(super) fn join(&mut self, spot: Spot, is_of_group: bool) {
        self.limits.join(spot.place, spot.class, is_of_group);
        if is_of_group {
            self.spreads.count(self.traits.spread_group(spot.place, spot.class), true);
        }
    }

    /// Notes an allocation of the group less, so that nodes may be candidates again which were not.
    pub(super) fn leave(&mut self, spot: Spot, ranking: &mut Ranking<'_, '_>) {
        for value in self.limits.leave(spot.place, spot.class, true) {
            ranking.reopen(value);
        }
        self.spreads.count(self.traits.spread_group(spot.place, spot.class), false);
    }
}
