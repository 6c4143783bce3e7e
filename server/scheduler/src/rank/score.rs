//! The formulas of scores.

use std::sync::Arc;

use orch_model::allocation::{Score, ScoreEntry, Scorer};
use orch_model::operator::Algorithm;
use orch_model::units::Usage;
use smallvec::SmallVec;

/// A score, or a sum of scores, in units of 2^-32.
///
/// Whole numbers, so that sums and comparisons are exact: which of two nodes is better does not depend on the order in
/// which their scores are added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Points(i64);

impl Points {
    /// No score.
    pub const ZERO: Self = Self(0);
    /// The score -1.
    pub const MINUS_ONE: Self = Self(-(1 << 32));

    const UNIT: f64 = 4_294_967_296.0;

    /// The points nearest to `value`.
    #[expect(clippy::cast_possible_truncation, reason = "a float cast saturates")]
    pub fn from_f64(value: f64) -> Self {
        let scaled = value * Self::UNIT;
        // Half away from zero; `round` is a call into a library.
        Self((scaled + if scaled < 0.0 { -0.5 } else { 0.5 }) as i64)
    }

    /// The score as a plain number.
    pub fn to_f64(self) -> f64 {
        self.0 as f64 / Self::UNIT
    }

    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// A number that is larger for a larger score.
    pub(crate) const fn ordered(self) -> u64 {
        self.0.cast_unsigned() ^ (1 << 63)
    }

    /// The points of which `ordered` was made.
    pub(crate) const fn from_ordered(ordered: u64) -> Self {
        Self((ordered ^ (1 << 63)).cast_signed())
    }
}

/// A final score, in units of 1/60 of a point, so that means of up to six scores are exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Total(i64);

impl Total {
    /// The final score as a plain number.
    pub fn to_f64(self) -> f64 {
        self.0 as f64 / (60.0 * Points::UNIT)
    }
}

/// What a node scores by itself, where the group's other allocations are left out of account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The sum of its scores.
    pub(crate) own: Points,
    /// How many scores that is; 0 if the node has no room.
    pub(crate) counting: u8,
}

impl Standing {
    /// That of a node which has no room.
    pub(crate) const UNFIT: Self = Self { own: Points::ZERO, counting: 0 };

    /// Whether the node has room.
    pub(crate) const fn is_fit(self) -> bool {
        self.counting > 0
    }

    /// The mean of the scores, that of the spreads among them unless it is 0.
    pub(crate) const fn total(self, spread: Points) -> Total {
        // 60 by how many scores count: the mean of any number up to six is a whole number of sixtieths.
        const SIXTIETHS: [i64; 7] = [60, 60, 30, 20, 15, 12, 10];
        let counting = self.counting as usize + if spread.0 == 0 { 0 } else { 1 };
        let share = if counting < SIXTIETHS.len() { SIXTIETHS[counting] } else { 1 };
        Total(self.own.plus(spread).0.saturating_mul(share))
    }
}

/// What a node would score with one more allocation of a group.
///
/// The final score is the mean of those scores that count: the fit always, that of affinities where the group has any,
/// the others where they are not 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scores {
    /// How well the node is filled, or kept empty: 0 to 1.
    pub fit: Points,
    /// Negative where others of the group are on the node already.
    pub anti_affinity: Points,
    /// -1 where the group failed before, else 0.
    pub penalty: Points,
    /// How much the affinities speak for the node, -1 to 1; `None` if the group has none.
    pub affinity: Option<Points>,
    /// How the node serves the spreads; `None` if the group has none.
    pub spread: Option<Points>,
}

impl Scores {
    /// The scores of a node that fits so well and has `collisions` others of a group of `count`, affinities and spreads
    /// apart.
    pub fn new(fit: f64, collisions: u32, count: f64, is_penalised: bool) -> Self {
        let anti_affinity =
            if collisions == 0 { Points::ZERO } else { Points::from_f64(-(f64::from(collisions) + 1.0) / count) };
        Self {
            fit: Points::from_f64(fit),
            anti_affinity,
            penalty: if is_penalised { Points::MINUS_ONE } else { Points::ZERO },
            affinity: None,
            spread: None,
        }
    }

    /// What the node scores by itself.
    pub(crate) fn standing(&self) -> Standing {
        let counting = 1
            + u8::from(self.anti_affinity != Points::ZERO)
            + u8::from(self.penalty != Points::ZERO)
            + u8::from(self.affinity.is_some());
        let own = self.fit.plus(self.anti_affinity).plus(self.penalty).plus(self.affinity.unwrap_or_default());
        Standing { own, counting }
    }

    /// The mean of the scores that count.
    pub fn total(&self) -> Total {
        self.standing().total(self.spread.unwrap_or_default())
    }

    /// The scores as they are kept; those of affinities and spreads only where the group has any.
    pub(crate) fn entries(&self) -> Arc<[ScoreEntry]> {
        let entry = |scorer, score: f64| ScoreEntry { scorer, score: Score::from_f64(score) };
        let mut entries: SmallVec<[ScoreEntry; 6]> = SmallVec::new();
        entries.push(entry(Scorer::Binpack, self.fit.to_f64()));
        entries.push(entry(Scorer::JobAntiAffinity, self.anti_affinity.to_f64()));
        entries.push(entry(Scorer::ReschedulePenalty, self.penalty.to_f64()));
        entries.extend(self.affinity.map(|points| entry(Scorer::NodeAffinity, points.to_f64())));
        entries.extend(self.spread.map(|points| entry(Scorer::AllocationSpread, points.to_f64())));
        entries.push(entry(Scorer::Normalized, self.total().to_f64()));
        Arc::from(entries.as_slice())
    }
}

/// How well a node is filled once `used` of its `capacity` is taken (or kept empty, under the spread algorithm): 0 to 1.
///
/// What is used is everything that holds resources, those told to stop until they have ended included, and the new
/// allocation.
pub(crate) fn fit(algorithm: Algorithm, used: Usage, capacity: Usage) -> f64 {
    let cpu = power_of_ten(free(f64::from(used.cpu.0), f64::from(capacity.cpu.0)));
    let memory = power_of_ten(free(used.memory.0 as f64, capacity.memory.0 as f64));
    let total = cpu + memory;
    let score = match algorithm {
        Algorithm::Binpack => 20.0 - total,
        Algorithm::Spread => total - 2.0,
    };
    score.clamp(0.0, 18.0) / 18.0
}

/// The share that is free; nothing of nothing is free.
fn free(used: f64, capacity: f64) -> f64 {
    if capacity <= 0.0 { 0.0 } else { (1.0 - used / capacity).clamp(0.0, 1.0) }
}

/// 10 to the power of `x`, for `x` from 0 to 1, to nine digits.
///
/// Sums and products only, so that every machine computes the same, and fast: this is most of a scheduler's work.
fn power_of_ten(x: f64) -> f64 {
    const TERMS: [f64; 8] = [
        1.0,
        std::f64::consts::LN_2,
        0.240_226_506_959_100_7,
        0.055_504_108_664_821_58,
        0.009_618_129_107_628_477,
        0.001_333_355_814_642_844_3,
        0.000_154_035_303_933_816_1,
        0.000_015_252_733_804_059_84,
    ];
    const POWERS: [f64; 5] = [1.0, 2.0, 4.0, 8.0, 16.0];
    let y = x * std::f64::consts::LOG2_10;
    #[expect(clippy::cast_possible_truncation, reason = "0 to 4; rounding down is a call into a library")]
    let whole = (y + 0.5) as i32;
    let part = y - f64::from(whole);
    let [a, b, c, d, e, f, g, h] = TERMS;
    let square = part * part;
    let low = (a + b * part) + square * (c + d * part);
    let high = (e + f * part) + square * (g + h * part);
    let fraction = low + square * square * high;
    let scale = usize::try_from(whole).ok().and_then(|whole| POWERS.get(whole)).copied().unwrap_or(1.0);
    fraction * scale
}

#[cfg(test)]
mod tests {
    use super::*;
    use orch_model::{MebiBytes, Mhz};

    fn usage(cpu: u32, memory: u64) -> Usage {
        Usage { cpu: Mhz(cpu), memory: MebiBytes(memory), disk: MebiBytes(0) }
    }

    #[test]
    fn fit_scores_are_those_of_the_reference() {
        for (capacity, used, binpack, spread) in [
            ((4000, 8192), (0, 0), 0.0, 1.0),
            ((4000, 8192), (500, 256), 0.1775, 0.8225),
            ((4000, 8192), (1000, 2048), 0.4863, 0.5137),
            ((4000, 8192), (2000, 4096), 0.7597, 0.2403),
            ((4000, 8192), (4000, 8192), 1.0, 0.0),
            ((2048, 2048), (1024, 512), 0.6230, 0.3770),
            ((10000, 16000), (9000, 1000), 0.5601, 0.4399),
        ] {
            let (capacity, used) = (usage(capacity.0, capacity.1), usage(used.0, used.1));
            for (algorithm, expected) in [(Algorithm::Binpack, binpack), (Algorithm::Spread, spread)] {
                let score = fit(algorithm, used, capacity);
                assert!((score - expected).abs() < 5e-5, "{algorithm} {used:?} of {capacity:?}: {score}");
            }
        }
    }

    #[test]
    fn powers_of_ten_are_true_to_eight_digits() {
        for step in 0..=1000 {
            let x = f64::from(step) / 1000.0;
            let error = (power_of_ten(x) / 10_f64.powf(x) - 1.0).abs();
            assert!(error < 1e-8, "10^{x} is off by {error}");
        }
    }

    #[test]
    fn the_final_score_is_the_mean_of_those_that_count() {
        let scores = |fit, collisions, count, is_penalised, affinity: Option<f64>, spread: Option<f64>| Scores {
            affinity: affinity.map(Points::from_f64),
            spread: spread.map(Points::from_f64),
            ..Scores::new(fit, collisions, count, is_penalised)
        };
        for (scores, expected) in [
            (scores(0.5, 0, 3.0, false, None, None), 0.5),
            (scores(0.5, 1, 3.0, false, None, None), -0.0833),
            (scores(0.5, 0, 3.0, false, Some(1.0), None), 0.75),
            (scores(0.5, 0, 3.0, false, Some(0.0), None), 0.25),
            (scores(0.8, 0, 3.0, true, None, None), -0.1),
            (scores(0.6, 1, 4.0, false, None, Some(0.25)), 0.1167),
            (scores(0.6, 0, 4.0, false, None, Some(0.0)), 0.6),
            (scores(0.6, 1, 4.0, true, None, None), -0.3),
        ] {
            let total = scores.total().to_f64();
            assert!((total - expected).abs() < 5e-5, "{scores:?}: {total}");
        }
    }
}
