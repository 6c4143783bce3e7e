//! Finding nodes for what one evaluation wants to place.

use std::sync::Arc;

use orch_model::allocation::{AllocPort, ScoreEntry};
use orch_model::evaluation::Explanation;
use orch_model::operator::Algorithm;
use orch_model::plan::{Placement, Stop};
use orch_model::seed::Seed;
use orch_model::units::Usage;
use orch_model::{AllocId, Allocation, Job};
use orch_state::fits::{Asked, fits_space};
use orch_state::{NodeRow, State};
use smallvec::SmallVec;

use crate::explain::{Obstacle, Tally};
use crate::feasible::{Distinct, GroupRules, NO_CLASS, NodeTable, Verdict};
use crate::memo::Feasibility;
use crate::overlay::Overlay;
use crate::ports::{Held, assign, statics_fit};
use crate::rank::{Candidate, Delta, Ledger, NO_DELTA, Ranking, Scores, UNFIT, fit};
use crate::reconcile::Wanted;

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

/// What is particular about one node for one placement.
#[derive(Debug, Clone, Copy, Default)]
struct Terms<'a> {
    /// What the predecessor on this node hands over.
    handed_over: Usage,
    handed_over_ports: &'a [AllocPort],
    /// Whether an allocation of the group leaves the node.
    leaves: bool,
    is_penalised: bool,
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
        let node = self.state.node(&alloc.node_id);
        feasible && node.is_some_and(|node| rules.objection_to(node).is_none())
    }

    /// Finds nodes for what a group wants, and adds to `result` what became of it.
    pub(crate) fn place_group(
        &mut self,
        group: u16,
        known: &Feasibility,
        wanted: Vec<Wanted<'a>>,
        result: &mut Placed<'a>,
    ) {
        if wanted.is_empty() {
            return;
        }
        let table = Arc::clone(&self.table);
        let (candidates, mut tally) = self.scan(group, known);
        let mut ranking = Ranking::new(candidates, wanted.len(), &table, self.ties);
        let first_look = tally.clone();
        let before = self.placements.len();
        self.placements.reserve(wanted.len());
        let mut has_failed = false;
        for want in wanted {
            if self.place(group, &known.rules, &want, &mut ranking) {
                continue;
            }
            result.unplaced.push(want);
            if !has_failed {
                has_failed = true;
                tally.forget_obstacles();
                self.recount(group, &known.rules, &ranking, &mut tally);
                result.failed = Some(tally.explain(self.job, &table, &known.verdicts));
            }
        }
        if self.placements.len() > before && result.placed.is_none() {
            result.placed = Some(first_look.explain(self.job, &table, &known.verdicts));
        }
    }

    /// Whether a replacement left room that its predecessor had, since this was last asked.
    pub(crate) fn takes_room_freed(&mut self) -> bool {
        std::mem::take(&mut self.has_freed)
    }

    /// Scores every feasible node.
    fn scan(&mut self, group: u16, known: &Feasibility) -> (Vec<Candidate<'a>>, Tally) {
        let table = Arc::clone(&self.table);
        let mut tally = Tally::new(table.classes.len());
        let changed: Vec<(u32, u32)> = self.ledger.by_place().iter().map(|(place, delta)| (*place, *delta)).collect();
        let mut changed = changed.into_iter().peekable();
        let mut candidates = Vec::with_capacity(table.class_of.len());
        let rows = self.state.usage().chunks().iter().flat_map(|chunk| chunk.iter());
        let mut same = LastFit::default();
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
            let mut candidate = Candidate::new(row, place);
            while changed.next_if(|(changed, _)| *changed < place).is_some() {}
            if let Some((_, delta)) = changed.next_if(|(changed, _)| *changed == place) {
                candidate.delta = delta;
            }
            match self.evaluate(group, &known.rules, &candidate, &Terms::default(), &mut same) {
                Ok(scores) => {
                    candidate.score = scores.normalized();
                    let node = table.ids.get(place as usize).copied().unwrap_or_default();
                    let tie = || self.ties.rank(node.as_uuid());
                    tally.note_score(candidate.score, scores, tie, node);
                }
                Err(obstacle) => tally.obstruct(*class, obstacle),
            }
            candidates.push(candidate);
        }
        (candidates, tally)
    }

    /// Counts anew what stands in the way of each candidate.
    fn recount(&self, group: u16, rules: &GroupRules, ranking: &Ranking<'a, '_>, tally: &mut Tally) {
        for candidate in ranking.candidates() {
            let class = self.table.class_of.get(candidate.place as usize).copied().unwrap_or(NO_CLASS);
            let evaluated = self.evaluate(group, rules, candidate, &Terms::default(), &mut LastFit::default());
            let obstacle = evaluated.err().or((candidate.score == UNFIT).then_some(Obstacle::NoDynamicPort));
            if let Some(obstacle) = obstacle {
                tally.obstruct(class, obstacle);
            }
        }
    }

    /// What a node would score with one more allocation, or what is in its way.
    fn evaluate(
        &self,
        group: u16,
        rules: &GroupRules,
        candidate: &Candidate<'a>,
        terms: &Terms<'_>,
        same: &mut LastFit,
    ) -> Result<Scores, Obstacle> {
        let row = candidate.row;
        let delta = if candidate.delta == NO_DELTA { None } else { self.ledger.get(candidate.delta) };
        let leaving = u32::from(terms.leaves);
        let collisions = delta.map_or(0, |delta| delta.of_group(group)).saturating_sub(leaving);
        let crowded = match rules.distinct {
            None => false,
            Some(Distinct::Group) => collisions > 0,
            Some(Distinct::Job) => delta.map_or(0, Delta::of_job) > leaving,
        };
        if crowded {
            return Err(Obstacle::Distinct);
        }
        let (used, allocs) = match delta {
            None => (row.used, row.allocs),
            Some(delta) => (delta.used(row), row.allocs.saturating_add(delta.allocs)),
        };
        let asked = Asked {
            usage: rules.ask.usage,
            ports: &[],
            handed_over: terms.handed_over,
            handed_over_ports: terms.handed_over_ports,
        };
        fits_space(row, used, allocs, &asked).map_err(Obstacle::Full)?;
        if !rules.ask.ports.is_empty() {
            statics_fit(&rules.ask.ports, &held(row, delta, terms))?;
        }
        let used = used.saturating_sub(terms.handed_over).saturating_add(rules.ask.usage);
        let fit = same.fit(self.algorithm, used, row.capacity);
        Ok(Scores::new(fit, collisions, rules.count, terms.is_penalised))
    }

    /// Places one allocation on the best node; false if there is none.
    fn place(&mut self, group: u16, rules: &GroupRules, want: &Wanted<'a>, ranking: &mut Ranking<'a, '_>) -> bool {
        let mut special = self.special(want, ranking);
        loop {
            let Some((number, terms, scores)) = self.choose(group, rules, ranking, &special) else { return false };
            let Some(candidate) = ranking.get(number) else { return false };
            let Some(ports) = self.ports_on(rules, candidate, &terms) else {
                if special.iter().any(|(other, _)| *other == number) {
                    special.retain(|(other, _)| *other != number);
                }
                ranking.rescore(number, UNFIT);
                continue;
            };
            self.commit(group, rules, want, ranking, (number, terms, scores), ports);
            return true;
        }
    }

    /// The nodes about which something is particular for this placement.
    fn special(&self, want: &Wanted<'a>, ranking: &Ranking<'a, '_>) -> SmallVec<[(u32, Terms<'a>); 2]> {
        let mut special: SmallVec<[(u32, Terms<'a>); 2]> = SmallVec::new();
        let number_of = |node| self.state.usage().place_of(node).and_then(|place| ranking.find(place.0));
        if let Some(previous) = want.previous
            && let Some(number) = number_of(&previous.node_id)
        {
            let hands_over = (want.stop_previous.is_some() || previous.desired.is_stop()) && previous.holds_resources();
            let leaves = want.stop_previous.is_some() && !previous.is_client_terminal();
            let mut terms = Terms { leaves, ..Terms::default() };
            if hands_over {
                terms.handed_over = previous.usage;
                terms.handed_over_ports = &previous.ports;
            }
            if hands_over || leaves {
                special.push((number, terms));
            }
        }
        for number in want.penalised.iter().filter_map(number_of) {
            match special.iter_mut().find(|(other, _)| *other == number) {
                Some((_, terms)) => terms.is_penalised = true,
                None => special.push((number, Terms { is_penalised: true, ..Terms::default() })),
            }
        }
        special
    }

    /// The best node for one placement.
    fn choose(
        &self,
        group: u16,
        rules: &GroupRules,
        ranking: &mut Ranking<'a, '_>,
        special: &[(u32, Terms<'a>)],
    ) -> Option<(u32, Terms<'a>, Scores)> {
        let apart: SmallVec<[u32; 4]> = special.iter().map(|(number, _)| *number).collect();
        let ordinary = ranking.best(&apart).map(|number| (number, Terms::default()));
        let mut best: Option<(u32, Terms<'a>, Scores)> = None;
        for (number, terms) in ordinary.into_iter().chain(special.iter().copied()) {
            let Some(candidate) = ranking.get(number) else { continue };
            let Ok(scores) = self.evaluate(group, rules, candidate, &terms, &mut LastFit::default()) else { continue };
            let is_better = best.as_ref().is_none_or(|(leader, _, leading)| {
                let leader = ranking.get(*leader).map_or(0, |leader| leader.place);
                let (own, theirs) = (scores.normalized(), leading.normalized());
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

    /// Notes a placement, and what it changes on its node.
    fn commit(
        &mut self,
        group: u16,
        rules: &GroupRules,
        want: &Wanted<'a>,
        ranking: &mut Ranking<'a, '_>,
        (number, terms, scores): (u32, Terms<'a>, Scores),
        ports: SmallVec<[AllocPort; 1]>,
    ) {
        let Some(candidate) = ranking.get_mut(number) else { return };
        if candidate.delta == NO_DELTA {
            candidate.delta = self.ledger.open(candidate.place);
        }
        let node_id = self.table.ids.get(candidate.place as usize).copied().unwrap_or_default();
        let takes_over = terms.handed_over != Usage::default() || !terms.handed_over_ports.is_empty();
        if let Some(delta) = self.ledger.get_mut(candidate.delta) {
            delta.added = delta.added.saturating_add(rules.ask.usage);
            delta.handed_over = delta.handed_over.saturating_add(terms.handed_over);
            delta.allocs += u32::from(!takes_over);
            delta.ports.extend(ports.iter().map(|port| (port.address, port.value)));
            delta.released.extend(terms.handed_over_ports.iter().map(|port| (port.address, port.value)));
            delta.join(group);
        }
        self.has_freed |= !terms.handed_over.fits_in(rules.ask.usage) || !terms.handed_over_ports.is_empty();
        if let (Some(previous), Some(reason)) = (want.previous, want.stop_previous) {
            self.has_freed |= rules.distinct.is_some();
            self.stops.push(Stop { alloc_id: previous.id, reason, client_status: None });
            self.leave(group, rules, previous, ranking, number);
        }
        self.rescore(group, rules, ranking, number);
        let placement = Placement {
            alloc_id: AllocId::from_uuid(self.draws.uuid()),
            group,
            index: want.index,
            node_id,
            usage: rules.ask.usage,
            ports,
            previous: want.previous.map(|previous| previous.id),
            scores: self.shared(scores),
        };
        self.placements.push(placement);
    }

    /// Notes that a replaced allocation leaves its node.
    fn leave(
        &mut self,
        group: u16,
        rules: &GroupRules,
        previous: &Allocation,
        ranking: &mut Ranking<'a, '_>,
        chosen: u32,
    ) {
        if previous.is_client_terminal() {
            return;
        }
        let Some(place) = self.state.usage().place_of(&previous.node_id) else { return };
        match ranking.find(place.0) {
            Some(number) => {
                let delta = ranking.get(number).map_or(NO_DELTA, |candidate| candidate.delta);
                if let Some(delta) = self.ledger.get_mut(delta) {
                    delta.leave(group);
                }
                if number != chosen {
                    self.rescore(group, rules, ranking, number);
                }
            }
            None => {
                if let Some(delta) = self.ledger.at(place.0) {
                    delta.leave(group);
                }
            }
        }
    }

    fn rescore(&self, group: u16, rules: &GroupRules, ranking: &mut Ranking<'a, '_>, number: u32) {
        let Some(candidate) = ranking.get(number) else { return };
        let scores = self.evaluate(group, rules, candidate, &Terms::default(), &mut LastFit::default());
        ranking.rescore(number, scores.map_or(UNFIT, |scores| scores.normalized()));
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

/// The ports that are not to be had on a node.
fn held<'h>(row: &'h NodeRow, delta: Option<&'h Delta>, terms: &Terms<'h>) -> Held<'h> {
    Held {
        row,
        planned: delta.map_or(&[][..], |delta| &delta.ports),
        released: delta.map_or(&[][..], |delta| &delta.released),
        handed_over: terms.handed_over_ports,
    }
}

/// The last fit that was computed: neighbouring nodes are often alike.
#[derive(Debug, Default)]
struct LastFit {
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
