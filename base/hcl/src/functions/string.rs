//! Texts, counted in Unicode characters. `format` and `formatlist` have a file of their own.

use regex::RegexBuilder;

use super::{Call, CallFault, Function, MANY, Outcome, function};
use crate::number::Number;
use crate::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    function("chomp", 1, 1, |call| Ok(call.string(0)?.trim_end_matches(['\r', '\n']).into())),
    function("indent", 2, 2, indent),
    function("join", 2, MANY, join),
    function("lower", 1, 1, |call| Ok(call.string(0)?.to_lowercase().into())),
    function("regex_replace", 3, 3, regex_replace),
    function("replace", 3, 3, replace),
    function("reverse", 1, 1, reverse),
    function("split", 2, 2, split),
    function("strlen", 1, 1, |call| Ok(Value::Number(Number::from(call.string(0)?.chars().count())))),
    function("strrev", 1, 1, reverse),
    function("substr", 3, 3, substr),
    function("title", 1, 1, title),
    function("trim", 2, 2, trim),
    function("trimprefix", 2, 2, trimprefix),
    function("trimspace", 1, 1, |call| Ok(call.string(0)?.trim().into())),
    function("trimsuffix", 2, 2, trimsuffix),
    function("upper", 1, 1, |call| Ok(call.string(0)?.to_uppercase().into())),
];

/// Indents every line but the first.
fn indent(call: &mut Call<'_>) -> Outcome {
    let width = usize::try_from(call.int(0)?).map_err(|_| call.fault(0, "the width must not be negative"))?;
    let text = call.string(1)?;
    call.charge(width.saturating_mul(text.matches('\n').count() + 1))?;
    Ok(text.replace('\n', &format!("\n{}", " ".repeat(width))).into())
}

fn join(call: &mut Call<'_>) -> Outcome {
    let separator = call.string(0)?;
    let mut parts = Vec::new();
    for index in 1..call.count() {
        parts.extend(call.strings(index)?);
    }
    call.charge(separator.len().saturating_mul(parts.len()))?;
    Ok(parts.join(&separator).into())
}

fn replace(call: &mut Call<'_>) -> Outcome {
    let (text, from, to) = (call.string(0)?, call.string(1)?, call.string(2)?);
    call.charge(to.len().saturating_mul(text.matches(from.as_str()).count()))?;
    Ok(text.replace(&from, &to).into())
}

/// How much work a compiled pattern counts as.
const REGEX_COST: usize = 20_000;

fn regex_replace(call: &mut Call<'_>) -> Outcome {
    let (text, pattern, replacement) = (call.string(0)?, call.string(1)?, call.string(2)?);
    call.charge(REGEX_COST.saturating_add(pattern.len().saturating_mul(100)))?;
    let regex = RegexBuilder::new(&pattern)
        .size_limit(1 << 20)
        .build()
        .map_err(|_| call.fault(1, format!("`{pattern}` is not a valid regular expression")))?;
    let mut result = String::new();
    let mut copied = 0;
    for found in regex.captures_iter(&text) {
        let Some(whole) = found.get(0) else { continue };
        result.push_str(&text[copied..whole.start()]);
        let before = result.len();
        found.expand(&replacement, &mut result);
        call.charge(result.len() - before + 16)?;
        copied = whole.end();
    }
    result.push_str(&text[copied..]);
    Ok(result.into())
}

fn reverse(call: &mut Call<'_>) -> Outcome {
    Ok(Value::String(call.string(0)?.chars().rev().collect()))
}

fn split(call: &mut Call<'_>) -> Outcome {
    let (separator, text) = (call.string(0)?, call.string(1)?);
    let pieces = if separator.is_empty() { text.chars().count() } else { text.matches(separator.as_str()).count() + 1 };
    call.charge(pieces.saturating_mul(32))?;
    Ok(Value::List(if separator.is_empty() {
        text.chars().map(|c| Value::String(c.to_string())).collect()
    } else {
        text.split(separator.as_str()).map(Value::from).collect()
    }))
}

/// A negative offset counts from the end; a length of -1 means the rest.
fn substr(call: &mut Call<'_>) -> Outcome {
    let (offset, length) = (call.int(1)?, call.int(2)?);
    let characters: Vec<char> = call.string(0)?.chars().collect();
    let start = match usize::try_from(offset) {
        Ok(start) => start.min(characters.len()),
        Err(_) => characters.len().saturating_sub(usize::try_from(offset.unsigned_abs()).unwrap_or(usize::MAX)),
    };
    let rest = characters.len() - start;
    let length = match length {
        -1 => rest,
        length => usize::try_from(length).map_err(|_| call.fault(2, "the length must be -1 or more"))?.min(rest),
    };
    Ok(Value::String(characters[start..start + length].iter().collect()))
}

/// The first letter of each word in upper case.
fn title(call: &mut Call<'_>) -> Outcome {
    let mut result = String::new();
    let mut in_word = false;
    for c in call.string(0)?.chars() {
        if in_word {
            result.push(c);
        } else {
            result.extend(c.to_uppercase());
        }
        in_word = c.is_alphanumeric() || c == '_' || c == '\'';
    }
    Ok(result.into())
}

/// Removes all characters of the second argument from both ends.
fn trim(call: &mut Call<'_>) -> Outcome {
    let (text, cut) = (call.string(0)?, call.string(1)?);
    Ok(text.trim_matches(|c| cut.contains(c)).into())
}

fn trimprefix(call: &mut Call<'_>) -> Outcome {
    let (text, prefix) = (call.string(0)?, call.string(1)?);
    Ok(text.strip_prefix(prefix.as_str()).unwrap_or(&text).into())
}

fn trimsuffix(call: &mut Call<'_>) -> Result<Value, CallFault> {
    let (text, suffix) = (call.string(0)?, call.string(1)?);
    Ok(text.strip_suffix(suffix.as_str()).unwrap_or(&text).into())
}
