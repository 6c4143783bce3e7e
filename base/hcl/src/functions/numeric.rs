//! Numbers: `abs ceil floor log max min parseint pow signum`.

use super::{Call, Function, MANY, Outcome, function};
use crate::number::Number;
use crate::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    function("abs", 1, 1, abs),
    function("ceil", 1, 1, |call| rounded(call, f64::ceil)),
    function("floor", 1, 1, |call| rounded(call, f64::floor)),
    function("log", 2, 2, log),
    function("max", 1, MANY, |call| extreme(call, Ord::max)),
    function("min", 1, MANY, |call| extreme(call, Ord::min)),
    function("parseint", 2, 2, parseint),
    function("pow", 2, 2, pow),
    function("signum", 1, 1, signum),
];

fn finite(value: f64) -> Outcome {
    Number::from_f64(value).map(Value::Number).ok_or_else(|| "the result is not a finite number".into())
}

fn abs(call: &mut Call<'_>) -> Outcome {
    let number = call.number(0)?;
    Ok(Value::Number(if number < Number::Int(0) { number.checked_neg()? } else { number }))
}

fn rounded(call: &Call<'_>, round: fn(f64) -> f64) -> Outcome {
    match call.number(0)? {
        whole @ Number::Int(_) => Ok(Value::Number(whole)),
        Number::Float(float) => finite(round(float)),
    }
}

fn log(call: &mut Call<'_>) -> Outcome {
    let (number, base) = (call.number(0)?.as_f64(), call.number(1)?.as_f64());
    finite(number.ln() / base.ln())
}

fn extreme(call: &Call<'_>, choose: fn(Number, Number) -> Number) -> Outcome {
    let mut best = call.number(0)?;
    for index in 1..call.count() {
        best = choose(best, call.number(index)?);
    }
    Ok(Value::Number(best))
}

/// Digits beyond 9 are a-z; in bases above 36 A-Z come after them.
fn parseint(call: &mut Call<'_>) -> Outcome {
    let base = call.int(1)?;
    if !(2..=62).contains(&base) {
        return Err(call.fault(1, "the base must be from 2 to 62"));
    }
    let text = call.string(0)?;
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.as_str()),
    };
    let mut total: i128 = 0;
    for c in digits.chars() {
        let digit = match c {
            '0'..='9' => u32::from(c) - u32::from('0'),
            'a'..='z' => u32::from(c) - u32::from('a') + 10,
            'A'..='Z' if base <= 36 => u32::from(c) - u32::from('A') + 10,
            'A'..='Z' => u32::from(c) - u32::from('A') + 36,
            _ => u32::MAX,
        };
        if i64::from(digit) >= base {
            return Err(call.fault(0, format!("`{c}` is not a digit in base {base}")));
        }
        total = total
            .checked_mul(base.into())
            .and_then(|total| total.checked_add(digit.into()))
            .ok_or_else(|| call.fault(0, "the number is too large"))?;
    }
    if digits.is_empty() {
        return Err(call.fault(0, "there are no digits"));
    }
    Ok(Value::Number(Number::Int(if negative { -total } else { total })))
}

fn pow(call: &mut Call<'_>) -> Outcome {
    let (base, exponent) = (call.number(0)?, call.number(1)?);
    if let (Number::Int(base), Number::Int(exponent)) = (base, exponent)
        && let Ok(exponent) = u32::try_from(exponent)
    {
        return match base.checked_pow(exponent) {
            Some(power) => Ok(Value::Number(Number::Int(power))),
            None => Err("the result is too large a number".into()),
        };
    }
    finite(base.as_f64().powf(exponent.as_f64()))
}

fn signum(call: &mut Call<'_>) -> Outcome {
    let number = call.number(0)?;
    let sign = i64::from(number > Number::Int(0)) - i64::from(number < Number::Int(0));
    Ok(Value::from(sign))
}
