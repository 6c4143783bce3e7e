//! Values of keys, read from a document or from the text of a flag.

use std::collections::BTreeMap;
use std::time::Duration;

use orch_hcl::BodyReader;

use crate::keys::Kind;

/// A value with its type.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Duration(Duration),
    Bytes(u64),
    List(Vec<String>),
    Map(BTreeMap<String, String>),
}

impl Value {
    /// Whether it asks for something: neither false, zero nor empty.
    pub(crate) fn asks(&self) -> bool {
        match self {
            Self::Bool(flag) => *flag,
            Self::Int(number) => *number != 0,
            Self::Float(number) => *number != 0.0,
            Self::Text(text) => !text.is_empty(),
            Self::Duration(duration) => !duration.is_zero(),
            Self::Bytes(bytes) => *bytes != 0,
            Self::List(list) => !list.is_empty(),
            Self::Map(map) => !map.is_empty(),
        }
    }

    /// As `/v1/agent/self` shows it.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Bool(flag) => (*flag).into(),
            Self::Int(number) => (*number).into(),
            Self::Float(number) => (*number).into(),
            Self::Text(text) => text.clone().into(),
            Self::Duration(duration) => {
                orch_hcl::duration::format(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)).into()
            }
            Self::Bytes(bytes) => (*bytes).into(),
            Self::List(list) => list.clone().into(),
            Self::Map(map) => {
                map.iter().map(|(key, value)| (key.clone(), serde_json::Value::from(value.clone()))).collect()
            }
        }
    }

    /// Reads the attribute `name`; what does not fit is recorded with the reader's diagnostics.
    pub(crate) fn read(body: &mut BodyReader<'_>, name: &str, kind: Kind) -> Option<Self> {
        match kind {
            Kind::Bool => body.opt_bool(name).map(Self::Bool),
            Kind::Int => body.opt_i64(name).map(Self::Int),
            Kind::Float => body.opt_f64(name).map(Self::Float),
            Kind::Text => body.opt_string(name).map(Self::Text),
            Kind::List => body.opt_string_list(name).map(Self::List),
            Kind::Map => body.opt_string_map_or_block(name).map(Self::Map),
            Kind::Duration => {
                let nanos = body.opt_duration_ns(name)?;
                match u64::try_from(nanos) {
                    Ok(nanos) => Some(Self::Duration(Duration::from_nanos(nanos))),
                    Err(_) => {
                        body.error(body.place_of(name), format!("`{name}` must not be negative"));
                        None
                    }
                }
            }
            Kind::Bytes => {
                let text = body.opt_string(name)?;
                match parse_bytes(&text) {
                    Ok(bytes) => Some(Self::Bytes(bytes)),
                    Err(message) => {
                        body.error(body.place_of(name), format!("`{name}` {message}"));
                        None
                    }
                }
            }
        }
    }

    /// Reads the text of a flag; a list or map gets one element from it.
    pub(crate) fn parse(text: &str, kind: Kind) -> Result<Self, String> {
        match kind {
            Kind::Bool => match text {
                "true" | "1" | "" => Ok(Self::Bool(true)),
                "false" | "0" => Ok(Self::Bool(false)),
                _ => Err(format!("must be true or false, not \"{text}\"")),
            },
            Kind::Int => text.parse().map(Self::Int).map_err(|_| format!("must be a whole number, not \"{text}\"")),
            Kind::Float => text.parse().map(Self::Float).map_err(|_| format!("must be a number, not \"{text}\"")),
            Kind::Text => Ok(Self::Text(text.to_owned())),
            Kind::List => Ok(Self::List(vec![text.to_owned()])),
            Kind::Map => {
                let (key, value) = text.split_once('=').ok_or_else(|| format!("must be key=value, not \"{text}\""))?;
                Ok(Self::Map(BTreeMap::from([(key.trim().to_owned(), value.to_owned())])))
            }
            Kind::Duration => orch_hcl::duration::parse(text)
                .ok()
                .and_then(|nanos| u64::try_from(nanos).ok())
                .map(|nanos| Self::Duration(Duration::from_nanos(nanos)))
                .ok_or_else(|| format!("must be a duration such as \"30s\", not \"{text}\"")),
            Kind::Bytes => parse_bytes(text).map(Self::Bytes),
        }
    }
}

/// A size in bytes: a number with an optional unit, decimal (`kB`, `MB`, `GB`) or binary (`KiB`, `MiB`, `GiB`).
fn parse_bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("must be a size such as \"10MB\" or \"1GiB\", not \"{text}\"");
    let trimmed = text.trim();
    let split = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(split);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1_000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "t" | "tb" => 1_000_000_000_000,
        "ki" | "kib" => 1 << 10,
        "mi" | "mib" => 1 << 20,
        "gi" | "gib" => 1 << 30,
        "ti" | "tib" => 1 << 40,
        _ => return Err(wrong()),
    };
    number.checked_mul(factor).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_decimal_and_binary_units() {
        for (text, bytes) in [("10", 10), ("1M", 1_000_000), ("2 MiB", 2 << 20), ("1gb", 1_000_000_000)] {
            assert_eq!(Value::parse(text, Kind::Bytes), Ok(Value::Bytes(bytes)), "{text}");
        }
        for text in ["", "M", "1X", "99999999999999999999", "-1"] {
            assert!(Value::parse(text, Kind::Bytes).is_err(), "{text}");
        }
    }

    #[test]
    fn a_flag_says_what_it_wants() {
        let error = Value::parse("soon", Kind::Duration).unwrap_err();
        assert_eq!(error, "must be a duration such as \"30s\", not \"soon\"");
        assert_eq!(Value::parse("a=b=c", Kind::Map), Ok(Value::Map([("a".into(), "b=c".into())].into())));
    }
}
