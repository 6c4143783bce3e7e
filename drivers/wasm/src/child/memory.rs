//! How much memory the instances of a process have together.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use wasmtime::ResourceLimiter;

/// What an element of a table takes, in bytes.
const ELEMENT_BYTES: u64 = 16;

/// The memory that all instances share.
#[derive(Debug)]
pub(super) struct Budget {
    limit: Option<u64>,
    used: AtomicU64,
}

impl Budget {
    /// `limit` in bytes; `None` for as much as the host gives.
    pub(super) fn new(limit: Option<u64>) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicU64::new(0) })
    }

    fn take(&self, bytes: u64) -> Result<(), OutOfMemory> {
        let Some(limit) = self.limit else { return Ok(()) };
        let fits = |used: u64| used.checked_add(bytes).filter(|used| *used <= limit);
        let taken = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits);
        taken.map(drop).map_err(|_| OutOfMemory { limit })
    }
}

/// The program wanted more memory than it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OutOfMemory {
    limit: u64,
}

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "out of memory: the program wanted more than the {} MiB of its resources", self.limit >> 20)
    }
}

impl std::error::Error for OutOfMemory {}

/// What one instance has of it, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Meter {
    budget: Arc<Budget>,
    taken: u64,
}

impl Meter {
    pub(super) fn new(budget: &Arc<Budget>) -> Self {
        Self { budget: Arc::clone(budget), taken: 0 }
    }

    /// Growing beyond the limit ends the program, as it would end one that the kernel limits; growing beyond what the program itself
    /// allows is for the program to handle.
    fn grow(&mut self, current: usize, desired: usize, maximum: Option<usize>, unit: u64) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let more = u64::try_from(desired.saturating_sub(current)).unwrap_or(u64::MAX).saturating_mul(unit);
        self.budget.take(more)?;
        self.taken = self.taken.saturating_add(more);
        Ok(true)
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        self.grow(current, desired, maximum, 1)
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        self.grow(current, desired, maximum, ELEMENT_BYTES)
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if self.budget.limit.is_some() {
            self.budget.used.fetch_sub(self.taken, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_share_a_limit_and_give_back_what_they_had() {
        let budget = Budget::new(Some(100));
        let (mut first, mut second) = (Meter::new(&budget), Meter::new(&budget));
        assert!(first.memory_growing(0, 60, None).unwrap());
        assert!(!second.memory_growing(0, 60, Some(50)).unwrap(), "the program's own limit is its own matter");
        let error = second.memory_growing(0, 60, None).unwrap_err();
        assert!(error.downcast_ref::<OutOfMemory>().is_some());
        assert!(second.table_growing(1, 4, None).is_err() == (60 + 3 * 16 > 100));
        drop(first);
        assert!(second.memory_growing(0, 60, None).unwrap());
        assert!(Meter::new(&Budget::new(None)).memory_growing(0, usize::MAX, None).unwrap());
    }
}
