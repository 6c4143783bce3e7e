//! JSON, YAML and TOML.

use std::fmt::Write;

use super::{Table, exactly, expected, text};
use crate::run::Run;
use crate::show;
use crate::value::{Entries, Failure, Value};

pub(super) const TABLE: Table = &[
    ("parseJSON", |run, args| parse_json(run, args)),
    ("parseYAML", |run, args| {
        let [document] = exactly(args)?;
        let document = text(document)?;
        if document.is_empty() {
            return Value::map(Entries::new());
        }
        let parsed =
            serde_yaml_ng::from_str(document).map_err(|error| Failure(format!("this is not YAML: {error}")))?;
        counted(run, from_yaml(parsed)?)
    }),
    ("toJSON", |run, args| json(run, args, Style { escaped: true, pretty: false })),
    ("toJSONPretty", |run, args| json(run, args, Style { escaped: true, pretty: true })),
    ("toUnescapedJSON", |run, args| json(run, args, Style { escaped: false, pretty: false })),
    ("toUnescapedJSONPretty", |run, args| json(run, args, Style { escaped: false, pretty: true })),
    ("sprig_fromJson", |run, args| parse_json(run, args)),
    ("sprig_toJson", |run, args| json(run, args, Style { escaped: true, pretty: false })),
    ("sprig_toPrettyJson", |run, args| json(run, args, Style { escaped: true, pretty: true })),
    ("sprig_toRawJson", |run, args| json(run, args, Style { escaped: false, pretty: false })),
    ("toYAML", |run, args| {
        let [value] = exactly(args)?;
        run.fits(value.weight())?;
        let document = serde_yaml_ng::to_string(&to_yaml(value)).map_err(|error| Failure(error.to_string()))?;
        Ok(Value::text(document.trim()))
    }),
    ("toTOML", |run, args| {
        let [value] = exactly(args)?;
        run.fits(value.weight())?;
        let entries = value.as_map().ok_or_else(|| expected("a map", value))?;
        let table = entries.iter().map(|(key, value)| Some((key.to_string(), to_toml(value)?)));
        let table: toml::Table = table.collect::<Option<_>>().ok_or_else(|| Failure::from("TOML has no null"))?;
        let document = toml::to_string(&table).map_err(|error| Failure(error.to_string()))?;
        Ok(Value::text(document.trim()))
    }),
];

fn parse_json(run: &mut Run<'_>, args: &[Value]) -> Result<Value, Failure> {
    let [document] = exactly(args)?;
    let document = text(document)?;
    if document.is_empty() {
        return Value::map(Entries::new());
    }
    let parsed = serde_json::from_str(document).map_err(|error| Failure(format!("this is not JSON: {error}")))?;
    counted(run, from_json(parsed)?)
}

/// Counts all of what was read, of which the caller counts only the outermost part.
fn counted(run: &mut Run<'_>, value: Value) -> Result<Value, Failure> {
    run.take(value.weight())?;
    Ok(value)
}

/// All numbers of JSON are floating, as Go reads them.
fn from_json(value: serde_json::Value) -> Result<Value, Failure> {
    use serde_json::Value as Json;
    match value {
        Json::Null => Ok(Value::Nil),
        Json::Bool(value) => Ok(Value::Bool(value)),
        Json::Number(number) => Ok(Value::Float(number.as_f64().unwrap_or(f64::NAN))),
        Json::String(text) => Ok(Value::text(text)),
        Json::Array(items) => Value::list(items.into_iter().map(from_json).collect::<Result<_, _>>()?),
        Json::Object(entries) => {
            let entries = entries.into_iter().map(|(key, value)| Ok((key.into(), from_json(value)?)));
            Value::map(entries.collect::<Result<_, Failure>>()?)
        }
    }
}

fn from_yaml(value: serde_yaml_ng::Value) -> Result<Value, Failure> {
    use serde_yaml_ng::Value as Yaml;
    match value {
        Yaml::Null => Ok(Value::Nil),
        Yaml::Bool(value) => Ok(Value::Bool(value)),
        Yaml::Number(number) => {
            Ok(number.as_i64().map_or_else(|| Value::Float(number.as_f64().unwrap_or(f64::NAN)), Value::Int))
        }
        Yaml::String(text) => Ok(Value::text(text)),
        Yaml::Sequence(items) => Value::list(items.into_iter().map(from_yaml).collect::<Result<_, _>>()?),
        Yaml::Mapping(entries) => {
            let entries =
                entries.into_iter().map(|(key, value)| Ok((show::text(&from_yaml(key)?).into(), from_yaml(value)?)));
            Value::map(entries.collect::<Result<_, Failure>>()?)
        }
        Yaml::Tagged(tagged) => from_yaml(tagged.value),
    }
}

/// The whole number that a number is.
#[expect(clippy::cast_possible_truncation, reason = "it has no fraction and is far from where digits are lost")]
fn whole(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() < 1e15).then_some(number as i64)
}

fn to_yaml(value: &Value) -> serde_yaml_ng::Value {
    use serde_yaml_ng::Value as Yaml;
    match value {
        Value::Nil => Yaml::Null,
        Value::Bool(value) => Yaml::Bool(*value),
        Value::Int(number) => Yaml::Number((*number).into()),
        Value::Float(number) => Yaml::Number(whole(*number).map_or_else(|| (*number).into(), Into::into)),
        Value::List(list) => Yaml::Sequence(list.items.iter().map(to_yaml).collect()),
        Value::Map(map) | Value::Variable(map, _) => Yaml::Mapping(
            map.entries.iter().map(|(key, value)| (Yaml::String(key.to_string()), to_yaml(value))).collect(),
        ),
        Value::Text(_) | Value::Item(_) | Value::Bytes(_) | Value::Time(_) | Value::Scratch => {
            Yaml::String(show::text(value))
        }
    }
}

fn to_toml(value: &Value) -> Option<toml::Value> {
    Some(match value {
        Value::Nil => return None,
        Value::Bool(value) => toml::Value::Boolean(*value),
        Value::Int(number) => toml::Value::Integer(*number),
        Value::Float(number) => toml::Value::Float(*number),
        Value::List(list) => toml::Value::Array(list.items.iter().map(to_toml).collect::<Option<_>>()?),
        Value::Map(map) | Value::Variable(map, _) => {
            let entries = map.entries.iter().map(|(key, value)| Some((key.to_string(), to_toml(value)?)));
            toml::Value::Table(entries.collect::<Option<_>>()?)
        }
        Value::Text(_) | Value::Item(_) | Value::Bytes(_) | Value::Time(_) | Value::Scratch => {
            toml::Value::String(show::text(value))
        }
    })
}

/// How JSON is written.
#[derive(Clone, Copy)]
struct Style {
    /// Whether what means something in HTML is escaped.
    escaped: bool,
    /// Whether it has lines and indentation.
    pretty: bool,
}

fn json(run: &mut Run<'_>, args: &[Value], style: Style) -> Result<Value, Failure> {
    let [value] = exactly(args)?;
    run.fits(value.weight())?;
    let mut out = String::new();
    write_json(&mut out, value, style, 0)?;
    run.fits(out.len())?;
    Ok(Value::text(out))
}

fn write_json(out: &mut String, value: &Value, style: Style, depth: usize) -> Result<(), Failure> {
    match value {
        Value::Nil => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Int(number) => write!(out, "{number}").unwrap_or_default(),
        Value::Float(number) => out.push_str(&json_number(*number)?),
        Value::Time(at) => write_text(out, &super::time::rfc3339(at), style.escaped),
        Value::Text(_) | Value::Item(_) | Value::Bytes(_) | Value::Scratch => {
            write_text(out, &show::text(value), style.escaped);
        }
        Value::List(list) if list.items.is_empty() => out.push_str("[]"),
        Value::List(list) => {
            for (index, item) in list.items.iter().enumerate() {
                out.push(if index == 0 { '[' } else { ',' });
                line(out, style, depth + 1);
                write_json(out, item, style, depth + 1)?;
            }
            line(out, style, depth);
            out.push(']');
        }
        Value::Map(map) | Value::Variable(map, _) if map.entries.is_empty() => out.push_str("{}"),
        Value::Map(map) | Value::Variable(map, _) => {
            for (index, (key, item)) in map.entries.iter().enumerate() {
                out.push(if index == 0 { '{' } else { ',' });
                line(out, style, depth + 1);
                write_text(out, key, style.escaped);
                out.push_str(if style.pretty { ": " } else { ":" });
                write_json(out, item, style, depth + 1)?;
            }
            line(out, style, depth);
            out.push('}');
        }
    }
    Ok(())
}

fn line(out: &mut String, style: Style, depth: usize) {
    if style.pretty {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    }
}

fn json_number(number: f64) -> Result<String, Failure> {
    if !number.is_finite() {
        return Err(Failure(format!("JSON has no {}", show::float(number))));
    }
    if number != 0.0 && !(1e-6..1e21).contains(&number.abs()) {
        let text = format!("{number:e}");
        return Ok(if text.contains("e-") { text } else { text.replace('e', "e+") });
    }
    Ok(format!("{number}"))
}

fn write_text(out: &mut String, text: &str, escaped: bool) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '<' | '>' | '&' if escaped => write!(out, "\\u{:04x}", u32::from(c)).unwrap_or_default(),
            c if u32::from(c) < 0x20 || matches!(c, '\u{2028}' | '\u{2029}') => {
                write!(out, "\\u{:04x}", u32::from(c)).unwrap_or_default();
            }
            c => out.push(c),
        }
    }
    out.push('"');
}
