//! The state as this server has it: one writer publishes, readers hold snapshots, waiters are woken by scope.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use orch_model::StateIndex;
use orch_state::{Changes, Scope, State};
use tokio::sync::{Notify, broadcast, watch};

/// How many batches of changes a subscriber may lag before it has to start over from a snapshot.
const CHANGES_KEPT: usize = 1024;

/// The state as this server has it.
#[derive(Debug)]
pub struct Store {
    current: ArcSwap<State>,
    applied: watch::Sender<u64>,
    changes: broadcast::Sender<Arc<Changes>>,
    waiters: Mutex<BTreeMap<Scope, Waiters>>,
}

/// Who waits for one scope.
#[derive(Debug, Default)]
struct Waiters {
    count: usize,
    notify: Arc<Notify>,
}

impl Store {
    /// A store that holds `state`, which is that of log index `applied`.
    pub fn new(state: State, applied: u64) -> Self {
        Self {
            current: ArcSwap::from_pointee(state),
            applied: watch::Sender::new(applied),
            changes: broadcast::Sender::new(CHANGES_KEPT),
            waiters: Mutex::default(),
        }
    }

    /// The state as it is now.
    pub fn snapshot(&self) -> Arc<State> {
        self.current.load_full()
    }

    /// The log index that the state is of.
    pub fn applied(&self) -> u64 {
        *self.applied.borrow()
    }

    /// What is changed from now on, batch by batch. One who lags too far starts over from a snapshot.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<Changes>> {
        self.changes.subscribe()
    }

    /// Publishes the state of log index `applied` and wakes those who wait for what changed. Only the applier calls it.
    pub fn publish(&self, state: State, applied: u64, changes: Changes) {
        self.current.store(Arc::new(state));
        self.applied.send_replace(applied);
        self.wake(&changes);
        // Without subscribers there is nobody to tell.
        drop(self.changes.send(Arc::new(changes)));
    }

    /// Publishes a state that has nothing to do with the one before: everyone is woken and starts over.
    pub fn replace(&self, state: State, applied: u64) {
        self.current.store(Arc::new(state));
        self.applied.send_replace(applied);
        self.wake_all();
    }

    fn wake(&self, changes: &Changes) {
        let waiters = self.lock();
        if waiters.is_empty() {
            return;
        }
        for scope in &changes.scopes {
            if let Some(waiting) = waiters.get(scope) {
                waiting.notify.notify_waiters();
            }
        }
    }

    /// Wakes everyone, as when the state was replaced or the server stops.
    pub fn wake_all(&self) {
        for waiting in self.lock().values() {
            waiting.notify.notify_waiters();
        }
    }

    /// Waits until the state is at least of log index `index`; says whether it is.
    pub async fn wait_applied(&self, index: u64, deadline: Instant) -> bool {
        let mut applied = self.applied.subscribe();
        let reached = applied.wait_for(|applied| *applied >= index);
        tokio::time::timeout_at(deadline.into(), reached).await.is_ok_and(|waited| waited.is_ok())
    }

    /// Waits until one of `scopes` has changed after `after`, or until `deadline`.
    ///
    /// It registers before it compares, so that no change falls between.
    pub async fn wait(&self, scopes: &[Scope], after: StateIndex, deadline: Instant) {
        let registered = Registered::new(self, scopes);
        let mut notified: Vec<_> = registered.notifies.iter().map(|notify| Box::pin(notify.notified())).collect();
        for waiting in &mut notified {
            waiting.as_mut().enable();
        }
        let state = self.snapshot();
        if scopes.iter().any(|scope| state.scope_index(scope) > after) || notified.is_empty() {
            return;
        }
        drop(state);
        let woken = futures::future::select_all(notified);
        // A deadline that passes is as good an answer as a change.
        drop(tokio::time::timeout_at(deadline.into(), woken).await);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Scope, Waiters>> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many queries wait.
    pub fn waiting(&self) -> usize {
        self.lock().values().map(|waiters| waiters.count).sum()
    }
}

/// A registration for some scopes, given back when dropped.
struct Registered<'a> {
    store: &'a Store,
    scopes: &'a [Scope],
    notifies: Vec<Arc<Notify>>,
}

impl<'a> Registered<'a> {
    fn new(store: &'a Store, scopes: &'a [Scope]) -> Self {
        let mut waiters = store.lock();
        let notifies = scopes
            .iter()
            .map(|scope| {
                let waiting = waiters.entry(scope.clone()).or_default();
                waiting.count += 1;
                Arc::clone(&waiting.notify)
            })
            .collect();
        drop(waiters);
        Self { store, scopes, notifies }
    }
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        let mut waiters = self.store.lock();
        for scope in self.scopes {
            if let Some(waiting) = waiters.get_mut(scope) {
                waiting.count -= 1;
                if waiting.count == 0 {
                    waiters.remove(scope);
                }
            }
        }
    }
}

/// The longest that a caller waits for its own write to be seen on this server.
pub const SEE_OWN_WRITE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use orch_state::Table;

    fn changed(state: &mut State, store: &Store, table: Table) {
        let mut changes = Changes::default();
        changes.scopes.insert(Scope::Table(table));
        store.publish(state.clone(), 1, changes);
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiter_is_woken_by_its_scope_and_by_nothing_else() {
        let store = Arc::new(Store::new(State::default(), 0));
        let wait = {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let began = tokio::time::Instant::now();
                let deadline = Instant::now() + Duration::from_secs(60);
                store.wait(&[Scope::Table(Table::Jobs)], StateIndex(1), deadline).await;
                began.elapsed()
            })
        };
        while store.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        let mut state = State::default();
        changed(&mut state, &store, Table::Nodes);
        tokio::task::yield_now().await;
        assert!(!wait.is_finished(), "a change of nodes must not wake who waits for jobs");
        changed(&mut state, &store, Table::Jobs);
        assert!(wait.await.unwrap() < Duration::from_secs(1));
        assert_eq!(store.waiting(), 0);
    }
}
