//! The percentiles of a histogram, under the names that openraft uses.

use std::fmt;

/// The percentiles of a histogram; each is the least value of the bucket it falls into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PercentileStats {
    /// How many values were counted.
    pub samples: u64,
    /// One in a thousand is smaller.
    pub p0_1: u64,
    /// One in a hundred is smaller.
    pub p1: u64,
    /// One in twenty is smaller.
    pub p5: u64,
    /// One in ten is smaller.
    pub p10: u64,
    /// Half are smaller.
    pub p50: u64,
    /// Nine in ten are smaller.
    pub p90: u64,
    /// All but one in a hundred are smaller.
    pub p99: u64,
    /// All but one in a thousand are smaller.
    pub p99_9: u64,
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { samples, p0_1, p1, p5, p10, p50, p90, p99, p99_9 } = self;
        write!(f, "[samples: {samples}, P0.1: {p0_1}, P1: {p1}, P5: {p5}, P10: {p10}, ")?;
        write!(f, "P50: {p50}, P90: {p90}, P99: {p99}, P99.9: {p99_9}]")
    }
}
