//! Whether a task that ended is started again, and when.

use orch_model::job::{JobType, LifecycleKind, RestartMode, RestartPolicy};
use orch_model::seed::Seed;
use orch_model::{Nanos, Timestamp};

/// How a run of a task came to its end, as far as the policy asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It exited.
    Exit {
        /// Whether well.
        success: bool,
    },
    /// It could not be started.
    StartError {
        /// Whether trying again may help.
        recoverable: bool,
    },
}

/// What becomes of the task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// It is started again.
    Restart { delay: Nanos, reason: &'static str },
    /// It is done, and well.
    Terminated,
    /// It has failed for good.
    NotRestarting { reason: String },
}

/// Applies a restart policy to the ends of one task.
#[derive(Debug, Clone)]
pub(super) struct RestartTracker {
    policy: RestartPolicy,
    on_success: bool,
    count: i64,
    window_start: Timestamp,
    seed: Seed,
}

impl RestartTracker {
    /// Restarts after a good end are for sidecars, and for the main tasks of services and system jobs.
    pub(super) fn new(policy: RestartPolicy, job: JobType, kind: LifecycleKind, now: Timestamp, seed: Seed) -> Self {
        let on_success = match kind {
            LifecycleKind::Main => match job {
                JobType::Service | JobType::System => true,
                JobType::Batch | JobType::Sysbatch => false,
            },
            LifecycleKind::Prestart { sidecar } | LifecycleKind::Poststart { sidecar } => sidecar,
            LifecycleKind::Poststop => false,
        };
        Self { policy, on_success, count: 0, window_start: now, seed }
    }

    /// Takes over the policy of a newer version of the job; what was counted stays counted.
    pub(super) fn set_policy(&mut self, policy: RestartPolicy) {
        self.policy = policy;
    }

    /// What becomes of the task after `outcome`.
    pub(super) fn decide(&mut self, now: Timestamp, outcome: Outcome) -> Decision {
        let not = |reason: &str| Decision::NotRestarting { reason: reason.to_owned() };
        let done = outcome == Outcome::Exit { success: true } && !self.on_success;
        let attempts = self.policy.attempts();
        if attempts == 0 {
            return if done { Decision::Terminated } else { not("Policy allows no restarts") };
        }
        let interval = self.policy.interval();
        if now.since(self.window_start) > interval {
            self.count = 0;
            self.window_start = now;
        }
        if outcome == (Outcome::StartError { recoverable: false }) {
            return not("Error was unrecoverable");
        }
        if done {
            return Decision::Terminated;
        }
        self.count += 1;
        if self.count <= attempts {
            return Decision::Restart { delay: self.jittered(self.policy.delay()), reason: "Restart within policy" };
        }
        match self.policy.mode().unwrap_or(RestartMode::Fail) {
            RestartMode::Fail => {
                not(&format!("Exceeded allowed attempts {attempts} in interval {interval} and mode is \"fail\""))
            }
            RestartMode::Delay => Decision::Restart {
                delay: Nanos(self.window_start.plus(interval).since(now).0.max(0)),
                reason: "Exceeded allowed attempts, applying a delay",
            },
        }
    }

    /// The delay with up to a quarter added, so that tasks that fell together do not rise together.
    fn jittered(&mut self, delay: Nanos) -> Nanos {
        let quarter = u64::try_from(delay.0 / 4).unwrap_or(0);
        Nanos(delay.0.saturating_add(i64::try_from(self.seed.below(quarter.saturating_add(1))).unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILED: Outcome = Outcome::Exit { success: false };
    const DONE: Outcome = Outcome::Exit { success: true };

    fn tracker(kind: JobType, attempts: i64, mode: &str) -> RestartTracker {
        let policy = RestartPolicy {
            attempts: Some(attempts),
            interval: Some(Nanos::from_secs(60)),
            delay: Some(Nanos::from_secs(4)),
            mode: mode.into(),
            ..RestartPolicy::default()
        };
        RestartTracker::new(policy, kind, LifecycleKind::Main, Timestamp(1), Seed::new(3))
    }

    fn restarts(decision: &Decision) -> bool {
        matches!(decision, Decision::Restart { .. })
    }

    #[test]
    fn the_table_of_decisions_holds() {
        let now = Timestamp(2);
        let unrecoverable = Outcome::StartError { recoverable: false };
        let not = |reason: &str| Decision::NotRestarting { reason: reason.into() };
        let none = not("Policy allows no restarts");
        for (kind, attempts, outcome, expected) in [
            (JobType::Batch, 0, DONE, Decision::Terminated),
            (JobType::Service, 0, DONE, none.clone()),
            (JobType::Batch, 0, FAILED, none),
            (JobType::Service, 2, unrecoverable, not("Error was unrecoverable")),
            (JobType::Batch, 2, DONE, Decision::Terminated),
        ] {
            let decision = tracker(kind, attempts, "fail").decide(now, outcome);
            assert_eq!(decision, expected, "{kind} {attempts} {outcome:?}");
        }
        for outcome in [DONE, FAILED, Outcome::StartError { recoverable: true }] {
            assert!(restarts(&tracker(JobType::Service, 1, "fail").decide(now, outcome)), "{outcome:?}");
        }
    }

    #[test]
    fn after_a_good_end_only_what_is_to_stay_is_started_again() {
        let (pre, post) =
            (|sidecar| LifecycleKind::Prestart { sidecar }, |sidecar| LifecycleKind::Poststart { sidecar });
        for (job, kind, expected) in [
            (JobType::Service, LifecycleKind::Main, true),
            (JobType::System, LifecycleKind::Main, true),
            (JobType::Batch, LifecycleKind::Main, false),
            (JobType::Sysbatch, LifecycleKind::Main, false),
            (JobType::Service, pre(false), false),
            (JobType::Batch, pre(true), true),
            (JobType::Service, post(false), false),
            (JobType::Batch, post(true), true),
            (JobType::Service, LifecycleKind::Poststop, false),
        ] {
            let mut tracker =
                RestartTracker::new(tracker(job, 1, "fail").policy, job, kind, Timestamp(1), Seed::new(3));
            assert_eq!(restarts(&tracker.decide(Timestamp(2), DONE)), expected, "{job} {kind:?}");
        }
    }

    #[test]
    fn attempts_used_up_fail_or_wait_for_the_window_to_end() {
        let mut fail = tracker(JobType::Service, 2, "fail");
        assert!(restarts(&fail.decide(Timestamp(2), FAILED)));
        assert!(restarts(&fail.decide(Timestamp(3), FAILED)));
        let expected = "Exceeded allowed attempts 2 in interval 1m0s and mode is \"fail\"";
        assert_eq!(fail.decide(Timestamp(4), FAILED), Decision::NotRestarting { reason: expected.into() });

        let mut delay = tracker(JobType::Service, 1, "delay");
        assert!(restarts(&delay.decide(Timestamp(2), FAILED)));
        let at = Timestamp(1).plus(Nanos::from_secs(20));
        let Decision::Restart { delay: wait, .. } = delay.decide(at, FAILED) else { panic!("must wait") };
        assert_eq!(wait, Nanos::from_secs(40));
        let later = Timestamp(1).plus(Nanos::from_secs(61));
        let Decision::Restart { delay: wait, .. } = delay.decide(later, FAILED) else { panic!("a new window") };
        assert!(wait >= Nanos::from_secs(4) && wait <= Nanos::from_secs(5), "{wait}");
    }
}
