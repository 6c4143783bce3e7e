//! Which allocations this node should have, and what follows from what a server says of them. No I/O.

use std::collections::BTreeMap;

use orch_model::{AllocId, StateIndex};

/// What is known of the allocations: for each, the index at which the servers last changed what they want of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct AllocSet {
    known: BTreeMap<AllocId, StateIndex>,
    seen: StateIndex,
}

/// What follows from a server's inventory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    /// To be asked for: unknown here, or changed since.
    pub(crate) needed: Vec<AllocId>,
    /// Forgotten by the servers.
    pub(crate) removed: Vec<AllocId>,
}

impl AllocSet {
    /// What was remembered.
    pub(crate) fn new(known: BTreeMap<AllocId, StateIndex>, seen: StateIndex) -> Self {
        Self { known, seen }
    }

    /// The highest index obeyed.
    pub(crate) fn seen(&self) -> StateIndex {
        self.seen
    }

    /// Compares with every allocation that a server knows, as of `index`.
    ///
    /// A server that is behind what was obeyed already may not know the newest allocations, so it removes nothing.
    pub(crate) fn inventory(&mut self, index: StateIndex, items: &BTreeMap<AllocId, StateIndex>) -> Difference {
        let needed = items.iter().filter(|(id, wanted)| self.known.get(id).is_none_or(|known| known < wanted));
        let needed = needed.map(|(id, _)| *id).collect();
        let current = index >= self.seen;
        let gone = |id: &&AllocId| current && !items.contains_key(id);
        let removed: Vec<_> = self.known.keys().filter(gone).copied().collect();
        for id in &removed {
            self.known.remove(id);
        }
        self.seen = self.seen.max(index);
        Difference { needed, removed }
    }

    /// Whether what a server says of an allocation is not older than what is known; it is known from now on.
    pub(crate) fn accept(&mut self, id: AllocId, index: StateIndex) -> bool {
        let known = self.known.entry(id).or_insert(index);
        let accepted = *known <= index;
        *known = index.max(*known);
        accepted
    }

    /// The allocations of `ids` that are to be forgotten, on the word of a server that is at `index`.
    pub(crate) fn removed(&mut self, index: StateIndex, ids: Vec<AllocId>) -> Vec<AllocId> {
        if index < self.seen {
            return Vec::new();
        }
        ids.into_iter().filter(|id| self.known.remove(id).is_some()).collect()
    }

    /// Notes that everything up to `index` was obeyed.
    pub(crate) fn advance(&mut self, index: StateIndex) {
        self.seen = self.seen.max(index);
    }
}

#[cfg(test)]
mod tests {
    use orch_model::AllocId;
    use uuid::Uuid;

    use super::*;

    fn id(number: u128) -> AllocId {
        AllocId::from_uuid(Uuid::from_u128(number))
    }

    fn set(known: &[(u128, u64)], seen: u64) -> AllocSet {
        AllocSet::new(items(known), StateIndex(seen))
    }

    fn items(items: &[(u128, u64)]) -> BTreeMap<AllocId, StateIndex> {
        items.iter().map(|(number, index)| (id(*number), StateIndex(*index))).collect()
    }

    #[test]
    fn an_inventory_asks_for_what_is_new_or_changed_and_removes_what_is_gone() {
        let mut set = set(&[(1, 5), (2, 5), (3, 5)], 10);
        let difference = set.inventory(StateIndex(12), &items(&[(1, 5), (2, 7), (4, 11)]));
        assert_eq!(difference, Difference { needed: vec![id(2), id(4)], removed: vec![id(3)] });
        assert_eq!(set.seen(), StateIndex(12));
    }

    #[test]
    fn a_server_that_is_behind_removes_nothing() {
        let mut set = set(&[(1, 5), (3, 9)], 10);
        let difference = set.inventory(StateIndex(8), &items(&[(1, 5)]));
        assert_eq!(difference, Difference::default());
        assert_eq!(set.removed(StateIndex(8), vec![id(1)]), []);
        assert_eq!(set.removed(StateIndex(10), vec![id(1), id(9)]), [id(1)]);
    }

    #[test]
    fn an_older_word_about_an_allocation_is_not_obeyed() {
        let mut set = set(&[(1, 5)], 10);
        assert!(!set.accept(id(1), StateIndex(4)));
        assert!(set.accept(id(1), StateIndex(5)));
        assert!(set.accept(id(1), StateIndex(6)));
        assert!(set.accept(id(2), StateIndex(1)));
    }
}
