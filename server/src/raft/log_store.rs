//! openraft's log and vote, kept in a [`orch_wal::Log`].

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};

use openraft::OptionalSend;
use openraft::alias::{EntryOf, LogIdOf, VoteOf};
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use orch_model::document;
use orch_wal::Log;
use tokio::sync::oneshot;

use super::recent::Recent;
use super::types::TypeConfig;

/// openraft's view of the log.
#[derive(Debug, Clone)]
pub(super) struct LogStore {
    log: Log,
    recent: Recent,
}

impl LogStore {
    /// The store over an open log.
    pub(super) fn new(log: Log) -> Self {
        Self { log, recent: Recent::default() }
    }

    fn last_purged(&self) -> Result<Option<LogIdOf<TypeConfig>>, io::Error> {
        self.log.meta().map(|bytes| document::decode(&bytes).map_err(io::Error::other)).transpose()
    }

    fn entries(&self, first: u64, end: u64) -> Result<Vec<EntryOf<TypeConfig>>, io::Error> {
        let first = first.max(self.log.first_index().unwrap_or(u64::MAX));
        let end = end.min(self.log.last_index().map_or(0, |last| last + 1));
        if first >= end {
            return Ok(Vec::new());
        }
        let mut newest = self.recent.get(first, end);
        let end = newest.first().map_or(end, RaftEntry::index);
        if first == end {
            return Ok(newest);
        }
        let records = self.log.read(first..end, None).map_err(|error| error.to_io())?;
        let decoded = records.iter().map(|(_, bytes)| document::decode(bytes).map_err(io::Error::other));
        let mut entries = decoded.collect::<Result<Vec<_>, _>>()?;
        entries.append(&mut newest);
        Ok(entries)
    }
}

/// Runs an operation of the log and waits until it is durable.
async fn durable(start: impl FnOnce(orch_wal::Done)) -> io::Result<()> {
    let (sender, receiver) = oneshot::channel();
    start(Box::new(move |result| {
        // Nobody waits any more when the caller was cancelled; the operation is done all the same.
        drop(sender.send(result));
    }));
    receiver.await.unwrap_or_else(|_| Err(io::Error::other("the log was closed")))
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<EntryOf<TypeConfig>>, io::Error> {
        let first = match range.start_bound() {
            Bound::Included(first) => *first,
            Bound::Excluded(before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(last) => last.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        self.entries(first, end)
    }

    async fn read_vote(&mut self) -> Result<Option<VoteOf<TypeConfig>>, io::Error> {
        self.log.vote().map(|bytes| document::decode(&bytes).map_err(io::Error::other)).transpose()
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let last_purged_log_id = self.last_purged()?;
        let last = match self.log.last_index() {
            Some(last) => self.entries(last, last + 1)?.first().map(RaftEntry::log_id),
            None => None,
        };
        Ok(LogState { last_log_id: last.or(last_purged_log_id), last_purged_log_id })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &VoteOf<TypeConfig>) -> Result<(), io::Error> {
        let bytes = document::encode(vote).map_err(io::Error::other)?;
        durable(|done| self.log.set_vote(bytes, done)).await
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = EntryOf<TypeConfig>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<_> = entries.into_iter().collect();
        let records = entries
            .iter()
            .map(|entry| Ok((entry.index(), document::encode(entry).map_err(io::Error::other)?)))
            .collect::<Result<Vec<_>, io::Error>>()?;
        self.recent.push(&entries);
        self.log.append(records, Box::new(move |result| callback.io_completed(result))).map_err(|error| error.to_io())
    }

    async fn truncate_after(&mut self, last: Option<LogIdOf<TypeConfig>>) -> Result<(), io::Error> {
        self.recent.cut(last.as_ref().map_or(0, |id| id.index.saturating_add(1)));
        durable(|done| self.log.truncate_after(last.map(|id| id.index), done)).await
    }

    async fn purge(&mut self, upto: LogIdOf<TypeConfig>) -> Result<(), io::Error> {
        let bytes = document::encode(&upto).map_err(io::Error::other)?;
        self.recent.purge(upto.index);
        durable(|done| self.log.set_meta(bytes, done)).await?;
        durable(|done| self.log.purge_to(upto.index, done)).await
    }
}
