//! The feasible nodes of one group, best first.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use orch_model::seed::Seed;
use orch_state::NodeRow;

use super::ledger::NO_DELTA;
use crate::feasible::NodeTable;

/// The score of a node that has no room.
pub(crate) const UNFIT: f64 = f64::NEG_INFINITY;

/// Up to so many placements, looking at every node each time is cheaper than keeping a heap.
const SCANNED: usize = 4;

/// A feasible node.
#[derive(Debug)]
pub(crate) struct Candidate<'a> {
    pub(crate) row: &'a NodeRow,
    /// The place of the row.
    pub(crate) place: u32,
    /// Its changes in the ledger.
    pub(crate) delta: u32,
    /// Its final score, or [`UNFIT`].
    pub(crate) score: f64,
}

impl<'a> Candidate<'a> {
    pub(crate) const fn new(row: &'a NodeRow, place: u32) -> Self {
        Self { row, place, delta: NO_DELTA, score: UNFIT }
    }
}

/// The candidates of a group, and which is best.
#[derive(Debug)]
pub(crate) struct Ranking<'a, 't> {
    candidates: Vec<Candidate<'a>>,
    heap: Option<BinaryHeap<Entry>>,
    table: &'t NodeTable,
    seed: Seed,
}

/// A candidate in the heap; void if the candidate's score is another by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    score: u64,
    tie: u64,
    candidate: u32,
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.score, self.tie, other.candidate).cmp(&(other.score, other.tie, self.candidate))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A number that is larger for a larger score.
fn ordered(score: f64) -> u64 {
    let bits = score.to_bits();
    if score.is_sign_negative() { !bits } else { bits | (1 << 63) }
}

impl<'a, 't> Ranking<'a, 't> {
    /// Ranks `candidates`, which come in the order of their places, for `placements` placements.
    pub(crate) fn new(candidates: Vec<Candidate<'a>>, placements: usize, table: &'t NodeTable, seed: Seed) -> Self {
        let mut ranking = Self { candidates, heap: None, table, seed };
        if placements > SCANNED {
            let numbered = ranking.candidates.iter().zip(0_u32..);
            let entries = numbered.filter(|(candidate, _)| candidate.score > UNFIT).map(|(candidate, number)| Entry {
                score: ordered(candidate.score),
                tie: ranking.tie(candidate.place),
                candidate: number,
            });
            ranking.heap = Some(entries.collect::<Vec<_>>().into());
        }
        ranking
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

    /// The best candidate that has room, those in `without` left out.
    pub(crate) fn best(&mut self, without: &[u32]) -> Option<u32> {
        if self.heap.is_some() { self.best_of_heap(without) } else { self.best_of_all(without) }
    }

    fn best_of_all(&self, without: &[u32]) -> Option<u32> {
        let mut best: Option<(u32, f64, Option<u64>)> = None;
        for (candidate, number) in self.candidates.iter().zip(0_u32..) {
            let beaten = best.is_some_and(|(_, score, _)| candidate.score < score);
            if beaten || candidate.score == UNFIT || without.contains(&number) {
                continue;
            }
            let Some((leader, score, tie)) = &mut best else {
                best = Some((number, candidate.score, None));
                continue;
            };
            if candidate.score > *score {
                best = Some((number, candidate.score, None));
                continue;
            }
            let own = self.tie(candidate.place);
            let theirs = tie.unwrap_or_else(|| self.get(*leader).map_or(0, |leader| self.tie(leader.place)));
            if own > theirs {
                best = Some((number, candidate.score, Some(own)));
            } else {
                *tie = Some(theirs);
            }
        }
        best.map(|(number, ..)| number)
    }

    fn best_of_heap(&mut self, without: &[u32]) -> Option<u32> {
        let Self { candidates, heap, .. } = self;
        let heap = heap.as_mut()?;
        let mut aside: Vec<Entry> = Vec::new();
        let mut best = None;
        while let Some(entry) = heap.peek().copied() {
            let is_void = candidates.get(entry.candidate as usize).is_none_or(|own| ordered(own.score) != entry.score);
            if is_void {
                heap.pop();
            } else if without.contains(&entry.candidate) {
                aside.extend(heap.pop());
            } else {
                best = Some(entry.candidate);
                break;
            }
        }
        heap.extend(aside);
        best
    }

    /// Gives a candidate another score.
    pub(crate) fn rescore(&mut self, number: u32, score: f64) {
        let Some(candidate) = self.candidates.get_mut(number as usize) else { return };
        if candidate.score == score {
            return;
        }
        candidate.score = score;
        let place = candidate.place;
        let tie = if self.heap.is_some() { self.tie(place) } else { return };
        let Some(heap) = &mut self.heap else { return };
        let entry = Entry { score: ordered(score), tie, candidate: number };
        let is_first = heap.peek().is_some_and(|first| first.candidate == number);
        if !is_first {
            if score > UNFIT {
                heap.push(entry);
            }
        } else if let Some(mut first) = heap.peek_mut() {
            if score > UNFIT {
                *first = entry;
            } else {
                PeekMut::pop(first);
            }
        }
    }
}
