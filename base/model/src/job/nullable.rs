//! How the structs of the job tree are declared, and how they treat `null`.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::JobStatus;
use crate::ids::{JobId, Namespace, StateIndex};
use crate::time::{Nanos, Timestamp};

/// A field of the job tree: whether it prints as `null`.
pub(crate) trait Field: Serialize {
    /// An empty list or map prints as `null`, everything else as itself.
    fn is_null(&self) -> bool {
        false
    }
}

impl Field for bool {}
impl Field for i64 {}
impl Field for u64 {}
impl Field for String {}
impl Field for JobId {}
impl Field for Namespace {}
impl Field for StateIndex {}
impl Field for Nanos {}
impl Field for Timestamp {}
impl Field for JobStatus {}

impl<T: Serialize> Field for Option<T> {}

impl<T: Serialize> Field for Vec<T> {
    fn is_null(&self) -> bool {
        self.is_empty()
    }
}

impl<T: Serialize> Field for BTreeMap<String, T> {
    fn is_null(&self) -> bool {
        self.is_empty()
    }
}

/// Writes a field.
pub(crate) fn serialize<T: Field, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    if value.is_null() { serializer.serialize_none() } else { value.serialize(serializer) }
}

/// Whether a field of an object that omits its empty fields is left out.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Declares structs of the job tree.
///
/// JSON names are PascalCase unless renamed. A field may state its default (`pub count: i64 = 1`), which it takes when
/// it is missing or `null`; without one it is the type's default.
macro_rules! document {
    ($(
        $(#[$meta:meta])*
        pub struct $name:ident {
            $( $(#[$field_meta:meta])* pub $field:ident : $ty:ty $(= $default:expr)? ),* $(,)?
        }
    )*) => { $(
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize)]
        #[serde(rename_all = "PascalCase")]
        pub struct $name {
            $( $(#[$field_meta])* #[serde(serialize_with = "crate::job::nullable::serialize")] pub $field: $ty, )*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: crate::job::nullable::document!(@default $($default)?), )* }
            }
        }

        impl crate::job::nullable::Field for $name {}

        const _: () = {
            /// The same fields, each of which may be absent.
            #[derive(serde::Deserialize)]
            #[serde(rename_all = "PascalCase")]
            struct Given {
                $( $(#[$field_meta])* $field: Option<$ty>, )*
            }

            impl<'de> serde::Deserialize<'de> for $name {
                fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    let given = Given::deserialize(deserializer)?;
                    Ok(Self {
                        $( $field: match given.$field {
                            Some(value) => value,
                            None => crate::job::nullable::document!(@default $($default)?),
                        }, )*
                    })
                }
            }
        };
    )* };
    (@default) => { Default::default() };
    (@default $default:expr) => { $default };
}

pub(crate) use document;
