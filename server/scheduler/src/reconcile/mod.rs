//! What a job wants against what there is: one pure function from a job, its allocations and the status of their nodes
//! to what should be placed, stopped and changed.
//!
//! Per group, each name (`web[3]`) is a slot that is held by one allocation or vacant; `slots` says by whom, this
//! module how many are wanted. Where nodes are is not its concern: whether a placement finds room is seen later.

use std::collections::BTreeMap;
use std::sync::Arc;

use orch_model::allocation::{ClientStatus, StopReason};
use orch_model::diff::{UpdateKind, update_kind};
use orch_model::evaluation::DesiredUpdates;
use orch_model::job::{JobType, TaskGroup};
use orch_model::node::NodeStatus;
use orch_model::plan::Stop;
use orch_model::{AllocId, Allocation, Job, NodeId, Timestamp};
use smallvec::SmallVec;

mod reschedule;
mod slots;
mod survivor;

#[cfg(test)]
mod tests;

use slots::{Holder, Slot, slots_of};

/// What the reconciler looks at.
pub struct Situation<'a> {
    /// The current version of the job; `None` if there is none.
    pub job: Option<&'a Job>,
    /// Every allocation of the job's key, of all its incarnations, in the order of their ids.
    pub allocs: &'a [&'a Arc<Allocation>],
    /// The status of a node; `None` if it is gone.
    pub node_status: &'a dyn Fn(&NodeId) -> Option<NodeStatus>,
    /// The time.
    pub now: Timestamp,
}

impl std::fmt::Debug for Situation<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Situation").field("job", &self.job).field("allocs", &self.allocs).finish_non_exhaustive()
    }
}

impl<'a> Situation<'a> {
    /// Whether nothing can be heard of a node any more.
    pub(crate) fn is_gone(&self, node: &NodeId) -> bool {
        match (self.node_status)(node) {
            None | Some(NodeStatus::Down) => true,
            Some(NodeStatus::Initializing | NodeStatus::Ready | NodeStatus::Disconnected) => false,
        }
    }

    pub(crate) fn find(&self, id: &AllocId) -> Option<&'a Arc<Allocation>> {
        let at = self.allocs.binary_search_by(|alloc| alloc.id.cmp(id)).ok()?;
        self.allocs.get(at).copied()
    }
}

/// What should be done, per group of the job and for what belongs to none.
#[derive(Debug, Default)]
pub struct Reconciled<'a> {
    /// For each group of the job, in its order; empty if the job is gone or stopped.
    pub groups: Vec<GroupDecisions<'a>>,
    /// Allocations to stop whatever else is decided.
    pub stops: Vec<Stop>,
    /// What is counted for groups that the job does not have (any more).
    pub removed: BTreeMap<String, DesiredUpdates>,
}

/// What should be done about one group.
#[derive(Debug, Default)]
pub struct GroupDecisions<'a> {
    /// New allocations: those that take the place of one that went first, then the lowest free names, then those whose
    /// predecessor stops for them.
    pub placements: Vec<Wanted<'a>>,
    /// Allocations that take on the job's version if their node is still feasible.
    pub in_place: Vec<&'a Arc<Allocation>>,
    /// Live allocations that hold a place on their node until a placement's success stops them, those that stay included.
    pub occupants: Vec<&'a Arc<Allocation>>,
    /// When failed allocations become due for replacement.
    pub later: Vec<Timestamp>,
    /// How many are left, placed, stopped and so on.
    pub updates: DesiredUpdates,
}

/// An allocation to be placed.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// Which instance.
    pub index: u32,
    /// The allocation that it replaces.
    pub previous: Option<&'a Arc<Allocation>>,
    /// Why the replaced one is stopped once the replacement has a node; `None` leaves it as it is.
    pub stop_previous: Option<StopReason>,
    /// Nodes on which it failed before.
    pub penalised: SmallVec<[NodeId; 2]>,
}

impl Wanted<'_> {
    fn fresh(index: u32) -> Self {
        Self { index, previous: None, stop_previous: None, penalised: SmallVec::new() }
    }
}

/// Compares what a job wants with what there is.
pub fn reconcile<'a>(situation: &Situation<'a>) -> Reconciled<'a> {
    let mut found = Reconciled::default();
    let job = situation.job.filter(|job| !job.is_stopped());
    let mut members: Vec<Vec<Member<'a>>> = Vec::new();
    members.resize_with(job.map_or(0, |job| job.task_groups.len()), Vec::new);
    let mut versions = Versions::default();
    for alloc in situation.allocs.iter().copied() {
        found.write_off(situation, alloc);
        let home = job.and_then(|job| versions.home(job, alloc));
        match home.and_then(|(group, update)| Some((members.get_mut(usize::from(group))?, update))) {
            Some((members, update)) => members.push(Member { alloc, update }),
            None => found.remove(situation, alloc),
        }
    }
    let Some(job) = job else { return found };
    for (group, members) in job.task_groups.iter().zip(members) {
        let decisions = Group { situation, job, group }.decide(members, &mut found.stops);
        found.groups.push(decisions);
    }
    found
}

impl<'a> Reconciled<'a> {
    /// Notes that what was told to stop on a node that is gone will never say that it has ended.
    fn write_off(&mut self, situation: &Situation<'a>, alloc: &Allocation) {
        if alloc.desired.is_stop() && !alloc.is_client_terminal() && situation.is_gone(&alloc.node_id) {
            let reason = alloc.stop_reason.unwrap_or(StopReason::Lost);
            self.stops.push(Stop { alloc_id: alloc.id, reason, client_status: Some(ClientStatus::Lost) });
        }
    }

    /// Stops an allocation that the job does not want at all.
    fn remove(&mut self, situation: &Situation<'a>, alloc: &Allocation) {
        let ended = matches!(alloc.client_status, ClientStatus::Complete | ClientStatus::Lost);
        if alloc.desired.is_stop() || ended {
            return;
        }
        self.stops.push(stop(situation, alloc, StopReason::NotNeeded));
        self.removed.entry(alloc.group_name().to_owned()).or_default().stop += 1;
    }
}

/// The stop of an allocation; it is lost if its node is gone.
fn stop(situation: &Situation<'_>, alloc: &Allocation, reason: StopReason) -> Stop {
    if !alloc.is_client_terminal() && situation.is_gone(&alloc.node_id) {
        Stop { alloc_id: alloc.id, reason: StopReason::Lost, client_status: Some(ClientStatus::Lost) }
    } else {
        Stop { alloc_id: alloc.id, reason, client_status: None }
    }
}

/// An allocation of a group, and what the job's current version means for it.
#[derive(Debug, Clone, Copy)]
struct Member<'a> {
    alloc: &'a Arc<Allocation>,
    update: Update,
}

/// What the job's current version means for an allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Update {
    /// It runs that version.
    Current,
    /// It can take it on as it runs.
    InPlace,
    /// It must be replaced.
    Destructive,
}

/// The versions of the job that allocations run, with what each means for its groups, found out once.
#[derive(Default)]
struct Versions {
    seen: Vec<(u64, Vec<Option<Home>>)>,
}

/// The group of the current version that a group became, and what that version means for its allocations.
type Home = (u16, Update);

impl Versions {
    /// The group of `job` that an allocation belongs to; `None` if it belongs to none, or to an earlier incarnation.
    fn home(&mut self, job: &Job, alloc: &Allocation) -> Option<Home> {
        if alloc.job.create_index != job.create_index {
            return None;
        }
        if alloc.job.version == job.version {
            return Some((alloc.group, Update::Current));
        }
        let at = match self.seen.iter().position(|(version, _)| *version == alloc.job.version) {
            Some(at) => at,
            None => {
                let homes = alloc.job.task_groups.iter().map(|group| home_of(&alloc.job, job, &group.name)).collect();
                self.seen.push((alloc.job.version, homes));
                self.seen.len() - 1
            }
        };
        self.seen.get(at)?.1.get(usize::from(alloc.group)).copied()?
    }
}

fn home_of(old: &Job, new: &Job, group: &str) -> Option<Home> {
    let at = new.task_groups.iter().position(|candidate| candidate.name == group)?;
    let update = match update_kind(old, new, group) {
        UpdateKind::None | UpdateKind::InPlace => Update::InPlace,
        UpdateKind::Destructive => Update::Destructive,
    };
    Some((u16::try_from(at).ok()?, update))
}

/// One group being compared.
#[derive(Clone, Copy)]
pub(crate) struct Group<'s, 'a> {
    situation: &'s Situation<'a>,
    job: &'s Job,
    group: &'s TaskGroup,
}

impl<'a> Group<'_, 'a> {
    fn wanted(&self) -> usize {
        usize::try_from(self.group.count).unwrap_or(0)
    }

    fn is_batch(&self) -> bool {
        match self.job.kind() {
            Some(JobType::Batch | JobType::Sysbatch) => true,
            Some(JobType::Service | JobType::System) | None => false,
        }
    }

    fn decide(&self, members: Vec<Member<'a>>, stops: &mut Vec<Stop>) -> GroupDecisions<'a> {
        let mut decisions = GroupDecisions::default();
        let first_stop = stops.len();
        let mut slots = slots_of(self, members, stops, &mut decisions);
        self.stop_excess(&mut slots, stops);
        let held = slots.iter().filter(|slot| slot.holder.is_some()).count();
        let room = self.wanted().saturating_sub(held);
        self.fill(&slots, room, &mut decisions);
        for slot in &slots {
            if let Some(holder) = &slot.holder {
                self.keep(slot.index, holder, &mut decisions);
            }
        }
        decisions.updates.stop += u32::try_from(stops.len() - first_stop).unwrap_or(u32::MAX);
        decisions
    }

    /// Vacates slots beyond the count: those that move anyway, then failed ones, then the highest names.
    fn stop_excess(&self, slots: &mut [Slot<'a>], stops: &mut Vec<Stop>) {
        let held = slots.iter().filter(|slot| slot.holder.is_some()).count();
        let excess = held.saturating_sub(self.wanted());
        if excess == 0 {
            return;
        }
        let mut victims: Vec<_> =
            slots.iter_mut().filter_map(|slot| Some((slot.holder.as_ref()?.expendable()?, slot))).collect();
        victims.sort_by(|(a, x), (b, y)| a.cmp(b).then(y.index.cmp(&x.index)));
        for (_, slot) in victims.into_iter().take(excess) {
            if let Some(holder) = slot.holder.take() {
                stops.push(stop(self.situation, holder.alloc(), StopReason::NotNeeded));
            }
            for shadow in slot.shadows.drain(..) {
                stops.push(stop(self.situation, shadow, StopReason::NotNeeded));
            }
            slot.replaces = None;
        }
    }

    /// Fills `room` slots: replacements under their names first, then the lowest free names.
    fn fill(&self, slots: &[Slot<'a>], room: usize, decisions: &mut GroupDecisions<'a>) {
        let mut taken: Vec<u32> = Vec::new();
        for slot in slots.iter().filter(|slot| slot.holder.is_none() && slot.is_replaced) {
            if decisions.placements.len() >= room {
                break;
            }
            taken.push(slot.index);
            decisions.placements.push(slot.replacement(self));
        }
        let mut known = slots.iter().filter(|slot| slot.holder.is_some() || slot.replaces.is_some()).peekable();
        let count = u32::try_from(self.wanted()).unwrap_or(u32::MAX);
        for index in 0..count {
            if decisions.placements.len() >= room {
                break;
            }
            while known.next_if(|slot| slot.index < index).is_some() {}
            let slot = known.peek().filter(|slot| slot.index == index);
            if taken.binary_search(&index).is_ok() || slot.is_some_and(|slot| slot.holder.is_some()) {
                continue;
            }
            let wanted = slot.map_or_else(|| Wanted::fresh(index), |slot| slot.replacement(self));
            decisions.placements.push(wanted);
        }
        decisions.updates.place += u32::try_from(decisions.placements.len()).unwrap_or(u32::MAX);
    }

    /// Decides about an allocation that keeps its name.
    fn keep(&self, index: u32, holder: &Holder<'a>, decisions: &mut GroupDecisions<'a>) {
        let replace = |alloc: &'a Arc<Allocation>, reason| Wanted {
            index,
            previous: Some(alloc),
            stop_previous: Some(reason),
            penalised: SmallVec::new(),
        };
        match holder {
            Holder::Live(member) => {
                decisions.occupants.push(member.alloc);
                match member.update {
                    Update::Current => decisions.updates.ignore += 1,
                    Update::InPlace => decisions.in_place.push(member.alloc),
                    Update::Destructive => {
                        decisions.updates.destructive += 1;
                        decisions.placements.push(replace(member.alloc, StopReason::Updated));
                    }
                }
            }
            Holder::Migrating(member) => {
                decisions.occupants.push(member.alloc);
                decisions.updates.migrate += 1;
                decisions.placements.push(replace(member.alloc, StopReason::Migrating));
            }
            Holder::Away(alloc) => {
                decisions.occupants.push(alloc);
                decisions.updates.ignore += 1;
            }
            Holder::Finished(_) => decisions.updates.ignore += 1,
            Holder::Failed(member) if member.update == Update::Destructive => {
                decisions.updates.destructive += 1;
                decisions.placements.push(replace(member.alloc, StopReason::Updated));
            }
            Holder::Failed(member) => self.reschedule(index, member.alloc, decisions),
        }
    }

    /// Decides when a failed allocation is replaced, if ever.
    fn reschedule(&self, index: u32, failed: &'a Arc<Allocation>, decisions: &mut GroupDecisions<'a>) {
        let due = self
            .group
            .reschedule_policy
            .as_ref()
            .and_then(|policy| reschedule::due(policy, failed, &|id| self.situation.find(id)));
        match due {
            Some(due) if failed.transition.reschedule || reschedule::is_now(due, self.situation.now) => {
                decisions.updates.place += 1;
                decisions.updates.stop += 1;
                decisions.placements.push(Wanted {
                    index,
                    previous: Some(failed),
                    stop_previous: Some(StopReason::Rescheduled),
                    penalised: reschedule::failed_on(failed, &|id| self.situation.find(id)),
                });
            }
            Some(due) => {
                decisions.updates.ignore += 1;
                decisions.later.push(due);
            }
            None => decisions.updates.ignore += 1,
        }
    }
}
