//! What one node holds.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use orch_model::allocation::{AllocUpdate, ClientStatus, TaskRunState, TaskState};
use orch_model::{AllocId, Allocation, Job, JobVersionKey, StateIndex, Timestamp};

/// What a node holds, seen by the node and by those who count.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    holdings: Mutex<Holdings>,
    connected: AtomicBool,
}

/// The allocations of a node, and the jobs that they belong to.
#[derive(Debug, Default)]
pub(crate) struct Holdings {
    allocs: BTreeMap<AllocId, Held>,
    jobs: BTreeMap<JobVersionKey, Arc<Job>>,
}

#[derive(Debug)]
struct Held {
    index: StateIndex,
    job: String,
    status: ClientStatus,
    tasks: Arc<[TaskState]>,
    health: Option<bool>,
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Holdings> {
        self.holdings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_connected(&self, connected: bool) {
        self.connected.store(connected, Ordering::Relaxed);
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// How many allocations run.
    pub(crate) fn running(&self) -> usize {
        self.lock().allocs.values().filter(|held| held.status == ClientStatus::Running).count()
    }

    /// Adds the number of running allocations of each job.
    pub(crate) fn count_into(&self, jobs: &mut BTreeMap<String, usize>) {
        for held in self.lock().allocs.values().filter(|held| held.status == ClientStatus::Running) {
            *jobs.entry(held.job.clone()).or_default() += 1;
        }
    }
}

impl Holdings {
    /// Takes note of a version of a job.
    pub(crate) fn learn(&mut self, job: Job) {
        self.jobs.insert(job.version_key(), Arc::new(job));
    }

    /// Which of the allocations that the server knows are not held, or are held as they were before.
    ///
    /// What the server does not know any more is let go.
    pub(crate) fn compare(&mut self, inventory: &BTreeMap<AllocId, StateIndex>) -> Vec<AllocId> {
        self.allocs.retain(|id, _| inventory.contains_key(id));
        let older = |id: &AllocId, index: StateIndex| self.allocs.get(id).is_none_or(|held| held.index < index);
        inventory.iter().filter(|(id, index)| older(id, **index)).map(|(id, _)| *id).collect()
    }

    /// Does what the servers want of an allocation, at once; answers what there is to report.
    pub(crate) fn obey(&mut self, alloc: &Allocation<JobVersionKey>) -> Option<AllocUpdate> {
        let before = self.allocs.get(&alloc.id).map(|held| held.status);
        let ended = before.is_some_and(ClientStatus::is_terminal) || alloc.client_status.is_terminal();
        let status = match (ended, alloc.desired.is_stop()) {
            (true, _) => before.unwrap_or(alloc.client_status),
            (false, true) => ClientStatus::Complete,
            (false, false) => ClientStatus::Running,
        };
        let job = self.jobs.get(&alloc.job);
        let group = job.and_then(|job| job.task_groups.get(usize::from(alloc.group)));
        let tasks = tasks(group.map_or(1, |group| group.tasks.len()), status);
        let health = alloc.deployment_id.filter(|_| !status.is_terminal()).map(|_| true);
        let held =
            Held { index: alloc.alloc_modify_index, job: alloc.job.job.job_id.to_string(), status, tasks, health };
        let changed = before != Some(status) || health.is_some();
        let update = (changed && !ended).then(|| held.update(alloc.id));
        self.allocs.insert(alloc.id, held);
        update
    }

    /// Lets go of what the servers have forgotten.
    pub(crate) fn forget(&mut self, id: &AllocId) {
        self.allocs.remove(id);
    }

    /// Has `count` running allocations end badly.
    pub(crate) fn fail(&mut self, count: usize) -> Vec<AllocUpdate> {
        let running = self.allocs.iter_mut().filter(|(_, held)| held.status == ClientStatus::Running);
        let end = |(id, held): (&AllocId, &mut Held)| {
            held.status = ClientStatus::Failed;
            held.tasks = tasks(held.tasks.len(), ClientStatus::Failed);
            held.health = held.health.map(|_| false);
            held.update(*id)
        };
        running.take(count).map(end).collect()
    }

    /// Everything that is held, as after a reconnection: what was said before may not have arrived.
    pub(crate) fn all(&self) -> Vec<AllocUpdate> {
        self.allocs.iter().map(|(id, held)| held.update(*id)).collect()
    }
}

impl Held {
    fn update(&self, id: AllocId) -> AllocUpdate {
        AllocUpdate { id, client_status: self.status, tasks: Arc::clone(&self.tasks), health: self.health }
    }
}

/// The tasks of an allocation that came into `status` now.
fn tasks(count: usize, status: ClientStatus) -> Arc<[TaskState]> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = Timestamp(i64::try_from(now.as_nanos()).unwrap_or(i64::MAX));
    let task = TaskState {
        state: if status.is_terminal() { TaskRunState::Dead } else { TaskRunState::Running },
        failed: status == ClientStatus::Failed,
        started_at: now,
        finished_at: if status.is_terminal() { now } else { Timestamp::NONE },
        ..TaskState::default()
    };
    vec![task; count].into()
}
