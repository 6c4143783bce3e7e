//! Sprig's functions of single values: defaults, types, numbers.

use super::numbers::float;
use super::sprig_text::first;
use super::{Table, exactly, expected, text};
use crate::show;
use crate::value::{Failure, Value};

pub(super) const TABLE: Table = &[
    ("sprig_default", |_, args| match args {
        [default] => Ok(default.clone()),
        [default, value] => Ok(if value.is_true() { value.clone() } else { default.clone() }),
        _ => Err("takes a default and a value".into()),
    }),
    ("sprig_empty", |_, args| exactly(args).map(|[value]| Value::Bool(!value.is_true()))),
    ("sprig_coalesce", |_, args| Ok(args.iter().find(|value| value.is_true()).cloned().unwrap_or(Value::Nil))),
    ("sprig_ternary", |_, args| {
        let [yes, no, condition] = exactly(args)?;
        match condition {
            Value::Bool(condition) => Ok(if *condition { yes.clone() } else { no.clone() }),
            other => Err(expected("a bool", other)),
        }
    }),
    ("sprig_all", |_, args| Ok(Value::Bool(args.iter().all(Value::is_true)))),
    ("sprig_any", |_, args| Ok(Value::Bool(args.iter().any(Value::is_true)))),
    ("sprig_fail", |_, args| {
        let [message] = exactly(args)?;
        Err(Failure(text(message)?.to_owned()))
    }),
    ("sprig_kindOf", |_, args| exactly(args).map(|[value]| Value::text(kind(value)))),
    ("sprig_kindIs", |_, args| {
        let [name, value] = exactly(args)?;
        Ok(Value::Bool(text(name)? == kind(value)))
    }),
    ("sprig_add", |_, args| all(args, i64::checked_add)),
    ("sprig_mul", |_, args| all(args, i64::checked_mul)),
    ("sprig_max", |_, args| all(args, |a, b| Some(a.max(b)))),
    ("sprig_min", |_, args| all(args, |a, b| Some(a.min(b)))),
    ("sprig_add1", |_, args| {
        let [value] = exactly(args)?;
        whole(value)?.checked_add(1).map(Value::Int).ok_or_else(too_large)
    }),
    ("sprig_sub", |_, args| pair(args, i64::checked_sub)),
    ("sprig_div", |_, args| pair(args, i64::checked_div)),
    ("sprig_mod", |_, args| pair(args, i64::checked_rem)),
    ("sprig_int", |_, args| {
        let [value] = exactly(args)?;
        Ok(Value::Int(whole(value).unwrap_or(0)))
    }),
    ("sprig_int64", |_, args| {
        let [value] = exactly(args)?;
        Ok(Value::Int(whole(value).unwrap_or(0)))
    }),
    ("sprig_atoi", |_, args| {
        let [value] = exactly(args)?;
        Ok(Value::Int(text(value)?.parse().unwrap_or(0)))
    }),
    ("sprig_float64", |_, args| {
        let [value] = exactly(args)?;
        Ok(Value::Float(broken(value).unwrap_or(0.0)))
    }),
    ("sprig_floor", |_, args| rounded(args, f64::floor)),
    ("sprig_ceil", |_, args| rounded(args, f64::ceil)),
    ("sprig_round", |_, args| {
        let [value, places] = exactly(args)?;
        let factor = 10_f64.powi(i32::try_from(whole(places)?).map_err(|_| too_large())?);
        Ok(Value::Float((broken(value)? * factor).round() / factor))
    }),
];

fn too_large() -> Failure {
    "the result is too large".into()
}

/// What Go calls the kind of a value.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Nil => "invalid",
        Value::Bool(_) => "bool",
        Value::Int(_) => "int",
        Value::Float(_) => "float64",
        Value::Text(_) | Value::Item(_) | Value::Bytes(_) => "string",
        Value::List(_) => "slice",
        Value::Map(_) | Value::Variable(..) => "map",
        Value::Time(_) | Value::Scratch => "struct",
    }
}

/// A whole number, or what can be read or cut to one.
#[expect(
    clippy::cast_possible_truncation,
    reason = "cutting is what is asked for; far too large ones become the largest"
)]
fn whole(value: &Value) -> Result<i64, Failure> {
    match value {
        Value::Int(number) => Ok(*number),
        Value::Float(number) => Ok(*number as i64),
        Value::Bool(value) => Ok(i64::from(*value)),
        Value::Nil => Ok(0),
        value => {
            let text = text(value)?;
            text.parse().map_err(|_| Failure(format!("{text:?} is not a whole number")))
        }
    }
}

fn broken(value: &Value) -> Result<f64, Failure> {
    match value.as_text() {
        Some(text) => text.parse().map_err(|_| Failure(format!("{text:?} is not a number"))),
        None => float(value),
    }
}

fn rounded(args: &[Value], round: fn(f64) -> f64) -> Result<Value, Failure> {
    let [value] = exactly(args)?;
    Ok(Value::Float(round(broken(value)?)))
}

fn all(args: &[Value], join: fn(i64, i64) -> Option<i64>) -> Result<Value, Failure> {
    let (value, others) = first(args)?;
    let result = others.iter().try_fold(whole(value)?, |sum, other| join(sum, whole(other)?).ok_or_else(too_large));
    result.map(Value::Int)
}

fn pair(args: &[Value], join: fn(i64, i64) -> Option<i64>) -> Result<Value, Failure> {
    let [a, b] = exactly(args)?;
    let failed = || Failure(format!("there is no result for {} and {}", show::text(a), show::text(b)));
    join(whole(a)?, whole(b)?).map(Value::Int).ok_or_else(failed)
}
