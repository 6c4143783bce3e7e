//! The feasible nodes of one group, best first.

use std::cmp::Ordering;
use std::collections::binary_heap::PeekMut;
use std::collections::{BTreeMap, BinaryHeap};

use orch_model::seed::Seed;
use orch_state::NodeRow;

use super::ledger::NO_DELTA;
use super::limits::{Limits, Value};
use super::score::{Points, Standing, Total};
use crate::feasible::NodeTable;

/// Up to so many placements, looking at every node each time is cheaper than keeping heaps.
const SCANNED: usize = 4;

/// By how many of its own scores a node that has room can count: fit, collisions and affinities.
const COUNTINGS: usize = 3;

/// A feasible node.
#[derive(Debug)]
pub(crate) struct Candidate<'a> {
    pub(crate) row: &'a NodeRow,
    /// The place of the row.
    pub(crate) place: u32,
    /// The node's class.
    pub(crate) class: u32,
    /// Its changes in the ledger.
    pub(crate) delta: u32,
    /// Its combination of spread values.
    pub(crate) group: u32,
    /// What it scores by itself.
    pub(crate) standing: Standing,
    /// Whether it waits for a value of a distinct property and stands in no heap.
    is_parked: bool,
}

impl<'a> Candidate<'a> {
    pub(crate) const fn new(row: &'a NodeRow, place: u32, class: u32, group: u32) -> Self {
        Self { row, place, class, delta: NO_DELTA, group, standing: Standing::UNFIT, is_parked: false }
    }
}

/// The candidates of a group, and which is best.
///
/// Candidates of one combination of spread values and with as many scores that count keep their order whatever becomes
/// of the spreads, so each such bucket has a heap, and the best is the best of their heads.
#[derive(Debug)]
pub(crate) struct Ranking<'a, 't> {
    candidates: Vec<Candidate<'a>>,
    /// `COUNTINGS` for each combination of spread values; none where every placement looks at all candidates.
    buckets: Vec<BinaryHeap<Entry>>,
    /// Candidates that no heap holds, by the value that they wait for.
    parked: BTreeMap<Value, Vec<u32>>,
    /// What nodes score at most that were left out of `candidates`; `None` if none was.
    others: Option<Total>,
    table: &'t NodeTable,
    seed: Seed,
}

/// A candidate in a heap; void if the candidate's standing is another by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    /// Its own scores, in a form that compares as a whole number.
    own: u64,
    tie: u64,
    candidate: u32,
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.own, self.tie, other.candidate).cmp(&(other.own, other.tie, self.candidate))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<'a, 't> Ranking<'a, 't> {
    /// Ranks `candidates`, which come in the order of their places, for `placements` placements over so many
    /// combinations of spread values.
    pub(crate) fn new(
        candidates: Vec<Candidate<'a>>,
        placements: usize,
        combinations: usize,
        table: &'t NodeTable,
        seed: Seed,
    ) -> Self {
        let mut ranking = Self { candidates, buckets: Vec::new(), parked: BTreeMap::new(), others: None, table, seed };
        if placements <= SCANNED {
            return ranking;
        }
        let mut entries: Vec<Vec<Entry>> = Vec::new();
        entries.resize_with(combinations.max(1) * COUNTINGS, Vec::new);
        for (candidate, number) in ranking.candidates.iter().zip(0_u32..) {
            let bucket = bucket_of(candidate).and_then(|bucket| entries.get_mut(bucket));
            if let Some(bucket) = bucket {
                let tie = ranking.tie(candidate.place);
                bucket.push(Entry { own: candidate.standing.own.ordered(), tie, candidate: number });
            }
        }
        ranking.buckets = entries.into_iter().map(BinaryHeap::from).collect();
        ranking
    }

    /// Says that feasible nodes were left out which score less than that.
    pub(crate) fn above(self, others: Option<Total>) -> Self {
        Self { others, ..self }
    }

    /// Whether a node that was left out may be better than the best found.
    pub(crate) fn is_beaten_by_others(&self, best: Option<Total>) -> bool {
        self.others.is_some_and(|others| best.is_none_or(|best| best < others))
    }

    /// What decides between nodes of one score.
    pub(crate) fn tie(&self, place: u32) -> u64 {
        self.table.ids.get(place as usize).map_or(0, |id| self.seed.rank(id.as_uuid()))
    }

    pub(crate) fn candidates(&self) -> &[Candidate<'a>] {
        &self.candidates
    }

    pub(crate) fn get(&self, number: u32) -> Option<&Candidate<'a>> {
        self.candidates.get(number as usize)
    }

    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut Candidate<'a>> {
        self.candidates.get_mut(number as usize)
    }

    /// The candidate whose row is at `place`.
    pub(crate) fn find(&self, place: u32) -> Option<u32> {
        let at = self.candidates.binary_search_by_key(&place, |candidate| candidate.place).ok()?;
        u32::try_from(at).ok()
    }

    /// The best candidate that has room and that no limit closes, those in `without` left out. `boosts` holds what the
    /// spreads add for each combination of values.
    pub(crate) fn best(&mut self, without: &[u32], boosts: &[Points], limits: &Limits<'_>) -> Option<u32> {
        if self.buckets.is_empty() {
            self.best_of_all(without, boosts, limits)
        } else {
            self.best_of_heads(without, boosts, limits)
        }
    }

    fn best_of_all(&self, without: &[u32], boosts: &[Points], limits: &Limits<'_>) -> Option<u32> {
        let mut best: Option<(u32, Total, Option<u64>)> = None;
        for (candidate, number) in self.candidates.iter().zip(0_u32..) {
            if !candidate.standing.is_fit() {
                continue;
            }
            let total = candidate.standing.total(boost_of(boosts, candidate.group));
            if best.is_some_and(|(_, leading, _)| total < leading)
                || without.contains(&number)
                || limits.closed(candidate.place, candidate.class).is_some()
            {
                continue;
            }
            match &mut best {
                Some((leader, leading, tie)) if total == *leading => {
                    let own = self.tie(candidate.place);
                    let theirs = tie.unwrap_or_else(|| self.get(*leader).map_or(0, |leader| self.tie(leader.place)));
                    if own > theirs {
                        best = Some((number, total, Some(own)));
                    } else {
                        *tie = Some(theirs);
                    }
                }
                Some(_) | None => best = Some((number, total, None)),
            }
        }
        best.map(|(number, ..)| number)
    }

    fn best_of_heads(&mut self, without: &[u32], boosts: &[Points], limits: &Limits<'_>) -> Option<u32> {
        let mut best: Option<(Total, u64, u32)> = None;
        let mut aside: Vec<(usize, Entry)> = Vec::new();
        for bucket in 0..self.buckets.len() {
            let group = u32::try_from(bucket / COUNTINGS).unwrap_or(u32::MAX);
            let boost = boost_of(boosts, group);
            let counting = u8::try_from(bucket % COUNTINGS).unwrap_or(u8::MAX).saturating_add(1);
            while let Some(entry) = self.buckets.get(bucket).and_then(BinaryHeap::peek).copied() {
                let own = Points::from_ordered(entry.own);
                let total = Standing { own, counting }.total(boost);
                if best.is_some_and(|(leading, tie, _)| (total, entry.tie) < (leading, tie)) {
                    break;
                }
                if !self.stands(entry, own, counting) {
                    self.pop(bucket);
                } else if without.contains(&entry.candidate) {
                    aside.extend(self.pop(bucket).map(|entry| (bucket, entry)));
                } else if let Some(value) = self.closed(entry.candidate, limits) {
                    self.pop(bucket);
                    self.park(entry.candidate, value);
                } else {
                    best = Some((total, entry.tie, entry.candidate));
                    break;
                }
            }
        }
        for (bucket, entry) in aside {
            if let Some(heap) = self.buckets.get_mut(bucket) {
                heap.push(entry);
            }
        }
        best.map(|(_, _, number)| number)
    }

    fn pop(&mut self, bucket: usize) -> Option<Entry> {
        self.buckets.get_mut(bucket)?.pop()
    }

    /// Whether an entry says how its candidate stands.
    fn stands(&self, entry: Entry, own: Points, counting: u8) -> bool {
        let candidate = self.get(entry.candidate);
        candidate.is_some_and(|known| known.standing == Standing { own, counting } && !known.is_parked)
    }

    fn closed(&self, number: u32, limits: &Limits<'_>) -> Option<Value> {
        if limits.is_empty() {
            return None;
        }
        let candidate = self.get(number)?;
        limits.closed(candidate.place, candidate.class)
    }

    /// Takes a candidate out until `value` takes one more again.
    fn park(&mut self, number: u32, value: Value) {
        if let Some(candidate) = self.candidates.get_mut(number as usize) {
            candidate.is_parked = true;
            self.parked.entry(value).or_default().push(number);
        }
    }

    /// Takes those back in that waited for `value`.
    pub(crate) fn reopen(&mut self, value: Value) {
        for number in self.parked.remove(&value).unwrap_or_default() {
            let Some(candidate) = self.candidates.get_mut(number as usize) else { continue };
            candidate.is_parked = false;
            self.push(number);
        }
    }

    /// Puts a candidate into the heap of its bucket, if it has room.
    fn push(&mut self, number: u32) {
        let Some(candidate) = self.get(number) else { return };
        let entry = Entry { own: candidate.standing.own.ordered(), tie: self.tie(candidate.place), candidate: number };
        let bucket = bucket_of(candidate);
        if let Some(heap) = bucket.and_then(|bucket| self.buckets.get_mut(bucket)) {
            heap.push(entry);
        }
    }

    /// Says that a candidate stands otherwise.
    pub(crate) fn rescore(&mut self, number: u32, standing: Standing) {
        let Some(candidate) = self.candidates.get_mut(number as usize) else { return };
        if candidate.standing == standing {
            return;
        }
        let before = bucket_of(candidate);
        candidate.standing = standing;
        let (after, place, is_parked) = (bucket_of(candidate), candidate.place, candidate.is_parked);
        if self.buckets.is_empty() || is_parked {
            return;
        }
        let entry = Entry { own: standing.own.ordered(), tie: self.tie(place), candidate: number };
        // The candidate just chosen is the first of its heap: what it was goes at once, or is replaced.
        if let Some(heap) = before.and_then(|bucket| self.buckets.get_mut(bucket))
            && let Some(mut first) = heap.peek_mut()
            && first.candidate == number
        {
            if before == after {
                *first = entry;
                return;
            }
            PeekMut::pop(first);
        }
        if let Some(heap) = after.and_then(|bucket| self.buckets.get_mut(bucket)) {
            heap.push(entry);
        }
    }
}

/// Where a candidate that has room stands among the heaps.
fn bucket_of(candidate: &Candidate<'_>) -> Option<usize> {
    let counting = usize::from(candidate.standing.counting).checked_sub(1)?;
    Some(candidate.group as usize * COUNTINGS + counting)
}

fn boost_of(boosts: &[Points], group: u32) -> Points {
    boosts.get(group as usize).copied().unwrap_or_default()
}
