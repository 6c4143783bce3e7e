//! How values look when they are printed: as Go prints them.

use std::fmt::Write;

use crate::functions::time;
use crate::value::Value;

/// From which power of ten on a number is shown with an exponent.
const EXPONENT_FROM: i32 = 6;

/// Appends what `{{ value }}` prints.
pub(crate) fn action(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Nil => out.extend_from_slice(b"<no value>"),
        Value::Bytes(bytes) => out.extend_from_slice(bytes),
        Value::Bool(_)
        | Value::Int(_)
        | Value::Float(_)
        | Value::Text(_)
        | Value::List(_)
        | Value::Map(_)
        | Value::Time(_)
        | Value::Item(_)
        | Value::Variable(..)
        | Value::Scratch => out.extend_from_slice(text(value).as_bytes()),
    }
}

/// What `%v` makes of a value.
pub(crate) fn text(value: &Value) -> String {
    let mut out = String::new();
    append(value, &mut out);
    out
}

fn append(value: &Value, out: &mut String) {
    match value {
        Value::Nil => out.push_str("<nil>"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Int(number) => write!(out, "{number}").unwrap_or_default(),
        Value::Float(number) => out.push_str(&float(*number)),
        Value::Text(text) => out.push_str(text),
        Value::Item(item) => out.push_str(&item.value),
        Value::Bytes(bytes) => out.push_str(&String::from_utf8_lossy(bytes)),
        Value::Time(at) => out.push_str(&time::default_text(at)),
        Value::Scratch => out.push_str("scratch"),
        Value::List(list) => {
            out.push('[');
            for (index, item) in list.items.iter().enumerate() {
                if index > 0 {
                    out.push(' ');
                }
                append(item, out);
            }
            out.push(']');
        }
        Value::Map(map) | Value::Variable(map, _) => {
            out.push_str("map[");
            for (index, (key, item)) in map.entries.iter().enumerate() {
                if index > 0 {
                    out.push(' ');
                }
                out.push_str(key);
                out.push(':');
                append(item, out);
            }
            out.push(']');
        }
    }
}

/// A number as `%v` shows it: the fewest digits that mean it, with an exponent below -4 and from 6 on.
pub(crate) fn float(number: f64) -> String {
    if number.is_nan() {
        return "NaN".into();
    }
    if number.is_infinite() {
        return if number > 0.0 { "+Inf".into() } else { "-Inf".into() };
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if number != 0.0 && !(-4..EXPONENT_FROM).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    format!("{number}")
}
