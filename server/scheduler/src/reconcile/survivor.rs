//! Which of several live allocations of one name stays.

use orch_model::Allocation;
use orch_model::allocation::{ClientStatus, Score, Scorer};
use orch_model::job::{Reconcile, TaskGroup};
use orch_model::time::Timestamp;

use super::versions::Member;

/// The one that stays, of allocations that run under one name, oldest first.
///
/// Several run under one name after a node came back whose allocations had been replaced. The group's
/// `disconnect.reconcile` decides between the original and its replacement; without one, the better score.
pub(super) fn of<'a>(group: &TaskGroup, rivals: &[Member<'a>]) -> Option<Member<'a>> {
    let rule = group.disconnect.as_ref().and_then(|disconnect| disconnect.reconcile()).unwrap_or(Reconcile::BestScore);
    let (first, others) = rivals.split_first()?;
    Some(others.iter().fold(*first, |original, replacement| {
        if keeps_replacement(rule, original.alloc, replacement.alloc) { *replacement } else { original }
    }))
}

fn keeps_replacement(rule: Reconcile, original: &Allocation, replacement: &Allocation) -> bool {
    if replacement.job.version != original.job.version {
        return replacement.job.version > original.job.version;
    }
    match rule {
        Reconcile::KeepOriginal => false,
        Reconcile::KeepReplacement => true,
        Reconcile::LongestRunning => started(replacement) < started(original),
        Reconcile::BestScore => {
            let runs = |alloc: &Allocation| alloc.client_status == ClientStatus::Running;
            normalized(replacement) > normalized(original) && (runs(replacement) || !runs(original))
        }
    }
}

/// When its first task started; what has not started comes last.
fn started(alloc: &Allocation) -> Timestamp {
    let starts = alloc.tasks.iter().map(|task| task.started_at);
    starts.filter(|start| !start.is_none()).min().unwrap_or(Timestamp(i64::MAX))
}

fn normalized(alloc: &Allocation) -> Score {
    alloc.scores.iter().find(|entry| entry.scorer == Scorer::Normalized).map_or(Score::default(), |entry| entry.score)
}
