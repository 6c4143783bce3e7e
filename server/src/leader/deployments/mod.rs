//! The deployment watcher: what a rollout needs next, and when it has failed.
//!
//! A state machine without I/O, on the leader alone. It is told how deployments stand whenever something about them
//! changed, and says what is to be proposed. That a rollout has succeeded is for the reconciler to find; that every
//! other one ends is decided here: a running deployment always has a deadline.

mod observe;
mod service;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use orch_model::deployment::{Deployment, DeploymentStatus};
use orch_model::{AllocId, DeploymentId, JobKey, Nanos, Timestamp};

pub use observe::observe;
pub(super) use service::watch;

/// Healthy allocations of one deployment are answered with one evaluation per so long at most.
pub const BATCH: Duration = Duration::from_millis(250);

/// An answer that has not come after so long will not come.
pub const ANSWER: Duration = Duration::from_secs(60);

/// How long to wait after a proposal that came to nothing.
pub const RETRY: Duration = Duration::from_secs(1);

/// How often a deployment whose groups have enough healthy allocations is looked at until it ends.
pub const NUDGE: Duration = Duration::from_secs(30);

/// A group that sets no progress deadline may go without progress for so long.
pub const LONGEST: Nanos = Nanos::from_secs(24 * 3600);

/// One moment, by both clocks: deadlines are replicated as times, and kept by the clock that never jumps.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// The monotonic clock.
    pub at: Instant,
    /// The time that an entry would be stamped with.
    pub time: Timestamp,
}

/// How a deployment stands, as far as the watcher cares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The deployment.
    pub id: DeploymentId,
    /// The job that it is of.
    pub job: JobKey,
    /// Its status.
    pub status: DeploymentStatus,
    /// How many of its allocations were found healthy.
    pub healthy: u32,
    /// By when it must have moved on; `None` if every group has as many healthy allocations as it wants for now.
    pub progress_by: Option<Timestamp>,
    /// How long it may stay unfinished when all of its groups have enough healthy allocations; `None` where that is
    /// somebody's to decide, as with canaries that nobody promoted yet.
    pub patience: Option<Nanos>,
    /// Its allocations that were found unhealthy or failed, and were not replaced yet.
    pub unhealthy: Vec<Unhealthy>,
}

/// An allocation on which its deployment cannot count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unhealthy {
    /// The allocation.
    pub id: AllocId,
    /// What its policies say of it.
    pub remedy: Remedy,
}

/// What can be done about an allocation that is not healthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Nothing: the deployment fails.
    None,
    /// It is replaced, not before this time.
    Replace(Timestamp),
    /// Nothing now: its replacement was asked for already, or it may still fail and be replaced then.
    Wait,
}

impl Standing {
    /// How `deployment` stands, given its allocations that are not healthy.
    pub fn new(deployment: &Deployment, unhealthy: Vec<Unhealthy>) -> Self {
        let unfinished = deployment.groups.values().filter(|group| !group.has_enough_healthy());
        let progress_by = unfinished
            .map(|group| {
                let allowed = allowed(group.progress_deadline);
                if group.require_progress_by.is_none() {
                    // Nothing of it was placed yet: time runs since anything else of the deployment moved.
                    deployment.create_time.max(deployment.modify_time).plus(allowed)
                } else if group.progress_deadline.0 <= 0 {
                    group.require_progress_by.plus(allowed)
                } else {
                    group.require_progress_by
                }
            })
            .min();
        let longest = deployment.groups.values().map(|group| allowed(group.progress_deadline)).max();
        Self {
            id: deployment.id,
            job: deployment.job_key().clone(),
            status: deployment.status,
            healthy: deployment.groups.values().fold(0, |sum, group| sum.saturating_add(group.healthy)),
            progress_by,
            patience: longest.filter(|_| !deployment.needs_promotion()),
            unhealthy,
        }
    }
}

/// How long a group may go without progress.
fn allowed(progress_deadline: Nanos) -> Nanos {
    if progress_deadline.0 > 0 { progress_deadline } else { LONGEST }
}

/// What has happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// A deployment stands so.
    Stands(Standing),
    /// A deployment is not there any more.
    Gone(DeploymentId),
    /// What was asked for a deployment was done, or was not; how it stands since has been told before.
    Answered {
        /// The deployment.
        id: DeploymentId,
        /// Whether it was done.
        done: bool,
    },
    /// Time has passed.
    Tick,
}

/// What is to be done. Nothing else is asked for that deployment until it is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Look at the job afresh: allocations have become healthy.
    Evaluate {
        /// The deployment.
        id: DeploymentId,
        /// Its job.
        job: JobKey,
    },
    /// Replace these allocations.
    Reschedule {
        /// The deployment.
        id: DeploymentId,
        /// The allocations.
        allocs: Vec<AllocId>,
    },
    /// Give the deployment up.
    Fail {
        /// The deployment.
        id: DeploymentId,
        /// Why.
        cause: Cause,
    },
}

/// Why a deployment is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// An allocation is unhealthy and cannot be replaced.
    UnhealthyAllocs,
    /// It did not move on in time.
    ProgressDeadline,
}

impl Action {
    /// The deployment that it is about.
    pub const fn deployment(&self) -> DeploymentId {
        match self {
            Self::Evaluate { id, .. } | Self::Reschedule { id, .. } | Self::Fail { id, .. } => *id,
        }
    }
}

/// Watches deployments.
#[derive(Debug, Default)]
pub struct Watcher {
    watched: BTreeMap<DeploymentId, Watched>,
}

#[derive(Debug)]
struct Watched {
    standing: Standing,
    /// The deadline as it is replicated, and when that is by the monotonic clock.
    deadline: Option<(Timestamp, Instant)>,
    /// Since when all of its groups have had enough healthy allocations while it ran on.
    lingers_since: Option<Instant>,
    /// How many were healthy when an evaluation was last asked for, and when that was.
    evaluated: u32,
    evaluated_at: Option<Instant>,
    /// Since when an answer is awaited.
    asking_since: Option<Instant>,
    /// Nothing is asked for before then.
    not_before: Option<Instant>,
}

impl Watcher {
    /// Takes an event in; says what is to be done now.
    pub fn step(&mut self, now: Now, event: Event) -> Vec<Action> {
        match event {
            Event::Stands(standing) if standing.status.is_terminal() => {
                self.watched.remove(&standing.id);
                Vec::new()
            }
            Event::Stands(standing) => {
                let id = standing.id;
                match self.watched.get_mut(&id) {
                    Some(watched) => watched.take(standing, now),
                    None => {
                        self.watched.insert(id, Watched::new(standing, now));
                    }
                }
                self.decide(id, now)
            }
            Event::Gone(id) => {
                self.watched.remove(&id);
                Vec::new()
            }
            Event::Answered { id, done } => {
                let Some(watched) = self.watched.get_mut(&id) else { return Vec::new() };
                watched.answered(done, now);
                self.decide(id, now)
            }
            Event::Tick => self.watched.values_mut().filter_map(|watched| watched.decide(now)).collect(),
        }
    }

    /// When to call again with [`Event::Tick`] at the latest, unless something happens before.
    pub fn wakes_at(&self, now: Now) -> Option<Instant> {
        self.watched.values().filter_map(|watched| watched.wakes_at(now)).min()
    }

    /// The deployments that are watched.
    pub fn ids(&self) -> impl Iterator<Item = DeploymentId> {
        self.watched.keys().copied()
    }

    /// How many deployments are watched, and for how many of them an answer is awaited.
    pub fn counts(&self) -> (usize, usize) {
        (self.watched.len(), self.watched.values().filter(|watched| watched.asking_since.is_some()).count())
    }

    fn decide(&mut self, id: DeploymentId, now: Now) -> Vec<Action> {
        self.watched.get_mut(&id).and_then(|watched| watched.decide(now)).into_iter().collect()
    }
}

impl Watched {
    fn new(standing: Standing, now: Now) -> Self {
        let mut watched = Self {
            standing: standing.clone(),
            deadline: None,
            lingers_since: None,
            // What an earlier leader did about those that are healthy is not known, so they count as new.
            evaluated: 0,
            evaluated_at: None,
            asking_since: None,
            not_before: None,
        };
        watched.take(standing, now);
        watched
    }

    fn take(&mut self, standing: Standing, now: Now) {
        let running = standing.status == DeploymentStatus::Running;
        let by = standing.progress_by.filter(|_| running);
        // One that is known keeps its moment: the replicated clock stands still while nothing is written.
        if self.deadline.map(|(known, _)| known) != by {
            self.deadline = by.map(|by| (by, now.at + by.since(now.time).to_std()));
        }
        if running && standing.progress_by.is_none() {
            self.lingers_since.get_or_insert(now.at);
        } else {
            self.lingers_since = None;
        }
        // Where fewer are healthy than before, the next one counts again.
        self.evaluated = self.evaluated.min(standing.healthy);
        self.standing = standing;
    }

    /// Takes note of an answer. The same is not asked again at once, in case it changed nothing.
    fn answered(&mut self, done: bool, now: Now) {
        self.asking_since = None;
        self.not_before = Some(now.at + if done { BATCH } else { RETRY });
        if !done {
            self.evaluated = 0;
        }
    }

    /// What is to be done now, the gravest first.
    fn decide(&mut self, now: Now) -> Option<Action> {
        let running = self.standing.status == DeploymentStatus::Running;
        if !running || self.is_asking(now) || self.not_before.is_some_and(|at| at > now.at) {
            return None;
        }
        let id = self.standing.id;
        let action = if self.standing.unhealthy.iter().any(|alloc| alloc.remedy == Remedy::None) {
            Action::Fail { id, cause: Cause::UnhealthyAllocs }
        } else if self.ends_at().is_some_and(|at| at <= now.at) {
            Action::Fail { id, cause: Cause::ProgressDeadline }
        } else if let Some(allocs) = self.due(now) {
            Action::Reschedule { id, allocs }
        } else if self.evaluates_at(now).is_some_and(|at| at <= now.at) {
            self.evaluated = self.standing.healthy;
            self.evaluated_at = Some(now.at);
            Action::Evaluate { id, job: self.standing.job.clone() }
        } else {
            return None;
        };
        self.asking_since = Some(now.at);
        Some(action)
    }

    /// Whether an answer is awaited that may still come.
    fn is_asking(&self, now: Now) -> bool {
        self.asking_since.is_some_and(|since| now.at < since + ANSWER)
    }

    /// When it has failed for want of progress.
    fn ends_at(&self) -> Option<Instant> {
        let lingers = self.lingers_since.zip(self.standing.patience).map(|(since, patience)| since + patience.to_std());
        self.deadline.map(|(_, at)| at).or(lingers)
    }

    /// Allocations that may be replaced now.
    fn due(&self, now: Now) -> Option<Vec<AllocId>> {
        let due = self.standing.unhealthy.iter().filter(|alloc| match alloc.remedy {
            Remedy::Replace(from) => from <= now.time,
            Remedy::None | Remedy::Wait => false,
        });
        Some(due.map(|alloc| alloc.id).collect::<Vec<_>>()).filter(|due| !due.is_empty())
    }

    /// When an evaluation is to be asked for, if any is.
    fn evaluates_at(&self, now: Now) -> Option<Instant> {
        if self.standing.healthy > self.evaluated {
            return Some(self.evaluated_at.map_or(now.at, |at| at + BATCH));
        }
        // An evaluation that found it unfinished may have looked too early.
        let lingers = self.lingers_since.filter(|_| self.standing.patience.is_some());
        lingers.map(|since| self.evaluated_at.unwrap_or(since) + NUDGE)
    }

    fn wakes_at(&self, now: Now) -> Option<Instant> {
        if self.standing.status != DeploymentStatus::Running {
            return None;
        }
        if let Some(since) = self.asking_since.filter(|_| self.is_asking(now)) {
            return Some(since + ANSWER);
        }
        let replacements = self.standing.unhealthy.iter().filter_map(|alloc| match alloc.remedy {
            Remedy::Replace(from) => Some(now.at + from.since(now.time).to_std()),
            Remedy::None => Some(now.at),
            Remedy::Wait => None,
        });
        let next = replacements.chain(self.ends_at()).chain(self.evaluates_at(now)).min()?;
        Some(self.not_before.map_or(next, |at| at.max(next)))
    }
}

#[cfg(test)]
mod tests;
