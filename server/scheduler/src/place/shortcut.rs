//! Leaving out nodes that cannot be among the best, where only the best few matter.

use orch_model::operator::Algorithm;
use orch_model::units::Usage;

use crate::rank::Total;
use crate::reconcile::Wanted;

use super::round::Round;

/// How many placements can do with the best nodes that a scan names: each changes how one node stands.
pub(super) const FEW: usize = crate::explain::NAMED - 1;

/// Whether the few best nodes will do for a group: it is filled up by how full nodes are alone, and no predecessor hands
/// anything over.
pub(super) fn suits(round: &Round<'_>, algorithm: Algorithm, wanted: &[Wanted<'_>]) -> bool {
    let hands_over = |want: &Wanted<'_>| want.previous.is_some_and(|previous| previous.holds_resources());
    wanted.len() <= FEW
        && algorithm == Algorithm::Binpack
        && round.spreads.is_empty()
        && round.limits.is_empty()
        && round.rules.affinities.is_empty()
        && round.rules.ask.cores == 0
        && !round.rules.is_sticky
        && !wanted.iter().any(hands_over)
}

/// How full a node must be to score as much as another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bar {
    score: Total,
    /// The least sum of the shares of processor and memory in use.
    least: f64,
}

impl Bar {
    /// The bar for a score that fit alone makes up.
    ///
    /// The fit is 20 less two powers of ten, whose sum is at least twice the power of the mean of their exponents. So
    /// a node can score as much only if the free shares together are at most `2 log10(sum / 2)`.
    fn new(score: Total) -> Self {
        const MARGIN: f64 = 1e-6;
        let sum = 20.0 - 18.0 * score.to_f64();
        Self { score, least: 2.0 - 2.0 * (sum / 2.0).log10() - MARGIN }
    }

    /// Whether a node is so empty that it certainly scores less than `worst`; `bar` is what was worked out before.
    #[inline]
    pub(super) fn is_missed(bar: &mut Option<Self>, worst: Total, used: Usage, capacity: Usage) -> bool {
        let bar = match bar {
            Some(bar) if bar.score == worst => bar,
            _ => bar.insert(Self::new(worst)),
        };
        let (cpu, all_cpu) = (f64::from(used.cpu.0), f64::from(capacity.cpu.0));
        let (memory, all_memory) = (used.memory.0 as f64, capacity.memory.0 as f64);
        cpu * all_memory + memory * all_cpu < bar.least * all_cpu * all_memory
    }
}
