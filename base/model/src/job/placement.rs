//! What says where allocations go: constraints, affinities and spreads.

use super::Operator;
use super::nullable::document;

document! {
    /// What a node must fulfil.
    pub struct Constraint {
        /// Left side: a literal or `${attr...}`.
        pub l_target: String,
        /// Right side.
        pub r_target: String,
        /// The comparison; see [`Constraint::operator`].
        pub operand: String,
    }

    /// What a node should rather fulfil.
    pub struct Affinity {
        /// Left side: a literal or `${attr...}`.
        pub l_target: String,
        /// Right side.
        pub r_target: String,
        /// The comparison; see [`Affinity::operator`].
        pub operand: String,
        /// -100 to 100 but not 0; negative repels.
        pub weight: i64 = 50,
    }

    /// How allocations spread over the values of an attribute.
    pub struct Spread {
        /// The attribute, such as `${node.datacenter}`.
        pub attribute: String,
        /// 1 to 100, relative to other spreads.
        pub weight: i64 = 50,
        /// Shares per value; without any, allocations spread evenly.
        pub spread_target: Vec<SpreadTarget>,
    }

    /// The share of one value in a spread.
    pub struct SpreadTarget {
        /// The attribute's value.
        pub value: String,
        /// Its share of the allocations.
        pub percent: i64,
    }
}

impl Constraint {
    /// A constraint that compares `left` with `right` by `operator`.
    pub fn new(left: &str, operator: Operator, right: &str) -> Self {
        Self { l_target: left.to_owned(), r_target: right.to_owned(), operand: operator.as_str().to_owned() }
    }

    /// The comparison, `=` where none is written; `None` if the word is unknown.
    pub fn operator(&self) -> Option<Operator> {
        operator(&self.operand)
    }
}

impl Affinity {
    /// The comparison, `=` where none is written; `None` if the word is unknown.
    pub fn operator(&self) -> Option<Operator> {
        operator(&self.operand)
    }
}

fn operator(word: &str) -> Option<Operator> {
    if word.is_empty() { Some(Operator::Equal) } else { Operator::parse(word) }
}
