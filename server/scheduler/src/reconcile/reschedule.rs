//! When a failed allocation is placed again, and what its replacement remembers of the failures before it.

use std::sync::Arc;

use orch_model::allocation::RescheduleEvent;
use orch_model::job::{DelayFunction, ReschedulePolicy};
use orch_model::time::{Nanos, Timestamp};
use orch_model::{Allocation, NodeId};
use smallvec::SmallVec;

/// Failed allocations that become due within this time of each other are looked at together.
pub const WINDOW: Nanos = Nanos::from_secs(5);

/// What is due within this time is due now.
const SOON: Nanos = Nanos::from_secs(1);

/// How many earlier failures are remembered where attempts are not counted: enough for every delay function.
const REMEMBERED: usize = 5;

/// When a failed allocation is to be replaced; `None` if its policy does not allow another attempt.
///
/// The delay counts from the failure. Policies with `unlimited` always allow another; others allow `attempts` within
/// `interval`, counted back from the failure.
pub fn due(policy: &ReschedulePolicy, failed: &Allocation) -> Option<Timestamp> {
    let at = failed_at(failed);
    let has_attempts = if policy.unlimited() {
        true
    } else {
        let attempts = counted(policy, &failed.reschedules, at).len();
        i64::try_from(attempts).unwrap_or(i64::MAX) < policy.attempts()
    };
    has_attempts.then(|| at.plus(next_delay(policy, &failed.reschedules, at)))
}

/// Whether what is due then should be done now.
pub(super) fn is_now(due: Timestamp, now: Timestamp) -> bool {
    due <= now.plus(SOON)
}

/// The failures that a replacement of `failed` remembers, that one included.
pub(super) fn history(policy: &ReschedulePolicy, failed: &Allocation, now: Timestamp) -> Arc<[RescheduleEvent]> {
    let at = failed_at(failed);
    let earlier = counted(policy, &failed.reschedules, at);
    let earlier = if policy.unlimited() { last(earlier, REMEMBERED - 1) } else { earlier };
    let delay = next_delay(policy, &failed.reschedules, at);
    let event = RescheduleEvent { at: now, alloc: failed.id, node: failed.node_id, delay };
    earlier.iter().copied().chain([event]).collect()
}

/// The nodes on which a failed allocation and those that it remembers failed, latest first.
pub(super) fn failed_on(failed: &Allocation) -> SmallVec<[NodeId; 2]> {
    let mut nodes = SmallVec::new();
    let earlier = last(&failed.reschedules, REMEMBERED).iter().rev().map(|event| event.node);
    for node in [failed.node_id].into_iter().chain(earlier) {
        if !nodes.contains(&node) {
            nodes.push(node);
        }
    }
    nodes
}

/// When an allocation failed: the end of its last task, as far as the servers' clock allows that.
fn failed_at(alloc: &Allocation) -> Timestamp {
    let last = alloc.tasks.iter().map(|task| task.finished_at).max().unwrap_or_default();
    // What a client says of times is bounded by what the servers saw: a wrong clock neither puts off nor hurries.
    if last.is_none() { alloc.modify_time } else { last.max(alloc.create_time).min(alloc.modify_time) }
}

/// The failures that count as attempts for one at `at`.
fn counted<'e>(policy: &ReschedulePolicy, events: &'e [RescheduleEvent], at: Timestamp) -> &'e [RescheduleEvent] {
    let is_old = |event: &RescheduleEvent| at.since(event.at) >= policy.interval();
    if policy.unlimited() || policy.interval() <= Nanos::ZERO {
        return events;
    }
    events.get(events.partition_point(is_old)..).unwrap_or_default()
}

fn last(events: &[RescheduleEvent], most: usize) -> &[RescheduleEvent] {
    events.get(events.len().saturating_sub(most)..).unwrap_or(events)
}

/// How long to wait after the failure at `at`, given those before it.
///
/// A delay that has reached its limit starts over once an allocation ran for longer than that since it was placed.
fn next_delay(policy: &ReschedulePolicy, events: &[RescheduleEvent], at: Timestamp) -> Nanos {
    let Some(latest) = events.last() else { return policy.delay() };
    let limit = (policy.max_delay() > Nanos::ZERO).then(|| policy.max_delay());
    let before = events.iter().rev().nth(1).map(|event| event.delay);
    let delay = match (policy.function().unwrap_or(DelayFunction::Constant), before) {
        (DelayFunction::Constant, _) => return policy.delay(),
        (DelayFunction::Fibonacci, None) => policy.delay(),
        // The series has just started over.
        (DelayFunction::Fibonacci, Some(before)) if Some(before) == limit && latest.delay == policy.delay() => {
            policy.delay()
        }
        (DelayFunction::Fibonacci, Some(before)) => Nanos(latest.delay.0.saturating_add(before.0)),
        (DelayFunction::Exponential, _) => Nanos(latest.delay.0.saturating_mul(2)),
    };
    match limit {
        Some(limit) if delay > limit => {
            if at.since(latest.at) > limit {
                policy.delay()
            } else {
                limit
            }
        }
        Some(_) | None => delay,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(function: &str, delay: i64, max: i64) -> ReschedulePolicy {
        ReschedulePolicy {
            delay: Some(Nanos::from_secs(delay)),
            max_delay: Some(Nanos::from_secs(max)),
            delay_function: function.into(),
            unlimited: Some(true),
            ..ReschedulePolicy::default()
        }
    }

    fn limited(attempts: i64, interval: i64) -> ReschedulePolicy {
        ReschedulePolicy {
            attempts: Some(attempts),
            interval: Some(Nanos::from_secs(interval)),
            unlimited: Some(false),
            ..policy("constant", 5, 0)
        }
    }

    /// One that failed at `secs`, and the events that it remembers.
    fn failed(secs: i64, events: &[RescheduleEvent]) -> Allocation {
        let job = Arc::new(orch_model::testing::job("web", 1));
        let mut alloc = orch_model::testing::alloc(1, &job);
        alloc.modify_time = Timestamp::NONE.plus(Nanos::from_secs(secs));
        alloc.reschedules = events.into();
        alloc
    }

    /// What is waited for at each of `count` failures, when each replacement fails as soon as it is there.
    fn delays(policy: &ReschedulePolicy, count: usize) -> (Vec<i64>, Allocation) {
        let mut alloc = failed(1000, &[]);
        let mut delays = Vec::new();
        for _ in 0..count {
            let due = due(policy, &alloc).unwrap();
            delays.push(due.since(alloc.modify_time).0 / 1_000_000_000);
            alloc.reschedules = history(policy, &alloc, due);
            alloc.modify_time = due;
        }
        (delays, alloc)
    }

    #[test]
    fn delays_grow_as_the_policy_says() {
        for (function, delay, max, expected) in [
            ("exponential", 30, 3600, [30, 60, 120, 240, 480, 960, 1920, 3600]),
            ("fibonacci", 30, 3600, [30, 30, 60, 90, 150, 240, 390, 630]),
            ("constant", 5, 0, [5; 8]),
            ("fibonacci", 5, 60, [5, 5, 10, 15, 25, 40, 60, 60]),
        ] {
            assert_eq!(delays(&policy(function, delay, max), 8).0, expected, "{function}");
        }
    }

    #[test]
    fn a_delay_at_its_limit_starts_over_after_a_long_run() {
        for (function, delay, max, then) in [("exponential", 30, 3600, [30, 60, 120]), ("fibonacci", 5, 60, [5, 5, 10])]
        {
            let policy = policy(function, delay, max);
            let (_, mut alloc) = delays(&policy, 9);
            let long_after = alloc.modify_time.plus(Nanos::from_secs(max + 1));
            for expected in then {
                let at = alloc.modify_time.max(long_after);
                alloc.modify_time = at;
                let due = due(&policy, &alloc).unwrap();
                assert_eq!(due.since(at), Nanos::from_secs(expected), "{function}");
                alloc.reschedules = history(&policy, &alloc, due);
                alloc.modify_time = due;
            }
        }
    }

    #[test]
    fn attempts_are_counted_within_the_interval_alone() {
        let policy = limited(2, 100);
        let (_, twice) = delays(&policy, 2);
        assert_eq!(twice.reschedules.len(), 2);
        assert_eq!(due(&policy, &twice), None, "both attempts are used up");
        let mut later = twice.clone();
        later.modify_time = twice.reschedules[0].at.plus(Nanos::from_secs(100));
        assert!(due(&policy, &later).is_some(), "the first has gone out of the interval");
        assert_eq!(history(&policy, &later, later.modify_time).len(), 2, "and is forgotten");
        assert_eq!(due(&limited(0, 100), &failed(1, &[])), None, "no attempts, no replacement");
    }

    #[test]
    fn an_unlimited_policy_remembers_the_last_five() {
        let (_, alloc) = delays(&policy("exponential", 1, 0), 9);
        let delays: Vec<_> = alloc.reschedules.iter().map(|event| event.delay.0 / 1_000_000_000).collect();
        assert_eq!(delays, [16, 32, 64, 128, 256]);
    }

    #[test]
    fn a_clients_clock_neither_puts_off_nor_hurries() {
        let policy = policy("constant", 30, 0);
        for (finished, from) in [(500, 100), (50, 50), (1, 20)] {
            let mut alloc = failed(100, &[]);
            alloc.create_time = Timestamp::NONE.plus(Nanos::from_secs(20));
            let finished_at = Timestamp::NONE.plus(Nanos::from_secs(finished));
            alloc.tasks = Arc::from([orch_model::allocation::TaskState { finished_at, ..Default::default() }]);
            let expected = Timestamp::NONE.plus(Nanos::from_secs(from + 30));
            assert_eq!(due(&policy, &alloc), Some(expected), "finished at {finished}");
        }
    }
}
