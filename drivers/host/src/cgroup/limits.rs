use serde::{Deserialize, Serialize};

/// What a group may use. What is `None` is not written, so the kernel's default holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Share of the CPU relative to other groups, in the unit of version 1's `cpu.shares`; a task's MHz.
    pub cpu_shares: Option<u64>,
    /// Bytes at which the kernel kills.
    pub memory_hard: Option<u64>,
    /// Bytes that are protected (version 2) or reclaimed down to under pressure (version 1).
    pub memory_soft: Option<u64>,
    /// CPU numbers such as `0-3,8`.
    pub cpuset: Option<String>,
    /// How many processes and threads may exist at once.
    pub pids_max: Option<u64>,
    /// Whether the memory of the group may be swapped out; `false` writes a swappiness of 0 where the file exists.
    pub swap: bool,
}

/// Version 2's `cpu.weight` for version 1's `cpu.shares`: 2 → 1, 1024 → 100, 262144 → 10000; 0 leaves it unset.
///
/// The quadratic in log₂ that the container runtimes agreed on, so that the kernel's default of one is the default of the other.
pub fn cpu_weight(shares: u64) -> Option<u64> {
    #[allow(clippy::cast_precision_loss, reason = "shares are below 2^18 here")]
    let weight = |shares: u64| {
        let log = (shares as f64).log2();
        10f64.powf((log * log + 125.0 * log) / 612.0 - 7.0 / 34.0).ceil()
    };
    match shares {
        0 => None,
        1..=2 => Some(1),
        262_144.. => Some(10_000),
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 1 and 10000 by the bounds above"
        )]
        between => Some((weight(between) as u64).clamp(1, 10_000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_weights_at_the_agreed_points() {
        let pairs = [
            (0, None),
            (1, Some(1)),
            (2, Some(1)),
            (1024, Some(100)),
            (262_144, Some(10_000)),
            (1 << 40, Some(10_000)),
        ];
        for (shares, weight) in pairs {
            assert_eq!(cpu_weight(shares), weight, "{shares}");
        }
        let weights: Vec<_> = (1..20_000).map(cpu_weight).collect();
        assert!(weights.is_sorted(), "more shares never weigh less");
    }
}
