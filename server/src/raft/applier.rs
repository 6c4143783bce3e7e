//! The applier: one thread that applies entries to a clone of the state and publishes it, batch by batch.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

use orch_model::StateIndex;
use orch_state::{Changes, Entry, apply};
use tokio::sync::oneshot;
use tracing::{error, trace};

use super::types::Answer;
use crate::metrics;
use crate::store::Store;

/// Entries to apply, in the order of the log.
struct Batch {
    entries: Vec<(u64, Option<Arc<Entry>>)>,
    done: oneshot::Sender<Vec<Answer>>,
}

/// The way to the applier's thread, which ends when the last handle is dropped.
#[derive(Debug, Clone)]
pub(super) struct Applier {
    batches: mpsc::SyncSender<Batch>,
}

impl Applier {
    /// Starts the thread.
    pub(super) fn start(store: Arc<Store>) -> std::io::Result<Self> {
        // One batch is worked on while the next is gathered; more would only wait here instead of in the log.
        let (batches, queue) = mpsc::sync_channel::<Batch>(2);
        thread::Builder::new().name("apply".into()).spawn(move || {
            while let Ok(batch) = queue.recv() {
                let answers = run(&store, batch.entries);
                // Nobody waits when the server stops.
                drop(batch.done.send(answers));
            }
        })?;
        Ok(Self { batches })
    }

    /// Applies entries by log index (`None` for those that carry no command) and answers each.
    pub(super) async fn apply(&self, entries: Vec<(u64, Option<Arc<Entry>>)>) -> std::io::Result<Vec<Answer>> {
        let (done, answers) = oneshot::channel();
        let batches = self.batches.clone();
        let stopped = || std::io::Error::other("the applier's thread has ended");
        match batches.try_send(Batch { entries, done }) {
            Ok(()) => {}
            Err(mpsc::TrySendError::Full(batch)) => {
                tokio::task::spawn_blocking(move || batches.send(batch).map_err(|_| ()))
                    .await
                    .map_err(std::io::Error::other)?
                    .map_err(|()| stopped())?;
            }
            Err(mpsc::TrySendError::Disconnected(_)) => return Err(stopped()),
        }
        answers.await.map_err(|_| stopped())
    }
}

fn run(store: &Store, entries: Vec<(u64, Option<Arc<Entry>>)>) -> Vec<Answer> {
    let mut state = (*store.snapshot()).clone();
    let mut changes = Changes::default();
    let mut answers = Vec::with_capacity(entries.len());
    let mut last = store.applied();
    for (index, entry) in entries {
        last = index;
        let Some(entry) = entry else {
            let index = StateIndex(state.meta().index_base.saturating_add(index));
            answers.push(Answer { index, reply: None });
            continue;
        };
        let before = state.clone();
        let name = entry.command.name();
        match catch_unwind(AssertUnwindSafe(|| apply(&mut state, index, &entry))) {
            Ok(applied) => {
                trace!(raft.index = index, command = name, "applied");
                metrics::applied(name);
                merge(&mut changes, applied.changes);
                answers.push(Answer { index: applied.index, reply: Some(applied.reply) });
            }
            Err(_) => {
                error!(raft.index = index, command = name, "applying an entry failed; the entry has no effect here");
                metrics::apply_panicked();
                state = before;
                answers.push(Answer { index: StateIndex(state.meta().index_base.saturating_add(index)), reply: None });
            }
        }
    }
    store.publish(state, last, changes);
    answers
}

fn merge(into: &mut Changes, from: Changes) {
    into.absorb(from);
}
