//! What one node would score with one more allocation, or what is in its way.

use orch_model::Allocation;
use orch_model::allocation::AllocPort;
use orch_model::operator::Algorithm;
use orch_model::plan::Misfit;
use orch_model::units::{Mhz, Usage};
use orch_model::volume::VolumeAsk;
use orch_state::NodeRow;
use orch_state::fits::{Asked, fits_space, fits_volumes};
use smallvec::SmallVec;

use super::round::Round;
use crate::explain::Obstacle;
use crate::feasible::{Distinct, GroupRules};
use crate::ports::{Held, statics_fit};
use crate::rank::{Candidate, Delta, Ledger, NO_DELTA, Scores, fit};

/// What is particular about one node for one placement.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Terms<'a> {
    /// What the predecessor on this node hands over.
    pub(super) handed_over: Usage,
    pub(super) handed_over_ports: &'a [AllocPort],
    pub(super) handed_over_cores: &'a [u16],
    /// The allocation that hands over.
    pub(super) predecessor: Option<&'a Allocation>,
    /// Whether an allocation of the group leaves the node.
    pub(super) leaves: bool,
    pub(super) is_penalised: bool,
}

/// What a node would score with one more allocation, or what is in its way; distinct properties, which whole groups of
/// nodes share, are not looked at.
#[inline]
pub(super) fn evaluate(
    round: &Round<'_>,
    algorithm: Algorithm,
    candidate: &Candidate<'_>,
    ledger: &Ledger,
    terms: &Terms<'_>,
    same: &mut LastFit,
) -> Result<Scores, Obstacle> {
    let rules = round.rules;
    let row = candidate.row;
    let delta = if candidate.delta == NO_DELTA { None } else { ledger.get(candidate.delta) };
    let leaving = u32::from(terms.leaves);
    let collisions = delta.map_or(0, |delta| delta.of_group(round.group)).saturating_sub(leaving);
    let crowded = match rules.distinct {
        None => false,
        Some(Distinct::Group) => collisions > 0,
        Some(Distinct::Job) => delta.map_or(0, Delta::of_job) > leaving,
    };
    if crowded {
        return Err(Obstacle::Distinct);
    }
    let (used, usage) = room(round, candidate, delta, terms)?;
    let used = used.saturating_sub(terms.handed_over).saturating_add(usage);
    let fit = same.fit(algorithm, used, row.capacity);
    let mut scores = Scores::new(fit, collisions, rules.count, terms.is_penalised);
    if !rules.affinities.is_empty() {
        scores.affinity = Some(round.traits.affinity(candidate.place, candidate.class));
    }
    if !round.spreads.is_empty() {
        scores.spread = round.spreads.boosts().get(candidate.group as usize).copied();
    }
    Ok(scores)
}

/// What is used of a node and what the allocation would take there, if there is room for it.
#[inline]
pub(super) fn room(
    round: &Round<'_>,
    candidate: &Candidate<'_>,
    delta: Option<&Delta>,
    terms: &Terms<'_>,
) -> Result<(Usage, Usage), Obstacle> {
    let (rules, row) = (round.rules, candidate.row);
    let (used, allocs) = match delta {
        None => (row.used, row.allocs),
        Some(delta) => (delta.used(row), row.allocs.saturating_add(delta.allocs)),
    };
    let usage = usage_on(rules, row);
    let asked =
        Asked { usage, handed_over: terms.handed_over, handed_over_ports: terms.handed_over_ports, ..Asked::default() };
    fits_space(row, used, allocs, &asked).map_err(Obstacle::Full)?;
    if rules.ask.cores > 0 && lowest_cores(rules, row, delta, terms).is_none() {
        return Err(Obstacle::Full(Misfit::Cores));
    }
    if !rules.ask.ports.is_empty() {
        statics_fit(&rules.ask.ports, &held(row, delta, terms))?;
    }
    if !round.volumes.is_empty() {
        volumes_fit(round.volumes, row, delta, terms)?;
    }
    Ok((used, usage))
}

/// Whether the host volumes are there and free.
fn volumes_fit(volumes: &[VolumeAsk], row: &NodeRow, delta: Option<&Delta>, terms: &Terms<'_>) -> Result<(), Obstacle> {
    let handed_over: Vec<_> = terms.predecessor.iter().flat_map(|old| old.host_volumes()).collect();
    let asked = Asked { volumes, handed_over_volumes: &handed_over, ..Asked::default() };
    let (come, go) = delta.map_or((&[][..], &[][..]), |delta| (&delta.volumes, &delta.released_volumes));
    let planned = come.iter().map(|ask| (ask, true)).chain(go.iter().map(|ask| (ask, false)));
    fits_volumes(row, &asked, planned).map_err(|_| Obstacle::Volumes)
}

/// What an allocation takes on a node: whole cores count for what they can do there.
pub(super) fn usage_on(rules: &GroupRules, row: &NodeRow) -> Usage {
    let mut usage = rules.ask.usage;
    if rules.ask.cores > 0 {
        usage.cpu = usage.cpu.saturating_add(Mhz(row.core_speed().0.saturating_mul(rules.ask.cores)));
    }
    usage
}

/// The lowest cores that are free on a node, as many as are asked for; `None` if there are not enough.
pub(super) fn lowest_cores(
    rules: &GroupRules,
    row: &NodeRow,
    delta: Option<&Delta>,
    terms: &Terms<'_>,
) -> Option<SmallVec<[u16; 4]>> {
    let wanted = rules.ask.cores as usize;
    let times = |cores: &[u16], core: u16| cores.iter().filter(|other| **other == core).count();
    let is_free = |core: &u16| {
        let (planned, released) =
            delta.map_or((0, 0), |delta| (times(&delta.cores, *core), times(&delta.released_cores, *core)));
        row.cores.count(*core) + planned <= released + times(terms.handed_over_cores, *core)
    };
    let mut free: SmallVec<[u16; 4]> = row.reservable_cores().iter().copied().filter(is_free).collect();
    free.sort_unstable();
    free.truncate(wanted);
    (free.len() == wanted).then_some(free)
}

/// The ports that are not to be had on a node.
pub(super) fn held<'h>(row: &'h NodeRow, delta: Option<&'h Delta>, terms: &Terms<'h>) -> Held<'h> {
    Held {
        row,
        planned: delta.map_or(&[][..], |delta| &delta.ports),
        released: delta.map_or(&[][..], |delta| &delta.released),
        handed_over: terms.handed_over_ports,
    }
}

/// The last fit that was computed: neighbouring nodes are often alike.
#[derive(Debug, Default)]
pub(super) struct LastFit {
    of: Option<(Usage, Usage, f64)>,
}

impl LastFit {
    fn fit(&mut self, algorithm: Algorithm, used: Usage, capacity: Usage) -> f64 {
        match &self.of {
            Some((last_used, last_capacity, score)) if *last_used == used && *last_capacity == capacity => *score,
            _ => {
                let score = fit(algorithm, used, capacity);
                self.of = Some((used, capacity, score));
                score
            }
        }
    }
}
