//! Finding nodes for what one evaluation wants to place.

use std::sync::Arc;

use orch_model::allocation::{AllocPort, ScoreEntry};
use orch_model::evaluation::Explanation;
use orch_model::operator::Algorithm;
use orch_model::plan::{Placement, Stop};
use orch_model::seed::Seed;
use orch_model::units::Usage;
use orch_model::volume::VolumeAsk;
use orch_model::{AllocId, Allocation, Job, NodeId};
use orch_state::State;
use orch_state::fits::has_volume;
use smallvec::SmallVec;

use crate::explain::{Obstacle, Tally};
use crate::feasible::{GroupRules, MISSING_VOLUMES, NO_CLASS, NodeTable, Verdict};
use crate::memo::Feasibility;
use crate::overlay::Overlay;
use crate::ports::assign;
use crate::rank::{Candidate, Ledger, NO_DELTA, Ranking, Scores, Standing};
use crate::reconcile::Wanted;

mod evaluate;
mod round;
mod shortcut;
#[cfg(test)]
mod tests;

use evaluate::{LastFit, Terms, evaluate, held, lowest_cores, room, usage_on};
use round::{Round, Spot};
use shortcut::Bar;

/// Nodes about which something is particular for one placement, by their number in the ranking.
type Special<'a> = SmallVec<[(u32, Terms<'a>); 2]>;

/// A node that was chosen.
type Choice<'a> = (u32, Terms<'a>, Scores);

/// The placements of one evaluation in the making.
#[derive(Debug)]
pub(crate) struct Placer<'a> {
    state: &'a State,
    job: &'a Job,
    table: Arc<NodeTable>,
    ledger: Ledger,
    algorithm: Algorithm,
    /// Decides between equals; never drawn from.
    ties: Seed,
    /// Ids and ports are drawn from it.
    draws: Seed,
    /// Scores of the last placement, shared by those that score alike.
    scores: Option<(Scores, Arc<[ScoreEntry]>)>,
    /// Whether a replacement left room that its predecessor had.
    has_freed: bool,
    pub(crate) placements: Vec<Placement>,
    /// Stops of allocations that got a replacement.
    pub(crate) stops: Vec<Stop>,
}

/// What became of a group's placements.
#[derive(Debug, Default)]
pub(crate) struct Placed<'a> {
    /// How the nodes looked at first, if something was placed.
    pub(crate) placed: Option<Explanation>,
    /// How they looked when a placement failed, if one did.
    pub(crate) failed: Option<Explanation>,
    /// What found no node.
    pub(crate) unplaced: Vec<Wanted<'a>>,
}

/// What came of looking for a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tried {
    Placed,
    NoRoom,
    /// Nodes that were left out may be better than those that were looked at.
    LookFurther,
}

impl<'a> Placer<'a> {
    pub(crate) fn new(
        state: &'a State,
        job: &'a Job,
        table: Arc<NodeTable>,
        overlay: &Overlay,
        ties: Seed,
        draws: Seed,
    ) -> Self {
        let mut ledger = Ledger::default();
        for item in overlay.pending(state) {
            if let Some(place) = state.usage().place_of(&item.node)
                && let Some(delta) = ledger.at(place.0)
            {
                delta.added = delta.added.saturating_add(item.usage);
                delta.allocs += 1;
                delta.ports.extend(item.ports.iter().copied());
                delta.cores.extend_from_slice(&item.cores);
            }
        }
        Self {
            state,
            job,
            table,
            ledger,
            algorithm: state.meta().scheduler.algorithm,
            ties,
            draws,
            scores: None,
            has_freed: false,
            placements: Vec::new(),
            stops: Vec::new(),
        }
    }

    /// Counts the allocations of the job that stay where they are.
    pub(crate) fn occupy(&mut self, group: u16, occupants: &[&Arc<Allocation>]) {
        for alloc in occupants {
            if let Some(place) = self.state.usage().place_of(&alloc.node_id)
                && let Some(delta) = self.ledger.at(place.0)
            {
                delta.join(group);
            }
        }
    }

    /// Whether an allocation may go on where it is, under the job's current rules.
    pub(crate) fn still_accepts(&self, rules: &GroupRules, verdicts: &[Verdict], alloc: &Allocation) -> bool {
        let Some(place) = self.state.usage().place_of(&alloc.node_id) else { return false };
        let class = self.table.class_of.get(place.0 as usize).copied().unwrap_or(NO_CLASS);
        let feasible = verdicts.get(class as usize).is_some_and(|verdict| *verdict == Verdict::Feasible);
        let row = self.state.usage().at(place);
        let has_volumes = alloc.host_volumes().all(|ask| row.is_some_and(|row| has_volume(row, &ask).is_ok()));
        let node = self.state.node(&alloc.node_id);
        feasible && has_volumes && node.is_some_and(|node| rules.objection_to(node).is_none())
    }

    /// Finds nodes for what a group wants, and adds to `result` what became of it.
    pub(crate) fn place_group(
        &mut self,
        group: u16,
        known: &Feasibility,
        wanted: Vec<Wanted<'a>>,
        result: &mut Placed<'a>,
    ) {
        let Some(spec) = self.job.task_groups.get(usize::from(group)).filter(|_| !wanted.is_empty()) else { return };
        let key = self.job.key();
        if known.rules.has_own_volumes {
            for want in wanted {
                let volumes = self.state.volume_asks(&key, spec, want.index);
                self.place_alike(group, known, &volumes, vec![want], result);
            }
        } else {
            let volumes = self.state.volume_asks(&key, spec, 0);
            self.place_alike(group, known, &volumes, wanted, result);
        }
    }

    /// Finds nodes for allocations of a group that ask for the same host volumes.
    fn place_alike(
        &mut self,
        group: u16,
        known: &Feasibility,
        volumes: &[VolumeAsk],
        wanted: Vec<Wanted<'a>>,
        result: &mut Placed<'a>,
    ) {
        let table = Arc::clone(&self.table);
        let mut round = Round::new(group, known, volumes, &self.ledger, &table.class_of);
        round.spreads.refresh();
        let is_short = shortcut::suits(&round, self.algorithm, &wanted);
        let (candidates, tally) = self.scan(&round, known, is_short);
        let floor = if is_short { tally.worst_named() } else { None };
        let combinations = known.traits.tuples.len();
        let mut ranking = Ranking::new(candidates, wanted.len(), combinations, &table, self.ties).above(floor);
        let before = self.placements.len();
        self.placements.reserve(wanted.len());
        let mut has_failed = false;
        for want in wanted {
            let mut tried = self.place(&mut round, &want, &mut ranking);
            if tried == Tried::LookFurther {
                let (candidates, _) = self.scan(&round, known, false);
                ranking = Ranking::new(candidates, 1, combinations, &table, self.ties);
                tried = self.place(&mut round, &want, &mut ranking);
            }
            if tried == Tried::Placed {
                continue;
            }
            result.unplaced.push(want);
            if !has_failed {
                has_failed = true;
                let mut tally = tally.without_obstacles();
                self.recount(&round, &ranking, &mut tally);
                result.failed = Some(tally.explain(self.job, &table, known));
            }
        }
        if self.placements.len() > before && result.placed.is_none() {
            result.placed = Some(tally.explain(self.job, &table, known));
        }
    }

    /// Whether a replacement left room that its predecessor had, since this was last asked.
    pub(crate) fn takes_room_freed(&mut self) -> bool {
        std::mem::take(&mut self.has_freed)
    }

    /// Scores every feasible node; where `is_short`, nodes that are certainly not among the best are left out.
    fn scan(&mut self, round: &Round<'_>, known: &Feasibility, is_short: bool) -> (Vec<Candidate<'a>>, Tally) {
        let table = Arc::clone(&self.table);
        let mut tally = Tally::new(table.classes.len());
        let changed: Vec<(u32, u32)> = self.ledger.by_place().iter().map(|(place, delta)| (*place, *delta)).collect();
        let mut changed = changed.into_iter().peekable();
        let mut candidates = Vec::with_capacity(if is_short { 0 } else { table.class_of.len() });
        let rows = self.state.usage().chunks().iter().flat_map(|chunk| chunk.iter());
        let mut same = LastFit::default();
        let has_limits = !round.limits.is_empty();
        let mut bar = None;
        for ((row, place), class) in rows.zip(0_u32..).zip(&table.class_of) {
            if !row.ready {
                continue;
            }
            let Some(ready) = tally.ready.get_mut(*class as usize) else { continue };
            *ready += 1;
            if known.verdicts.get(*class as usize) != Some(&Verdict::Feasible) {
                continue;
            }
            if known.rules.escapes_classes()
                && let Some(reason) = row.node.as_deref().and_then(|node| known.rules.objection_to(node))
            {
                tally.filter(*class, reason);
                continue;
            }
            if !round.volumes.iter().all(|ask| has_volume(row, ask).is_ok()) {
                tally.filter(*class, MISSING_VOLUMES);
                continue;
            }
            let mut candidate = Candidate::new(row, place, *class, known.traits.spread_group(place, *class));
            while changed.next_if(|(changed, _)| *changed < place).is_some() {}
            if let Some((_, delta)) = changed.next_if(|(changed, _)| *changed == place) {
                candidate.delta = delta;
            } else if is_short
                && let Some(worst) = tally.worst_named()
                && Bar::is_missed(&mut bar, worst, row.used.saturating_add(round.rules.ask.usage), row.capacity)
            {
                if let Err(obstacle) = self.takes(round, &candidate) {
                    tally.obstruct(*class, obstacle);
                }
                continue;
            }
            let scores = self.evaluate(round, &candidate, &Terms::default(), &mut same);
            if let Ok(scores) = &scores {
                candidate.standing = scores.standing();
            }
            let closed = if has_limits { round.limits.obstacle(place, *class) } else { None };
            match (closed, &scores) {
                (Some(obstacle), _) => tally.obstruct(*class, obstacle),
                (None, Err(obstacle)) => tally.obstruct(*class, *obstacle),
                (None, Ok(scores)) => {
                    let total = candidate.standing.total(scores.spread.unwrap_or_default());
                    tally.note_score(scores, total, || {
                        let id = table.ids.get(place as usize).copied().unwrap_or_default();
                        (self.ties.rank(id.as_uuid()), id)
                    });
                }
            }
            candidates.push(candidate);
        }
        (candidates, tally)
    }

    /// Counts anew what stands in the way of each candidate.
    fn recount(&self, round: &Round<'_>, ranking: &Ranking<'a, '_>, tally: &mut Tally) {
        for candidate in ranking.candidates() {
            let evaluated = self.evaluate(round, candidate, &Terms::default(), &mut LastFit::default());
            let closed = round.limits.obstacle(candidate.place, candidate.class);
            let obstacle =
                closed.or(evaluated.err()).or((!candidate.standing.is_fit()).then_some(Obstacle::NoDynamicPort));
            if let Some(obstacle) = obstacle {
                tally.obstruct(candidate.class, obstacle);
            }
        }
    }

    /// What a node would score, distinct properties included.
    fn try_node(&self, round: &Round<'_>, candidate: &Candidate<'a>, terms: &Terms<'_>) -> Option<Scores> {
        if round.limits.closed(candidate.place, candidate.class).is_some() {
            return None;
        }
        self.evaluate(round, candidate, terms, &mut LastFit::default()).ok()
    }

    /// Whether an unchanged node has room.
    fn takes(&self, round: &Round<'_>, candidate: &Candidate<'a>) -> Result<(), Obstacle> {
        room(round, candidate, None, &Terms::default()).map(|_| ())
    }

    fn evaluate(
        &self,
        round: &Round<'_>,
        candidate: &Candidate<'a>,
        terms: &Terms<'_>,
        same: &mut LastFit,
    ) -> Result<Scores, Obstacle> {
        evaluate(round, self.algorithm, candidate, &self.ledger, terms, same)
    }

    /// Places one allocation on the best node, if there is one.
    fn place(&mut self, round: &mut Round<'_>, want: &Wanted<'a>, ranking: &mut Ranking<'a, '_>) -> Tried {
        let mut special = self.special(round.rules, want, ranking);
        let going = self.going(want);
        if let Some(spot) = going {
            round.leave(spot, ranking);
        }
        round.spreads.refresh();
        let mut sticky =
            want.previous.filter(|_| round.rules.is_sticky).and_then(|old| self.number(ranking, &old.node_id));
        loop {
            let preferred = sticky.take().and_then(|number| self.only(round, ranking, &special, number));
            let choice = preferred.or_else(|| self.choose(round, ranking, &special));
            if ranking.is_beaten_by_others(choice.as_ref().map(|(.., scores)| scores.total())) {
                return Tried::LookFurther;
            }
            let Some((number, terms, scores)) = choice else {
                if let Some(spot) = going {
                    round.join(spot, true);
                }
                return Tried::NoRoom;
            };
            let Some(candidate) = ranking.get(number) else { return Tried::NoRoom };
            let Some(ports) = self.ports_on(round.rules, candidate, &terms) else {
                special.retain(|(other, _)| *other != number);
                ranking.rescore(number, Standing::UNFIT);
                continue;
            };
            self.commit(round, want, ranking, (number, terms, scores), ports);
            return Tried::Placed;
        }
    }

    /// Where a candidate is in the ranking.
    fn number(&self, ranking: &Ranking<'a, '_>, node: &NodeId) -> Option<u32> {
        self.state.usage().place_of(node).and_then(|place| ranking.find(place.0))
    }

    /// Where the allocation is that stops for a placement, if it is still there.
    fn going(&self, want: &Wanted<'a>) -> Option<Spot> {
        let previous = want.previous.filter(|old| want.stop_previous.is_some() && !old.is_client_terminal())?;
        let place = self.state.usage().place_of(&previous.node_id)?.0;
        Some(Spot { place, class: self.class_of(place) })
    }

    fn class_of(&self, place: u32) -> u32 {
        self.table.class_of.get(place as usize).copied().unwrap_or(NO_CLASS)
    }

    /// The nodes about which something is particular for this placement.
    fn special(&self, rules: &GroupRules, want: &Wanted<'a>, ranking: &Ranking<'a, '_>) -> Special<'a> {
        let mut special = Special::new();
        if let Some(previous) = want.previous
            && let Some(number) = self.number(ranking, &previous.node_id)
        {
            let hands_over = (want.stop_previous.is_some() || previous.desired.is_stop()) && previous.holds_resources();
            let leaves = want.stop_previous.is_some() && !previous.is_client_terminal();
            let mut terms = Terms { leaves, ..Terms::default() };
            if hands_over {
                terms.handed_over = previous.usage;
                terms.handed_over_ports = &previous.ports;
                terms.handed_over_cores = &previous.cores;
                terms.predecessor = Some(previous);
            }
            if hands_over || leaves || rules.is_sticky {
                special.push((number, terms));
            }
        }
        for number in want.penalised.iter().filter_map(|node| self.number(ranking, node)) {
            match special.iter_mut().find(|(other, _)| *other == number) {
                Some((_, terms)) => terms.is_penalised = true,
                None => special.push((number, Terms { is_penalised: true, ..Terms::default() })),
            }
        }
        special
    }

    /// One special node, if it takes the allocation.
    fn only(
        &self,
        round: &Round<'_>,
        ranking: &Ranking<'a, '_>,
        special: &Special<'a>,
        number: u32,
    ) -> Option<Choice<'a>> {
        let (_, terms) = special.iter().find(|(other, _)| *other == number)?;
        let scores = self.try_node(round, ranking.get(number)?, terms)?;
        Some((number, *terms, scores))
    }

    /// The best node for one placement.
    fn choose(&self, round: &Round<'_>, ranking: &mut Ranking<'a, '_>, special: &Special<'a>) -> Option<Choice<'a>> {
        let apart: SmallVec<[u32; 4]> = special.iter().map(|(number, _)| *number).collect();
        let ordinary = ranking.best(&apart, round.spreads.boosts(), &round.limits);
        let ordinary = ordinary.map(|number| (number, Terms::default()));
        let mut best: Option<Choice<'a>> = None;
        for (number, terms) in ordinary.into_iter().chain(special.iter().copied()) {
            let Some(candidate) = ranking.get(number) else { continue };
            let Some(scores) = self.try_node(round, candidate, &terms) else { continue };
            let is_better = best.as_ref().is_none_or(|(leader, _, leading)| {
                let leader = ranking.get(*leader).map_or(0, |leader| leader.place);
                let (own, theirs) = (scores.total(), leading.total());
                own > theirs || (own == theirs && ranking.tie(candidate.place) > ranking.tie(leader))
            });
            if is_better {
                best = Some((number, terms, scores));
            }
        }
        best
    }

    /// The ports that an allocation gets there; `None` if there are not enough.
    fn ports_on(
        &mut self,
        rules: &GroupRules,
        candidate: &Candidate<'a>,
        terms: &Terms<'_>,
    ) -> Option<SmallVec<[AllocPort; 1]>> {
        if rules.ask.ports.is_empty() {
            return Some(SmallVec::new());
        }
        let held = held(candidate.row, self.ledger.get(candidate.delta), terms);
        assign(&rules.ask.ports, &held, &mut self.draws).ok()
    }

    /// The cores that an allocation gets there.
    fn cores_on(&self, rules: &GroupRules, candidate: &Candidate<'a>, terms: &Terms<'_>) -> SmallVec<[u16; 4]> {
        if rules.ask.cores == 0 {
            return SmallVec::new();
        }
        lowest_cores(rules, candidate.row, self.ledger.get(candidate.delta), terms).unwrap_or_default()
    }

    /// Notes a placement, and what it changes on its node.
    fn commit(
        &mut self,
        round: &mut Round<'_>,
        want: &Wanted<'a>,
        ranking: &mut Ranking<'a, '_>,
        (number, terms, scores): Choice<'a>,
        ports: SmallVec<[AllocPort; 1]>,
    ) {
        let rules = round.rules;
        let Some(candidate) = ranking.get_mut(number) else { return };
        let usage = usage_on(rules, candidate.row);
        let cores = self.cores_on(rules, candidate, &terms);
        if candidate.delta == NO_DELTA {
            candidate.delta = self.ledger.open(candidate.place);
        }
        let spot = Spot { place: candidate.place, class: candidate.class };
        let takes_over = terms.handed_over != Usage::default() || !terms.handed_over_ports.is_empty();
        if let Some(delta) = self.ledger.get_mut(candidate.delta) {
            delta.added = delta.added.saturating_add(usage);
            delta.handed_over = delta.handed_over.saturating_add(terms.handed_over);
            delta.allocs += u32::from(!takes_over);
            delta.ports.extend(ports.iter().map(|port| (port.address, port.value)));
            delta.released.extend(terms.handed_over_ports.iter().map(|port| (port.address, port.value)));
            delta.cores.extend_from_slice(&cores);
            delta.released_cores.extend_from_slice(terms.handed_over_cores);
            delta.volumes.extend(round.volumes.iter().filter(|ask| !ask.read_only).cloned());
            delta.released_volumes.extend(terms.predecessor.iter().flat_map(|old| old.host_volumes()));
            delta.join(round.group);
        }
        round.join(spot, true);
        self.has_freed |= !terms.handed_over.fits_in(usage)
            || !terms.handed_over_ports.is_empty()
            || !terms.handed_over_cores.is_empty()
            || terms.predecessor.is_some_and(|old| old.host_volumes().next().is_some());
        if let (Some(previous), Some(reason)) = (want.previous, want.stop_previous) {
            self.has_freed |= rules.distinct.is_some() || !rules.properties.is_empty();
            self.stops.push(Stop { alloc_id: previous.id, reason, client_status: None });
            self.leave(round, previous, ranking, number);
        }
        self.rescore(round, ranking, number);
        let placement = Placement {
            alloc_id: AllocId::from_uuid(self.draws.uuid()),
            group: round.group,
            index: want.index,
            node_id: self.table.ids.get(spot.place as usize).copied().unwrap_or_default(),
            usage,
            ports,
            cores,
            oversubscribed: rules.has_memory_max && self.state.meta().scheduler.memory_oversubscription,
            previous: want.previous.map(|previous| previous.id),
            deployment: None,
            reschedules: Arc::clone(&want.reschedules),
            scores: self.shared(scores),
        };
        self.placements.push(placement);
    }

    /// Notes on its node that a replaced allocation leaves.
    fn leave(&mut self, round: &Round<'_>, previous: &Allocation, ranking: &mut Ranking<'a, '_>, chosen: u32) {
        if previous.is_client_terminal() {
            return;
        }
        let Some(place) = self.state.usage().place_of(&previous.node_id) else { return };
        match ranking.find(place.0) {
            Some(number) => {
                let delta = ranking.get(number).map_or(NO_DELTA, |candidate| candidate.delta);
                if let Some(delta) = self.ledger.get_mut(delta) {
                    delta.leave(round.group);
                }
                if number != chosen {
                    self.rescore(round, ranking, number);
                }
            }
            None => {
                if let Some(delta) = self.ledger.at(place.0) {
                    delta.leave(round.group);
                }
            }
        }
    }

    /// Looks anew at how a candidate stands by itself.
    fn rescore(&self, round: &Round<'_>, ranking: &mut Ranking<'a, '_>, number: u32) {
        let Some(candidate) = ranking.get(number) else { return };
        let scores = self.evaluate(round, candidate, &Terms::default(), &mut LastFit::default());
        ranking.rescore(number, standing(scores));
    }

    fn shared(&mut self, scores: Scores) -> Arc<[ScoreEntry]> {
        match &self.scores {
            Some((last, entries)) if *last == scores => Arc::clone(entries),
            _ => {
                let entries = scores.entries();
                self.scores = Some((scores, Arc::clone(&entries)));
                entries
            }
        }
    }
}

fn standing(scores: Result<Scores, Obstacle>) -> Standing {
    scores.map_or(Standing::UNFIT, |scores| scores.standing())
}
