//! How the shapes of the API are declared and encoded: field names, `null` for what is empty, times, bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use orch_model::allocation::{ClientStatus, DesiredStatus, TaskRunState};
use orch_model::deployment::DeploymentStatus;
use orch_model::evaluation::EvalStatus;
use orch_model::job::{Job, JobStatus};
use orch_model::node::{Eligibility, NodeStatus};
use orch_model::{Nanos, Timestamp};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A point in time as the API prints it: RFC 3339 with nanoseconds in UTC, `null` for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Time(pub Timestamp);

impl Time {
    /// The text, or `None` for no point in time.
    pub fn text(self) -> Option<String> {
        if self.0.is_none() {
            return None;
        }
        jiff::Timestamp::from_nanosecond(i128::from(self.0.0)).ok().map(|time| time.to_string())
    }
}

impl From<Timestamp> for Time {
    fn from(time: Timestamp) -> Self {
        Self(time)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.text().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(Self::default()) };
        if text.is_empty() || text.starts_with("0001-01-01T00:00:00") {
            return Ok(Self::default());
        }
        let time: jiff::Timestamp = text.parse().map_err(D::Error::custom)?;
        i64::try_from(time.as_nanosecond()).map(|nanos| Self(Timestamp(nanos))).map_err(D::Error::custom)
    }
}

/// Bytes, as standard base64.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Blob(pub Bytes);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        STANDARD.encode(&self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(|bytes| Self(bytes.into())).map_err(D::Error::custom)
    }
}

/// A field of a shape: whether it prints as `null`, and whether an object that omits empty fields leaves it out.
pub(crate) trait Field: Serialize {
    fn is_null(&self) -> bool {
        false
    }

    fn is_zero(&self) -> bool;
}

macro_rules! plain {
    ($($ty:ty),*) => { $(
        impl Field for $ty {
            fn is_zero(&self) -> bool {
                *self == <$ty>::default()
            }
        }
    )* };
}

macro_rules! always {
    ($($ty:ty),*) => { $(
        impl Field for $ty {
            fn is_zero(&self) -> bool {
                false
            }
        }
    )* };
}

plain!(bool, u8, u16, u32, u64, i32, i64, f64, String, Nanos, Time, Blob);
always!(
    ClientStatus,
    DesiredStatus,
    TaskRunState,
    EvalStatus,
    DeploymentStatus,
    JobStatus,
    NodeStatus,
    Eligibility,
    Job,
    Arc<Job>
);

impl<T: Serialize> Field for Option<T> {
    fn is_zero(&self) -> bool {
        self.is_none()
    }
}

impl<T: Serialize> Field for Vec<T> {
    fn is_null(&self) -> bool {
        self.is_empty()
    }

    fn is_zero(&self) -> bool {
        self.is_empty()
    }
}

impl<T: Serialize> Field for BTreeMap<String, T> {
    fn is_null(&self) -> bool {
        self.is_empty()
    }

    fn is_zero(&self) -> bool {
        self.is_empty()
    }
}

/// Writes a field of a shape that prints all of its fields.
pub(crate) fn null_if_empty<T: Field, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    if value.is_null() { serializer.serialize_none() } else { value.serialize(serializer) }
}

/// Reads a field that may be `null`.
pub(crate) fn null_as_default<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Deserialize<'de> + Default,
    D: Deserializer<'de>,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Whether a shape that omits empty fields leaves this one out.
pub(crate) fn is_zero<T: Field>(value: &T) -> bool {
    value.is_zero()
}

/// Declares shapes that print all of their fields; an empty list or map is `null`.
///
/// JSON names are PascalCase unless renamed. A field that is missing or `null` takes its type's default.
macro_rules! shape {
    ($(
        $(#[$meta:meta])*
        pub struct $name:ident {
            $( $(#[$field_meta:meta])* pub $field:ident : $ty:ty ),* $(,)?
        }
    )*) => { $(
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "PascalCase", default)]
        pub struct $name {
            $(
                $(#[$field_meta])*
                #[serde(
                    serialize_with = "crate::json::null_if_empty",
                    deserialize_with = "crate::json::null_as_default"
                )]
                pub $field: $ty,
            )*
        }

        impl crate::json::Field for $name {
            fn is_zero(&self) -> bool {
                *self == Self::default()
            }
        }
    )* };
}

/// Declares shapes that leave out every empty field.
macro_rules! sparse {
    ($(
        $(#[$meta:meta])*
        pub struct $name:ident {
            $( $(#[$field_meta:meta])* pub $field:ident : $ty:ty ),* $(,)?
        }
    )*) => { $(
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "PascalCase", default)]
        pub struct $name {
            $(
                $(#[$field_meta])*
                #[serde(
                    skip_serializing_if = "crate::json::is_zero",
                    deserialize_with = "crate::json::null_as_default"
                )]
                pub $field: $ty,
            )*
        }

        impl crate::json::Field for $name {
            fn is_zero(&self) -> bool {
                *self == Self::default()
            }
        }
    )* };
}

pub(crate) use {shape, sparse};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc3339_in_utc_and_null_when_there_is_none() {
        let time = Time(Timestamp(1_893_456_000_100_000_000));
        assert_eq!(serde_json::to_string(&time).unwrap(), "\"2030-01-01T00:00:00.1Z\"");
        assert_eq!(serde_json::to_string(&Time::default()).unwrap(), "null");
        assert_eq!(serde_json::from_str::<Time>("\"2030-01-01T00:00:00.1Z\"").unwrap(), time);
        assert_eq!(serde_json::from_str::<Time>("\"0001-01-01T00:00:00Z\"").unwrap(), Time::default());
        assert!(serde_json::from_str::<Time>("\"yesterday\"").is_err());
    }

    #[test]
    fn bytes_are_standard_base64() {
        let blob = Blob(Bytes::from_static(b"hello\n"));
        assert_eq!(serde_json::to_string(&blob).unwrap(), "\"aGVsbG8K\"");
        assert_eq!(serde_json::from_str::<Blob>("\"aGVsbG8K\"").unwrap(), blob);
    }
}
