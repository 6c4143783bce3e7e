//! What runners report: shown, counted, and told to the servers.

use orch_model::allocation::{AllocUpdate, ClientStatus};
use orch_model::units::Usage;
use tokio::time::Instant;
use tracing::debug;

use super::{Agent, Channels};
use crate::metrics::{self, AllocCounts, Queues};
use crate::session::Outgoing;

impl Agent {
    pub(super) fn take_report(&mut self, update: AllocUpdate) {
        let id = update.id;
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if entry.status() != update.client_status || entry.last.is_none() {
            debug!(alloc_id = %id, status = %update.client_status, "an allocation changed");
            metrics::alloc_became(update.client_status);
            match update.client_status {
                ClientStatus::Running => {
                    entry.came.take().into_iter().for_each(|at| metrics::alloc_started(at.elapsed()))
                }
                ClientStatus::Complete | ClientStatus::Failed => {
                    entry.told.take().into_iter().for_each(|at| metrics::alloc_stopped(at.elapsed()));
                }
                ClientStatus::Pending | ClientStatus::Lost | ClientStatus::Unknown => {}
            }
        }
        entry.last = Some(update.clone());
        if !entry.forgotten {
            self.outbox.put(update);
        }
        self.show(id);
        // Of many that come together the last one counts: looking at every allocation for each would be quadratic.
        if self.reports.1.is_empty() {
            self.count();
        }
    }

    /// Tells the servers what is new, unless something is under way.
    ///
    /// Of an allocation that they have written off only its end is told, never that it runs.
    pub(super) fn tell(&mut self) {
        if !self.agreement.settled {
            return;
        }
        let entries = &self.entries;
        let may_tell = |update: &AllocUpdate| {
            let over = entries.get(&update.id).is_some_and(|entry| entry.alloc.is_terminal());
            !over || update.client_status.is_terminal()
        };
        if let Some(message) = self.outbox.next(may_tell) {
            self.sent = Some(Instant::now());
            if !self.say(Outgoing::Updates(message)) {
                self.outbox.disconnected();
            }
        }
    }

    /// The servers have committed every update up to `sequence`.
    pub(super) fn acked(&mut self, sequence: u64) {
        if !self.outbox.acked(sequence).is_empty() {
            self.sent.take().into_iter().for_each(|at| metrics::updates_committed(at.elapsed()));
            metrics::updates_waiting(self.outbox.waiting());
        }
    }

    /// Sets the figures that change with what was reported.
    fn count(&self) {
        let mut counts = AllocCounts::default();
        let mut taken = Usage::default();
        for entry in self.entries.values() {
            if !entry.status().is_terminal() {
                taken = taken.saturating_add(entry.alloc.usage);
            }
            match entry.status() {
                ClientStatus::Pending | ClientStatus::Unknown => counts.pending += 1,
                ClientStatus::Running => counts.running += 1,
                ClientStatus::Complete | ClientStatus::Failed | ClientStatus::Lost => counts.terminal += 1,
            }
        }
        counts.publish();
        metrics::updates_waiting(self.outbox.waiting());
        let Channels { session, outgoing, requests, .. } = &self.channels;
        let queues = Queues {
            reports: self.reports.1.len(),
            session: session.len(),
            outgoing: outgoing.max_capacity() - outgoing.capacity(),
            requests: requests.len(),
        };
        queues.publish();
        let node = self.context.description.borrow();
        let (has, keeps) = (&node.resources, &node.reserved);
        let whole = Usage { cpu: has.cpu, memory: has.memory, disk: has.disk };
        let reserved = Usage { cpu: keeps.cpu, memory: keeps.memory, disk: keeps.disk };
        metrics::allocated(taken, whole.saturating_sub(reserved).saturating_sub(taken));
        self.channels.greeting.send_if_modified(|greeting| {
            greeting.running = counts.running;
            false
        });
    }
}
