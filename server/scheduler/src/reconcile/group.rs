//! One group of a job: how many of it are wanted, and what becomes of each allocation that it has.

use std::sync::Arc;

use orch_model::allocation::{ClientStatus, RescheduleEvent, StopReason};
use orch_model::deployment::GroupRollout;
use orch_model::job::{JobType, ReschedulePolicy, TaskGroup};
use orch_model::plan::Stop;
use orch_model::{Allocation, Job};
use smallvec::SmallVec;

use super::reschedule;
use super::rollout::{Pace, Rollout, answers, worth};
use super::slots::{Holder, Slot, slots_of};
use super::versions::{Member, Update};
use super::{GroupDecisions, Situation, Wanted, stop};

/// One group being compared.
#[derive(Clone, Copy)]
pub(super) struct Group<'s, 'a> {
    pub(super) situation: &'s Situation<'s, 'a>,
    pub(super) job: &'s Job,
    pub(super) group: &'s TaskGroup,
    pace: Pace<'a>,
}

/// What was decided about a group.
pub(super) struct Decided<'a> {
    pub(super) decisions: GroupDecisions<'a>,
    /// Whether its deployment, if it is part of one, has nothing left to wait for here.
    pub(super) is_settled: bool,
    /// How it is rolled out, if a deployment should start for it.
    pub(super) starts: Option<GroupRollout>,
}

/// What the holders of a group's names mean for a new version.
#[derive(Default)]
struct Tally<'a> {
    /// Those that must be replaced by the new version.
    outdated: Vec<&'a Arc<Allocation>>,
    /// How many others hold a name without serving.
    down: usize,
    /// How many of the deployment are well.
    healthy: usize,
    /// How many need nothing of a new deployment.
    done: usize,
    /// Whether one of the deployment is not well.
    has_failed: bool,
    /// Whether one of an older version is out of contact.
    waits_for_return: bool,
}

impl<'s, 'a> Group<'s, 'a> {
    pub(super) fn new(
        situation: &'s Situation<'s, 'a>,
        job: &'s Job,
        group: &'s TaskGroup,
        rollout: Rollout<'a>,
    ) -> Self {
        let takes_steps = job.kind() == Some(JobType::Service);
        Self { situation, job, group, pace: Pace::of(group, takes_steps, rollout) }
    }

    pub(super) fn is_batch(&self) -> bool {
        match self.job.kind() {
            Some(JobType::Batch | JobType::Sysbatch) => true,
            Some(JobType::Service | JobType::System) | None => false,
        }
    }

    fn wanted(&self) -> usize {
        usize::try_from(self.group.count).unwrap_or(0)
    }

    fn policy(&self) -> Option<&'s ReschedulePolicy> {
        self.group.reschedule_policy.as_ref()
    }

    pub(super) fn decide(&self, members: Vec<Member<'a>>, stops: &mut Vec<Stop>) -> Decided<'a> {
        let is_first = !members.iter().any(|member| member.update == Update::Current);
        let mut decisions = GroupDecisions::default();
        let first_stop = stops.len();
        let mut slots = slots_of(self, members, stops, &mut decisions);
        self.stop_excess(&mut slots, stops);
        let held = slots.iter().filter(|slot| slot.holder.is_some()).count();
        self.fill(&slots, self.wanted().saturating_sub(held), &mut decisions);
        decisions.updates.stop += u32::try_from(stops.len() - first_stop).unwrap_or(u32::MAX);
        let mut tally = Tally::default();
        decisions.occupants.reserve(held);
        for holder in slots.iter().filter_map(|slot| slot.holder) {
            self.keep(holder, &mut tally, &mut decisions);
        }
        let is_new = !tally.outdated.is_empty() || !decisions.in_place.is_empty() || tally.waits_for_return;
        let waits = is_new || !decisions.placements.is_empty() || !decisions.later.is_empty();
        let starts = if is_new || (is_first && waits) {
            self.pace
                .start(self.group, self.wanted().saturating_sub(tally.done))
                .filter(|start| start.desired_total > 0)
        } else {
            None
        };
        let is_settled = self.is_settled(waits, tally.healthy);
        self.take_steps(tally, &mut decisions);
        Decided { decisions, is_settled, starts }
    }

    /// Whether the deployment under way has nothing left to wait for in this group.
    fn is_settled(&self, waits: bool, healthy: usize) -> bool {
        let rollout = self.pace.deployment().and_then(|deployment| deployment.groups.get(&self.group.name));
        rollout.is_none_or(|rollout| !waits && healthy >= usize::try_from(rollout.desired_total).unwrap_or(usize::MAX))
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
    ///
    /// While a deployment holds everything, only what was taken away is replaced: lost, moved or stopped by hand.
    fn fill(&self, slots: &[Slot<'a>], room: usize, decisions: &mut GroupDecisions<'a>) {
        if room == 0 {
            return;
        }
        let mut taken: Vec<u32> = Vec::new();
        for slot in slots.iter().filter(|slot| slot.holder.is_none() && slot.is_replaced) {
            if decisions.placements.len() >= room {
                break;
            }
            taken.push(slot.index);
            decisions.placements.push(self.successor(slot));
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
            if !self.pace.is_held() || slot.is_some_and(|slot| slot.was_taken_away()) {
                let wanted = slot.map_or_else(|| Wanted::fresh(index), |slot| self.successor(slot));
                decisions.placements.push(wanted);
            }
        }
        decisions.updates.place += u32::try_from(decisions.placements.len()).unwrap_or(u32::MAX);
    }

    /// The allocation that fills a vacant slot.
    fn successor(&self, slot: &Slot<'a>) -> Wanted<'a> {
        let Some(previous) = slot.replaces else { return Wanted::fresh(slot.index) };
        let failed = previous.client_status == ClientStatus::Failed;
        let penalised = if failed { reschedule::failed_on(previous) } else { SmallVec::new() };
        let reschedules = self.remembered(previous);
        Wanted { index: slot.index, previous: Some(previous), stop_previous: None, penalised, reschedules }
    }

    /// What the successor of an allocation remembers of failures: those that led to it where it only moves, that one
    /// more where it is placed again because it failed; nothing under a new version or once a person had a hand in it.
    fn remembered(&self, previous: &Allocation) -> Arc<[RescheduleEvent]> {
        if previous.job.version != self.job.version {
            return Arc::default();
        }
        match (previous.stop_reason, self.policy()) {
            (Some(StopReason::Rescheduled), Some(policy)) => reschedule::history(policy, previous, self.situation.now),
            (None | Some(StopReason::Lost | StopReason::Migrating), _) => Arc::clone(&previous.reschedules),
            (
                Some(
                    StopReason::NotNeeded
                    | StopReason::Updated
                    | StopReason::Rescheduled
                    | StopReason::StoppedByUser
                    | StopReason::NodeTainted
                    | StopReason::Reconnected,
                ),
                _,
            ) => Arc::default(),
        }
    }

    /// Decides about an allocation that keeps its name.
    fn keep(&self, holder: Holder<'a>, tally: &mut Tally<'a>, decisions: &mut GroupDecisions<'a>) {
        let alloc = holder.alloc();
        let is_member = self.pace.is_member(alloc);
        let is_current = alloc.job.version == self.job.version;
        tally.healthy += usize::from(is_member && holder.is_live() && alloc.is_healthy());
        tally.done += usize::from(is_current);
        match holder {
            Holder::Live(member) => {
                decisions.occupants.push(alloc);
                tally.has_failed |= is_member && alloc.is_unhealthy();
                if member.update == Update::Destructive && !self.pace.is_held() {
                    tally.outdated.push(alloc);
                    return;
                }
                if member.update == Update::InPlace && !self.pace.is_held() {
                    decisions.in_place.push(alloc);
                } else {
                    tally.down += usize::from(!answers(alloc));
                    decisions.updates.ignore += 1;
                }
            }
            Holder::Migrating(_) => {
                decisions.occupants.push(alloc);
                tally.has_failed |= is_member && alloc.is_unhealthy();
                tally.down += usize::from(!answers(alloc));
                decisions.updates.migrate += 1;
                let reschedules = self.remembered(alloc);
                decisions.placements.push(Wanted { reschedules, ..Wanted::instead_of(alloc, StopReason::Migrating) });
            }
            Holder::Away(_) => {
                decisions.occupants.push(alloc);
                tally.down += 1;
                tally.waits_for_return |= !is_current;
                decisions.updates.ignore += 1;
            }
            Holder::Finished(_) => decisions.updates.ignore += 1,
            Holder::Failed(member) => {
                if member.update != Update::Current && !self.pace.is_held() {
                    tally.outdated.push(alloc);
                    return;
                }
                tally.down += 1;
                tally.has_failed |= is_member;
                self.reschedule(alloc, decisions);
            }
        }
    }

    /// Decides when a failed allocation is replaced, if ever.
    ///
    /// Those of a deployment under way are left to its watcher, which marks them as long as the deployment may go on;
    /// those of one that failed wait for another version.
    fn reschedule(&self, failed: &'a Arc<Allocation>, decisions: &mut GroupDecisions<'a>) {
        let is_member = self.pace.is_member(failed);
        let is_marked = failed.transition.reschedule;
        let may = !is_member || (is_marked && !self.pace.is_held());
        let due = self.policy().filter(|_| may).and_then(|policy| reschedule::due(policy, failed));
        let is_forced = is_marked && !is_member;
        let is_now = is_forced
            || due.is_some_and(|due| {
                reschedule::is_now(due, self.situation.now) || failed.followup_eval == Some(self.situation.eval_id)
            });
        if is_now {
            decisions.updates.place += 1;
            decisions.updates.stop += 1;
            let now = self.situation.now;
            decisions.placements.push(Wanted {
                penalised: reschedule::failed_on(failed),
                reschedules: self.policy().map_or_else(Arc::default, |policy| reschedule::history(policy, failed, now)),
                ..Wanted::instead_of(failed, StopReason::Rescheduled)
            });
            return;
        }
        decisions.updates.ignore += 1;
        decisions.later.extend(due.filter(|due| !self.is_awaited(failed, *due)).map(|due| (due, failed.id)));
    }

    /// Whether an evaluation waits to look at a failed allocation about when it becomes due.
    fn is_awaited(&self, failed: &Allocation, due: orch_model::Timestamp) -> bool {
        let waits_until = failed.followup_eval.and_then(|eval| (self.situation.waits_until)(&eval));
        waits_until.is_some_and(|at| at <= due.plus(reschedule::WINDOW))
    }

    /// Replaces as many of an older version as may be taken down now, what is missed least first.
    fn take_steps(&self, tally: Tally<'a>, decisions: &mut GroupDecisions<'a>) {
        let Tally { mut outdated, down, has_failed, .. } = tally;
        outdated.sort_by_key(|alloc| (worth(alloc), alloc.index));
        decisions.in_place.sort_by_key(|alloc| (worth(alloc), alloc.index));
        let silent = decisions.in_place.iter().filter(|alloc| !answers(alloc)).count();
        // Of those that stop for a successor, what moves is not counted, and what failed was counted as down.
        let new = decisions.placements.iter().filter(|want| want.stop_previous.is_none());
        let budget = self.pace.budget(down + new.count(), has_failed);
        let now = outdated.len().min(budget.saturating_sub(silent));
        decisions.budget = budget - now;
        decisions.updates.destructive += u32::try_from(now).unwrap_or(u32::MAX);
        decisions.updates.ignore += u32::try_from(outdated.len() - now).unwrap_or(u32::MAX);
        let replaced = outdated.drain(..now).map(|alloc| Wanted::instead_of(alloc, StopReason::Updated));
        decisions.placements.extend(replaced);
    }
}
