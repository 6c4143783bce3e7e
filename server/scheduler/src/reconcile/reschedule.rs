//! When a failed allocation is placed again, read off the chain of allocations that it replaces.

use std::sync::Arc;

use orch_model::allocation::ClientStatus;
use orch_model::job::{DelayFunction, ReschedulePolicy};
use orch_model::time::{Nanos, Timestamp};
use orch_model::{AllocId, Allocation, NodeId};
use smallvec::SmallVec;

/// What is due within this time is due now.
const SOON: Nanos = Nanos::from_secs(1);

/// How many earlier failures are looked at: enough for any sensible delay to have reached its limit.
const REMEMBERED: usize = 32;

/// On how many nodes of earlier failures a replacement is not welcome.
const PENALISED: usize = 5;

/// Finds an allocation of the same job.
type Find<'f, 'a> = &'f dyn Fn(&AllocId) -> Option<&'a Arc<Allocation>>;

/// An earlier failure of the same name that was followed by a replacement.
#[derive(Debug, Clone, Copy)]
struct Failure {
    at: Timestamp,
    replaced_at: Timestamp,
}

/// When `failed` is to be replaced; `None` if its policy does not allow another attempt.
pub(super) fn due<'a>(policy: &ReschedulePolicy, failed: &'a Allocation, find: Find<'_, 'a>) -> Option<Timestamp> {
    if !policy.is_enabled() {
        return None;
    }
    let at = failed_at(failed);
    let earlier = failures_before(failed, find);
    if !policy.unlimited() {
        let counts =
            |failure: &&Failure| policy.interval() <= Nanos::ZERO || at.since(failure.replaced_at) < policy.interval();
        let attempts = i64::try_from(earlier.iter().filter(counts).count()).unwrap_or(i64::MAX);
        if attempts >= policy.attempts() {
            return None;
        }
    }
    Some(at.plus(next_delay(policy, &earlier, at)))
}

/// Whether what is due then should be done now.
pub(super) fn is_now(due: Timestamp, now: Timestamp) -> bool {
    due <= now.plus(SOON)
}

/// The nodes on which an allocation and those before it failed, latest first.
pub(super) fn failed_on<'a>(failed: &'a Allocation, find: Find<'_, 'a>) -> SmallVec<[NodeId; 2]> {
    let mut nodes = SmallVec::new();
    let mut current = Some(failed);
    while let Some(alloc) = current.filter(|alloc| alloc.client_status == ClientStatus::Failed) {
        if nodes.len() > PENALISED {
            break;
        }
        if !nodes.contains(&alloc.node_id) {
            nodes.push(alloc.node_id);
        }
        current = alloc.previous.and_then(|id| find(&id)).map(|alloc| &**alloc);
    }
    nodes
}

/// When an allocation failed: the end of its last task.
fn failed_at(alloc: &Allocation) -> Timestamp {
    let last = alloc.tasks.iter().map(|task| task.finished_at).max().unwrap_or_default();
    if last.is_none() { alloc.modify_time } else { last }
}

/// The failures that led to `alloc`, oldest first.
fn failures_before<'a>(alloc: &'a Allocation, find: Find<'_, 'a>) -> Vec<Failure> {
    let mut failures = Vec::new();
    let mut successor = alloc;
    while failures.len() < REMEMBERED
        && let Some(previous) = successor.previous.and_then(|id| find(&id))
        && previous.client_status == ClientStatus::Failed
    {
        failures.push(Failure { at: failed_at(previous), replaced_at: successor.create_time });
        successor = previous;
    }
    failures.reverse();
    failures
}

/// How long to wait after the failure at `at`, given those before it.
fn next_delay(policy: &ReschedulePolicy, earlier: &[Failure], at: Timestamp) -> Nanos {
    let mut delays: SmallVec<[Nanos; 8]> = SmallVec::new();
    let mut last_replaced = None;
    for (failed_at, replaced_at) in
        earlier.iter().map(|failure| (failure.at, Some(failure.replaced_at))).chain([(at, None)])
    {
        let capped = delays.last().is_some_and(|last| policy.max_delay() > Nanos::ZERO && *last >= policy.max_delay());
        let ran_long = last_replaced.is_some_and(|start: Timestamp| failed_at.since(start) > policy.max_delay());
        if capped && ran_long {
            delays.clear();
        }
        delays.push(grown(policy, &delays));
        last_replaced = replaced_at;
    }
    delays.last().copied().unwrap_or_else(|| policy.delay())
}

/// The delay that follows `delays`.
fn grown(policy: &ReschedulePolicy, delays: &[Nanos]) -> Nanos {
    let last = delays.last().copied();
    let before = delays.iter().rev().nth(1).copied();
    let delay = match (policy.function().unwrap_or(DelayFunction::Constant), last, before) {
        (DelayFunction::Constant, _, _) | (_, None, _) | (DelayFunction::Fibonacci, _, None) => policy.delay(),
        (DelayFunction::Exponential, Some(last), _) => Nanos(last.0.saturating_mul(2)),
        (DelayFunction::Fibonacci, Some(last), Some(before)) => Nanos(last.0.saturating_add(before.0)),
    };
    if policy.max_delay() > Nanos::ZERO { delay.min(policy.max_delay()) } else { delay }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_as_the_policy_says_and_start_over_after_a_long_run() {
        for (function, delay, max, expected) in [
            ("exponential", 30, 3600, [30, 60, 120, 240, 480, 960, 1920, 3600]),
            ("fibonacci", 30, 3600, [30, 30, 60, 90, 150, 240, 390, 630]),
            ("constant", 5, 0, [5; 8]),
            ("fibonacci", 5, 60, [5, 5, 10, 15, 25, 40, 60, 60]),
        ] {
            let policy = ReschedulePolicy {
                delay: Some(Nanos::from_secs(delay)),
                max_delay: Some(Nanos::from_secs(max)),
                delay_function: function.into(),
                unlimited: Some(true),
                ..ReschedulePolicy::default()
            };
            let mut earlier = Vec::new();
            let mut now = Timestamp(1);
            for expected in expected {
                let found = next_delay(&policy, &earlier, now);
                assert_eq!(found, Nanos::from_secs(expected), "{function} after {} failures", earlier.len());
                earlier.push(Failure { at: now, replaced_at: now.plus(found) });
                now = now.plus(found);
            }
            let long_after = now.plus(Nanos::from_secs(max + 1));
            let over = next_delay(&policy, &earlier, long_after);
            let capped = expected[7] == max;
            assert_eq!(over == Nanos::from_secs(delay), capped || function == "constant", "{function} {over}");
        }
    }
}
