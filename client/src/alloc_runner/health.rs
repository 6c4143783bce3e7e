//! Whether a deployment may count on an allocation, judged by how its tasks are. No I/O.
//!
//! An allocation is healthy once all of its tasks have run for `min_healthy_time` without a restart, and unhealthy when one
//! ends that should not, or when that takes longer than `healthy_deadline`. The verdict is given once per deployment and is
//! remembered, so an agent that restarts goes on where it was. Checks count as passing: none are run yet.

use orch_model::allocation::TaskRunState;
use orch_model::job::{HealthCheck, LifecycleKind};
use orch_model::{Allocation, DeploymentId, Nanos, Timestamp};
use serde::{Deserialize, Serialize};

use super::lifecycle::is_passing;
use super::machine::Member;

/// What is remembered of the health of an allocation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct StoredHealth {
    /// The deployment that wants to know.
    pub(crate) deployment: DeploymentId,
    /// Since when it is watched.
    pub(crate) since: Timestamp,
    /// The verdict, once there is one.
    pub(crate) healthy: Option<bool>,
}

/// How a task looks to somebody who wants to count on its allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    /// It is being found again after the agent restarted, so nobody can say.
    Uncertain,
    /// It has not started, or is about to start again.
    Pending,
    /// It runs since then.
    Running(Timestamp),
    /// It ended as it should.
    Done,
    /// It ended and should not have, or failed.
    Broken,
}

impl Sign {
    /// How a task of a group looks; `None` if it does not count, as it runs after all others.
    pub(super) fn of(member: &Member) -> Option<Self> {
        let state = member.machine.state();
        if member.kind == LifecycleKind::Poststop {
            return None;
        }
        if member.machine.is_uncertain() {
            return Some(Self::Uncertain);
        }
        Some(match state.state {
            TaskRunState::Pending => Self::Pending,
            TaskRunState::Running => Self::Running(state.started_at),
            TaskRunState::Dead if is_passing(member.kind) && state.succeeded() => Self::Done,
            TaskRunState::Dead => Self::Broken,
        })
    }
}

/// The bounds that the job sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    /// How long all tasks must have run.
    pub(super) min_healthy: Nanos,
    /// By when, since watching began.
    pub(super) deadline: Nanos,
}

/// Watches an allocation for one deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HealthWatch {
    bounds: Bounds,
    record: StoredHealth,
    look_at: Option<Timestamp>,
    told: bool,
}

impl HealthWatch {
    /// Watches `alloc` from `now` on, or as `remembered` for the same deployment.
    ///
    /// `None` if nobody waits for a verdict: there is no deployment, an operator gives it, the servers have one already, or
    /// the allocation is to end.
    pub(super) fn new(alloc: &Allocation, remembered: Option<StoredHealth>, now: Timestamp) -> Option<Self> {
        let deployment = alloc.deployment_id?;
        let update = alloc.task_group()?.update.as_ref()?;
        match update.health() {
            Some(HealthCheck::Manual) => return None,
            Some(HealthCheck::Checks | HealthCheck::TaskStates) | None => {}
        }
        if alloc.health.is_some() || alloc.is_terminal() {
            return None;
        }
        let bounds = Bounds {
            min_healthy: update.min_healthy_time.unwrap_or_default(),
            deadline: update.healthy_deadline.unwrap_or_default(),
        };
        let fresh = StoredHealth { deployment, since: now, healthy: None };
        let record = remembered.filter(|record| record.deployment == deployment).unwrap_or(fresh);
        // Where nothing was decided it looks at once.
        let look_at = record.healthy.is_none().then_some(now);
        Some(Self { bounds, record, look_at, told: false })
    }

    /// What is to be remembered.
    pub(super) fn record(&self) -> StoredHealth {
        self.record
    }

    /// The verdict, once there is one, until it was told. After a restart of the agent it is told again.
    pub(super) fn untold(&self) -> Option<bool> {
        self.record.healthy.filter(|_| !self.told)
    }

    /// Notes that the verdict was told.
    pub(super) fn note_told(&mut self) {
        self.told = self.record.healthy.is_some();
    }

    /// Why a task in that state kept its allocation from being healthy; `None` if it did not.
    pub(super) fn complaint(&self, sign: Sign) -> Option<String> {
        if self.record.healthy != Some(false) {
            return None;
        }
        let Bounds { min_healthy, deadline } = self.bounds;
        match sign {
            Sign::Broken => Some("Unhealthy because of failed task".to_owned()),
            Sign::Pending => Some(format!("Task not running by healthy_deadline of {deadline}")),
            Sign::Running(since) if since.plus(min_healthy) > self.record.since.plus(deadline) => Some(format!(
                "Task not running for min_healthy_time of {min_healthy} by healthy_deadline of {deadline}"
            )),
            Sign::Running(_) | Sign::Done | Sign::Uncertain => None,
        }
    }

    /// When it wants to look again, even if nothing happens.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        self.look_at
    }

    /// Looks at all tasks; whether that brought the verdict.
    pub(super) fn step(&mut self, now: Timestamp, tasks: impl IntoIterator<Item = Sign>) -> bool {
        if self.record.healthy.is_some() {
            return false;
        }
        self.look_at = None;
        let end = self.record.since.plus(self.bounds.deadline);
        let (mut started, mut pending, mut uncertain) = (self.record.since, false, false);
        for sign in tasks {
            match sign {
                Sign::Broken => {
                    self.record.healthy = Some(false);
                    return true;
                }
                Sign::Running(since) => started = started.max(since),
                Sign::Pending => pending = true,
                Sign::Uncertain => uncertain = true,
                Sign::Done => {}
            }
        }
        if uncertain {
            return false;
        }
        let well_at = if pending { None } else { Some(started.plus(self.bounds.min_healthy)) };
        self.record.healthy = match well_at.filter(|at| *at <= end) {
            // It was well in time, even if nobody looked then.
            Some(at) if at <= now => Some(true),
            Some(at) => {
                self.look_at = Some(at);
                None
            }
            None if end <= now => Some(false),
            None => {
                self.look_at = Some(end);
                None
            }
        };
        self.record.healthy.is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use orch_model::allocation::{AllocHealth, DesiredStatus};
    use orch_model::job::UpdateStrategy;
    use orch_model::{Job, StateIndex};
    use uuid::Uuid;

    use super::*;

    fn deployment(number: u128) -> DeploymentId {
        DeploymentId::from_uuid(Uuid::from_u128(number))
    }

    fn at(secs: i64) -> Timestamp {
        Timestamp(1).plus(Nanos::from_secs(secs))
    }

    /// Ten seconds to be healthy in, within a minute.
    fn job(health_check: &str) -> Arc<Job> {
        let mut job = orch_model::testing::job("web", 1);
        job.task_groups[0].update = Some(UpdateStrategy {
            health_check: health_check.into(),
            min_healthy_time: Some(Nanos::from_secs(10)),
            healthy_deadline: Some(Nanos::from_secs(60)),
            ..UpdateStrategy::default()
        });
        Arc::new(job)
    }

    fn alloc() -> Allocation {
        let mut alloc = crate::testing::alloc(1, &job("task_states"));
        alloc.deployment_id = Some(deployment(1));
        alloc
    }

    fn watch() -> HealthWatch {
        HealthWatch::new(&alloc(), None, at(0)).unwrap()
    }

    #[test]
    fn nobody_is_told_where_nobody_asks() {
        let unasked = Allocation { deployment_id: None, ..alloc() };
        let manual = Allocation { job: job("manual"), ..alloc() };
        let health = AllocHealth { healthy: true, at: at(0), index: StateIndex(1) };
        let known = Allocation { health: Some(health), ..alloc() };
        let ending = Allocation { desired: DesiredStatus::Stop, ..alloc() };
        for alloc in [unasked, manual, known, ending] {
            assert_eq!(HealthWatch::new(&alloc, None, at(0)), None);
        }
        assert!(HealthWatch::new(&Allocation { job: job("checks"), ..alloc() }, None, at(0)).is_some());
    }

    #[test]
    fn the_table_of_verdicts_holds() {
        use Sign::{Broken, Done, Pending, Running, Uncertain};
        for (now, tasks, verdict, look_at) in [
            (0, vec![Pending], None, Some(60)),
            (5, vec![Running(at(3))], None, Some(13)),
            (13, vec![Running(at(3))], Some(true), None),
            (13, vec![Running(at(3)), Running(at(4))], None, Some(14)),
            (20, vec![Running(at(3)), Pending], None, Some(60)),
            (20, vec![Done, Running(at(3))], Some(true), None),
            (1, vec![Running(at(0)), Broken], Some(false), None),
            (60, vec![Pending], Some(false), None),
            (55, vec![Running(at(51))], None, Some(60)),
            (60, vec![Running(at(51))], Some(false), None),
            (60, vec![Running(at(50))], Some(true), None),
            // Nobody looked for long, as the agent was away.
            (500, vec![Running(at(3))], Some(true), None),
            (500, vec![Uncertain], None, None),
            // Running since long before the deployment began.
            (3, vec![Running(at(-1000))], None, Some(10)),
        ] {
            let mut watch = watch();
            assert_eq!(watch.step(at(now), tasks.clone()), verdict.is_some(), "{now} {tasks:?}");
            assert_eq!((watch.untold(), watch.deadline()), (verdict, look_at.map(at)), "{now} {tasks:?}");
        }
    }

    #[test]
    fn a_verdict_is_given_once_and_stays() {
        let mut watch = watch();
        assert!(watch.step(at(10), [Sign::Running(at(0))]));
        assert!(!watch.step(at(11), [Sign::Broken]));
        assert_eq!(watch.untold(), Some(true));
        watch.note_told();
        assert_eq!((watch.untold(), watch.record().healthy), (None, Some(true)));
    }

    #[test]
    fn a_restarted_agent_goes_on_for_the_same_deployment_and_begins_anew_for_another() {
        let mut first = watch();
        first.step(at(1), [Sign::Pending]);
        let resumed = HealthWatch::new(&alloc(), Some(first.record()), at(40)).unwrap();
        assert_eq!(resumed.record(), first.record());
        first.step(at(2), [Sign::Broken]);
        let decided = HealthWatch::new(&alloc(), Some(first.record()), at(40)).unwrap();
        assert_eq!((decided.untold(), decided.deadline()), (Some(false), None));

        let moved = Allocation { deployment_id: Some(deployment(2)), ..alloc() };
        let anew = HealthWatch::new(&moved, Some(first.record()), at(40)).unwrap();
        assert_eq!(anew.record(), StoredHealth { deployment: deployment(2), since: at(40), healthy: None });
    }
}
