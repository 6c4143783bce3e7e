//! Processing an evaluation: reconcile, find nodes, and put the answer together.

use std::collections::BTreeMap;
use std::sync::Arc;

use orch_model::allocation::StopReason;
use orch_model::deployment::{Deployment, GroupRollout};
use orch_model::evaluation::{EvalOutcome, EvalStatus, Evaluation, Trigger, WaitsFor};
use orch_model::ids::{JobVersionKey, PlanId, StateIndex};
use orch_model::job::{AskError, JobType};
use orch_model::plan::{FollowUp, InPlaceUpdate, Plan};
use orch_model::seed::Seed;
use orch_model::time::Timestamp;
use orch_model::{AllocId, Allocation, DeploymentId, EvalId, Job, NodeId};
use orch_state::State;

use crate::feasible::{NodeTable, Verdict};
use crate::memo::Feasibility;
use crate::overlay::Overlay;
use crate::place::{Placed, Placer};
use crate::reconcile::{GroupDecisions, Reconciled, Situation, WINDOW, Wanted, answers, reconcile};
use crate::request::{Decision, Request};

/// Looks at a job and the cluster afresh and answers what is to be done.
///
/// After a plan that was refused in part or whole, the same call on a newer snapshot with the seed of another attempt
/// answers what is left to do.
pub fn schedule(request: Request<'_>) -> Decision {
    let Request { state, overlay, eval, now, seed, memo } = request;
    let job = state.job(&eval.job_key()).map(|job| &**job);
    let mut answer = Answer::new(state, eval, seed);
    match job.map_or(Some(eval.kind), Job::kind) {
        Some(JobType::Service | JobType::Batch) => {}
        Some(kind @ (JobType::System | JobType::Sysbatch)) if job.is_some_and(|job| !job.is_stopped()) => {
            return answer.refuse(&format!("jobs of type {kind} cannot be scheduled by this version"));
        }
        Some(JobType::System | JobType::Sysbatch) => {}
        None => return answer.refuse("the job's type is unknown"),
    }
    let key = eval.job_key();
    let allocs: Vec<&Arc<Allocation>> = state.allocs_of_job(&key).collect();
    let deployment = state.active_deployment(&key).or_else(|| state.latest_deployment(&key)).map(|found| &**found);
    let node_status = |id: &NodeId| state.node(id).map(|node| node.status);
    let waits_until = |id: &EvalId| waits_until(state, id);
    let (node_status, waits_until) = (&node_status as _, &waits_until as _);
    let situation = Situation { job, allocs: &allocs, deployment, node_status, waits_until, eval_id: eval.id, now };
    let Reconciled { groups, stops, rollouts, deployment_updates, removed } = reconcile(&situation);
    answer.plan.stops = stops;
    answer.plan.deployment_updates = deployment_updates;
    answer.outcome.updates = removed;
    if let Some(job) = job {
        if let Err(error) = answer.place(job, groups, overlay, memo) {
            return answer.refuse(&error.to_string());
        }
        answer.roll_out(job, rollouts, deployment);
    }
    answer.finish()
}

/// What becomes of an evaluation whose plans were refused too often: it has failed, and a blocked one follows it, to be
/// tried again after a while.
pub fn give_up(eval: &Evaluation, snapshot_index: StateIndex, mut seed: Seed) -> [Evaluation; 2] {
    let id = EvalId::from_uuid(seed.uuid());
    let mut blocked = Evaluation::new(id, &eval.job_key(), eval.priority, eval.kind, Trigger::MaxPlanAttempts);
    blocked.status = EvalStatus::Blocked;
    blocked.status_description = "created due to placement conflicts".into();
    blocked.job_modify_index = eval.job_modify_index;
    blocked.snapshot_index = snapshot_index;
    blocked.previous = Some(eval.id);
    blocked.waits_for = Some(Arc::new(WaitsFor { classes: BTreeMap::new(), escaped: true }));
    let mut failed = eval.clone();
    failed.status = EvalStatus::Failed;
    failed.status_description = "maximum attempts reached".into();
    failed.snapshot_index = snapshot_index;
    failed.blocked = Some(blocked.id);
    [failed, blocked]
}

/// A decision in the making.
struct Answer<'a> {
    state: &'a State,
    eval: &'a Evaluation,
    /// As it was handed in: decides between equals.
    ties: Seed,
    /// Ids are drawn from it.
    seed: Seed,
    plan: Plan,
    outcome: EvalOutcome,
    later: Vec<(Timestamp, AllocId)>,
    waits_for: WaitsFor,
}

impl<'a> Answer<'a> {
    fn new(state: &'a State, eval: &'a Evaluation, ties: Seed) -> Self {
        let mut drawn = ties;
        let mut seed = Seed::new(drawn.next_u64() ^ state.last_index().0.rotate_left(32));
        let key = eval.job_key();
        let row = state.job_row(&key);
        let version = row.map_or(JobVersionKey { job: key, ..JobVersionKey::default() }, |row| row.job.version_key());
        let placed_index = row.map_or(StateIndex::default(), |row| row.placed_index);
        let mut plan = Plan::new(PlanId::from_uuid(seed.uuid()), eval.id, version, placed_index);
        plan.all_at_once = row.is_some_and(|row| row.job.all_at_once);
        Self {
            state,
            eval,
            ties,
            seed,
            plan,
            outcome: EvalOutcome::default(),
            later: Vec::new(),
            waits_for: WaitsFor::default(),
        }
    }

    /// Finds nodes for what the groups want.
    fn place(
        &mut self,
        job: &'a Job,
        mut groups: Vec<GroupDecisions<'a>>,
        overlay: &Overlay,
        memo: &mut crate::Memo,
    ) -> Result<(), AskError> {
        let has_work = groups.iter().any(|group| !group.placements.is_empty() || !group.in_place.is_empty());
        if has_work {
            self.find_nodes(job, &mut groups, overlay, memo)?;
        }
        for (group, decisions) in job.task_groups.iter().zip(groups) {
            self.outcome.updates.insert(group.name.clone(), decisions.updates);
            self.outcome.queued.entry(group.name.clone()).or_insert(0);
            self.later.extend(decisions.later);
        }
        Ok(())
    }

    fn find_nodes(
        &mut self,
        job: &'a Job,
        groups: &mut [GroupDecisions<'a>],
        overlay: &Overlay,
        memo: &mut crate::Memo,
    ) -> Result<(), AskError> {
        let table = memo.table(self.state);
        let mut placer =
            Placer::new(self.state, job, Arc::clone(&table), overlay, self.ties, Seed::new(self.seed.next_u64()));
        let mut known = Vec::with_capacity(groups.len());
        for (group, decisions) in (0_u16..).zip(groups.iter_mut()) {
            let feasibility = memo.feasibility(self.state, job, group)?;
            self.settle_in_place(group, &placer, &feasibility, decisions);
            placer.occupy(group, &decisions.occupants);
            known.push(feasibility);
        }
        let wanted: Vec<Vec<Wanted<'a>>> =
            groups.iter_mut().map(|decisions| std::mem::take(&mut decisions.placements)).collect();
        let counts: Vec<_> = wanted.iter().map(|wanted| u32::try_from(wanted.len()).unwrap_or(u32::MAX)).collect();
        let placed = place_all(&mut placer, &known, wanted);
        let is_short = placed.iter().any(|placed| !placed.unplaced.is_empty());
        let gives_up = job.all_at_once && is_short;
        for (((placed, count), feasibility), spec) in placed.into_iter().zip(counts).zip(&known).zip(&job.task_groups) {
            let missing = u32::try_from(placed.unplaced.len()).unwrap_or(u32::MAX);
            self.outcome.queued.insert(spec.name.clone(), if gives_up { count } else { missing });
            if !gives_up {
                self.outcome.placed.extend(placed.placed.map(|told| (spec.name.clone(), told)));
            }
            if let Some(mut told) = placed.failed.filter(|_| missing > 0) {
                told.coalesced_failures = missing - 1;
                self.outcome.failed.insert(spec.name.clone(), told);
                note_hopes(&mut self.waits_for, feasibility, &table);
            }
        }
        if gives_up {
            return Ok(());
        }
        self.plan.stops.append(&mut placer.stops);
        self.plan.placements = placer.placements;
        Ok(())
    }

    /// Changes where they run those whose node is still feasible, and replaces the others.
    fn settle_in_place(
        &mut self,
        group: u16,
        placer: &Placer<'_>,
        known: &Feasibility,
        decisions: &mut GroupDecisions<'a>,
    ) {
        for alloc in std::mem::take(&mut decisions.in_place) {
            let is_accepted = placer.still_accepts(&known.rules, &known.verdicts, alloc);
            let has_budget = decisions.budget > 0;
            if !is_accepted || !answers(alloc) {
                decisions.budget = decisions.budget.saturating_sub(1);
            }
            if is_accepted {
                decisions.updates.in_place += 1;
                self.plan.in_place.push(InPlaceUpdate { alloc_id: alloc.id, group, deployment: None });
            } else if has_budget {
                decisions.updates.destructive += 1;
                decisions.placements.push(Wanted::instead_of(alloc, StopReason::Updated));
            } else {
                decisions.updates.ignore += 1;
            }
        }
    }

    /// Makes what is placed and changed part of the deployment under way, or of one that starts with this plan.
    ///
    /// A deployment starts with the first plan that changes something, so that one that waits for room to begin is not
    /// held to a deadline.
    fn roll_out(&mut self, job: &Job, rollouts: BTreeMap<String, GroupRollout>, deployment: Option<&Deployment>) {
        let standing = deployment.filter(|deployment| deployment.is_active() && deployment.job == self.plan.job);
        let (id, groups) = match standing {
            Some(deployment) => (deployment.id, &deployment.groups),
            None if rollouts.is_empty() => return,
            None => (DeploymentId::from_uuid(self.seed.uuid()), &rollouts),
        };
        let is_part =
            |group: u16| job.task_groups.get(usize::from(group)).is_some_and(|group| groups.contains_key(&group.name));
        let mut parts = 0_usize;
        let placed = self.plan.placements.iter_mut().map(|placement| (placement.group, &mut placement.deployment));
        let changed = self.plan.in_place.iter_mut().map(|update| (update.group, &mut update.deployment));
        for (_, part) in placed.chain(changed).filter(|(group, _)| is_part(*group)) {
            *part = Some(id);
            parts += 1;
        }
        if standing.is_none() && parts > 0 {
            let priority = u16::try_from(job.priority.max(0)).unwrap_or(u16::MAX);
            let version = self.plan.job.clone();
            self.plan.deployment = Some(Deployment::new(id, version, job.job_modify_index, priority, rollouts));
        }
    }

    /// The answer to an evaluation whose job cannot be scheduled at all.
    fn refuse(mut self, why: &str) -> Decision {
        self.plan.placements.clear();
        self.plan.stops.clear();
        self.plan.in_place.clear();
        self.plan.deployment_updates.clear();
        let mut eval = self.eval.clone();
        eval.status = EvalStatus::Failed;
        eval.status_description = why.into();
        eval.snapshot_index = self.state.last_index();
        self.plan.when_whole = vec![eval.clone()];
        Decision { plan: self.plan, eval, blocked: None, follow_ups: Vec::new(), canceled: Vec::new() }
    }

    fn finish(mut self) -> Decision {
        let is_short = !self.outcome.failed.is_empty();
        let follow_ups = self.follow_ups();
        let mut eval = self.eval.clone();
        eval.status = EvalStatus::Complete;
        eval.status_description = "".into();
        eval.snapshot_index = self.state.last_index();
        eval.waits_for = None;
        eval.blocked = None;
        eval.outcome = Some(Arc::new(std::mem::take(&mut self.outcome)));
        eval.next = follow_ups.first().map(|follow_up| follow_up.id);
        let mut blocked = None;
        if is_short {
            let waits_for = Some(Arc::new(std::mem::take(&mut self.waits_for)));
            if was_blocked(self.eval) {
                self.block(&mut eval, waits_for);
                blocked = Some(eval.clone());
            } else {
                let mut new = self.successor(Trigger::QueuedAllocs);
                self.block(&mut new, waits_for);
                eval.blocked = Some(new.id);
                blocked = Some(new);
            }
        }
        let canceled = self.superfluous(blocked.as_ref());
        let mut plan = self.plan;
        plan.when_whole.push(eval.clone());
        plan.when_whole.extend(blocked.iter().filter(|blocked| blocked.id != eval.id).cloned());
        plan.when_whole.extend(follow_ups.iter().chain(&canceled).cloned());
        Decision { plan, eval, blocked, follow_ups, canceled }
    }

    fn block(&self, eval: &mut Evaluation, waits_for: Option<Arc<WaitsFor>>) {
        eval.status = EvalStatus::Blocked;
        eval.trigger = Trigger::QueuedAllocs;
        eval.status_description = "created to place remaining allocations".into();
        eval.snapshot_index = self.state.last_index();
        eval.waits_for = waits_for;
    }

    /// A pending evaluation of the same job that follows this one.
    fn successor(&mut self, trigger: Trigger) -> Evaluation {
        let id = EvalId::from_uuid(self.seed.uuid());
        let mut eval = Evaluation::new(id, &self.eval.job_key(), self.eval.priority, self.eval.kind, trigger);
        eval.job_modify_index = self.eval.job_modify_index;
        eval.previous = Some(self.eval.id);
        eval
    }

    /// Evaluations for failed allocations that become due later, one for all of each few seconds.
    fn follow_ups(&mut self) -> Vec<Evaluation> {
        let mut later = std::mem::take(&mut self.later);
        later.sort_unstable();
        let mut follow_ups = Vec::new();
        let mut rest = later.as_slice();
        while let Some((first, _)) = rest.first() {
            let (together, after) = rest.split_at(rest.partition_point(|(due, _)| due.since(*first) <= WINDOW));
            let mut follow_up = self.successor(Trigger::AllocReschedule);
            follow_up.status_description = "created for delayed rescheduling".into();
            follow_up.wait_until = *first;
            let noted = together.iter().map(|(_, alloc_id)| FollowUp { alloc_id: *alloc_id, eval_id: follow_up.id });
            self.plan.follow_ups.extend(noted);
            follow_ups.push(follow_up);
            rest = after;
        }
        follow_ups
    }

    /// The job's older blocked evaluations: this one has looked at all that they wait for.
    fn superfluous(&self, blocked: Option<&Evaluation>) -> Vec<Evaluation> {
        let key = self.eval.job_key();
        if self.state.job_row(&key).is_some_and(|row| row.live_evals <= 1) {
            return Vec::new();
        }
        self.state
            .evals_of_job(&key)
            .filter(|other| {
                other.status == EvalStatus::Blocked
                    && other.id != self.eval.id
                    && blocked.is_none_or(|blocked| blocked.id != other.id)
            })
            .map(|other| {
                let mut canceled = (**other).clone();
                canceled.status = EvalStatus::Canceled;
                canceled.status_description = format!("superseded by evaluation {}", self.eval.id).into();
                canceled
            })
            .collect()
    }
}

/// When an evaluation will run that waits for its time.
fn waits_until(state: &State, id: &EvalId) -> Option<Timestamp> {
    state.eval(id).filter(|eval| eval.status == EvalStatus::Pending).map(|eval| eval.wait_until)
}

/// Whether an evaluation stands for what an earlier one could not place.
fn was_blocked(eval: &Evaluation) -> bool {
    match eval.trigger {
        Trigger::QueuedAllocs | Trigger::MaxPlanAttempts => true,
        Trigger::JobRegister
        | Trigger::JobDeregister
        | Trigger::NodeUpdate
        | Trigger::AllocStop
        | Trigger::AllocFailure
        | Trigger::AllocReschedule
        | Trigger::JobScaling
        | Trigger::DeploymentWatcher
        | Trigger::FailedFollowUp
        | Trigger::Reconnect => false,
    }
}

/// Finds nodes for what every group wants: first for those whose predecessor stops for them, because that may make room
/// for the others.
fn place_all<'a>(placer: &mut Placer<'a>, known: &[Feasibility], wanted: Vec<Vec<Wanted<'a>>>) -> Vec<Placed<'a>> {
    let split = |wanted: Vec<Wanted<'a>>| wanted.into_iter().partition(|wanted| wanted.stop_previous.is_some());
    let (replacing, fresh): (Vec<Vec<_>>, Vec<Vec<_>>) = wanted.into_iter().map(split).unzip();
    let mut results: Vec<Placed<'a>> = Vec::new();
    results.resize_with(known.len(), Placed::default);
    let mut pass = |wanted: Vec<Vec<Wanted<'a>>>, results: &mut Vec<Placed<'a>>| {
        for (((group, wanted), known), result) in (0_u16..).zip(wanted).zip(known).zip(results) {
            placer.place_group(group, known, wanted, result);
        }
        placer.takes_room_freed()
    };
    pass(replacing, &mut results);
    let mut has_freed = pass(fresh, &mut results);
    while has_freed && results.iter().any(|result| !result.unplaced.is_empty()) {
        let again = results.iter_mut().map(|result| std::mem::take(&mut result.unplaced)).collect();
        has_freed = pass(again, &mut results);
    }
    results
}

/// Notes on which classes of nodes a group could be placed, were there room.
fn note_hopes(waits_for: &mut WaitsFor, known: &Feasibility, table: &NodeTable) {
    waits_for.escaped |= known.rules.escapes_classes();
    for (class, verdict) in table.classes.iter().zip(known.verdicts.iter()) {
        *waits_for.classes.entry(class.id).or_default() |= *verdict == Verdict::Feasible;
    }
}
