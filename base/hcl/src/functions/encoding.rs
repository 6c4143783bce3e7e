//! Encodings: base64, CSV, JSON, YAML and URLs.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Call, CallFault, Function, Outcome, function};
use crate::number::Number;
use crate::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    function("base64decode", 1, 1, base64decode),
    function("base64encode", 1, 1, |call| Ok(STANDARD.encode(call.string(0)?).into())),
    function("csvdecode", 1, 1, csvdecode),
    function("jsondecode", 1, 1, jsondecode),
    function("jsonencode", 1, 1, |call| Ok(json_text(&call.take(0)).into())),
    function("urlencode", 1, 1, urlencode),
    function("yamldecode", 1, 1, yamldecode),
    function("yamlencode", 1, 1, yamlencode),
];

fn base64decode(call: &mut Call<'_>) -> Outcome {
    let text = call.string(0)?;
    let bytes = STANDARD.decode(text.trim()).map_err(|_| call.fault(0, "this is not base64"))?;
    let text = String::from_utf8(bytes).map_err(|_| call.fault(0, "what was encoded is not UTF-8 text"))?;
    Ok(text.into())
}

/// One map for each row, by the names of the first row.
fn csvdecode(call: &mut Call<'_>) -> Outcome {
    let text = call.string(0)?;
    let invalid = |error: csv::Error| CallFault::from(format!("this is not valid CSV: {error}"));
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let names: Vec<String> = reader.headers().map_err(invalid)?.iter().map(str::to_owned).collect();
    let names_weight = names.iter().map(|name| name.len() + 64).sum();
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(invalid)?;
        call.charge(names_weight)?;
        let row: BTreeMap<String, Value> = names.iter().cloned().zip(record.iter().map(Value::from)).collect();
        rows.push(Value::Map(row));
    }
    Ok(Value::List(rows))
}

fn jsondecode(call: &mut Call<'_>) -> Outcome {
    let text = call.string(0)?;
    let json: serde_json::Value =
        serde_json::from_str(&text).map_err(|error| call.fault(0, format!("this is not valid JSON: {error}")))?;
    Ok(Value::from(&json))
}

/// A value as compact JSON, with integers of any size exact and `<`, `>` and `&` escaped as Go does.
pub(super) fn json_text(value: &Value) -> String {
    let mut text = String::new();
    write_json(value, &mut text);
    text
}

fn write_json(value: &Value, text: &mut String) {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(flag) => text.push_str(if *flag { "true" } else { "false" }),
        Value::Number(number) => text.push_str(&number.to_string()),
        Value::String(string) => write_json_string(string, text),
        Value::List(elements) | Value::Set(elements) => {
            text.push('[');
            for (index, element) in elements.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write_json(element, text);
            }
            text.push(']');
        }
        Value::Map(entries) => {
            text.push('{');
            for (index, (key, value)) in entries.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write_json_string(key, text);
                text.push(':');
                write_json(value, text);
            }
            text.push('}');
        }
    }
}

fn write_json_string(string: &str, text: &mut String) {
    let quoted = serde_json::Value::from(string).to_string();
    for c in quoted.chars() {
        match c {
            '<' => text.push_str("\\u003c"),
            '>' => text.push_str("\\u003e"),
            '&' => text.push_str("\\u0026"),
            '\u{2028}' => text.push_str("\\u2028"),
            '\u{2029}' => text.push_str("\\u2029"),
            other => text.push(other),
        }
    }
}

/// What a query string keeps as it is; a space becomes `+`.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b' ');

fn urlencode(call: &mut Call<'_>) -> Outcome {
    Ok(utf8_percent_encode(&call.string(0)?, QUERY).to_string().replace(' ', "+").into())
}

fn yamldecode(call: &mut Call<'_>) -> Outcome {
    let text = call.string(0)?;
    let yaml: serde_yaml_ng::Value =
        serde_yaml_ng::from_str(&text).map_err(|error| call.fault(0, format!("this is not valid YAML: {error}")))?;
    from_yaml(call, yaml)
}

fn from_yaml(call: &Call<'_>, yaml: serde_yaml_ng::Value) -> Outcome {
    call.charge(32)?;
    Ok(match yaml {
        serde_yaml_ng::Value::Null => Value::Null,
        serde_yaml_ng::Value::Bool(flag) => Value::Bool(flag),
        serde_yaml_ng::Value::Number(number) => {
            let text = number.to_string();
            let parsed = Number::parse(&text).or_else(|| number.as_f64().and_then(Number::from_f64));
            Value::Number(parsed.ok_or_else(|| format!("{text} is not a number that can be represented"))?)
        }
        serde_yaml_ng::Value::String(text) => Value::String(text),
        serde_yaml_ng::Value::Sequence(elements) => {
            Value::List(elements.into_iter().map(|element| from_yaml(call, element)).collect::<Result<_, _>>()?)
        }
        serde_yaml_ng::Value::Mapping(entries) => {
            let mut map = BTreeMap::new();
            for (key, value) in entries {
                let key = from_yaml(call, key)?;
                let Some(key) = key.to_text() else {
                    return Err(format!("a key must be a string, this is {}", key.kind()).into());
                };
                map.insert(key.into_owned(), from_yaml(call, value)?);
            }
            Value::Map(map)
        }
        serde_yaml_ng::Value::Tagged(tagged) => from_yaml(call, tagged.value)?,
    })
}

fn yamlencode(call: &mut Call<'_>) -> Outcome {
    let json = call.take(0).to_json();
    let text = serde_yaml_ng::to_string(&json).map_err(|error| format!("cannot be written as YAML: {error}"))?;
    Ok(text.into())
}
