//! What the job's current version means for allocations of earlier ones.

use std::sync::Arc;

use orch_model::diff::{UpdateKind, update_kind};
use orch_model::{Allocation, Job};

/// An allocation of a group, and what the job's current version means for it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member<'a> {
    pub(super) alloc: &'a Arc<Allocation>,
    /// Which instance it is, kept here because thousands are sorted by it.
    pub(super) index: u32,
    pub(super) update: Update,
}

/// What the job's current version means for an allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Update {
    /// It runs that version.
    Current,
    /// It can take it on as it runs.
    InPlace,
    /// It must be replaced.
    Destructive,
}

/// The versions of the job that allocations run, with what each means for its groups, found out once.
#[derive(Default)]
pub(super) struct Versions {
    seen: Vec<(u64, Vec<Option<Home>>)>,
}

/// The group of the current version that a group became, and what that version means for its allocations.
type Home = (u16, Update);

impl Versions {
    /// The group of `job` that an allocation belongs to; `None` if it belongs to none, or to an earlier incarnation.
    pub(super) fn home(&mut self, job: &Job, alloc: &Allocation) -> Option<Home> {
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
