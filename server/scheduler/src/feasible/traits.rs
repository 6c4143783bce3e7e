//! What ranking asks of every node and what stays the same until a node is written: affinity, and the values that
//! spreads and distinct properties look at.
//!
//! Computed once per class where classes say it all, else once per node, and kept in the memo.

use std::collections::BTreeMap;

use orch_model::Node;
use orch_state::State;
use smallvec::SmallVec;

use super::constraint::Target;
use super::table::{NO_CLASS, NodeTable};
use super::{Compiled, GroupRules};
use crate::rank::Points;

/// Stands where a node does not have the property.
pub(crate) const NO_VALUE: u32 = u32::MAX;

/// What ranking asks of every node for one group.
#[derive(Debug)]
pub(crate) struct Traits {
    affinity: Column<Points>,
    /// Which of `tuples` a node has.
    spread_group: Column<u32>,
    /// The combinations of values that nodes have, one value per spread.
    pub(crate) tuples: Vec<SmallVec<[u32; 2]>>,
    /// The values of each spread's attribute, named by their place.
    pub(crate) spread_values: Vec<Vec<String>>,
    properties: Vec<Column<u32>>,
    /// The values of each distinct property, named by their place.
    pub(crate) property_values: Vec<Vec<String>>,
}

/// Something that every node has, by row or by class.
#[derive(Debug)]
enum Column<T> {
    Same(T),
    ByClass(Vec<T>),
    ByPlace(Vec<T>),
}

impl<T: Copy> Column<T> {
    /// Asks every class, or every node where `is_unique`; `missing` stands where there is no node.
    fn ask(
        state: &State,
        table: &NodeTable,
        is_unique: bool,
        missing: T,
        mut answer: impl FnMut(u32, u32, &Node) -> T,
    ) -> Self {
        if !is_unique {
            let classes = (0_u32..).zip(&table.classes);
            return Self::ByClass(classes.map(|(class, known)| answer(0, class, &known.example)).collect());
        }
        let rows = state.usage().chunks().iter().flat_map(|chunk| chunk.iter());
        let asked = rows.zip(0_u32..).zip(&table.class_of).map(|((row, place), class)| match &row.node {
            Some(node) => answer(place, *class, node),
            None => missing,
        });
        Self::ByPlace(asked.collect())
    }

    fn at(&self, place: u32, class: u32) -> Option<T> {
        match self {
            Self::Same(value) => Some(*value),
            Self::ByClass(values) => values.get(class as usize).copied(),
            Self::ByPlace(values) => values.get(place as usize).copied(),
        }
    }

    const fn is_unique(&self) -> bool {
        match self {
            Self::Same(_) | Self::ByClass(_) => false,
            Self::ByPlace(_) => true,
        }
    }
}

impl Traits {
    /// What the nodes of `state`, of which `table` is made, are to a group.
    pub(crate) fn of(rules: &GroupRules, state: &State, table: &NodeTable) -> Self {
        let mut traits = Self {
            affinity: affinity(rules, state, table),
            spread_group: Column::Same(0),
            tuples: vec![SmallVec::new()],
            spread_values: Vec::new(),
            properties: Vec::new(),
            property_values: Vec::new(),
        };
        for rule in &rules.properties {
            let (column, values) = values(&rule.target, state, table);
            traits.properties.push(column);
            traits.property_values.push(values);
        }
        if !rules.spreads.is_empty() {
            traits.combine(rules, state, table);
        }
        traits
    }

    /// Numbers the combinations of spread values that there are.
    fn combine(&mut self, rules: &GroupRules, state: &State, table: &NodeTable) {
        let mut columns = Vec::with_capacity(rules.spreads.len());
        for rule in &rules.spreads {
            let (column, values) = values(&rule.target, state, table);
            columns.push(column);
            self.spread_values.push(values);
        }
        let is_unique = columns.iter().any(Column::is_unique);
        let mut numbers: BTreeMap<SmallVec<[u32; 2]>, u32> = BTreeMap::new();
        let tuples = &mut self.tuples;
        tuples.clear();
        self.spread_group = Column::ask(state, table, is_unique, NO_VALUE, |place, class, _| {
            let tuple: SmallVec<[u32; 2]> =
                columns.iter().map(|column| column.at(place, class).unwrap_or(NO_VALUE)).collect();
            *numbers.entry(tuple).or_insert_with_key(|tuple| {
                tuples.push(tuple.clone());
                number_of_last(tuples.len())
            })
        });
    }

    /// How much the affinities speak for a node: -1 to 1.
    pub(crate) fn affinity(&self, place: u32, class: u32) -> Points {
        self.affinity.at(place, class).unwrap_or_default()
    }

    /// Which of `tuples` a node has.
    pub(crate) fn spread_group(&self, place: u32, class: u32) -> u32 {
        self.spread_group.at(place, class).unwrap_or(0)
    }

    /// The value that a node has of the `number`-th distinct property, or [`NO_VALUE`].
    pub(crate) fn property(&self, number: usize, place: u32, class: u32) -> u32 {
        self.properties.get(number).and_then(|column| column.at(place, class)).unwrap_or(NO_VALUE)
    }
}

fn number_of_last(len: usize) -> u32 {
    u32::try_from(len.saturating_sub(1)).unwrap_or(NO_VALUE)
}

/// The weights of the affinities that a node matches, as a share of all weights.
pub(crate) fn affinity_of<'r>(affinities: impl Iterator<Item = &'r (Compiled, i64)>, node: &Node) -> Points {
    let (mut matching, mut all) = (0_i64, 0_i64);
    for (wish, weight) in affinities {
        all = all.saturating_add(weight.saturating_abs());
        if wish.holds(node) {
            matching = matching.saturating_add(*weight);
        }
    }
    if all == 0 { Points::ZERO } else { Points::from_f64(matching as f64 / all as f64) }
}

fn affinity(rules: &GroupRules, state: &State, table: &NodeTable) -> Column<Points> {
    if rules.affinities.is_empty() {
        return Column::Same(Points::ZERO);
    }
    let is_unique = rules.affinities.iter().any(|(wish, _)| wish.is_unique());
    Column::ask(state, table, is_unique, Points::ZERO, |_, _, node| affinity_of(rules.affinities.iter(), node))
}

/// Which value each node has, and what the values are called.
fn values(target: &Target, state: &State, table: &NodeTable) -> (Column<u32>, Vec<String>) {
    let mut numbers: BTreeMap<String, u32> = BTreeMap::new();
    let mut names = Vec::new();
    let column = Column::ask(state, table, target.is_unique(), NO_VALUE, |_, class, node| {
        let Some(value) = target.of(node).filter(|_| class != NO_CLASS) else { return NO_VALUE };
        if let Some(number) = numbers.get(&*value) {
            return *number;
        }
        names.push(value.clone().into_owned());
        let number = number_of_last(names.len());
        numbers.insert(value.into_owned(), number);
        number
    });
    (column, names)
}
