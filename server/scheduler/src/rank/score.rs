//! The formulas of scores.

use std::sync::Arc;

use orch_model::allocation::{Score, ScoreEntry, Scorer};
use orch_model::operator::Algorithm;
use orch_model::units::Usage;

/// What a node would score with one more allocation of a group.
///
/// The final score is the mean of those scores that count: the fit always, the others where they are not 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scores {
    /// How well the node is filled, or kept empty: 0 to 1.
    pub fit: f64,
    /// Negative where others of the group are on the node already.
    pub anti_affinity: f64,
    /// -1 where the group failed before, else 0.
    pub penalty: f64,
}

impl Scores {
    /// The scores of a node that fits so well and has `collisions` others of a group of `count`.
    pub fn new(fit: f64, collisions: u32, count: f64, is_penalised: bool) -> Self {
        let anti_affinity = if collisions == 0 { 0.0 } else { -(f64::from(collisions) + 1.0) / count };
        Self { fit, anti_affinity, penalty: if is_penalised { -1.0 } else { 0.0 } }
    }

    /// The mean of the scores that count.
    pub fn normalized(&self) -> f64 {
        let others = [self.anti_affinity, self.penalty];
        let counting = others.iter().filter(|score| **score != 0.0).count();
        let sum = self.fit + self.anti_affinity + self.penalty;
        match counting {
            0 => sum,
            1 => sum / 2.0,
            _ => sum / 3.0,
        }
    }

    /// The scores as they are kept.
    pub(crate) fn entries(&self) -> Arc<[ScoreEntry]> {
        let entry = |scorer, score| ScoreEntry { scorer, score: Score::from_f64(score) };
        Arc::from([
            entry(Scorer::Binpack, self.fit),
            entry(Scorer::JobAntiAffinity, self.anti_affinity),
            entry(Scorer::ReschedulePenalty, self.penalty),
            entry(Scorer::Normalized, self.normalized()),
        ])
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
    let whole = (y + 0.5).floor();
    let part = y - whole;
    let [a, b, c, d, e, f, g, h] = TERMS;
    let square = part * part;
    let low = (a + b * part) + square * (c + d * part);
    let high = (e + f * part) + square * (g + h * part);
    let fraction = low + square * square * high;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 4")]
    let scale = POWERS.get(whole as usize).copied().unwrap_or(1.0);
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
        for (scores, expected) in [
            (Scores::new(0.5, 0, 3.0, false), 0.5),
            (Scores::new(0.5, 1, 3.0, false), -0.0833),
            (Scores::new(0.8, 0, 3.0, true), -0.1),
            (Scores::new(0.6, 1, 4.0, true), -0.3),
        ] {
            assert!((scores.normalized() - expected).abs() < 5e-5, "{scores:?}: {}", scores.normalized());
        }
    }
}
