//! One entry being applied: the only way in which tables are written, with what it changed as data.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use orch_model::evaluation::EvalStatus;
use orch_model::job::JobStatus;
use orch_model::seed::Seed;
use orch_model::{
    AllocId, Allocation, DeploymentId, EvalId, Evaluation, Job, JobKey, JobVersionKey, Node, NodeId, StateIndex,
    Timestamp,
};

use crate::digest::{Digest, Record};
use crate::entry::RULES_WITH_DEPLOYMENTS;
use crate::row::JobRow;
use crate::scope::{Scope, Table};
use crate::state::State;

mod changes;
mod deployments;
mod volumes;

pub use changes::Changes;
pub(crate) use deployments::{counts_as_healthy, push_deadline};
pub(crate) use volumes::claim_key;

/// How many versions of a job are kept beside those that allocations still run.
const TRACKED_VERSIONS: usize = 6;

/// One entry being applied.
#[derive(Debug)]
pub(crate) struct Tx<'a> {
    pub(crate) state: &'a mut State,
    /// The entry's index.
    pub(crate) index: StateIndex,
    /// The entry's time.
    pub(crate) now: Timestamp,
    /// The rules under which it was stamped.
    pub(crate) rules: u16,
    pub(crate) digest: Digest,
    pub(crate) changes: Changes,
    /// Deployments that were written so far.
    pub(crate) deployments_written: BTreeSet<DeploymentId>,
}

impl Tx<'_> {
    /// The same entry being applied to another state, to be taken over with [`Tx::adopt`] or dropped.
    pub(crate) fn trial<'b>(&self, state: &'b mut State) -> Tx<'b> {
        Tx {
            state,
            index: self.index,
            now: self.now,
            rules: self.rules,
            digest: self.digest,
            changes: self.changes.clone(),
            deployments_written: self.deployments_written.clone(),
        }
    }

    /// Takes over what was tried on a copy of the state.
    pub(crate) fn adopt(
        &mut self,
        state: State,
        digest: Digest,
        changes: Changes,
        deployments: BTreeSet<DeploymentId>,
    ) {
        *self.state = state;
        self.digest = digest;
        self.changes = changes;
        self.deployments_written = deployments;
    }

    /// Whether the entry was stamped under rules that know deployments (and what else came with them).
    pub(crate) const fn knows_deployments(&self) -> bool {
        self.rules >= RULES_WITH_DEPLOYMENTS
    }

    fn touch(&mut self, table: Table, namespace: Option<&orch_model::Namespace>) {
        self.state.table_indexes.insert(table, self.index);
        self.changes.scopes.insert(Scope::Table(table));
        if let Some(namespace) = namespace {
            self.state.namespace_indexes.insert((table, namespace.clone()), self.index);
            self.changes.scopes.insert(Scope::Namespace(table, namespace.clone()));
        }
    }

    /// Notes that the scheduler's configuration was written.
    pub(crate) fn touch_scheduler_config(&mut self) {
        self.touch(Table::SchedulerConfig, None);
    }

    // Jobs

    /// Writes a new version of a job, which is the current one from now on.
    pub(crate) fn put_job(&mut self, mut job: Job) {
        let key = job.key();
        self.cancel_deployments(&key, job.stop);
        job.modify_index = self.index;
        let old = self.state.jobs.get(&key).cloned();
        job.status = JobStatus::Pending;
        self.digest.job(Record::Job, &key, &[job.create_index.0, job.version, u64::from(job.stop)]);
        let job = Arc::new(job);
        let mut row = match old {
            Some(row) => JobRow { job: Arc::clone(&job), placed_index: self.index, ..(*row).clone() },
            None => self.new_row(&key, Arc::clone(&job)),
        };
        let mut summary = (*row.summary).clone();
        for group in &job.task_groups {
            summary.entry(group.name.clone()).or_default();
        }
        if summary != *row.summary || row.summary_index == StateIndex::default() {
            row.summary = Arc::new(summary);
            row.summary_index = self.index;
        }
        self.state.versions.insert(job.version_key(), job);
        self.put_row(&key, row);
        self.forget_old_versions(&key);
    }

    /// The row of a job that was not there; allocations and evaluations of an earlier incarnation count for it.
    fn new_row(&self, key: &JobKey, job: Arc<Job>) -> JobRow {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        JobRow {
            job,
            placed_index: self.index,
            last_plan: None,
            live_allocs: count(self.state.allocs_of_job(key).filter(|alloc| !alloc.is_terminal()).count()),
            live_evals: count(self.state.evals_of_job(key).filter(|eval| !eval.status.is_terminal()).count()),
            evaluated: false,
            allocs_index: StateIndex::default(),
            evals_index: StateIndex::default(),
            summary: Arc::default(),
            summary_index: StateIndex::default(),
            active_deployment: None,
            deployments_index: StateIndex::default(),
            scaling: Arc::default(),
            scaling_index: StateIndex::default(),
        }
    }

    /// Writes a job's row and keeps the job's status true.
    pub(crate) fn put_row(&mut self, key: &JobKey, mut row: JobRow) {
        let status = row.derived_status();
        if row.job.status != status {
            let job = Arc::make_mut(&mut row.job);
            job.status = status;
            job.modify_index = self.index;
        }
        fold_row(&mut self.digest, key, &row);
        self.state.jobs.insert(key.clone(), Arc::new(row));
        self.touch(Table::Jobs, Some(&key.namespace));
        self.changes.scopes.insert(Scope::Job(Table::Jobs, key.clone()));
    }

    /// Changes a job's row, if the job is there, without counting it as a change of the job itself.
    pub(crate) fn update_row(&mut self, key: &JobKey, change: impl FnOnce(&mut JobRow, StateIndex) -> bool) {
        let Some(row) = self.state.jobs.get_mut(key) else { return };
        let row = Arc::make_mut(row);
        let visible = change(row, self.index);
        let status = row.derived_status();
        let status_moved = row.job.status != status;
        if status_moved {
            let job = Arc::make_mut(&mut row.job);
            job.status = status;
            job.modify_index = self.index;
        }
        fold_row(&mut self.digest, key, row);
        if visible || status_moved {
            self.touch(Table::Jobs, Some(&key.namespace));
            self.changes.scopes.insert(Scope::Job(Table::Jobs, key.clone()));
        }
    }

    /// Notes that what is wanted of a job's allocations was decided anew, so that plans made before are stale.
    pub(crate) fn move_placed_index(&mut self, key: &JobKey) {
        self.update_row(key, |row, index| {
            row.placed_index = index;
            false
        });
    }

    /// Forgets a job with its versions; its allocations and evaluations stay until they are collected.
    pub(crate) fn remove_job(&mut self, key: &JobKey) {
        self.cancel_deployments(key, true);
        if self.state.jobs.remove(key).is_none() {
            return;
        }
        self.digest.job(Record::Gone, key, &[]);
        self.remove_claims(|claim| claim.job == *key);
        let versions: Vec<_> = self.versions_of(key).collect();
        for version in versions {
            self.state.versions.remove(&version);
            self.state.submissions.remove(&version);
        }
        self.touch(Table::Jobs, Some(&key.namespace));
        self.changes.scopes.insert(Scope::Job(Table::Jobs, key.clone()));
        self.changes.jobs_gone.insert(key.clone());
    }

    fn versions_of(&self, key: &JobKey) -> impl Iterator<Item = JobVersionKey> {
        let bound = |created, version| JobVersionKey { job: key.clone(), created, version };
        self.state
            .versions
            .range(bound(StateIndex(0), 0)..=bound(StateIndex(u64::MAX), u64::MAX))
            .map(|(version, _)| version.clone())
    }

    /// Forgets all but the newest versions and the newest stable one, to which a failed deployment may go back.
    pub(crate) fn forget_old_versions(&mut self, key: &JobKey) {
        let versions: Vec<_> = self.versions_of(key).collect();
        let is_stable = |version: &&JobVersionKey| self.state.versions.get(*version).is_some_and(|job| job.stable);
        let stable = versions.iter().rev().find(is_stable).cloned();
        let excess = versions.len().saturating_sub(TRACKED_VERSIONS);
        for version in versions.into_iter().take(excess).filter(|version| Some(version) != stable.as_ref()) {
            self.state.versions.remove(&version);
            self.state.submissions.remove(&version);
        }
    }

    // Evaluations

    /// Writes an evaluation; one that has ended stays as it is, and none ever goes over to another job.
    pub(crate) fn put_eval(&mut self, mut eval: Evaluation) {
        let old = self.state.evals.get(&eval.id).cloned();
        if let Some(old) = &old
            && (old.status.is_terminal() || old.job_key() != eval.job_key())
        {
            return;
        }
        match &old {
            Some(old) => {
                eval.create_index = old.create_index;
                eval.create_time = old.create_time;
            }
            None => {
                eval.create_index = self.index;
                eval.create_time = self.now;
            }
        }
        eval.modify_index = self.index;
        eval.modify_time = self.now;
        let key = eval.job_key();
        let was_live = old.as_ref().is_some_and(|old| !old.status.is_terminal());
        let is_live = !eval.status.is_terminal();
        let done = eval.status == EvalStatus::Complete;
        // One that is canceled or fails still tells what it saw when it was last processed.
        let is_fresh = done || eval.status == EvalStatus::Blocked;
        let queued = eval.outcome.as_ref().filter(|_| is_fresh).map(|outcome| outcome.queued.clone());
        self.update_row(&key, |row, index| {
            row.live_evals = adjust(row.live_evals, was_live, is_live);
            row.evaluated |= done;
            row.evals_index = index;
            queued.is_some_and(|queued| set_queued(row, &queued, index))
        });
        self.digest.id(Record::Eval, eval.id.as_uuid(), &[eval.status as u64, eval.create_index.0]);
        let eval = Arc::new(eval);
        self.state.evals.insert(eval.id, Arc::clone(&eval));
        self.state.evals_by_job.entry(key.clone()).or_default().insert(eval.id);
        self.touch(Table::Evals, Some(&key.namespace));
        self.changes.scopes.insert(Scope::Eval(eval.id));
        self.changes.scopes.insert(Scope::Job(Table::Evals, key));
        self.changes.evals.push(eval);
    }

    /// Forgets an evaluation.
    pub(crate) fn remove_eval(&mut self, id: &EvalId) {
        let Some(eval) = self.state.evals.remove(id) else { return };
        self.digest.id(Record::Gone, id.as_uuid(), &[]);
        let key = eval.job_key();
        if let Some(ids) = self.state.evals_by_job.get_mut(&key) {
            ids.remove(id);
            if ids.is_empty() {
                self.state.evals_by_job.remove(&key);
            }
        }
        self.update_row(&key, |row, index| {
            row.evals_index = index;
            row.live_evals = adjust(row.live_evals, !eval.status.is_terminal(), false);
            false
        });
        self.touch(Table::Evals, Some(&key.namespace));
        self.changes.scopes.insert(Scope::Eval(*id));
        self.changes.scopes.insert(Scope::Job(Table::Evals, key));
    }

    // Allocations

    /// Writes an allocation. `told` says that the servers changed what they want of it, so its node must hear.
    pub(crate) fn put_alloc(&mut self, mut alloc: Allocation, told: bool) {
        let old = self.state.allocs.get(&alloc.id).cloned();
        alloc.modify_index = self.index;
        alloc.modify_time = self.now;
        match &old {
            Some(old) => {
                alloc.create_index = old.create_index;
                alloc.create_time = old.create_time;
            }
            None => {
                alloc.create_index = self.index;
                alloc.create_time = self.now;
            }
        }
        if told {
            alloc.alloc_modify_index = self.index;
            self.changes.nodes_to_tell.insert(alloc.node_id);
        }
        self.state.usage.replace_alloc(old.as_deref(), Some(&alloc));
        self.note_freed(old.as_deref(), Some(&alloc));
        self.count_alloc(old.as_deref(), Some(&alloc));
        self.count_in_deployments(old.as_deref(), Some(&alloc));
        fold_alloc(&mut self.digest, &alloc);
        let alloc = Arc::new(alloc);
        let key = alloc.job_key();
        self.state.allocs.insert(alloc.id, Arc::clone(&alloc));
        self.state.allocs_by_job.entry(key.clone()).or_default().insert(alloc.id, Arc::clone(&alloc));
        let of_node = self.state.allocs_by_node.entry(alloc.node_id).or_default();
        of_node.ids.insert(alloc.id);
        of_node.index = self.index;
        self.touch_alloc(&key, alloc.node_id, alloc.id);
        if self.knows_deployments() && alloc.is_client_terminal() && !old.is_some_and(|old| old.is_client_terminal()) {
            self.hand_back(&alloc);
        }
    }

    /// Has the predecessor of an allocation that ended first count again for what it still holds.
    fn hand_back(&mut self, ended: &Allocation) {
        let predecessor = ended
            .previous
            .and_then(|id| self.state.allocs.get(&id))
            .filter(|old| old.handed_over && old.next == Some(ended.id) && !old.is_client_terminal());
        if let Some(predecessor) = predecessor.cloned() {
            let mut alloc = (*predecessor).clone();
            alloc.handed_over = false;
            self.put_alloc(alloc, false);
        }
    }

    /// Forgets an allocation.
    pub(crate) fn remove_alloc(&mut self, id: &AllocId) {
        let Some(alloc) = self.state.allocs.remove(id) else { return };
        self.state.usage.replace_alloc(Some(&alloc), None);
        self.note_freed(Some(&alloc), None);
        self.count_alloc(Some(&alloc), None);
        self.count_in_deployments(Some(&alloc), None);
        self.digest.id(Record::Gone, id.as_uuid(), &[]);
        let key = alloc.job_key();
        if let Some(of_job) = self.state.allocs_by_job.get_mut(&key) {
            of_job.remove(id);
            if of_job.is_empty() {
                self.state.allocs_by_job.remove(&key);
            }
        }
        if let Some(of_node) = self.state.allocs_by_node.get_mut(&alloc.node_id) {
            of_node.ids.remove(id);
            of_node.index = self.index;
        }
        self.forget_node_allocs(&alloc.node_id);
        self.changes.nodes_to_tell.insert(alloc.node_id);
        self.touch_alloc(&key, alloc.node_id, *id);
    }

    fn touch_alloc(&mut self, key: &JobKey, node: NodeId, id: AllocId) {
        self.touch(Table::Allocs, Some(&key.namespace));
        self.changes.scopes.insert(Scope::Alloc(id));
        self.changes.scopes.insert(Scope::Job(Table::Allocs, key.clone()));
        self.changes.scopes.insert(Scope::Node(Table::Allocs, node));
    }

    fn note_freed(&mut self, old: Option<&Allocation>, new: Option<&Allocation>) {
        let Some(old) = old.filter(|old| old.holds_resources()) else { return };
        let still_holds = new.is_some_and(|new| new.holds_resources());
        let successor_holds = new.is_some_and(|new| new.handed_over);
        if !still_holds
            && !successor_holds
            && let Some(node) = self.state.nodes.get(&old.node_id)
        {
            self.changes.freed.insert(node.id, node.computed_class);
        }
    }

    fn count_alloc(&mut self, old: Option<&Allocation>, new: Option<&Allocation>) {
        let Some(alloc) = new.or(old) else { return };
        let group = alloc.group_name().to_owned();
        let created = alloc.job.create_index;
        let was_live = old.is_some_and(|alloc| !alloc.is_terminal());
        let is_live = new.is_some_and(|alloc| !alloc.is_terminal());
        let was = old.map(|alloc| alloc.client_status);
        let is = new.map(|alloc| alloc.client_status);
        self.update_row(&alloc.job_key(), |row, index| {
            row.allocs_index = index;
            row.live_allocs = adjust(row.live_allocs, was_live, is_live);
            if was == is || row.job.create_index != created {
                return false;
            }
            let counts = Arc::make_mut(&mut row.summary).entry(group).or_default();
            if let Some(status) = was.filter(|status| !status.is_terminal()) {
                let count = counts.of(status);
                *count = count.saturating_sub(1);
            }
            if let Some(status) = is {
                let count = counts.of(status);
                *count = count.saturating_add(1);
            }
            row.summary_index = index;
            true
        });
    }

    // Nodes

    /// Writes a node.
    pub(crate) fn put_node(&mut self, mut node: Node) {
        let old = self.state.nodes.get(&node.id).cloned();
        node.modify_index = self.index;
        if let Some(old) = &old {
            node.create_index = old.create_index;
        } else {
            node.create_index = self.index;
        }
        let status = [node.status as u64, node.eligibility as u64, node.session.epoch, node.computed_class.0];
        self.digest.id(Record::Node, node.id.as_uuid(), &status);
        if old.is_none() && self.knows_deployments() {
            // So that whoever waited for the node while it was not there does not see its index go back.
            self.state.allocs_by_node.entry(node.id).or_default().index = self.index;
        }
        let node = Arc::new(node);
        let had = old.as_ref().is_some_and(|old| old.is_ready() && old.computed_class == node.computed_class);
        let grew = old.as_ref().is_none_or(|old| !node.capacity().fits_in(old.capacity()));
        let has_other_volumes =
            old.as_ref().is_some_and(|old| old.described.host_volumes != node.described.host_volumes);
        if node.is_ready() && (!had || grew || has_other_volumes) {
            self.changes.freed.insert(node.id, node.computed_class);
        }
        self.state.usage.put_node(&node);
        self.state.nodes.insert(node.id, Arc::clone(&node));
        self.settle_volumes(&node.id, old.is_none());
        self.changes.nodes.insert(node.id);
        self.touch(Table::Nodes, None);
        self.changes.scopes.insert(Scope::Node(Table::Nodes, node.id));
    }

    /// Forgets a node. Its allocations must have ended before.
    pub(crate) fn remove_node(&mut self, id: &NodeId) {
        let Some(node) = self.state.nodes.remove(id) else { return };
        self.digest.id(Record::Gone, id.as_uuid(), &[]);
        if self.knows_deployments() {
            let meta = Arc::make_mut(&mut self.state.meta);
            meta.purged_epoch = meta.purged_epoch.max(node.session.epoch);
        }
        self.state.usage.remove_node(id);
        self.settle_volumes(id, false);
        self.forget_node_allocs(id);
        self.changes.nodes.insert(*id);
        self.touch(Table::Nodes, None);
        self.changes.scopes.insert(Scope::Node(Table::Nodes, *id));
    }

    /// Drops the list of allocations of a node that is gone, once it is empty.
    fn forget_node_allocs(&mut self, id: &NodeId) {
        let is_empty = self.state.allocs_by_node.get(id).is_some_and(|allocs| allocs.ids.is_empty());
        if is_empty && !self.state.nodes.contains_key(id) && self.knows_deployments() {
            self.state.allocs_by_node.remove(id);
        }
    }

    /// Notes that allocations of a node changed on its client's word. That is no change of the node itself.
    pub(crate) fn note_alloc_update(&mut self, id: &NodeId) {
        if let Some(node) = self.state.nodes.get_mut(id) {
            Arc::make_mut(node).last_alloc_update = self.index;
        }
    }

    // What follows from changes

    /// Adds a pending evaluation for each of `jobs`; ids come from `seed` in the order of the keys.
    pub(crate) fn add_evals(
        &mut self,
        jobs: impl IntoIterator<Item = (JobKey, orch_model::evaluation::Trigger)>,
        node: Option<NodeId>,
        seed: u64,
    ) -> Vec<EvalId> {
        let mut seed = Seed::new(seed);
        let jobs: BTreeMap<_, _> = jobs.into_iter().collect();
        let mut ids = Vec::with_capacity(jobs.len());
        for (key, trigger) in jobs {
            let id = EvalId::from_uuid(seed.uuid());
            let Some(eval) = self.eval_for(id, &key, trigger, node) else { continue };
            ids.push(id);
            self.put_eval(eval);
        }
        ids
    }

    /// A pending evaluation of a job that is there, or of which allocations are.
    fn eval_for(
        &self,
        id: EvalId,
        key: &JobKey,
        trigger: orch_model::evaluation::Trigger,
        node: Option<NodeId>,
    ) -> Option<Evaluation> {
        let job = self
            .state
            .job(key)
            .cloned()
            .or_else(|| self.state.allocs_of_job(key).next().map(|alloc| Arc::clone(&alloc.job)))?;
        let priority = u16::try_from(job.priority).unwrap_or_default();
        let kind = job.kind().unwrap_or(orch_model::job::JobType::Service);
        let mut eval = Evaluation::new(id, key, priority, kind, trigger);
        eval.job_modify_index = job.job_modify_index;
        eval.node_id = node;
        Some(eval)
    }
}

fn fold_row(digest: &mut Digest, key: &JobKey, row: &JobRow) {
    let deployment = row.active_deployment.map_or(0, |id| id.as_uuid().as_u64_pair().1);
    let fields = [
        row.job.version,
        row.job.status as u64,
        u64::from(row.job.stable),
        row.placed_index.0,
        u64::from(row.live_allocs),
        u64::from(row.live_evals),
        deployment,
    ];
    digest.job(Record::Row, key, &fields);
}

fn fold_alloc(digest: &mut Digest, alloc: &Allocation) {
    let flags = [alloc.handed_over, alloc.transition.reschedule, alloc.is_healthy(), alloc.is_unhealthy()];
    let flags = flags.iter().fold(0, |sum, flag| sum * 2 + u64::from(*flag));
    let fields = [
        alloc.job.version,
        alloc.desired as u64,
        alloc.client_status as u64,
        flags,
        alloc.create_index.0,
        alloc.alloc_modify_index.0,
        alloc.node_id.as_uuid().as_u64_pair().1,
    ];
    digest.id(Record::Alloc, alloc.id.as_uuid(), &fields);
}

const fn adjust(count: u32, was: bool, is: bool) -> u32 {
    match (was, is) {
        (false, true) => count.saturating_add(1),
        (true, false) => count.saturating_sub(1),
        (true, true) | (false, false) => count,
    }
}

/// Takes over how many instances wait, as an evaluation saw it; says whether anything moved.
fn set_queued(row: &mut JobRow, queued: &BTreeMap<String, u32>, index: StateIndex) -> bool {
    let same = row.summary.iter().all(|(group, counts)| counts.queued == queued.get(group).copied().unwrap_or(0));
    if same {
        return false;
    }
    for (group, counts) in Arc::make_mut(&mut row.summary) {
        counts.queued = queued.get(group).copied().unwrap_or(0);
    }
    row.summary_index = index;
    true
}
