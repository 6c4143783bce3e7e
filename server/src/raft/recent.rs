//! The newest entries of the log as they were appended, so that applying and replicating them needs no decoding.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use openraft::alias::EntryOf;
use openraft::entry::{EntryPayload, RaftEntry};

use super::types::TypeConfig;

/// How many bytes of encoded entries are remembered; the log holds what is older.
const MAX_BYTES: usize = 4 << 20;

/// The newest entries of the log, without gaps. It only ever holds what was appended and not cut off since.
#[derive(Debug, Clone, Default)]
pub(super) struct Recent {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    entries: VecDeque<EntryOf<TypeConfig>>,
    bytes: usize,
}

impl Recent {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers entries that are being appended, and forgets the oldest beyond the limit.
    pub(super) fn push(&self, entries: &[EntryOf<TypeConfig>]) {
        let mut inner = self.lock();
        for entry in entries {
            if inner.next().is_some_and(|next| next != entry.index()) {
                inner.clear();
            }
            inner.bytes += size(entry);
            inner.entries.push_back(entry.clone());
        }
        while inner.bytes > MAX_BYTES && inner.entries.len() > 1 {
            inner.drop_oldest();
        }
    }

    /// Forgets the entries from index `first` on.
    pub(super) fn cut(&self, first: u64) {
        let mut inner = self.lock();
        while let Some(last) = inner.entries.pop_back_if(|last| last.index() >= first) {
            inner.bytes -= size(&last);
        }
    }

    /// Forgets the entries up to index `last`.
    pub(super) fn purge(&self, last: u64) {
        let mut inner = self.lock();
        while inner.entries.front().is_some_and(|oldest| oldest.index() <= last) {
            inner.drop_oldest();
        }
    }

    /// The remembered ones of the entries `first..end`: all from the returned ones' first index on.
    pub(super) fn get(&self, first: u64, end: u64) -> Vec<EntryOf<TypeConfig>> {
        let inner = self.lock();
        let Some(oldest) = inner.entries.front().map(RaftEntry::index) else { return Vec::new() };
        let place = |index: u64| usize::try_from(index.saturating_sub(oldest)).unwrap_or(usize::MAX);
        let end = place(end).min(inner.entries.len());
        let first = place(first).min(end);
        inner.entries.range(first..end).cloned().collect()
    }
}

impl Inner {
    /// The index that would follow.
    fn next(&self) -> Option<u64> {
        self.entries.back().map(|last| last.index() + 1)
    }

    fn drop_oldest(&mut self) {
        if let Some(oldest) = self.entries.pop_front() {
            self.bytes -= size(&oldest);
        }
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

/// What an entry counts: its command's encoding, and something for the rest.
fn size(entry: &EntryOf<TypeConfig>) -> usize {
    const REST: usize = 256;
    match &entry.payload {
        EntryPayload::Normal(proposal) => proposal.len() + REST,
        EntryPayload::Blank | EntryPayload::Membership(_) => REST,
    }
}

#[cfg(test)]
mod tests {
    use openraft::testing::blank_ent;

    use super::*;

    fn entry(index: u64) -> EntryOf<TypeConfig> {
        blank_ent::<TypeConfig>(1, 1, index)
    }

    fn indexes(recent: &Recent, first: u64, end: u64) -> Vec<u64> {
        recent.get(first, end).iter().map(RaftEntry::index).collect()
    }

    #[test]
    fn it_holds_what_was_appended_and_not_cut_off() {
        let recent = Recent::default();
        assert_eq!(indexes(&recent, 0, 9), [0; 0]);
        recent.push(&[entry(3), entry(4), entry(5), entry(6)]);
        assert_eq!(indexes(&recent, 0, 9), [3, 4, 5, 6]);
        assert_eq!(indexes(&recent, 4, 6), [4, 5]);
        assert_eq!(indexes(&recent, 8, 9), [0; 0]);
        recent.cut(6);
        recent.purge(3);
        assert_eq!(indexes(&recent, 0, 9), [4, 5]);
        recent.push(&[entry(6)]);
        assert_eq!(indexes(&recent, 0, 9), [4, 5, 6]);
    }

    #[test]
    fn entries_after_a_gap_are_all_that_is_remembered() {
        let recent = Recent::default();
        recent.push(&[entry(1), entry(2)]);
        recent.push(&[entry(9)]);
        assert_eq!(indexes(&recent, 0, 20), [9]);
    }

    #[test]
    fn the_oldest_go_when_there_is_too_much() {
        let recent = Recent::default();
        let most = MAX_BYTES / 256;
        let entries: Vec<_> = (0..most as u64 + 10).map(entry).collect();
        recent.push(&entries);
        assert_eq!(recent.get(0, u64::MAX).len(), most);
        assert_eq!(recent.get(0, u64::MAX)[0].index(), 10);
    }
}
