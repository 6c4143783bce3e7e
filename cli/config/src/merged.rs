//! All settings of all sources, the last of each key, with where it came from.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::value::Value;

/// The value of a key and where it was set.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub(crate) value: Value,
    /// `file:line:column`, or the flag.
    pub(crate) origin: String,
}

/// All settings.
#[derive(Debug, Default)]
pub(crate) struct Merged {
    settings: BTreeMap<String, Setting>,
    /// Settings of `client.host_network` blocks, by label and name.
    pub(crate) host_networks: BTreeMap<String, BTreeMap<String, Setting>>,
    /// Settings of `client.host_volume` blocks, by label and name.
    pub(crate) host_volumes: BTreeMap<String, BTreeMap<String, Setting>>,
    /// Configurations of drivers by name.
    pub(crate) plugins: BTreeMap<String, BTreeMap<String, serde_json::Value>>,
    pub(crate) warnings: Vec<String>,
    pub(crate) problems: Vec<String>,
}

impl Merged {
    /// Takes a setting; lists and maps are added to what is there, anything else replaces it.
    pub(crate) fn set(&mut self, path: &str, label: Option<&str>, setting: Setting) {
        if let (Some(label), Some(name)) = (label, path.strip_prefix("client.host_network.")) {
            self.host_networks.entry(label.to_owned()).or_default().insert(name.to_owned(), setting);
            return;
        }
        if let (Some(label), Some(name)) = (label, path.strip_prefix("client.host_volume.")) {
            self.host_volumes.entry(label.to_owned()).or_default().insert(name.to_owned(), setting);
            return;
        }
        let Setting { value, origin } = setting;
        match (self.settings.get_mut(path).map(|known| &mut known.value), value) {
            (Some(Value::List(known)), Value::List(more)) => {
                for element in more {
                    if !known.contains(&element) {
                        known.push(element);
                    }
                }
            }
            (Some(Value::Map(known)), Value::Map(more)) => known.extend(more),
            (_, value) => {
                self.settings.insert(path.to_owned(), Setting { value, origin });
            }
        }
    }

    /// Records that what is set at `path` cannot be used.
    pub(crate) fn refuse(&mut self, path: &str, message: impl std::fmt::Display) {
        let origin = self.settings.get(path).map(|setting| format!("{}: ", setting.origin)).unwrap_or_default();
        self.problems.push(format!("{origin}`{path}` {message}"));
    }

    fn get(&self, path: &str) -> Option<&Value> {
        assert!(crate::keys::find(path).is_some(), "{path} is a key of the table");
        self.settings.get(path).map(|setting| &setting.value)
    }

    pub(crate) fn flag(&self, path: &str) -> Option<bool> {
        match self.get(path) {
            Some(Value::Bool(flag)) => Some(*flag),
            _ => None,
        }
    }

    /// A text that is not empty.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        match self.get(path) {
            Some(Value::Text(text)) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    pub(crate) fn duration(&self, path: &str) -> Option<Duration> {
        match self.get(path) {
            Some(Value::Duration(duration)) => Some(*duration),
            _ => None,
        }
    }

    /// A size in bytes.
    pub(crate) fn bytes(&self, path: &str) -> Option<u64> {
        match self.get(path) {
            Some(Value::Bytes(bytes)) => Some(*bytes),
            _ => None,
        }
    }

    pub(crate) fn list(&self, path: &str) -> Vec<String> {
        match self.get(path) {
            Some(Value::List(list)) => list.clone(),
            _ => Vec::new(),
        }
    }

    pub(crate) fn map(&self, path: &str) -> BTreeMap<String, String> {
        match self.get(path) {
            Some(Value::Map(map)) => map.clone(),
            _ => BTreeMap::new(),
        }
    }

    /// A whole number from `min` to `max`; another one is a problem and reads as absent.
    pub(crate) fn int<T: TryFrom<i64>>(&mut self, path: &str, min: i64, max: i64) -> Option<T> {
        let Some(Value::Int(number)) = self.get(path) else { return None };
        let number = *number;
        let fitting = (min..=max).contains(&number).then(|| T::try_from(number).ok()).flatten();
        if fitting.is_none() {
            self.refuse(path, format_args!("must be from {min} to {max}, not {number}"));
        }
        fitting
    }

    /// A share in percent; another number is a problem and reads as absent.
    pub(crate) fn percent(&mut self, path: &str) -> Option<f64> {
        let Some(Value::Float(number)) = self.get(path) else { return None };
        let number = *number;
        let fitting = (0.0..=100.0).contains(&number);
        if !fitting {
            self.refuse(path, format_args!("is a share in percent and must be from 0 to 100, not {number}"));
        }
        fitting.then_some(number)
    }

    /// The time between two doings of the same; less than a tenth of a second is a problem and reads as absent.
    pub(crate) fn interval(&mut self, path: &str) -> Option<Duration> {
        let interval = self.duration(path)?;
        let fitting = interval >= Duration::from_millis(100);
        if !fitting {
            self.refuse(path, format_args!("must be 100ms or more, not {interval:?}"));
        }
        fitting.then_some(interval)
    }

    /// Everything that is set, as nested JSON.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        let mut top = serde_json::json!({});
        for (path, setting) in &self.settings {
            // No key is also a section, so every step on the way is an object.
            let place = path.split('.').fold(&mut top, |place, part| &mut place[part]);
            *place = setting.value.to_json();
        }
        top
    }
}
