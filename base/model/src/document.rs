//! The one encoding of model values where machines talk to machines: MessagePack with named fields.
//!
//! Raft log, snapshots, gRPC payloads and the client's local state all use it, so neighbouring versions understand
//! each other: a field that is missing takes its default. Whether an unknown field is an error is the reader's choice.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why a document could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The value cannot be represented.
    #[error("cannot encode a {what}")]
    Encode {
        /// The type's name.
        what: &'static str,
        /// What the encoder said.
        #[source]
        source: rmp_serde::encode::Error,
    },
    /// The bytes are not such a document.
    #[error("{len} bytes are not a valid {what}")]
    Decode {
        /// The type's name.
        what: &'static str,
        /// How many bytes there were.
        len: usize,
        /// What the decoder said.
        #[source]
        source: rmp_serde::decode::Error,
    },
    /// The document holds a field that this version does not know.
    #[error("a {what} holds the unknown field {field:?}: it was written by a newer version of orch")]
    UnknownField {
        /// The type's name.
        what: &'static str,
        /// The path of the field.
        field: String,
    },
}

/// Encodes `value`.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, Error> {
    let mut out = Vec::with_capacity(256);
    encode_into(value, &mut out)?;
    Ok(out)
}

/// Appends the encoding of `value` to `out`.
pub fn encode_into<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), Error> {
    value
        .serialize(&mut rmp_serde::Serializer::new(out).with_struct_map())
        .map_err(|source| Error::Encode { what: short_name::<T>(), source })
}

/// Decodes one document; unknown fields are ignored.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    rmp_serde::from_slice(bytes).map_err(|source| Error::Decode { what: short_name::<T>(), len: bytes.len(), source })
}

/// Decodes one document of our own log or snapshots, where a field that nobody knows means a newer writer.
pub fn decode_strict<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    let mut unknown: Option<String> = None;
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(bytes);
    let value = serde_ignored::deserialize(&mut deserializer, |path| {
        unknown.get_or_insert_with(|| path.to_string());
    })
    .map_err(|source| Error::Decode { what: short_name::<T>(), len: bytes.len(), source })?;
    match unknown {
        None => Ok(value),
        Some(field) => Err(Error::UnknownField { what: short_name::<T>(), field }),
    }
}

fn short_name<T: ?Sized>() -> &'static str {
    let name = std::any::type_name::<T>();
    let path = name.split('<').next().unwrap_or(name);
    path.rsplit("::").next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(default)]
    struct Newer {
        a: u32,
        b: String,
    }

    impl Default for Newer {
        fn default() -> Self {
            Self { a: 0, b: "none".into() }
        }
    }

    #[derive(Serialize, Deserialize)]
    struct Older {
        a: u32,
    }

    #[test]
    fn neighbouring_versions_read_each_other() {
        let old = encode(&Older { a: 3 }).unwrap();
        assert_eq!(decode::<Newer>(&old).unwrap(), Newer { a: 3, b: "none".into() });
        let new = encode(&Newer { a: 4, b: "x".into() }).unwrap();
        assert_eq!(decode::<Older>(&new).unwrap().a, 4);
    }

    #[test]
    fn a_strict_reader_refuses_what_it_does_not_know() {
        let new = encode(&Newer { a: 4, b: "x".into() }).unwrap();
        let error = decode_strict::<Older>(&new).err().unwrap();
        assert_eq!(
            error.to_string(),
            "a Older holds the unknown field \"b\": it was written by a newer version of orch"
        );
        assert_eq!(decode_strict::<Newer>(&new).unwrap().a, 4);
    }

    #[test]
    fn garbage_is_an_error_that_names_the_type() {
        let error = decode::<Newer>(b"\xc1\xff").unwrap_err();
        assert_eq!(error.to_string(), "2 bytes are not a valid Newer");
    }
}
