//! Who holds each name of a group.

use std::sync::Arc;

use orch_model::Allocation;
use orch_model::allocation::{ClientStatus, StopReason};
use orch_model::node::NodeStatus;
use orch_model::plan::Stop;
use smallvec::SmallVec;

use super::group::Group;
use super::versions::Member;
use super::{GroupDecisions, stop, survivor};

/// One name of a group.
#[derive(Debug)]
pub(super) struct Slot<'a> {
    pub(super) index: u32,
    /// The allocation that counts for it.
    pub(super) holder: Option<Holder<'a>>,
    /// Allocations out of contact that another holds the name for.
    pub(super) shadows: SmallVec<[&'a Arc<Allocation>; 1]>,
    /// The allocation whose place a new one would take.
    pub(super) replaces: Option<&'a Arc<Allocation>>,
    /// Whether `replaces` was there until now, so that its name is filled before others.
    pub(super) is_replaced: bool,
}

/// The allocation that counts for a name.
#[derive(Debug, Clone, Copy)]
pub(super) enum Holder<'a> {
    /// It runs, or is about to.
    Live(Member<'a>),
    /// It is asked to move to another node.
    Migrating(Member<'a>),
    /// Its node is out of contact, and it is not replaced.
    Away(&'a Arc<Allocation>),
    /// It failed and was not replaced yet.
    Failed(Member<'a>),
    /// It is done.
    Finished(&'a Arc<Allocation>),
}

impl<'a> Holder<'a> {
    pub(super) const fn alloc(&self) -> &'a Arc<Allocation> {
        match self {
            Self::Live(member) | Self::Migrating(member) | Self::Failed(member) => member.alloc,
            Self::Away(alloc) | Self::Finished(alloc) => alloc,
        }
    }

    /// Whether it runs, or is about to.
    pub(super) const fn is_live(&self) -> bool {
        match self {
            Self::Live(_) | Self::Migrating(_) => true,
            Self::Away(_) | Self::Failed(_) | Self::Finished(_) => false,
        }
    }

    /// In which order holders give way when fewer are wanted; `None` never.
    pub(super) const fn expendable(&self) -> Option<u8> {
        match self {
            Self::Migrating(_) => Some(0),
            Self::Failed(_) => Some(1),
            Self::Live(_) | Self::Away(_) => Some(2),
            Self::Finished(_) => None,
        }
    }
}

impl Slot<'_> {
    /// Whether its last holder did not go by itself: it was lost, moved or stopped by hand.
    pub(super) fn was_taken_away(&self) -> bool {
        self.is_replaced
            || self.replaces.is_some_and(|previous| match previous.stop_reason {
                Some(StopReason::Lost | StopReason::Migrating | StopReason::StoppedByUser) => true,
                Some(
                    StopReason::NotNeeded
                    | StopReason::Updated
                    | StopReason::Rescheduled
                    | StopReason::NodeTainted
                    | StopReason::Reconnected,
                )
                | None => false,
            })
    }
}

/// How an allocation stands, by the first rule that fits.
enum Standing {
    /// The servers or the client are done with it.
    Ended,
    /// Batch work that is done.
    Finished,
    /// It failed, and counts until it is replaced.
    Failed,
    /// Its node is gone.
    Lost,
    /// Its node is out of contact.
    Away { replaced: bool },
    /// It is asked to move.
    Migrating,
    /// It runs, or is about to.
    Live,
}

impl<'a> Group<'_, 'a> {
    fn standing(&self, alloc: &Allocation) -> Standing {
        if alloc.desired.is_stop() || (self.is_batch() && self.is_old_and_done(alloc)) {
            return Standing::Ended;
        }
        match alloc.client_status {
            ClientStatus::Complete if self.is_batch() => return Standing::Finished,
            ClientStatus::Complete => return Standing::Ended,
            ClientStatus::Failed => return Standing::Failed,
            ClientStatus::Lost => return Standing::Lost,
            ClientStatus::Pending | ClientStatus::Running | ClientStatus::Unknown => {}
        }
        let status = (self.situation.node_status)(&alloc.node_id);
        match status {
            None | Some(NodeStatus::Down) => Standing::Lost,
            Some(NodeStatus::Disconnected) => Standing::Away { replaced: self.replaces_what_is_away() },
            Some(NodeStatus::Ready | NodeStatus::Initializing) => {
                if alloc.client_status == ClientStatus::Unknown {
                    Standing::Away { replaced: false }
                } else if alloc.transition.migrate {
                    Standing::Migrating
                } else {
                    Standing::Live
                }
            }
        }
    }

    /// Terminal allocations of older versions of a batch job do not count for the current one.
    fn is_old_and_done(&self, alloc: &Allocation) -> bool {
        alloc.is_client_terminal() && alloc.job.version != self.job.version
    }

    /// Whether allocations out of contact are replaced before they are lost.
    ///
    /// Nodes are disconnected when many fell silent together; replacing at once what they run is what the brake is there
    /// to prevent, so a group must ask for it.
    fn replaces_what_is_away(&self) -> bool {
        self.group.disconnect.as_ref().and_then(|disconnect| disconnect.replace).unwrap_or(false)
    }

    /// Whether a new allocation of the same name may be called the successor of one that has ended.
    fn is_succeeded(&self, alloc: &Allocation) -> bool {
        if alloc.next.is_some() || (self.is_batch() && alloc.job.version != self.job.version) {
            return false;
        }
        match alloc.stop_reason {
            Some(StopReason::Lost | StopReason::StoppedByUser | StopReason::Migrating | StopReason::Rescheduled) => {
                true
            }
            None => alloc.client_status == ClientStatus::Complete,
            Some(StopReason::NotNeeded | StopReason::Updated | StopReason::NodeTainted | StopReason::Reconnected) => {
                false
            }
        }
    }
}

/// Finds out who holds each name; stops what is lost or superfluous. Slots come in the order of their names.
pub(super) fn slots_of<'a>(
    group: &Group<'_, 'a>,
    mut members: Vec<Member<'a>>,
    stops: &mut Vec<Stop>,
    decisions: &mut GroupDecisions<'a>,
) -> Vec<Slot<'a>> {
    let age = |member: &Member<'_>| (member.alloc.create_index, member.alloc.id);
    members.sort_unstable_by(|a, b| a.index.cmp(&b.index).then_with(|| age(a).cmp(&age(b))));
    members
        .chunk_by(|a, b| a.index == b.index)
        .map(|members| {
            let mut rivals = Rivals::default();
            for member in members {
                rivals.add(group, *member, stops);
            }
            let index = members.first().map_or(0, |member| member.index);
            rivals.settle(index, group, stops, decisions)
        })
        .collect()
}

/// The allocations of one name, oldest first.
#[derive(Default)]
struct Rivals<'a> {
    live: SmallVec<[Member<'a>; 2]>,
    failed: SmallVec<[Member<'a>; 2]>,
    away: SmallVec<[(&'a Arc<Allocation>, bool); 1]>,
    finished: Option<&'a Arc<Allocation>>,
    lost: Option<&'a Arc<Allocation>>,
    ended: Option<&'a Arc<Allocation>>,
}

impl<'a> Rivals<'a> {
    fn add(&mut self, group: &Group<'_, 'a>, member: Member<'a>, stops: &mut Vec<Stop>) {
        let alloc = member.alloc;
        match group.standing(alloc) {
            Standing::Ended if group.is_succeeded(alloc) => self.ended = Some(alloc),
            Standing::Ended => {}
            Standing::Finished => self.finished = Some(alloc),
            Standing::Failed => self.failed.push(member),
            Standing::Lost => {
                stops.push(Stop {
                    alloc_id: alloc.id,
                    reason: StopReason::Lost,
                    client_status: Some(ClientStatus::Lost),
                });
                self.lost = Some(alloc);
            }
            Standing::Away { replaced } => self.away.push((alloc, replaced)),
            Standing::Migrating | Standing::Live => self.live.push(member),
        }
    }

    fn settle(
        mut self,
        index: u32,
        group: &Group<'_, 'a>,
        stops: &mut Vec<Stop>,
        decisions: &mut GroupDecisions<'a>,
    ) -> Slot<'a> {
        let mut slot = Slot { index, holder: None, shadows: SmallVec::new(), replaces: None, is_replaced: false };
        if let Some(finished) = self.finished {
            slot.holder = Some(Holder::Finished(finished));
        } else if let Some(kept) = survivor::of(group.group, &self.live) {
            self.live.retain(|member| member.alloc.id != kept.alloc.id);
            let holder = if kept.alloc.transition.migrate { Holder::Migrating } else { Holder::Live };
            slot.holder = Some(holder(kept));
        } else if let Some(at) = self.away.iter().rposition(|(_, replaced)| !replaced) {
            slot.holder = Some(Holder::Away(self.away.remove(at).0));
        } else if let Some(failed) = self.failed.pop() {
            slot.holder = Some(Holder::Failed(failed));
        } else if let Some(previous) = self.away.last().map(|(alloc, _)| *alloc).or(self.lost) {
            slot.replaces = Some(previous);
            slot.is_replaced = true;
        } else {
            slot.replaces = self.ended;
        }
        for loser in self.live.iter().chain(&self.failed) {
            stops.push(stop(group.situation, loser.alloc, StopReason::Reconnected));
        }
        for (shadow, _) in self.away {
            decisions.updates.ignore += 1;
            decisions.occupants.push(shadow);
            slot.shadows.push(shadow);
        }
        slot
    }
}
