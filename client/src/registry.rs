//! The allocations of this node for those who only look: the agent writes, everyone else reads.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use orch_model::allocation::{ClientStatus, TaskState};
use orch_model::{AllocId, Allocation};
use tokio::sync::watch;

use crate::alloc_runner::RunnerHandle;

/// One allocation as it is now.
#[derive(Debug, Clone)]
pub(crate) struct AllocView {
    pub(crate) alloc: Arc<Allocation>,
    /// A way to its runner, while it has one.
    pub(crate) runner: Option<RunnerHandle>,
    pub(crate) status: ClientStatus,
    /// The state of each task in the order of the group's; empty where nothing is known.
    pub(crate) tasks: Arc<[TaskState]>,
    /// Whether its directory was given up.
    pub(crate) collected: bool,
}

impl AllocView {
    /// How the task called `name` is; `None` if there is no such task.
    pub(crate) fn task(&self, name: &str) -> Option<TaskState> {
        let place = self.alloc.task_group()?.tasks.iter().position(|task| task.name == name)?;
        Some(self.tasks.get(place).cloned().unwrap_or_default())
    }
}

/// The allocations of this node; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Registry(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    views: RwLock<BTreeMap<AllocId, AllocView>>,
    changed: watch::Sender<()>,
}

impl Registry {
    /// One allocation.
    pub(crate) fn get(&self, id: AllocId) -> Option<AllocView> {
        self.0.views.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// Those that run.
    pub(crate) fn running(&self) -> Vec<AllocView> {
        let views = self.0.views.read().unwrap_or_else(PoisonError::into_inner);
        views.values().filter(|view| view.status == ClientStatus::Running && view.runner.is_some()).cloned().collect()
    }

    /// How many allocations there are, by status.
    pub(crate) fn counts(&self) -> BTreeMap<ClientStatus, u32> {
        let mut counts = BTreeMap::new();
        for view in self.0.views.read().unwrap_or_else(PoisonError::into_inner).values() {
            *counts.entry(view.status).or_default() += 1;
        }
        counts
    }

    pub(crate) fn set(&self, id: AllocId, view: AllocView) {
        self.0.views.write().unwrap_or_else(PoisonError::into_inner).insert(id, view);
        self.0.changed.send_replace(());
    }

    pub(crate) fn remove(&self, id: AllocId) {
        self.0.views.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
        self.0.changed.send_replace(());
    }

    /// Is told of every change from now on.
    pub(crate) fn subscribe(&self) -> watch::Receiver<()> {
        self.0.changed.subscribe()
    }
}
