//! Reading a task's `config`, with every mistake in it reported at once.

use std::collections::BTreeMap;
use std::time::Duration;

use orch_model::Nanos;
use serde_json::Value;

use crate::error::Error;

/// Reads the values of a `config` block by key, and gathers what is wrong with them.
///
/// Values come from job files, where a number may be written as text and the other way round: whatever can only mean one thing is taken.
/// `null` is as good as absent. What could not be read is absent too, and [`finish`](Self::finish) then fails.
#[derive(Debug)]
pub struct ConfigReader<'a> {
    config: &'a BTreeMap<String, Value>,
    problems: Vec<String>,
}

impl<'a> ConfigReader<'a> {
    /// A reader of `config`, in which only the keys in `known` may stand.
    pub fn new(config: &'a BTreeMap<String, Value>, known: &[&str]) -> Self {
        let problems =
            config.keys().filter(|key| !known.contains(&key.as_str())).map(|key| unknown_key(key, known)).collect();
        Self { config, problems }
    }

    /// `value`, if everything could be read; otherwise one [`Error::InvalidConfig`] with all that is wrong.
    pub fn finish<T>(self, value: T) -> Result<T, Error> {
        if self.problems.is_empty() {
            Ok(value)
        } else {
            Err(Error::InvalidConfig { message: self.problems.join("; ") })
        }
    }

    /// Notes that the value of `key` cannot be used: `problem` goes on a sentence that begins with the key.
    pub fn refuse(&mut self, key: &str, problem: impl std::fmt::Display) {
        self.problems.push(format!("{key} {problem}"));
    }

    /// A text.
    pub fn text(&mut self, key: &str) -> Option<String> {
        let value = self.value(key)?;
        let text = as_text(value);
        if text.is_none() {
            self.refuse(key, format_args!("must be a text, not {}", kind(value)));
        }
        text
    }

    /// A text that has to be there, and not be empty; the empty one where it is missing.
    pub fn required_text(&mut self, key: &str) -> String {
        let before = self.problems.len();
        let text = self.text(key).unwrap_or_default();
        if text.is_empty() && self.problems.len() == before {
            self.refuse(key, "is required");
        }
        text
    }

    /// A list of texts; empty where it is missing.
    pub fn texts(&mut self, key: &str) -> Vec<String> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let Value::Array(items) = value else {
            self.refuse(key, format_args!("must be a list of texts, not {}", kind(value)));
            return Vec::new();
        };
        let mut texts = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            match as_text(item) {
                Some(text) => texts.push(text),
                None => self.problems.push(format!("{key}[{index}] must be a text, not {}", kind(item))),
            }
        }
        texts
    }

    /// A map of texts, written as one block or as a list of them; empty where it is missing.
    pub fn text_map(&mut self, key: &str) -> BTreeMap<String, String> {
        let mut map = BTreeMap::new();
        let parts: &[Value] = match self.value(key) {
            None => &[],
            Some(Value::Array(parts)) => parts,
            Some(one) => std::slice::from_ref(one),
        };
        for part in parts {
            let Value::Object(entries) = part else {
                self.refuse(key, format_args!("must be a map of texts, not {}", kind(part)));
                continue;
            };
            for (name, value) in entries {
                match as_text(value) {
                    Some(text) => drop(map.insert(name.clone(), text)),
                    None => self.problems.push(format!("{key}.{name} must be a text, not {}", kind(value))),
                }
            }
        }
        map
    }

    /// A whole number.
    pub fn integer(&mut self, key: &str) -> Option<i64> {
        let value = self.value(key)?;
        let integer = match value {
            Value::Number(number) => number.as_i64().or_else(|| whole(number.as_f64()?)),
            Value::String(text) => text.trim().parse().ok(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        if integer.is_none() {
            self.refuse(key, format_args!("must be a whole number, not {}", kind(value)));
        }
        integer
    }

    /// A whole number that fits an `i32`.
    pub fn small_integer(&mut self, key: &str) -> Option<i32> {
        let integer = self.integer(key)?;
        let small = i32::try_from(integer).ok();
        if small.is_none() {
            self.refuse(key, format_args!("is out of range: {integer}"));
        }
        small
    }

    /// Yes or no; no where it is missing.
    pub fn boolean(&mut self, key: &str) -> bool {
        let Some(value) = self.value(key) else { return false };
        match value {
            Value::Bool(boolean) => *boolean,
            Value::String(text) if text == "true" => true,
            Value::String(text) if text == "false" => false,
            Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
                self.refuse(key, format_args!("must be true or false, not {}", kind(value)));
                false
            }
        }
    }

    /// A duration: a text such as `"1m30s"`, or whole nanoseconds. Never negative.
    pub fn duration(&mut self, key: &str) -> Option<Duration> {
        let value = self.value(key)?;
        let nanos = match value {
            Value::String(text) => text.parse::<Nanos>().ok(),
            Value::Number(number) => number.as_i64().map(Nanos),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        let duration = nanos.filter(|nanos| *nanos >= Nanos::ZERO).map(Nanos::to_std);
        if duration.is_none() {
            self.refuse(key, format_args!("must be a duration such as \"30s\", not {}", kind(value)));
        }
        duration
    }

    fn value(&self, key: &str) -> Option<&'a Value> {
        self.config.get(key).filter(|value| !value.is_null())
    }
}

fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(boolean) => Some(boolean.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn whole(number: f64) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and in range")]
    (number.fract() == 0.0 && number.abs() < 9.0e15).then_some(number as i64)
}

/// What a wrong value is, for the end of a sentence. Texts are shown, as they say most about the mistake.
fn kind(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(boolean) => boolean.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("{text:?}"),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a map".to_owned(),
    }
}

fn unknown_key(key: &str, known: &[&str]) -> String {
    let nearest = known.iter().map(|candidate| (distance(key, candidate), *candidate)).min();
    match nearest {
        Some((distance, candidate)) if distance <= 1 + key.len() / 3 => {
            format!("{key} is not a known key: did you mean {candidate}?")
        }
        _ => format!("{key} is not a known key: there are {}", known.join(", ")),
    }
}

/// How many letters have to be added, removed or replaced to make one text of the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (above, left) in a.chars().enumerate() {
        let mut next = vec![above + 1];
        for (right, pair) in b.iter().zip(row.windows(2)) {
            let [diagonal, over] = pair else { continue };
            let before = next.last().copied().unwrap_or(0);
            next.push((diagonal + usize::from(left != *right)).min(over + 1).min(before + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: serde_json::Value) -> BTreeMap<String, Value> {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn numbers_and_texts_stand_for_each_other() {
        let config = config(serde_json::json!({
            "text": 80, "integer": "7", "float": 3.0, "texts": ["a", 8080, true], "yes": "true",
            "nanos": 5, "duration": "1.5s", "none": null, "map": [{"a": "1"}, {"b": 2}],
        }));
        let known: Vec<&str> = config.keys().map(String::as_str).collect();
        let mut reader = ConfigReader::new(&config, &known);
        assert_eq!(reader.text("text").as_deref(), Some("80"));
        assert_eq!(reader.integer("integer"), Some(7));
        assert_eq!(reader.integer("float"), Some(3));
        assert_eq!(reader.texts("texts"), ["a", "8080", "true"]);
        assert!(reader.boolean("yes"));
        assert_eq!(reader.duration("nanos"), Some(Duration::from_nanos(5)));
        assert_eq!(reader.duration("duration"), Some(Duration::from_millis(1500)));
        assert_eq!(reader.text("none"), None);
        assert_eq!(reader.text_map("map").len(), 2);
        reader.finish(()).unwrap();
    }

    #[test]
    fn every_mistake_is_named_with_its_key() {
        let config = config(serde_json::json!({
            "run_fro": "1s", "zzz": 1, "args": ["ok", []], "code": 1.5, "wait": "-1s", "on": "perhaps",
        }));
        let mut reader = ConfigReader::new(&config, &["run_for", "command", "args", "code", "wait", "on"]);
        reader.required_text("command");
        reader.texts("args");
        reader.integer("code");
        reader.duration("wait");
        reader.boolean("on");
        let message = reader.finish(()).unwrap_err().to_string();
        for part in [
            "run_fro is not a known key: did you mean run_for?",
            "zzz is not a known key: there are run_for, command",
            "command is required",
            "args[1] must be a text, not a list",
            "code must be a whole number, not 1.5",
            "wait must be a duration such as \"30s\", not \"-1s\"",
            "on must be true or false, not \"perhaps\"",
        ] {
            assert!(message.contains(part), "{part:?} in {message:?}");
        }
    }

    #[test]
    fn the_distance_counts_single_letters() {
        for (a, b, letters) in
            [("", "abc", 3), ("abc", "", 3), ("abc", "abc", 0), ("run_fro", "run_for", 2), ("ab", "b", 1)]
        {
            assert_eq!(distance(a, b), letters, "{a} {b}");
        }
    }
}
