//! Looking a filter expression up in the JSON of an object.

use regex::Regex;
use serde_json::Value;

use super::{Expression, Names, Quantifier, Selector, Test};
use crate::error::Error;

pub(super) fn holds(expression: &Expression, object: &Value, fields: &[&str]) -> Result<bool, Error> {
    Scope { object, fields, bound: None }.holds(expression)
}

/// What a selector may begin with: names given by `any` and `all`, then fields of the object.
struct Scope<'a> {
    object: &'a Value,
    fields: &'a [&'a str],
    bound: Option<Bound<'a>>,
}

/// A name given by `any` or `all`, and those around it.
#[derive(Clone, Copy)]
struct Bound<'a> {
    name: &'a str,
    value: &'a Value,
    outer: Option<&'a Bound<'a>>,
}

impl<'a> Scope<'a> {
    fn holds(&self, expression: &Expression) -> Result<bool, Error> {
        match expression {
            Expression::And(left, right) => Ok(self.holds(left)? && self.holds(right)?),
            Expression::Or(left, right) => Ok(self.holds(left)? || self.holds(right)?),
            Expression::Not(inner) => self.holds(inner).map(|holds| !holds),
            Expression::Match { selector, test } => Ok(passes(test, self.find(selector)?)),
            Expression::Each { quantifier, selector, names, body } => self.each(*quantifier, selector, names, body),
        }
    }

    fn each(
        &self,
        quantifier: Quantifier,
        selector: &Selector,
        names: &Names,
        body: &Expression,
    ) -> Result<bool, Error> {
        let (keys, values): (Vec<Value>, Vec<&Value>) = match self.find(selector)? {
            Some(Value::Array(items)) => (0..items.len()).map(Value::from).zip(items).unzip(),
            Some(Value::Object(map)) => map.iter().map(|(key, value)| (Value::from(key.as_str()), value)).unzip(),
            None | Some(Value::Null) => (Vec::new(), Vec::new()),
            Some(_) => return Err(not_found(selector, "it is neither a list nor a map")),
        };
        let is_list = matches!(self.find(selector)?, Some(Value::Array(_)));
        for (key, value) in keys.iter().zip(values) {
            let (key_name, value_name) = match names {
                Names::One(name) if is_list => (None, Some(name.as_str())),
                Names::One(name) => (Some(name.as_str()), None),
                Names::Two(key, value) => (key.as_deref(), value.as_deref()),
            };
            if self.with(key_name, key, value_name, value, body)? != (quantifier == Quantifier::All) {
                return Ok(quantifier == Quantifier::Any);
            }
        }
        Ok(quantifier == Quantifier::All)
    }

    /// Whether `body` holds once the parts of an entry have their names.
    fn with(
        &self,
        key_name: Option<&str>,
        key: &Value,
        value_name: Option<&str>,
        value: &Value,
        body: &Expression,
    ) -> Result<bool, Error> {
        let outer = self.bound;
        let key = key_name.map(|name| Bound { name, value: key, outer: outer.as_ref() });
        let around = key.as_ref().or(outer.as_ref());
        let value = value_name.map(|name| Bound { name, value, outer: around });
        Scope { object: self.object, fields: self.fields, bound: value.or(key).or(outer) }.holds(body)
    }

    /// What a selector names; `None` for a key that a map does not have and for a field that is left out when empty.
    fn find(&self, selector: &Selector) -> Result<Option<&'a Value>, Error> {
        let Some((first, rest)) = selector.0.split_first() else { return Ok(None) };
        let mut bound = self.bound.as_ref();
        while let Some(candidate) = bound {
            if candidate.name == first {
                return walk(candidate.value, rest, selector);
            }
            bound = candidate.outer;
        }
        match self.object.get(first) {
            Some(value) => walk(value, rest, selector),
            None if self.fields.contains(&first.as_str()) => Ok(None),
            None => Err(not_found(selector, &format!("there is no field {first:?}"))),
        }
    }
}

fn walk<'a>(start: &'a Value, path: &[String], selector: &Selector) -> Result<Option<&'a Value>, Error> {
    let mut value = start;
    for part in path {
        value = match value {
            Value::Object(map) => match map.get(part) {
                Some(value) => value,
                None => return Ok(None),
            },
            Value::Array(items) => {
                let position: Option<usize> = part.parse().ok();
                match position.map(|position| items.get(position)) {
                    Some(Some(value)) => value,
                    Some(None) => return Ok(None),
                    None => return Err(not_found(selector, &format!("{part:?} is not a position in a list"))),
                }
            }
            Value::Null => return Ok(None),
            Value::Bool(_) | Value::Number(_) | Value::String(_) => {
                return Err(not_found(selector, &format!("there is nothing below {part:?}")));
            }
        };
    }
    Ok(Some(value))
}

fn not_found(selector: &Selector, why: &str) -> Error {
    Error::invalid(format!("error finding value in datum: /{}: {why}", selector.0.join("/")))
}

fn passes(test: &Test, value: Option<&Value>) -> bool {
    match test {
        Test::Equal(wanted) => equals(value, wanted),
        Test::NotEqual(wanted) => !equals(value, wanted),
        Test::Empty => is_empty(value),
        Test::NotEmpty => !is_empty(value),
        Test::Contains(wanted) => contains(value, wanted),
        Test::ContainsNot(wanted) => !contains(value, wanted),
        Test::Matches(pattern) => matches(value, pattern),
        Test::MatchesNot(pattern) => !matches(value, pattern),
    }
}

fn equals(value: Option<&Value>, wanted: &str) -> bool {
    match value {
        // What is left out because it is empty equals the empty text, zero and false.
        None | Some(Value::Null) => matches!(wanted, "" | "0" | "false"),
        Some(Value::Bool(value)) => wanted == if *value { "true" } else { "false" },
        Some(Value::Number(number)) => equals_number(number, wanted),
        Some(Value::String(text)) => text == wanted,
        Some(Value::Array(_) | Value::Object(_)) => false,
    }
}

fn equals_number(number: &serde_json::Number, wanted: &str) -> bool {
    if let (Some(number), Ok(wanted)) = (number.as_i64(), wanted.parse::<i64>()) {
        return number == wanted;
    }
    if let (Some(number), Ok(wanted)) = (number.as_u64(), wanted.parse::<u64>()) {
        return number == wanted;
    }
    number.as_f64().zip(wanted.parse().ok()).is_some_and(|(number, wanted): (f64, f64)| number == wanted)
}

fn is_empty(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Array(items)) => items.is_empty(),
        Some(Value::Object(map)) => map.is_empty(),
        Some(Value::Bool(_) | Value::Number(_)) => false,
    }
}

fn contains(value: Option<&Value>, wanted: &str) -> bool {
    match value {
        Some(Value::String(text)) => text.contains(wanted),
        Some(Value::Array(items)) => items.iter().any(|item| equals(Some(item), wanted)),
        Some(Value::Object(map)) => map.contains_key(wanted),
        None | Some(Value::Null | Value::Bool(_) | Value::Number(_)) => false,
    }
}

fn matches(value: Option<&Value>, pattern: &Regex) -> bool {
    match value {
        Some(Value::String(text)) => pattern.is_match(text),
        Some(Value::Array(items)) => items.iter().any(|item| matches(Some(item), pattern)),
        Some(Value::Object(map)) => map.keys().any(|key| pattern.is_match(key)),
        None | Some(Value::Null) => pattern.is_match(""),
        Some(other @ (Value::Bool(_) | Value::Number(_))) => pattern.is_match(&other.to_string()),
    }
}
