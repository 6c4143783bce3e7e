//! Reading a task's `config`, with every mistake in it reported at once.

use std::collections::BTreeMap;
use std::time::Duration;

use orch_model::Nanos;
use serde_json::{Map, Value};

use crate::error::Error;

/// Reads the values of a `config` block by key, and gathers what is wrong with them.
///
/// Values come from job files, where a number may be written as text and the other way round: whatever can only mean one thing is taken.
/// `null` is as good as absent. What could not be read is absent too, and [`finish`](Self::finish) then fails.
#[derive(Debug)]
pub struct ConfigReader<'a> {
    config: BTreeMap<&'a str, &'a Value>,
    /// Where this block stands in the whole, as the beginning of each key that is named in a problem: `mount[1].`.
    place: String,
    problems: Vec<String>,
}

impl<'a> ConfigReader<'a> {
    /// A reader of `config`, in which only the keys in `known` may stand.
    pub fn new(config: &'a BTreeMap<String, Value>, known: &[&str]) -> Self {
        Self::of(config.iter().map(|(key, value)| (key.as_str(), value)).collect(), String::new(), known)
    }

    fn of(config: BTreeMap<&'a str, &'a Value>, place: String, known: &[&str]) -> Self {
        let unknown = config.keys().filter(|key| !known.contains(key));
        let problems = unknown.map(|key| format!("{place}{}", unknown_key(key, known))).collect();
        Self { config, place, problems }
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
        self.problems.push(format!("{}{key} {problem}", self.place));
    }

    /// Whether `key` has a value.
    pub fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    /// A block with keys of its own, of which only those in `known` may stand; `None` where it is missing.
    ///
    /// It may also be written as a list with one block. `read` gets a reader of it, whose problems become problems of this one.
    pub fn block<T>(&mut self, key: &str, known: &[&str], read: impl FnOnce(&mut ConfigReader<'a>) -> T) -> Option<T> {
        let value = match self.value(key)? {
            Value::Array(items) if items.is_empty() => return None,
            Value::Array(items) if items.len() > 1 => {
                self.refuse(key, format_args!("may stand once, not {} times", items.len()));
                return None;
            }
            Value::Array(items) => items.first()?,
            one => one,
        };
        let Value::Object(entries) = value else {
            self.refuse(key, format_args!("must be a block, not {}", kind(value)));
            return None;
        };
        let place = format!("{}{key}.", self.place);
        Some(self.nested(entries, place, known, read))
    }

    /// Blocks with keys of their own, of which only those in `known` may stand; empty where they are missing.
    ///
    /// One alone may be written without a list. `read` gets a reader of each, whose problems become problems of this one.
    pub fn blocks<T>(&mut self, key: &str, known: &[&str], read: impl Fn(&mut ConfigReader<'a>) -> T) -> Vec<T> {
        let items: &'a [Value] = match self.value(key) {
            None => &[],
            Some(Value::Array(items)) => items,
            Some(one) => std::slice::from_ref(one),
        };
        let mut blocks = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let Value::Object(entries) = item else {
                self.problems.push(format!("{}{key}[{index}] must be a block, not {}", self.place, kind(item)));
                continue;
            };
            let place = format!("{}{key}[{index}].", self.place);
            blocks.push(self.nested(entries, place, known, &read));
        }
        blocks
    }

    fn nested<T>(
        &mut self,
        entries: &'a Map<String, Value>,
        place: String,
        known: &[&str],
        read: impl FnOnce(&mut ConfigReader<'a>) -> T,
    ) -> T {
        let entries = entries.iter().map(|(key, value)| (key.as_str(), value)).collect();
        let mut reader = Self::of(entries, place, known);
        let block = read(&mut reader);
        self.problems.append(&mut reader.problems);
        block
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
                None => {
                    self.problems.push(format!("{}{key}[{index}] must be a text, not {}", self.place, kind(item)));
                }
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
                    None => {
                        self.problems.push(format!("{}{key}.{name} must be a text, not {}", self.place, kind(value)));
                    }
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
        self.boolean_or(key, false)
    }

    /// Yes or no; `default` where it is missing.
    pub fn boolean_or(&mut self, key: &str, default: bool) -> bool {
        let Some(value) = self.value(key) else { return default };
        match value {
            Value::Bool(boolean) => *boolean,
            Value::String(text) if text == "true" => true,
            Value::String(text) if text == "false" => false,
            Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
                self.refuse(key, format_args!("must be true or false, not {}", kind(value)));
                default
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
        self.config.get(key).copied().filter(|value| !value.is_null())
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
    fn blocks_are_read_with_keys_of_their_own() {
        let config = config(serde_json::json!({
            "auth": [{"username": "alice"}], "mount": [{"target": "/a"}, {"target": 7}], "device": {"path": "/dev/x"},
            "none": [], "null": null,
        }));
        let mut reader = ConfigReader::new(&config, &["auth", "mount", "device", "none", "null"]);
        assert_eq!(reader.block("auth", &["username"], |auth| auth.text("username")), Some(Some("alice".to_owned())));
        assert_eq!(reader.blocks("mount", &["target"], |mount| mount.required_text("target")), ["/a", "7"]);
        assert_eq!(reader.blocks("device", &["path"], |device| device.required_text("path")), ["/dev/x"]);
        assert_eq!(reader.block("none", &[], |_| ()), None);
        assert_eq!(reader.block("null", &[], |_| ()), None);
        assert!(reader.has("none") && !reader.has("null") && !reader.has("absent"));
        reader.finish(()).unwrap();
    }

    #[test]
    fn mistakes_in_blocks_are_named_with_their_place() {
        let config = config(serde_json::json!({
            "auth": [{}, {}], "tls": "x",
            "mount": [{"target": "/a"}, {"targte": 1, "bind": {"size": "much", "labels": {"a": []}}}, 3],
        }));
        let mut reader = ConfigReader::new(&config, &["auth", "tls", "mount"]);
        reader.block("auth", &[], |_| ());
        reader.block("tls", &[], |_| ());
        reader.blocks("mount", &["target", "bind"], |mount| {
            mount.required_text("target");
            mount.block("bind", &["size", "labels"], |bind| (bind.integer("size"), bind.text_map("labels")));
        });
        let message = reader.finish(()).unwrap_err().to_string();
        for part in [
            "auth may stand once, not 2 times",
            "tls must be a block, not \"x\"",
            "mount[1].targte is not a known key: did you mean target?",
            "mount[1].target is required",
            "mount[1].bind.size must be a whole number, not \"much\"",
            "mount[1].bind.labels.a must be a text, not a list",
            "mount[2] must be a block, not 3",
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
