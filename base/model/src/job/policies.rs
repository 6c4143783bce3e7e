//! Blocks merged from several levels: type default, then job, group and task, field by field.
//!
//! A field is `None` where a level says nothing; after admission every field is set.

use super::nullable::document;
use super::{DelayFunction, HealthCheck, RestartMode};
use crate::time::Nanos;

document! {
    /// How a change of a group is rolled out.
    pub struct UpdateStrategy {
        /// Pause between steps where there are no deployments.
        pub stagger: Option<Nanos>,
        /// Allocations replaced at the same time; 0 replaces all without a deployment.
        pub max_parallel: Option<i64>,
        /// What makes an allocation healthy; see [`UpdateStrategy::health`].
        pub health_check: String,
        /// How long it must be healthy to count.
        pub min_healthy_time: Option<Nanos>,
        /// By when it must be healthy.
        pub healthy_deadline: Option<Nanos>,
        /// By when the deployment must have moved on; 0 fails on the first unhealthy allocation.
        pub progress_deadline: Option<Nanos>,
        /// Whether a failed deployment goes back to the last stable version.
        pub auto_revert: Option<bool>,
        /// Whether healthy canaries are promoted without an operator.
        pub auto_promote: Option<bool>,
        /// Allocations of the new version that run beside the old ones first.
        pub canary: Option<i64>,
    }

    /// How allocations move off a draining node.
    pub struct MigrateStrategy {
        /// Allocations that move at the same time.
        pub max_parallel: Option<i64>,
        /// What makes a replacement healthy.
        pub health_check: String,
        /// How long it must be healthy to count.
        pub min_healthy_time: Option<Nanos>,
        /// By when it must be healthy.
        pub healthy_deadline: Option<Nanos>,
    }

    /// How often a failed task is started again on its node.
    pub struct RestartPolicy {
        /// Restarts allowed per interval.
        pub attempts: Option<i64>,
        /// The interval that attempts are counted in.
        pub interval: Option<Nanos>,
        /// Pause before a restart.
        pub delay: Option<Nanos>,
        /// What happens when the attempts are used up; see [`RestartPolicy::mode`].
        pub mode: String,
        /// Whether templates are rendered again on a restart.
        pub render_templates: Option<bool>,
    }

    /// How a failed allocation is placed again on another node.
    pub struct ReschedulePolicy {
        /// Attempts allowed per interval.
        pub attempts: Option<i64>,
        /// The interval that attempts are counted in.
        pub interval: Option<Nanos>,
        /// Pause before the first attempt.
        pub delay: Option<Nanos>,
        /// How the pause grows; see [`ReschedulePolicy::function`].
        pub delay_function: String,
        /// The longest pause.
        pub max_delay: Option<Nanos>,
        /// Whether attempts are not counted.
        pub unlimited: Option<bool>,
    }
}

impl UpdateStrategy {
    /// What makes an allocation healthy; `None` if the word is unknown.
    pub fn health(&self) -> Option<HealthCheck> {
        HealthCheck::parse(&self.health_check)
    }

    /// Allocations replaced at the same time.
    pub fn max_parallel(&self) -> i64 {
        self.max_parallel.unwrap_or_default()
    }

    /// Allocations of the new version that run beside the old ones first.
    pub fn canary(&self) -> i64 {
        self.canary.unwrap_or_default()
    }

    /// Whether changes go through deployments.
    pub fn is_rolling(&self) -> bool {
        self.max_parallel() > 0
    }
}

impl RestartPolicy {
    /// What happens when the attempts are used up; `None` if the word is unknown.
    pub fn mode(&self) -> Option<RestartMode> {
        RestartMode::parse(&self.mode)
    }

    /// Restarts allowed per interval.
    pub fn attempts(&self) -> i64 {
        self.attempts.unwrap_or_default()
    }

    /// The interval that attempts are counted in.
    pub fn interval(&self) -> Nanos {
        self.interval.unwrap_or_default()
    }

    /// Pause before a restart.
    pub fn delay(&self) -> Nanos {
        self.delay.unwrap_or_default()
    }
}

impl ReschedulePolicy {
    /// How the pause grows; `None` if the word is unknown.
    pub fn function(&self) -> Option<DelayFunction> {
        DelayFunction::parse(&self.delay_function)
    }

    /// Attempts allowed per interval.
    pub fn attempts(&self) -> i64 {
        self.attempts.unwrap_or_default()
    }

    /// The interval that attempts are counted in.
    pub fn interval(&self) -> Nanos {
        self.interval.unwrap_or_default()
    }

    /// Pause before the first attempt.
    pub fn delay(&self) -> Nanos {
        self.delay.unwrap_or_default()
    }

    /// The longest pause.
    pub fn max_delay(&self) -> Nanos {
        self.max_delay.unwrap_or_default()
    }

    /// Whether attempts are not counted.
    pub fn unlimited(&self) -> bool {
        self.unlimited.unwrap_or_default()
    }

    /// Whether failed allocations are placed again at all.
    pub fn is_enabled(&self) -> bool {
        self.unlimited() || self.attempts() > 0
    }
}
