//! What is to be told to the servers: the newest of each allocation, one message under way at a time. No I/O.

use std::collections::BTreeMap;

use orch_model::AllocId;
use orch_model::allocation::AllocUpdate;

/// How many updates ride in one message.
const BATCH: usize = 256;

/// Updates that the servers have not committed yet.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    waiting: BTreeMap<AllocId, AllocUpdate>,
    under_way: Option<Message>,
    sequence: u64,
}

/// Updates that travel together.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Message {
    pub(crate) sequence: u64,
    pub(crate) updates: BTreeMap<AllocId, AllocUpdate>,
}

impl Outbox {
    /// Notes what is to be told; it replaces what was waiting about the same allocation.
    ///
    /// A verdict on its health stays: runners give it once.
    pub(crate) fn put(&mut self, mut update: AllocUpdate) {
        let known = self.waiting.get(&update.id).and_then(|waiting| waiting.health);
        update.health = update.health.or(known);
        self.waiting.insert(update.id, update);
    }

    /// What to send now, if nothing is under way: those that `may_tell` allows, the others go on waiting.
    pub(crate) fn next(&mut self, may_tell: impl Fn(&AllocUpdate) -> bool) -> Option<Message> {
        if self.under_way.is_some() {
            return None;
        }
        let chosen: Vec<AllocId> =
            self.waiting.values().filter(|update| may_tell(update)).map(|update| update.id).take(BATCH).collect();
        if chosen.is_empty() {
            return None;
        }
        let updates = chosen.into_iter().filter_map(|id| self.waiting.remove_entry(&id)).collect();
        self.sequence += 1;
        let message = Message { sequence: self.sequence, updates };
        self.under_way = Some(message.clone());
        Some(message)
    }

    /// The servers have committed everything up to `sequence`: what that was.
    pub(crate) fn acked(&mut self, sequence: u64) -> BTreeMap<AllocId, AllocUpdate> {
        match self.under_way.take_if(|message| message.sequence <= sequence) {
            Some(message) => message.updates,
            None => BTreeMap::new(),
        }
    }

    /// The connection was lost: what was under way waits again, unless something newer does.
    pub(crate) fn disconnected(&mut self) {
        for (id, update) in self.under_way.take().into_iter().flat_map(|message| message.updates) {
            let health = update.health;
            let waiting = self.waiting.entry(id).or_insert(update);
            waiting.health = waiting.health.or(health);
        }
    }

    /// The allocation belongs to another deployment now: a verdict for the earlier one means nothing.
    pub(crate) fn forget_health(&mut self, id: AllocId) {
        let under_way = self.under_way.as_mut().and_then(|message| message.updates.get_mut(&id));
        for update in self.waiting.get_mut(&id).into_iter().chain(under_way) {
            update.health = None;
        }
    }

    /// Nothing is to be told of an allocation any more.
    pub(crate) fn forget(&mut self, id: AllocId) {
        self.waiting.remove(&id);
    }

    /// Of how many allocations something is not committed yet.
    pub(crate) fn waiting(&self) -> usize {
        let under_way = self.under_way.as_ref().into_iter().flat_map(|message| message.updates.keys());
        self.waiting.len() + under_way.filter(|id| !self.waiting.contains_key(id)).count()
    }

    /// Whether something about the allocation is not committed yet.
    pub(crate) fn holds(&self, id: AllocId) -> bool {
        self.waiting.contains_key(&id)
            || self.under_way.as_ref().is_some_and(|message| message.updates.contains_key(&id))
    }
}

#[cfg(test)]
mod tests {
    use orch_model::allocation::ClientStatus;
    use uuid::Uuid;

    use super::*;

    fn update(number: u128, client_status: ClientStatus) -> AllocUpdate {
        AllocUpdate { id: AllocId::from_uuid(Uuid::from_u128(number)), client_status, tasks: [].into(), health: None }
    }

    fn statuses(message: Option<Message>) -> Vec<ClientStatus> {
        message.into_iter().flat_map(|message| message.updates.into_values()).map(|u| u.client_status).collect()
    }

    #[test]
    fn one_message_is_under_way_and_what_comes_meanwhile_rides_in_the_next() {
        let mut outbox = Outbox::default();
        outbox.put(update(1, ClientStatus::Pending));
        let first = outbox.next(|_| true).unwrap();
        outbox.put(update(1, ClientStatus::Running));
        outbox.put(update(2, ClientStatus::Pending));
        assert_eq!(outbox.next(|_| true), None);
        assert!(outbox.acked(first.sequence - 1).is_empty());
        assert_eq!(outbox.acked(first.sequence).len(), 1);
        assert_eq!(statuses(outbox.next(|_| true)), [ClientStatus::Running, ClientStatus::Pending]);
    }

    #[test]
    fn what_was_under_way_when_the_connection_broke_is_sent_again_unless_it_is_outdated() {
        let mut outbox = Outbox::default();
        outbox.put(update(1, ClientStatus::Pending));
        outbox.put(update(2, ClientStatus::Running));
        outbox.next(|_| true).unwrap();
        outbox.put(update(1, ClientStatus::Complete));
        outbox.disconnected();
        assert_eq!(statuses(outbox.next(|_| true)), [ClientStatus::Complete, ClientStatus::Running]);
    }

    #[test]
    fn a_verdict_on_health_is_told_though_something_newer_replaced_its_update() {
        let mut outbox = Outbox::default();
        let verdict = AllocUpdate { health: Some(true), ..update(1, ClientStatus::Running) };
        outbox.put(verdict);
        outbox.put(update(1, ClientStatus::Running));
        let first = outbox.next(|_| true).unwrap();
        outbox.put(update(1, ClientStatus::Failed));
        outbox.disconnected();
        let second = outbox.next(|_| true).unwrap();
        for message in [first, second] {
            assert_eq!(message.updates.into_values().next().unwrap().health, Some(true));
        }
    }

    #[test]
    fn what_may_not_be_told_yet_waits() {
        let mut outbox = Outbox::default();
        outbox.put(update(1, ClientStatus::Running));
        assert_eq!(outbox.next(|update| update.client_status.is_terminal()), None);
        outbox.put(update(1, ClientStatus::Complete));
        assert_eq!(statuses(outbox.next(|update| update.client_status.is_terminal())), [ClientStatus::Complete]);
    }
}
