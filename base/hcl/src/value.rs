//! What an expression evaluates to, and the automatic conversions between kinds.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::number::Number;

/// A value of the expression language.
///
/// Lists and tuples are one kind, and so are maps and objects, whose keys are ordered. The derived order between values
/// of different kinds is arbitrary but fixed; sets are sorted by it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Value {
    /// No value: an attribute set to it counts as absent.
    #[default]
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A text.
    String(String),
    /// An ordered sequence.
    List(Vec<Value>),
    /// A sequence without duplicates, sorted; build it with [`Value::set`].
    Set(Vec<Value>),
    /// Values by name.
    Map(BTreeMap<String, Value>),
}

impl Value {
    /// A set of these elements.
    pub fn set(mut elements: Vec<Self>) -> Self {
        elements.sort();
        elements.dedup();
        Self::Set(elements)
    }

    /// What kind of value it is, with article, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a bool",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::List(_) => "a list",
            Self::Set(_) => "a set",
            Self::Map(_) => "a map",
        }
    }

    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The text, if it is a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::List(_) | Self::Set(_) | Self::Map(_) => None,
        }
    }

    /// The elements, if it is a list or a set.
    pub fn as_list(&self) -> Option<&[Self]> {
        match self {
            Self::List(elements) | Self::Set(elements) => Some(elements),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::String(_) | Self::Map(_) => None,
        }
    }

    /// The entries, if it is a map.
    pub fn as_map(&self) -> Option<&BTreeMap<String, Self>> {
        match self {
            Self::Map(entries) => Some(entries),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::String(_) | Self::List(_) | Self::Set(_) => None,
        }
    }

    /// As text: strings, numbers and bools convert, nothing else does.
    pub fn to_text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::String(text) => Some(Cow::Borrowed(text)),
            Self::Number(number) => Some(Cow::Owned(number.to_string())),
            Self::Bool(flag) => Some(Cow::Borrowed(if *flag { "true" } else { "false" })),
            Self::Null | Self::List(_) | Self::Set(_) | Self::Map(_) => None,
        }
    }

    /// As a number: numbers, and strings that hold a decimal literal.
    pub fn to_number(&self) -> Option<Number> {
        match self {
            Self::Number(number) => Some(*number),
            Self::String(text) => Number::parse(text),
            Self::Null | Self::Bool(_) | Self::List(_) | Self::Set(_) | Self::Map(_) => None,
        }
    }

    /// As a bool: bools, and the strings `true`, `false`, `1` and `0`.
    pub fn to_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(flag) => Some(*flag),
            Self::String(text) => match text.as_str() {
                "true" | "1" => Some(true),
                "false" | "0" => Some(false),
                _ => None,
            },
            Self::Null | Self::Number(_) | Self::List(_) | Self::Set(_) | Self::Map(_) => None,
        }
    }

    /// How many bytes it takes, roughly; what the evaluation budget is charged for a copy.
    pub(crate) fn weight(&self) -> usize {
        const CELL: usize = 32;
        match self {
            Self::Null | Self::Bool(_) | Self::Number(_) => CELL,
            Self::String(text) => CELL + text.len(),
            Self::List(elements) | Self::Set(elements) => CELL + elements.iter().map(Self::weight).sum::<usize>(),
            Self::Map(entries) => {
                CELL + entries.iter().map(|(key, value)| CELL + key.len() + value.weight()).sum::<usize>()
            }
        }
    }

    /// How many levels it has; a scalar has one.
    pub(crate) fn depth(&self) -> usize {
        match self {
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::String(_) => 1,
            Self::List(elements) | Self::Set(elements) => 1 + elements.iter().map(Self::depth).max().unwrap_or(0),
            Self::Map(entries) => 1 + entries.values().map(Self::depth).max().unwrap_or(0),
        }
    }

    /// As JSON: sets become arrays; a number is an integer if it is exactly a 64-bit one, else a float.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Null => serde_json::Value::Null,
            Self::Bool(flag) => serde_json::Value::Bool(*flag),
            Self::Number(number) => match number.as_i64() {
                Some(int) => serde_json::Value::from(int),
                None => serde_json::Value::from(number.as_f64()),
            },
            Self::String(text) => serde_json::Value::String(text.clone()),
            Self::List(elements) | Self::Set(elements) => elements.iter().map(Self::to_json).collect(),
            Self::Map(entries) => entries.iter().map(|(key, value)| (key.clone(), value.to_json())).collect(),
        }
    }
}

impl From<&serde_json::Value> for Value {
    fn from(json: &serde_json::Value) -> Self {
        match json {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(flag) => Self::Bool(*flag),
            serde_json::Value::Number(number) => Number::parse(&number.to_string()).map_or(Self::Null, Self::Number),
            serde_json::Value::String(text) => Self::String(text.clone()),
            serde_json::Value::Array(elements) => Self::List(elements.iter().map(Self::from).collect()),
            serde_json::Value::Object(entries) => {
                Self::Map(entries.iter().map(|(key, value)| (key.clone(), Self::from(value))).collect())
            }
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Bool(flag)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Number(value.into())
    }
}

impl From<Number> for Value {
    fn from(number: Number) -> Self {
        Self::Number(number)
    }
}

impl From<Vec<Value>> for Value {
    fn from(elements: Vec<Value>) -> Self {
        Self::List(elements)
    }
}

impl From<BTreeMap<String, Value>> for Value {
    fn from(entries: BTreeMap<String, Value>) -> Self {
        Self::Map(entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_keeps_64_bit_integers_exact() {
        let json = serde_json::json!({"a": [i64::MAX, 1.5, null, true], "b": "x"});
        assert_eq!(Value::from(&json).to_json(), json);
    }

    #[test]
    fn sets_are_sorted_and_distinct() {
        assert_eq!(Value::set(vec!["b".into(), "a".into(), "b".into()]), Value::Set(vec!["a".into(), "b".into()]));
    }
}
