//! The words that fields of a job choose from.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Declares an enum whose variants are words of the job specification.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $( $(#[$variant_meta:meta])* $variant:ident = $word:literal $(| $alias:literal)* ),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $( $(#[$variant_meta])* #[serde(rename = $word)] $variant, )*
        }

        impl $name {
            /// Every value, in the order of declaration.
            pub const ALL: &'static [Self] = &[$( Self::$variant ),*];

            /// The word as it is written in a job.
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $word ),* }
            }

            /// The value that `word` names, aliases included.
            pub fn parse(word: &str) -> Option<Self> {
                match word {
                    $( $word $(| $alias)* => Some(Self::$variant), )*
                    _ => None,
                }
            }

            /// The words to choose from, for messages.
            pub fn choices() -> String {
                Self::ALL.iter().map(|value| value.as_str()).collect::<Vec<_>>().join(", ")
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words!(
    /// How a job is scheduled.
    JobType {
        /// Runs until stopped, `count` allocations per group.
        Service = "service",
        /// Runs until complete.
        Batch = "batch",
        /// Runs on every fitting node until stopped.
        System = "system",
        /// Runs on every fitting node until complete.
        Sysbatch = "sysbatch",
    }
);

words!(
    /// What has become of a job; only servers write it.
    JobStatus {
        /// Nothing of it runs yet.
        Pending = "pending",
        /// It has work running or waiting.
        Running = "running",
        /// It is stopped, or all its work is done.
        Dead = "dead",
    }
);

#[expect(clippy::derivable_impls, reason = "the macro that declares the enum does not mark a variant")]
impl Default for JobStatus {
    fn default() -> Self {
        Self::Pending
    }
}

words!(
    /// What happens when a task has used up its restarts.
    RestartMode {
        /// The task fails.
        Fail = "fail",
        /// The task waits for the next interval.
        Delay = "delay",
    }
);

words!(
    /// How the delay between reschedules grows.
    DelayFunction {
        /// Always the same.
        Constant = "constant",
        /// Doubles.
        Exponential = "exponential",
        /// The sum of the two before.
        Fibonacci = "fibonacci",
    }
);

words!(
    /// What makes an allocation healthy.
    HealthCheck {
        /// Its tasks run and its checks pass.
        Checks = "checks",
        /// Its tasks run.
        TaskStates = "task_states",
        /// An operator says so.
        Manual = "manual",
    }
);

words!(
    /// How a constraint or an affinity compares.
    Operator {
        /// Equal texts.
        Equal = "=" | "==" | "is",
        /// Different texts, or the attribute is missing.
        NotEqual = "!=" | "not",
        /// Less than.
        Less = "<",
        /// Less than or equal.
        LessOrEqual = "<=",
        /// Greater than.
        Greater = ">",
        /// Greater than or equal.
        GreaterOrEqual = ">=",
        /// A regular expression matches.
        Regexp = "regexp",
        /// A list of version constraints holds.
        Version = "version",
        /// A list of strict SemVer constraints holds.
        Semver = "semver",
        /// The attribute's list holds all of the items.
        SetContainsAll = "set_contains" | "set_contains_all",
        /// The attribute's list holds one of the items.
        SetContainsAny = "set_contains_any",
        /// The attribute exists.
        IsSet = "is_set",
        /// The attribute does not exist.
        IsNotSet = "is_not_set",
        /// No two allocations on one host.
        DistinctHosts = "distinct_hosts",
        /// At most so many allocations per value of a property.
        DistinctProperty = "distinct_property",
    }
);

words!(
    /// Where a service is registered.
    ServiceProvider {
        /// In Consul.
        Consul = "consul",
        /// In the cluster's own state.
        Nomad = "nomad",
    }
);

words!(
    /// Which of an allocation and its replacement stays when a node reconnects.
    Reconcile {
        /// The one with the better score.
        BestScore = "best_score",
        /// The one that ran longer.
        LongestRunning = "longest_running",
        /// The original.
        KeepOriginal = "keep_original",
        /// The replacement.
        KeepReplacement = "keep_replacement",
    }
);

words!(
    /// What happens to a task when a file rendered for it changes.
    ChangeMode {
        /// Nothing.
        Noop = "noop",
        /// It is restarted.
        Restart = "restart",
        /// It gets a signal.
        Signal = "signal",
        /// A script runs inside it.
        Script = "script",
    }
);

/// When a task runs in the life of its allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LifecycleKind {
    /// The work itself.
    Main,
    /// Before the main tasks; a sidecar keeps running beside them.
    Prestart {
        /// Whether it keeps running.
        sidecar: bool,
    },
    /// After the main tasks have started; a sidecar keeps running beside them.
    Poststart {
        /// Whether it keeps running.
        sidecar: bool,
    },
    /// After the main tasks have stopped.
    Poststop,
}

/// How an allocation's network is set up.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum NetworkMode {
    /// The host's own network.
    Host,
    /// A network of its own behind a bridge.
    Bridge,
    /// No network.
    None,
    /// The CNI network of that name.
    Cni(String),
}

impl NetworkMode {
    /// The mode that `text` names; empty is the host's network.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "" | "host" => Some(Self::Host),
            "bridge" => Some(Self::Bridge),
            "none" => Some(Self::None),
            other => other.strip_prefix("cni/").filter(|name| !name.is_empty()).map(|name| Self::Cni(name.to_owned())),
        }
    }
}
