//! Histograms for openraft's statistics, in place of the crate that it names.
//!
//! That crate computes tables for every precision it knows when the first histogram is made: 26 MiB which stay resident, as
//! much as all the rest of an idle server. openraft only counts batch sizes and durations, so this one computes a bucket's
//! bounds when asked and has no tables. It has what openraft uses and nothing else, and must never know anything of orch.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod chart;
mod percentiles;

use std::marker::PhantomData;

pub use chart::AsciiChart;
pub use percentiles::PercentileStats;

/// How many bits of a value below its highest one tell its bucket: values are known to one part in four.
const FINE_BITS: u32 = 2;

/// How often values of each size were recorded, in buckets that grow with the values.
///
/// Buckets come into being with the first value that needs them, so that one which is never used takes nothing. `T` is
/// there because openraft names it; nothing is kept of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram<T = ()> {
    buckets: Vec<u64>,
    kind: PhantomData<T>,
}

impl<T> Default for Histogram<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Histogram<T> {
    /// An empty histogram.
    pub const fn new() -> Self {
        Self { buckets: Vec::new(), kind: PhantomData }
    }

    /// Counts a value.
    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    /// Counts a value `count` times.
    pub fn record_n(&mut self, value: u64, count: u64) {
        let bucket = bucket_of(value);
        if self.buckets.len() <= bucket {
            self.buckets.resize(bucket + 1, 0);
        }
        if let Some(counted) = self.buckets.get_mut(bucket) {
            *counted = counted.saturating_add(count);
        }
    }

    /// How many values were counted.
    pub fn total(&self) -> u64 {
        self.buckets.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The least value of the bucket below which the share `p` (0 to 1) of all values lies; 0 if there are none.
    pub fn percentile(&self, p: f64) -> u64 {
        let total = self.total();
        let mut seen = 0_u64;
        for (bucket, count) in self.buckets.iter().enumerate().filter(|(_, count)| **count > 0) {
            seen = seen.saturating_add(*count);
            if seen as f64 >= total as f64 * p {
                return least_of(bucket);
            }
        }
        0
    }

    /// The percentiles that openraft shows.
    pub fn percentile_stats(&self) -> PercentileStats {
        PercentileStats {
            samples: self.total(),
            p0_1: self.percentile(0.001),
            p1: self.percentile(0.01),
            p5: self.percentile(0.05),
            p10: self.percentile(0.10),
            p50: self.percentile(0.50),
            p90: self.percentile(0.90),
            p99: self.percentile(0.99),
            p99_9: self.percentile(0.999),
        }
    }
}

/// The bucket of a value: small values have one each, then four share each power of two.
fn bucket_of(value: u64) -> usize {
    let width = u64::BITS - value.leading_zeros();
    let shift = width.saturating_sub(FINE_BITS + 1);
    let fine = usize::try_from(value >> shift).unwrap_or(usize::MAX);
    fine + (usize::try_from(shift).unwrap_or(usize::MAX) << FINE_BITS)
}

/// The least value of a bucket.
const fn least_of(bucket: usize) -> u64 {
    let group = bucket >> FINE_BITS;
    if group < 2 {
        return bucket as u64;
    }
    let fine = (bucket & ((1 << FINE_BITS) - 1)) | (1 << FINE_BITS);
    (fine as u64) << (group - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_lies_in_its_bucket() {
        let values = (0..64).flat_map(|bit| [1_u64 << bit, (1 << bit) - 1, (1 << bit) + (1 << bit >> 1)]);
        for value in values.chain([u64::MAX, 0, 5, 1000]) {
            let bucket = bucket_of(value);
            assert!(least_of(bucket) <= value, "{value} in {bucket}");
            assert!(bucket == bucket_of(u64::MAX) || value < least_of(bucket + 1), "{value} in {bucket}");
        }
    }

    #[test]
    fn percentiles_are_known_to_one_part_in_four() {
        let mut histogram = Histogram::<()>::new();
        assert_eq!(histogram.percentile(0.5), 0);
        (1..=1000).for_each(|value| histogram.record(value));
        assert_eq!(histogram.total(), 1000);
        for (p, value) in [(0.5, 500), (0.9, 900), (0.99, 990)] {
            let found = histogram.percentile(p);
            assert!(found <= value && value <= found + found / 4 + 1, "{p}: {found}");
        }
        let stats = histogram.percentile_stats();
        assert!(stats.p1 <= stats.p50 && stats.p50 <= stats.p99_9);
        assert_eq!(stats.to_string().matches("P50: ").count(), 1);
    }
}
