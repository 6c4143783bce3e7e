//! The tasks that this driver watches.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use orch_driver::{Error, TaskId};

use crate::task::Task;

/// The tasks that this driver watches, and those that are being started.
#[derive(Debug, Default)]
pub(crate) struct Table(Mutex<BTreeMap<TaskId, Place>>);

#[derive(Debug)]
enum Place {
    Starting,
    Watched(Arc<Task>),
}

/// A place that is given back unless it is filled.
pub(crate) struct Reserved<'t> {
    table: &'t Table,
    id: TaskId,
}

impl Table {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<TaskId, Place>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds a place for `id`, which must have none.
    pub(crate) fn reserve(&self, id: &TaskId) -> Result<Reserved<'_>, Error> {
        let mut places = self.lock();
        if places.contains_key(id) {
            let message = format!("task {id} was started already");
            return Err(Error::StartFailed { message, recoverable: false });
        }
        places.insert(id.clone(), Place::Starting);
        Ok(Reserved { table: self, id: id.clone() })
    }

    pub(crate) fn find(&self, id: &TaskId) -> Option<Arc<Task>> {
        match self.lock().get(id) {
            Some(Place::Watched(task)) => Some(Arc::clone(task)),
            Some(Place::Starting) | None => None,
        }
    }

    /// Whether `id` is watched or being started.
    pub(crate) fn holds(&self, id: &TaskId) -> bool {
        self.lock().contains_key(id)
    }

    /// Puts `task` under `id`, unless another is there already; returns the one that is.
    pub(crate) fn insert(&self, id: TaskId, task: Task) -> Arc<Task> {
        let mut places = self.lock();
        if let Some(Place::Watched(known)) = places.get(&id) {
            return Arc::clone(known);
        }
        let task = Arc::new(task);
        places.insert(id, Place::Watched(Arc::clone(&task)));
        task
    }

    pub(crate) fn remove(&self, id: &TaskId) {
        self.lock().remove(id);
    }
}

impl Reserved<'_> {
    pub(crate) fn fill(self, task: Task) {
        self.table.insert(self.id.clone(), task);
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        let mut places = self.table.lock();
        if matches!(places.get(&self.id), Some(Place::Starting)) {
            places.remove(&self.id);
        }
    }
}
