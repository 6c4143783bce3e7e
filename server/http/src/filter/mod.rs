//! Filter expressions: `Status == "running" and Meta["owner"] is not empty`.
//!
//! They are read once per request, within bounds of length and depth, and looked up in the JSON of full objects.

mod evaluate;
mod parse;

use regex::Regex;
use serde_json::Value;

use crate::error::Error;

/// A filter expression.
#[derive(Debug)]
pub(crate) struct Filter(Expression);

impl Filter {
    /// Reads an expression.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let failed = |why: String| {
            Error::invalid(format!("failed to create result paginator: failed to read filter expression: {why}"))
        };
        parse::parse(text).map(Self).map_err(failed)
    }

    /// Whether the expression holds for `object`; `fields` are the names that it may have and not show.
    pub(crate) fn matches(&self, object: &Value, fields: &[&str]) -> Result<bool, Error> {
        evaluate::holds(&self.0, object, fields)
    }
}

#[derive(Debug)]
enum Expression {
    And(Box<Expression>, Box<Expression>),
    Or(Box<Expression>, Box<Expression>),
    Not(Box<Expression>),
    Match { selector: Selector, test: Test },
    Each { quantifier: Quantifier, selector: Selector, names: Names, body: Box<Expression> },
}

/// A path into an object: `A.B`, `A["key"]`, `"/A/key"`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Selector(Vec<String>);

#[derive(Debug)]
enum Test {
    Equal(String),
    NotEqual(String),
    Empty,
    NotEmpty,
    Contains(String),
    ContainsNot(String),
    Matches(Regex),
    MatchesNot(Regex),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quantifier {
    Any,
    All,
}

/// What the parts of a collection are called: of a list one name is the item, of a map it is the key.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Names {
    One(String),
    Two(Option<String>, Option<String>),
}

#[cfg(test)]
mod tests;
