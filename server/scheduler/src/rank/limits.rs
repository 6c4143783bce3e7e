//! Distinct properties while a group is placed: which values have as many allocations as may share them.

use crate::explain::Obstacle;
use crate::feasible::{Distinct, GroupRules, NO_VALUE, PropertyRule, Traits};

/// How often the values of each distinct property of a group are used.
#[derive(Debug)]
pub(crate) struct Limits<'r> {
    rules: &'r [PropertyRule],
    traits: &'r Traits,
    used: Vec<Vec<u32>>,
}

/// A value of a distinct property: the property's number and the value's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Value {
    pub(crate) property: u16,
    pub(crate) value: u32,
}

impl<'r> Limits<'r> {
    /// Those of a group of which nothing is placed yet.
    pub(crate) fn new(rules: &'r GroupRules, traits: &'r Traits) -> Self {
        let used = traits.property_values.iter().map(|values| vec![0; values.len()]).collect();
        Self { rules: &rules.properties, traits, used }
    }

    /// Whether the group has none.
    pub(crate) const fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The first value that keeps one more allocation from a node.
    pub(crate) fn closed(&self, place: u32, class: u32) -> Option<Value> {
        (0_u16..).zip(self.rules).zip(&self.used).find_map(|((property, rule), used)| {
            let value = self.traits.property(usize::from(property), place, class);
            let is_free = used.get(value as usize).is_some_and(|used| *used < rule.allowed);
            (!is_free).then_some(Value { property, value })
        })
    }

    /// What is in the way of one more allocation on a node.
    pub(crate) fn obstacle(&self, place: u32, class: u32) -> Option<Obstacle> {
        let Value { property, value } = self.closed(place, class)?;
        let used = self.used.get(usize::from(property)).and_then(|used| used.get(value as usize));
        Some(Obstacle::Property { property, value, used: used.copied().unwrap_or(0) })
    }

    /// Notes that an allocation more is on a node.
    pub(crate) fn join(&mut self, place: u32, class: u32, is_of_group: bool) {
        for (_, used, _) in self.touched(place, class, is_of_group) {
            *used = used.saturating_add(1);
        }
    }

    /// Notes that an allocation less is on a node; names the values that take one more again.
    pub(crate) fn leave(&mut self, place: u32, class: u32, is_of_group: bool) -> Vec<Value> {
        let mut reopened = Vec::new();
        for (value, used, allowed) in self.touched(place, class, is_of_group) {
            if *used == allowed {
                reopened.push(value);
            }
            *used = used.saturating_sub(1);
        }
        reopened
    }

    /// The uses that an allocation on a node counts for, and what is allowed of each.
    fn touched(&mut self, place: u32, class: u32, is_of_group: bool) -> impl Iterator<Item = (Value, &mut u32, u32)> {
        let traits = self.traits;
        (0_u16..).zip(self.rules).zip(&mut self.used).filter_map(move |((property, rule), used)| {
            let counts = match rule.among {
                Distinct::Job => true,
                Distinct::Group => is_of_group,
            };
            let value = traits.property(usize::from(property), place, class);
            let used = used.get_mut(value as usize).filter(|_| counts && value != NO_VALUE)?;
            Some((Value { property, value }, used, rule.allowed))
        })
    }
}
