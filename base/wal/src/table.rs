//! Where each durable record lies: eight bytes of memory per record.

use std::collections::VecDeque;

use crate::disk::NamedFile;
use crate::format::{Kind, RECORD_HEADER, to_usize};

/// The indexes that a log holds: `start` up to, not including, `next`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Bounds {
    pub(crate) start: u64,
    pub(crate) next: u64,
}

impl Bounds {
    /// What the bounds become; `None` if the operation does not fit them.
    pub(crate) fn after(self, kind: Kind, index: u64) -> Option<Bounds> {
        match kind {
            Kind::Record => (index == self.next).then(|| Bounds { next: index + 1, ..self }),
            Kind::Truncate => Some(Bounds { next: index.clamp(self.start, self.next), ..self }),
            Kind::Start => Some(Bounds { start: self.start.max(index), next: self.next.max(index) }),
        }
    }

    pub(crate) fn is_empty(self) -> bool {
        self.start == self.next
    }

    pub(crate) fn first(self) -> Option<u64> {
        (!self.is_empty()).then_some(self.start)
    }

    pub(crate) fn last(self) -> Option<u64> {
        if self.is_empty() { None } else { self.next.checked_sub(1) }
    }
}

/// Where one record begins in its segment, and how long its payload is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot {
    pub(crate) offset: u32,
    pub(crate) length: u32,
}

/// A durable change to the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Change {
    pub(crate) kind: Kind,
    pub(crate) index: u64,
    pub(crate) slot: Slot,
}

/// The live records of one segment, at consecutive indexes from `first`.
#[derive(Debug)]
pub(crate) struct SegmentSlots {
    pub(crate) number: u64,
    pub(crate) file: NamedFile,
    first: u64,
    slots: Vec<Slot>,
}

impl SegmentSlots {
    fn next(&self) -> u64 {
        self.first + self.slots.len() as u64
    }
}

/// The durable log: its bounds, its segments, its records' places.
///
/// Segments are ordered by `first`; those without live records have the `first` of their successor or the bound.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) bounds: Bounds,
    segments: VecDeque<SegmentSlots>,
}

impl Table {
    pub(crate) fn new(bounds: Bounds) -> Table {
        Table { bounds, segments: VecDeque::new() }
    }

    /// Adds the segment to which the following changes belong.
    pub(crate) fn push_segment(&mut self, number: u64, file: NamedFile) {
        self.segments.push_back(SegmentSlots { number, file, first: self.bounds.next, slots: Vec::new() });
    }

    /// Applies a change that lies in the last segment; `false` if it does not fit the bounds.
    pub(crate) fn apply(&mut self, change: Change) -> bool {
        let Some(bounds) = self.bounds.after(change.kind, change.index) else { return false };
        self.bounds = bounds;
        match change.kind {
            Kind::Record => {
                let Some(segment) = self.segments.back_mut() else { return false };
                if segment.slots.is_empty() {
                    segment.first = change.index;
                }
                segment.slots.push(change.slot);
            }
            Kind::Truncate => self.truncate(),
            Kind::Start => self.drop_jumped(),
        }
        true
    }

    fn truncate(&mut self) {
        let next = self.bounds.next;
        for segment in self.segments.iter_mut().rev() {
            if segment.next() <= next && segment.first <= next {
                break;
            }
            segment.slots.truncate(to_usize(next.saturating_sub(segment.first)));
            segment.first = segment.first.min(next);
        }
    }

    /// After a jump past the end, the last segment must not seem to hold what lies between.
    fn drop_jumped(&mut self) {
        if self.bounds.is_empty()
            && let Some(last) = self.segments.back_mut()
        {
            last.first = self.bounds.next;
            last.slots = Vec::new();
        }
    }

    /// The place of a record; `None` if no segment holds it.
    pub(crate) fn find(&self, index: u64) -> Option<(&SegmentSlots, Slot)> {
        let after = self.segments.partition_point(|segment| segment.first <= index);
        let segment = self.segments.get(after.checked_sub(1)?)?;
        let slot = segment.slots.get(usize::try_from(index - segment.first).ok()?)?;
        Some((segment, *slot))
    }

    /// Takes out the oldest segment if no live record needs it; the last one always stays.
    pub(crate) fn pop_unneeded(&mut self) -> Option<u64> {
        if self.segments.len() < 2 || self.segments.front()?.next() > self.bounds.start {
            return None;
        }
        self.segments.pop_front().map(|segment| segment.number)
    }

    /// The bytes that a record takes, its header included; 0 if no segment holds it.
    pub(crate) fn bytes_of(&self, index: u64) -> u64 {
        self.find(index).map_or(0, |(_, slot)| u64::from(slot.length) + RECORD_HEADER as u64)
    }

    pub(crate) fn segment_count(&self) -> usize {
        self.segments.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::FaultDisk;

    fn table() -> Table {
        let disk = FaultDisk::new(1);
        let mut table = Table::default();
        for number in 1..=3 {
            table.push_segment(number, NamedFile::create(&disk, &format!("{number}")).unwrap());
            for index in table.bounds.next..table.bounds.next + 10 {
                assert!(table.apply(change(Kind::Record, index)));
            }
        }
        table
    }

    fn change(kind: Kind, index: u64) -> Change {
        Change { kind, index, slot: Slot { offset: u32::try_from(index).unwrap(), length: 1 } }
    }

    fn segment_of(table: &Table, index: u64) -> Option<u64> {
        table.find(index).map(|(segment, _)| segment.number)
    }

    #[test]
    fn records_are_found_after_a_truncation_that_empties_segments() {
        let mut table = table();
        assert!(table.apply(change(Kind::Truncate, 5)));
        assert!(table.apply(change(Kind::Record, 5)));
        assert_eq!(segment_of(&table, 4), Some(1));
        assert_eq!(segment_of(&table, 5), Some(3));
        assert_eq!(segment_of(&table, 6), None);
    }

    #[test]
    fn only_whole_segments_below_the_start_are_given_up() {
        let mut table = table();
        assert!(table.apply(change(Kind::Start, 19)));
        assert_eq!((table.pop_unneeded(), table.pop_unneeded()), (Some(1), None));
        assert!(table.apply(change(Kind::Start, 500)));
        assert_eq!((table.pop_unneeded(), table.pop_unneeded()), (Some(2), None));
        assert_eq!(table.bounds.last(), None);
        assert!(table.apply(change(Kind::Record, 500)));
        assert_eq!(segment_of(&table, 500), Some(3));
    }

    #[test]
    fn a_record_out_of_order_is_refused() {
        let mut table = table();
        assert!(!table.apply(change(Kind::Record, 29)));
        assert!(!table.apply(change(Kind::Record, 31)));
    }
}
