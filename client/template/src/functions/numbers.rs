//! consul-template's arithmetic, and reading numbers.

use super::{Table, exactly, expected, text};
use crate::value::{Failure, Value};

pub(super) const TABLE: Table = &[
    ("add", |_, args| calculate(args, i64::checked_add, |a, b| a + b)),
    ("subtract", |_, args| calculate(args, i64::checked_sub, |a, b| a - b)),
    ("multiply", |_, args| calculate(args, i64::checked_mul, |a, b| a * b)),
    ("divide", |_, args| {
        not_zero(args)?;
        calculate(args, i64::checked_div, |a, b| a / b)
    }),
    ("modulo", |_, args| {
        not_zero(args)?;
        calculate(args, i64::checked_rem, |a, b| a % b)
    }),
    ("minimum", |_, args| calculate(args, |a, b| Some(a.min(b)), f64::min)),
    ("maximum", |_, args| calculate(args, |a, b| Some(a.max(b)), f64::max)),
    ("parseBool", |_, args| match one(args)? {
        "" => Ok(Value::Bool(false)),
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
        other => Err(Failure(format!("{other:?} is neither true nor false"))),
    }),
    ("parseInt", |_, args| parse(args, "a whole number", |s| s.parse().ok().map(Value::Int))),
    ("parseUint", |_, args| {
        parse(args, "a whole number from 0 on", |s| s.parse().ok().filter(|number| *number >= 0).map(Value::Int))
    }),
    ("parseFloat", |_, args| match one(args)? {
        "" => Ok(Value::Float(0.0)),
        s => s.parse().map(Value::Float).map_err(|_| Failure(format!("{s:?} is not a number"))),
    }),
];

fn one(args: &[Value]) -> Result<&str, Failure> {
    let [s] = exactly(args)?;
    text(s)
}

fn parse(args: &[Value], what: &str, read: impl Fn(&str) -> Option<Value>) -> Result<Value, Failure> {
    match one(args)? {
        "" => Ok(Value::Int(0)),
        s => read(s).ok_or_else(|| Failure(format!("{s:?} is not {what}"))),
    }
}

fn not_zero(args: &[Value]) -> Result<(), Failure> {
    let [by, _] = exactly(args)?;
    match by {
        Value::Int(0) => Err("divides by zero".into()),
        Value::Float(number) if *number == 0.0 => Err("divides by zero".into()),
        _ => Ok(()),
    }
}

/// Calculates with the second argument first, so that `5 | subtract 3` is 2.
fn calculate(
    args: &[Value],
    whole: fn(i64, i64) -> Option<i64>,
    broken: fn(f64, f64) -> f64,
) -> Result<Value, Failure> {
    let [b, a] = exactly(args)?;
    if let (Value::Int(a), Value::Int(b)) = (a, b) {
        return whole(*a, *b).map(Value::Int).ok_or_else(|| "the result is too large".into());
    }
    Ok(Value::Float(broken(float(a)?, float(b)?)))
}

/// A value that has to be a number.
#[expect(clippy::cast_precision_loss, reason = "what calculating with both kinds of numbers means")]
pub(super) fn float(value: &Value) -> Result<f64, Failure> {
    match value {
        Value::Int(number) => Ok(*number as f64),
        Value::Float(number) => Ok(*number),
        value => Err(expected("a number", value)),
    }
}
