//! Reading JSON as Go does: field names match whatever their case is. Errors name the field.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};
use serde_json::{Map, Value};

/// Reads `value` as a `T`.
pub(crate) fn from_value<T: de::DeserializeOwned>(value: Value) -> Result<T, FieldError> {
    T::deserialize(Lenient(value))
}

/// The names of the fields that a struct reads; empty if `T` is no struct.
pub(crate) fn field_names<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    let mut names: &'static [&'static str] = &[];
    // The probe reads nothing, so the attempt always fails; what counts is what was asked for.
    drop(T::deserialize(Probe(&mut names)));
    names
}

/// What does not fit, and where.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FieldError {
    /// From the outermost field inwards, such as `Job`, `.TaskGroups`, `[0]`.
    path: Vec<String>,
    message: String,
}

impl FieldError {
    fn within(mut self, step: String) -> Self {
        self.path.push(step);
        self
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path: String = self.path.iter().rev().map(String::as_str).collect();
        match path.trim_start_matches('.') {
            "" => f.write_str(&self.message),
            path => write!(f, "{path}: {}", self.message),
        }
    }
}

impl std::error::Error for FieldError {}

impl de::Error for FieldError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { path: Vec::new(), message: message.to_string() }
    }
}

impl From<serde_json::Error> for FieldError {
    fn from(error: serde_json::Error) -> Self {
        de::Error::custom(error)
    }
}

struct Lenient(Value);

impl<'de> Deserializer<'de> for Lenient {
    type Error = FieldError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        match self.0 {
            Value::Array(items) => visitor.visit_seq(Items { items: items.into_iter(), next: 0 }),
            Value::Object(entries) => visitor.visit_map(Entries::new(entries)),
            plain @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => {
                Ok(plain.deserialize_any(visitor)?)
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, FieldError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, FieldError> {
        Ok(self.0.deserialize_enum(name, variants, visitor)?)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, FieldError> {
        match self.0 {
            Value::Object(entries) => visitor.visit_map(Entries::new(with_exact_names(entries, fields))),
            other => Self(other).deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}

/// The entries with those names that differ from a field's in case only spelt as the field.
fn with_exact_names(entries: Map<String, Value>, fields: &[&str]) -> Map<String, Value> {
    if entries.keys().all(|key| fields.contains(&key.as_str())) {
        return entries;
    }
    let (mut exact, others): (Map<_, _>, Map<_, _>) =
        entries.into_iter().partition(|(key, _)| fields.contains(&key.as_str()));
    for (key, value) in others {
        if let Some(field) = fields.iter().find(|field| field.eq_ignore_ascii_case(&key)) {
            exact.entry(*field).or_insert(value);
        }
    }
    exact
}

struct Items {
    items: std::vec::IntoIter<Value>,
    next: usize,
}

impl<'de> SeqAccess<'de> for Items {
    type Error = FieldError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, FieldError> {
        let Some(item) = self.items.next() else { return Ok(None) };
        let position = self.next;
        self.next += 1;
        seed.deserialize(Lenient(item)).map(Some).map_err(|error| error.within(format!("[{position}]")))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

struct Entries {
    entries: serde_json::map::IntoIter,
    current: Option<(String, Value)>,
}

impl Entries {
    fn new(entries: Map<String, Value>) -> Self {
        Self { entries: entries.into_iter(), current: None }
    }
}

impl<'de> MapAccess<'de> for Entries {
    type Error = FieldError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, FieldError> {
        self.current = self.entries.next();
        match &self.current {
            Some((key, _)) => seed.deserialize(key.as_str().into_deserializer()).map(Some),
            None => Ok(None),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, FieldError> {
        let (key, value) =
            self.current.take().ok_or_else(|| <FieldError as de::Error>::custom("a value without a name"))?;
        seed.deserialize(Lenient(value)).map_err(|error| error.within(format!(".{key}")))
    }
}

/// Notes which fields are asked for.
struct Probe<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = FieldError;

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, FieldError> {
        Err(de::Error::custom("nothing to read"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, FieldError> {
        *self.0 = fields;
        self.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orch_api::job::JobRegisterRequest;
    use serde_json::json;

    #[test]
    fn names_match_whatever_their_case_is_and_exact_ones_win() {
        let request: JobRegisterRequest = from_value(json!({
            "job": { "id": "web", "TASKGROUPS": [{ "name": "a", "COUNT": 3, "Count": 2 }], "Meta": { "Key": "v" } },
            "enforceindex": true, "Unknown": 1,
        }))
        .unwrap();
        let job = request.job.unwrap();
        assert!(request.enforce_index);
        assert_eq!((job.id.as_str(), job.task_groups[0].count), ("web", 2));
        assert_eq!(job.meta["Key"], "v", "keys of maps are left alone");
    }

    #[test]
    fn an_error_names_the_field() {
        let error =
            from_value::<JobRegisterRequest>(json!({ "Job": { "TaskGroups": [{ "Count": "x" }] } })).unwrap_err();
        assert!(error.to_string().starts_with("Job.TaskGroups[0].Count: invalid type: string \"x\""), "{error}");
    }

    #[test]
    fn the_fields_of_a_struct_are_known() {
        assert!(field_names::<orch_api::Evaluation>().contains(&"TriggeredBy"));
        assert!(field_names::<u32>().is_empty());
    }
}
