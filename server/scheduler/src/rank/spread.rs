//! Spreads: how well one more allocation on nodes of a value serves the wish to be spread over values.

use std::collections::BTreeMap;

use orch_model::job::Spread;

use super::Points;
use crate::feasible::{NO_VALUE, Target, Traits};

/// The name that a job gives to the share of all values that it does not name.
const ALL_OTHERS: &str = "*";

/// A spread, compiled for one group.
#[derive(Debug)]
pub(crate) struct SpreadRule {
    /// The attribute.
    pub(crate) target: Target,
    shares: Shares,
}

/// How the allocations should be shared out among the values.
#[derive(Debug)]
enum Shares {
    /// Each value the same.
    Even,
    /// So many per value; `rest` for each value that is not named, if any.
    Stated { wanted: BTreeMap<String, f64>, rest: Option<f64>, weight: f64 },
}

impl SpreadRule {
    /// Compiles the spreads of a job and its group for `count` allocations.
    pub(crate) fn compile<'s>(spreads: impl Iterator<Item = &'s Spread> + Clone, count: f64) -> Vec<Self> {
        let all: f64 = spreads.clone().map(|spread| spread.weight as f64).sum();
        spreads.map(|spread| Self::one(spread, count, all)).collect()
    }

    fn one(spread: &Spread, count: f64, all: f64) -> Self {
        let target = Target::parse(&spread.attribute);
        if spread.spread_target.is_empty() {
            return Self { target, shares: Shares::Even };
        }
        let mut wanted = BTreeMap::new();
        for target in &spread.spread_target {
            wanted.insert(target.value.clone(), target.percent as f64 / 100.0 * count);
        }
        let left = 100 - spread.spread_target.iter().map(|target| target.percent).sum::<i64>();
        let named = wanted.remove(ALL_OTHERS);
        let rest = if left > 0 { Some(left as f64 / 100.0 * count) } else { named };
        Self { target, shares: Shares::Stated { wanted, rest, weight: spread.weight as f64 / all.max(1.0) } }
    }

    /// What one more allocation is worth on nodes of each value, of which `used` have an allocation so often already.
    ///
    /// With stated shares: `(wanted - used - 1) / wanted`, times the spread's part of all weights. A value that nobody
    /// wants scores -1; one of which explicitly nothing is wanted scores as the worst of the others that nodes have,
    /// at most -1. Evenly, among the values that are used: those used least score `(most - least) / least`, or -1 if
    /// all are used alike; any other scores `(least - used) / least`. The weight of even spreads does not count.
    pub(crate) fn boosts(&self, values: &[String], used: &[u32]) -> Vec<Points> {
        match &self.shares {
            Shares::Even => {
                let in_use = || used.iter().copied().filter(|used| *used > 0);
                let bounds = in_use().min().zip(in_use().max());
                used.iter().map(|used| even(*used, bounds)).collect()
            }
            Shares::Stated { .. } => {
                let stated: Vec<_> =
                    values.iter().zip(used).map(|(value, used)| self.stated(self.wanted(value), *used)).collect();
                let lowest = stated.iter().flatten().copied().fold(Points::MINUS_ONE, Points::min);
                stated.into_iter().map(|boost| boost.unwrap_or(lowest)).collect()
            }
        }
    }

    /// How many allocations are wanted on a value; `None` if nobody wants any.
    fn wanted(&self, value: &str) -> Option<f64> {
        match &self.shares {
            Shares::Even => None,
            Shares::Stated { wanted, rest, .. } => wanted.get(value).copied().or(*rest),
        }
    }

    /// What one more is worth on a value of which so many are wanted; `None` where the worst of the others counts.
    fn stated(&self, wanted: Option<f64>, used: u32) -> Option<Points> {
        let weight = match &self.shares {
            Shares::Even => return None,
            Shares::Stated { weight, .. } => *weight,
        };
        let Some(wanted) = wanted else { return Some(Points::MINUS_ONE) };
        if wanted <= 0.0 {
            return None;
        }
        Some(Points::from_f64((wanted - (f64::from(used) + 1.0)) / wanted * weight))
    }
}

/// What one more is worth on a value that is used so often, where the least and most used are so.
fn even(used: u32, bounds: Option<(u32, u32)>) -> Points {
    let Some((least, most)) = bounds else { return Points::ZERO };
    let (used, least, most) = (f64::from(used), f64::from(least), f64::from(most));
    if used != least {
        Points::from_f64((least - used) / least)
    } else if least == most {
        Points::MINUS_ONE
    } else {
        Points::from_f64((most - least) / least)
    }
}

/// The spreads of a group while it is placed: how often each value is used, and what one more is worth.
#[derive(Debug)]
pub(crate) struct Spreads<'r> {
    axes: Vec<Axis<'r>>,
    traits: &'r Traits,
    /// What one more is worth on nodes of each combination of values.
    boosts: Vec<Points>,
    is_stale: bool,
}

/// One spread.
#[derive(Debug)]
struct Axis<'r> {
    rule: &'r SpreadRule,
    values: &'r [String],
    used: Vec<u32>,
    boosts: Vec<Points>,
    /// How many of each value are wanted, where shares are stated.
    wanted: Vec<Option<f64>>,
    /// Whether the worth of a value depends on that of others.
    has_unwanted: bool,
    /// How many values are used so often; those that are not used are left out.
    levels: BTreeMap<u32, u32>,
    /// The least and most used when `boosts` were computed.
    bounds: Option<(u32, u32)>,
    /// Whether all of `boosts` must be computed anew.
    is_stale: bool,
}

impl<'r> Spreads<'r> {
    /// The spreads of a group of which nothing is placed yet.
    pub(crate) fn new(rules: &'r [SpreadRule], traits: &'r Traits) -> Self {
        let axes = rules.iter().zip(&traits.spread_values).map(|(rule, values)| Axis::new(rule, values)).collect();
        Self { axes, traits, boosts: vec![Points::ZERO; traits.tuples.len()], is_stale: true }
    }

    /// Whether the group has none.
    pub(crate) fn is_empty(&self) -> bool {
        self.axes.is_empty()
    }

    /// Notes an allocation more, or one less, on a node of a combination of values.
    pub(crate) fn count(&mut self, group: u32, joins: bool) {
        if self.axes.is_empty() {
            return;
        }
        let Some(tuple) = self.traits.tuples.get(group as usize) else { return };
        for (axis, value) in self.axes.iter_mut().zip(tuple).filter(|(_, value)| **value != NO_VALUE) {
            axis.count(*value, joins);
        }
        self.is_stale = true;
    }

    /// Computes what one more is worth on nodes of each combination of values, after counts have changed. A node that
    /// lacks an attribute scores -1 for it.
    pub(crate) fn refresh(&mut self) {
        if !self.is_stale {
            return;
        }
        for axis in &mut self.axes {
            axis.refresh();
        }
        let axes = &self.axes;
        let worth = |(axis, value): (&Axis<'_>, &u32)| axis.boosts.get(*value as usize).copied();
        for (boost, tuple) in self.boosts.iter_mut().zip(&self.traits.tuples) {
            let parts = axes.iter().zip(tuple).map(worth);
            *boost = parts.fold(Points::ZERO, |sum, part| sum.plus(part.unwrap_or(Points::MINUS_ONE)));
        }
        self.is_stale = false;
    }

    /// What one more is worth on nodes of each combination of values, as of the last `refresh`.
    pub(crate) fn boosts(&self) -> &[Points] {
        &self.boosts
    }
}

impl<'r> Axis<'r> {
    fn new(rule: &'r SpreadRule, values: &'r [String]) -> Self {
        let wanted: Vec<_> = values.iter().map(|value| rule.wanted(value)).collect();
        Self {
            rule,
            values,
            used: vec![0; values.len()],
            boosts: Vec::new(),
            has_unwanted: wanted.iter().flatten().any(|wanted| *wanted <= 0.0),
            wanted,
            levels: BTreeMap::new(),
            bounds: None,
            is_stale: true,
        }
    }

    fn count(&mut self, value: u32, joins: bool) {
        let Some(used) = self.used.get_mut(value as usize) else { return };
        let before = *used;
        *used = if joins { before.saturating_add(1) } else { before.saturating_sub(1) };
        let now = *used;
        match &self.rule.shares {
            Shares::Even => {
                self.level(before, now);
                if self.bounds != self.bounds_now() {
                    self.is_stale = true;
                } else if let Some(boost) = self.boosts.get_mut(value as usize) {
                    *boost = even(now, self.bounds);
                }
            }
            Shares::Stated { .. } if self.has_unwanted => self.is_stale = true,
            Shares::Stated { .. } => {
                let wanted = self.wanted.get(value as usize).copied().flatten();
                if let Some(boost) = self.boosts.get_mut(value as usize) {
                    *boost = self.rule.stated(wanted, now).unwrap_or(Points::MINUS_ONE);
                }
            }
        }
    }

    /// Notes that a value is used so often now.
    fn level(&mut self, before: u32, now: u32) {
        if let Some(values) = self.levels.get_mut(&before) {
            *values -= 1;
            if *values == 0 {
                self.levels.remove(&before);
            }
        }
        if now > 0 {
            *self.levels.entry(now).or_default() += 1;
        }
    }

    fn bounds_now(&self) -> Option<(u32, u32)> {
        let least = self.levels.first_key_value().map(|(used, _)| *used);
        least.zip(self.levels.last_key_value().map(|(used, _)| *used))
    }

    fn refresh(&mut self) {
        if self.is_stale {
            self.boosts = self.rule.boosts(self.values, &self.used);
            self.bounds = self.bounds_now();
            self.is_stale = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orch_model::job::SpreadTarget;

    fn rule(targets: &[(&str, i64)], count: f64) -> SpreadRule {
        let spread_target =
            targets.iter().map(|(value, percent)| SpreadTarget { value: (*value).into(), percent: *percent }).collect();
        let spread = Spread { attribute: "${node.datacenter}".into(), weight: 50, spread_target };
        SpreadRule::compile([spread].iter(), count).remove(0)
    }

    /// The worth of each value, by what is used of it.
    fn worth(rule: &SpreadRule, used: &[(&str, u32)]) -> Vec<f64> {
        let (values, used): (Vec<String>, Vec<u32>) = used.iter().map(|(v, n)| ((*v).to_owned(), *n)).unzip();
        rule.boosts(&values, &used).into_iter().map(Points::to_f64).collect()
    }

    fn assert_near(found: &[f64], expected: &[f64]) {
        let near = found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 5e-5);
        assert!(near, "{found:?} is not {expected:?}");
    }

    #[test]
    fn stated_shares_score_as_the_reference_says() {
        let rule = rule(&[("dc1", 70), ("dc2", 30)], 10.0);
        for (used, expected) in [
            ([("dc1", 0), ("dc2", 0), ("dc3", 0)], [0.8571, 0.6667, -1.0]),
            ([("dc1", 3), ("dc2", 2), ("dc3", 0)], [0.4286, 0.0, -1.0]),
            ([("dc1", 6), ("dc2", 3), ("dc3", 4)], [0.0, -0.3333, -1.0]),
            ([("dc1", 7), ("dc2", 0), ("dc3", 0)], [-0.1429, 0.6667, -1.0]),
        ] {
            assert_near(&worth(&rule, &used), &expected);
        }
    }

    #[test]
    fn what_the_targets_leave_over_is_wanted_on_every_other_value() {
        assert_near(&worth(&rule(&[("dc1", 50)], 10.0), &[("dc1", 0), ("dc2", 1)]), &[0.8, 0.6]);
        let none = worth(&rule(&[("dc1", 100), ("dc2", 0)], 2.0), &[("dc1", 5), ("dc2", 0), ("dc3", 0)]);
        assert_near(&none, &[-2.0, -2.0, -1.0]);
        assert_near(&worth(&rule(&[("dc1", 100), ("dc2", 0)], 2.0), &[("dc1", 0), ("dc2", 0)]), &[0.5, -1.0]);
    }

    #[test]
    fn even_spreads_score_as_the_reference_says() {
        let rule = rule(&[], 10.0);
        for (used, expected) in [
            ([("a", 0), ("b", 0), ("c", 0)], [0.0, 0.0, 0.0]),
            ([("a", 1), ("b", 0), ("c", 0)], [-1.0, 1.0, 1.0]),
            ([("a", 2), ("b", 1), ("c", 0)], [-1.0, 1.0, 1.0]),
            ([("a", 3), ("b", 3), ("c", 0)], [-1.0, -1.0, 1.0]),
            ([("a", 5), ("b", 2), ("c", 2)], [-1.5, 1.5, 1.5]),
        ] {
            assert_near(&worth(&rule, &used), &expected);
        }
    }

    #[test]
    fn weights_count_among_stated_shares() {
        let spread = |weight, value: &str| Spread {
            attribute: "${meta.rack}".into(),
            weight,
            spread_target: vec![SpreadTarget { value: value.into(), percent: 100 }],
        };
        let rules = SpreadRule::compile([spread(75, "a"), spread(25, "b")].iter(), 2.0);
        assert_near(&worth(&rules[0], &[("a", 0)]), &[0.375]);
        assert_near(&worth(&rules[1], &[("b", 0)]), &[0.125]);
    }
}
