//! openraft's state machine: hands entries to the applier, and makes and installs snapshots.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use futures::{FutureExt, Stream, StreamExt};
use openraft::alias::{LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf};
use openraft::entry::{EntryPayload, RaftEntry};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::{OptionalSend, StoredMembership};
use orch_state::State;
use tracing::info;

use super::applier::Applier;
use super::snapshots::Snapshots;
use super::types::{SnapshotFile, TypeConfig};
use crate::store::Store;

/// How many entries are applied before the state is published.
const BATCH: usize = 512;

/// Where the state machine stands.
#[derive(Debug, Clone, Default)]
struct Standing {
    applied: Option<LogIdOf<TypeConfig>>,
    membership: StoredMembershipOf<TypeConfig>,
}

/// openraft's state machine.
#[derive(Debug, Clone)]
pub(crate) struct StateMachine {
    store: Arc<Store>,
    applier: Applier,
    snapshots: Snapshots,
    standing: Arc<Mutex<Standing>>,
}

impl StateMachine {
    /// Loads the newest snapshot, or starts empty. Blocks.
    pub(super) fn open(snapshots: Snapshots) -> io::Result<(Self, Arc<Store>)> {
        let (standing, state) = match snapshots.newest().map_err(io::Error::other)? {
            Some((_, path)) => {
                let (meta, state) = Snapshots::read(&path).map_err(io::Error::other)?;
                (Standing { applied: meta.last_log_id, membership: meta.last_membership }, state)
            }
            None => (Standing::default(), State::default()),
        };
        let applied = standing.applied.map_or(0, |id| id.index);
        let store = Arc::new(Store::new(state, applied));
        let applier = Applier::start(Arc::clone(&store))?;
        let machine = Self { store: Arc::clone(&store), applier, snapshots, standing: Arc::new(Mutex::new(standing)) };
        Ok((machine, store))
    }

    fn standing(&self) -> std::sync::MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn apply_batch(&self, batch: Vec<EntryResponder<TypeConfig>>) -> io::Result<()> {
        let mut work = Vec::with_capacity(batch.len());
        let mut responders = Vec::with_capacity(batch.len());
        for (entry, responder) in batch {
            let log_id = entry.log_id();
            let command = match entry.payload {
                EntryPayload::Blank => None,
                EntryPayload::Normal(proposal) => Some(proposal.entry().map_err(io::Error::other)?),
                EntryPayload::Membership(membership) => {
                    self.standing().membership = StoredMembership::new(Some(log_id), membership);
                    None
                }
            };
            work.push((log_id.index, command));
            responders.push(responder);
            self.standing().applied = Some(log_id);
        }
        let answers = self.applier.apply(work).await?;
        for (responder, answer) in responders.into_iter().zip(answers) {
            if let Some(responder) = responder {
                responder.send(answer);
            }
        }
        Ok(())
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = Builder;

    async fn applied_state(
        &mut self,
    ) -> Result<(Option<LogIdOf<TypeConfig>>, StoredMembershipOf<TypeConfig>), io::Error> {
        let standing = self.standing().clone();
        Ok((standing.applied, standing.membership))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some(first) = entries.next().await {
            let mut batch = vec![first?];
            while batch.len() < BATCH {
                match entries.next().now_or_never() {
                    Some(Some(next)) => batch.push(next?),
                    Some(None) | None => break,
                }
            }
            self.apply_batch(batch).await?;
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let standing = self.standing().clone();
        Builder {
            state: self.store.snapshot(),
            meta: SnapshotMetaOf::<TypeConfig> { last_log_id: standing.applied, last_membership: standing.membership },
            snapshots: self.snapshots.clone(),
        }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMetaOf<TypeConfig>,
        snapshot: SnapshotFile,
    ) -> Result<(), io::Error> {
        let snapshots = self.snapshots.clone();
        let meta = meta.clone();
        let (meta, state) = tokio::task::spawn_blocking(move || {
            let (_, state) = Snapshots::read(&snapshot.path)?;
            snapshots.adopt(&snapshot.path, &meta)?;
            Ok::<_, super::snapshots::Error>((meta, state))
        })
        .await
        .map_err(io::Error::other)?
        .map_err(io::Error::other)?;
        let applied = meta.last_log_id.map_or(0, |id| id.index);
        info!(raft.index = applied, "installed a snapshot");
        *self.standing() = Standing { applied: meta.last_log_id, membership: meta.last_membership };
        self.store.replace(state, applied);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<SnapshotOf<TypeConfig, SnapshotFile>>, io::Error> {
        let snapshots = self.snapshots.clone();
        let newest = tokio::task::spawn_blocking(move || snapshots.newest())
            .await
            .map_err(io::Error::other)?
            .map_err(io::Error::other)?;
        Ok(newest.map(|(meta, path)| openraft::Snapshot { meta, snapshot: SnapshotFile { path } }))
    }
}

/// Writes a snapshot of the state as it was when the builder was made.
#[derive(Debug)]
pub(crate) struct Builder {
    state: Arc<State>,
    meta: SnapshotMetaOf<TypeConfig>,
    snapshots: Snapshots,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(&mut self) -> Result<SnapshotOf<TypeConfig, SnapshotFile>, io::Error> {
        let (state, meta, snapshots) = (Arc::clone(&self.state), self.meta.clone(), self.snapshots.clone());
        let (meta, path) = tokio::task::spawn_blocking(move || {
            let path = snapshots.write(&meta, &state)?;
            Ok::<_, super::snapshots::Error>((meta, path))
        })
        .await
        .map_err(io::Error::other)?
        .map_err(io::Error::other)?;
        Ok(openraft::Snapshot { meta, snapshot: SnapshotFile { path } })
    }
}
