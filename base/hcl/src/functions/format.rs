//! `format` and `formatlist`: texts built from a pattern with verbs such as `%-5s` or `%03d`.

use super::{Call, CallFault, Function, MANY, Outcome, function};
use crate::number::Number;
use crate::value::Value;

use super::encoding::json_text;

pub(super) const FUNCTIONS: &[Function] =
    &[function("format", 1, MANY, format), function("formatlist", 1, MANY, formatlist)];

/// Widths and precisions beyond this are refused.
const MAX_WIDTH: usize = 4096;

fn format(call: &mut Call<'_>) -> Outcome {
    let pattern = call.string(0)?;
    let arguments = call.take_rest(1);
    let arguments: Vec<&Value> = arguments.iter().collect();
    Ok(Value::String(render(call, &pattern, &arguments)?))
}

/// Lists among the arguments go in step; all must have the same length.
fn formatlist(call: &mut Call<'_>) -> Outcome {
    let pattern = call.string(0)?;
    let arguments = call.take_rest(1);
    let mut length = None;
    for (index, argument) in arguments.iter().enumerate() {
        if let Some(list) = argument.as_list() {
            match length {
                None => length = Some(list.len()),
                Some(length) if length == list.len() => {}
                Some(length) => {
                    let message = format!("all lists must have the same length: {length} and {}", list.len());
                    return Err(call.fault(index + 1, message));
                }
            }
        }
    }
    let mut results = Vec::new();
    for step in 0..length.unwrap_or(1) {
        let row: Vec<&Value> =
            arguments.iter().map(|argument| argument.as_list().map_or(argument, |list| &list[step])).collect();
        results.push(Value::String(render(call, &pattern, &row)?));
        call.charge(64 + row.len())?;
    }
    Ok(Value::List(results))
}

/// What stands between `%` and the letter.
#[derive(Debug, Default)]
struct Verb {
    minus: bool,
    plus: bool,
    space: bool,
    sharp: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
    argument: Option<usize>,
    letter: char,
}

fn render(call: &Call<'_>, pattern: &str, arguments: &[&Value]) -> Result<String, CallFault> {
    let mut text = String::new();
    let mut rest = pattern;
    let mut next = 0;
    let mut highest = 0;
    let mut explicit = false;
    while let Some(at) = rest.find('%') {
        text.push_str(&rest[..at]);
        let (verb, after) = parse_verb(&rest[at + 1..])?;
        rest = after;
        if verb.letter == '%' {
            text.push('%');
            continue;
        }
        if let Some(argument) = verb.argument {
            next = argument;
            explicit = true;
        }
        let Some(value) = arguments.get(next) else {
            return Err(format!("the pattern asks for argument {}, but there are {}", next + 1, arguments.len()).into());
        };
        next += 1;
        highest = highest.max(next);
        let part = pad(&verb, formatted(&verb, value)?);
        call.charge(part.len())?;
        text.push_str(&part);
    }
    text.push_str(rest);
    if !explicit && highest < arguments.len() {
        return Err(format!("the pattern uses {highest} of {} arguments", arguments.len()).into());
    }
    Ok(text)
}

fn parse_verb(text: &str) -> Result<(Verb, &str), CallFault> {
    let mut verb = Verb::default();
    let mut rest = text;
    while let Some(flag) = rest.chars().next().filter(|c| "-+ #0".contains(*c)) {
        match flag {
            '-' => verb.minus = true,
            '+' => verb.plus = true,
            ' ' => verb.space = true,
            '#' => verb.sharp = true,
            _ => verb.zero = true,
        }
        rest = &rest[1..];
    }
    (verb.width, rest) = digits(rest)?;
    if let Some(after) = rest.strip_prefix('.') {
        let (precision, after) = digits(after)?;
        verb.precision = Some(precision.unwrap_or(0));
        rest = after;
    }
    if let Some(after) = rest.strip_prefix('[') {
        let (argument, after) = digits(after)?;
        let argument = argument.and_then(|number| number.checked_sub(1));
        verb.argument = Some(argument.ok_or("arguments in a pattern are counted from 1: %[1]s")?);
        rest = after.strip_prefix(']').ok_or("`]` is missing in the pattern")?;
    }
    let letter = rest.chars().next().ok_or("the pattern ends after `%`; write `%%` for a percent sign")?;
    verb.letter = letter;
    Ok((verb, &rest[letter.len_utf8()..]))
}

fn digits(text: &str) -> Result<(Option<usize>, &str), CallFault> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    if end == 0 {
        return Ok((None, text));
    }
    match text[..end].parse() {
        Ok(number) if number <= MAX_WIDTH => Ok((Some(number), &text[end..])),
        _ => Err(format!("a width or precision in the pattern is larger than {MAX_WIDTH}").into()),
    }
}

fn formatted(verb: &Verb, value: &Value) -> Result<String, CallFault> {
    let misfit = |wanted: &str| CallFault::from(format!("`%{}` needs {wanted}, not {}", verb.letter, value.kind()));
    match verb.letter {
        'v' if verb.sharp => Ok(json_text(value)),
        'v' => Ok(match value {
            Value::Number(_) | Value::String(_) | Value::Bool(_) => value.to_text().unwrap_or_default().into_owned(),
            other => json_text(other),
        }),
        't' => value.to_bool().map(|flag| flag.to_string()).ok_or_else(|| misfit("a bool")),
        'd' | 'b' | 'o' | 'x' | 'X' if verb.letter == 'd' || value.to_number().is_some() => {
            let Some(Number::Int(number)) = value.to_number() else { return Err(misfit("a whole number")) };
            let digits = number.unsigned_abs();
            let digits = match verb.letter {
                'b' => format!("{digits:b}"),
                'o' => format!("{digits:o}"),
                'x' => format!("{digits:x}"),
                'X' => format!("{digits:X}"),
                _ => digits.to_string(),
            };
            Ok(signed(verb, number < 0, digits))
        }
        'e' | 'E' | 'f' | 'g' | 'G' => {
            let number = value.to_number().ok_or_else(|| misfit("a number"))?.as_f64();
            Ok(signed(verb, number < 0.0, float(verb, number.abs())))
        }
        's' | 'q' | 'x' | 'X' => {
            let text = value.to_text().ok_or_else(|| misfit("a string"))?;
            let cut: String = match verb.precision {
                Some(precision) => text.chars().take(precision).collect(),
                None => text.into_owned(),
            };
            Ok(match verb.letter {
                'q' => json_text(&Value::String(cut)),
                'x' => cut.bytes().map(|byte| format!("{byte:02x}")).collect(),
                'X' => cut.bytes().map(|byte| format!("{byte:02X}")).collect(),
                _ => cut,
            })
        }
        other => Err(format!("the pattern has no verb `%{other}`").into()),
    }
}

fn signed(verb: &Verb, negative: bool, digits: String) -> String {
    match (negative, verb.plus, verb.space) {
        (true, _, _) => format!("-{digits}"),
        (false, true, _) => format!("+{digits}"),
        (false, false, true) => format!(" {digits}"),
        (false, false, false) => digits,
    }
}

fn float(verb: &Verb, number: f64) -> String {
    match verb.letter {
        'f' => format!("{number:.*}", verb.precision.unwrap_or(6)),
        'e' | 'E' => exponent(&format!("{number:.*e}", verb.precision.unwrap_or(6)), verb.letter),
        _ => match verb.precision {
            Some(precision) => general(number, precision.max(1), if verb.letter == 'G' { 'E' } else { 'e' }),
            None => number.to_string(),
        },
    }
}

/// Exponents have a sign and two digits at least.
fn exponent(text: &str, letter: char) -> String {
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    format!("{mantissa}{letter}{sign}{digits:0>2}")
}

/// `%g` with a precision: that many significant digits, in the shorter notation.
fn general(number: f64, precision: usize, letter: char) -> String {
    let scientific = format!("{number:.*e}", precision - 1);
    let power: i64 = scientific.split_once('e').and_then(|(_, power)| power.parse().ok()).unwrap_or(0);
    let limit = i64::try_from(precision).unwrap_or(i64::MAX);
    if power < -4 || power >= limit {
        return exponent(&scientific, letter);
    }
    let decimals = usize::try_from(limit - 1 - power).unwrap_or(0);
    let fixed = format!("{number:.decimals$}");
    if fixed.contains('.') { fixed.trim_end_matches('0').trim_end_matches('.').to_owned() } else { fixed }
}

fn pad(verb: &Verb, text: String) -> String {
    let missing = verb.width.unwrap_or(0).saturating_sub(text.chars().count());
    if missing == 0 {
        return text;
    }
    if verb.minus {
        return format!("{text}{}", " ".repeat(missing));
    }
    if !verb.zero {
        return format!("{}{text}", " ".repeat(missing));
    }
    let (sign, digits) = match text.strip_prefix(['-', '+', ' ']) {
        Some(digits) => text.split_at(text.len() - digits.len()),
        None => ("", text.as_str()),
    };
    format!("{sign}{}{digits}", "0".repeat(missing))
}
