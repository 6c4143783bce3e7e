//! Durations as Go writes them: `1h30m`, `500ms`, `1.5s`, `-5s`.

use thiserror::Error;

const UNITS: [(&str, i64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DurationError {
    /// It does not have the form of numbers with units.
    #[error("\"{0}\" is not a duration; write a number with a unit, such as 30s or 1h30m")]
    Syntax(String),
    /// A number has no unit.
    #[error("\"{0}\" lacks a unit; the units are ns, us, ms, s, m and h")]
    NoUnit(String),
    /// There is no such unit.
    #[error("\"{unit}\" in \"{text}\" is not a unit of time; the units are ns, us, ms, s, m and h")]
    UnknownUnit {
        /// The whole text.
        text: String,
        /// What stands where a unit is expected.
        unit: String,
    },
    /// It does not fit into 64 bits of nanoseconds, some 292 years.
    #[error("\"{0}\" is too long a duration")]
    TooLong(String),
}

/// Reads a duration; the result is in nanoseconds.
///
/// # Errors
///
/// No number, no or an unknown unit, or out of range.
pub fn parse(text: &str) -> Result<i64, DurationError> {
    let syntax = || DurationError::Syntax(text.chars().take(40).collect());
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(syntax());
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let (number, after) = split_where(rest, |c| !c.is_ascii_digit() && c != '.');
        let (unit, after) = split_where(after, |c| c.is_ascii_digit() || c == '.');
        rest = after;
        if !number.bytes().any(|b| b.is_ascii_digit()) || number.matches('.').count() > 1 {
            return Err(syntax());
        }
        if unit.is_empty() {
            return Err(DurationError::NoUnit(text.chars().take(40).collect()));
        }
        let Some((_, nanoseconds)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            let (text, unit) = (text.chars().take(40).collect(), unit.chars().take(40).collect());
            return Err(DurationError::UnknownUnit { text, unit });
        };
        let part =
            scale(number, *nanoseconds).ok_or_else(|| DurationError::TooLong(text.chars().take(40).collect()))?;
        total = total.saturating_add(part);
    }
    let total = if negative { -total } else { total };
    i64::try_from(total).map_err(|_| DurationError::TooLong(text.chars().take(40).collect()))
}

fn split_where(text: &str, stop: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(stop).unwrap_or(text.len()))
}

/// A decimal number times a unit, exact down to the nanosecond.
fn scale(number: &str, unit: i64) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut total = whole.checked_mul(unit.into())?;
    let mut weight = i128::from(unit) * 1_000_000_000_000_000_000;
    let mut sum = 0;
    for digit in fraction.bytes().take(18) {
        weight /= 10;
        sum += weight * i128::from(digit - b'0');
    }
    total = total.checked_add(sum / 1_000_000_000_000_000_000)?;
    Some(total)
}

/// Writes nanoseconds as Go does: `1h30m0s`, `1.5s`, `250ms`, `0s`.
pub fn format(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let total = nanoseconds.unsigned_abs();
    let (unit, divisor) = match total {
        0 => return "0s".to_owned(),
        1..1_000 => ("ns", 1),
        1_000..1_000_000 => ("µs", 1_000),
        1_000_000..1_000_000_000 => ("ms", 1_000_000),
        _ => ("s", 1_000_000_000),
    };
    let fraction = |value: u64| {
        let digits = divisor.to_string().len() - 1;
        if value == 0 || digits == 0 {
            String::new()
        } else {
            format!(".{value:0digits$}").trim_end_matches('0').to_owned()
        }
    };
    let (whole, rest) = (total / divisor, total % divisor);
    if unit != "s" || whole < 60 {
        return format!("{sign}{whole}{}{unit}", fraction(rest));
    }
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    let hours = if hours > 0 { format!("{hours}h") } else { String::new() };
    format!("{sign}{hours}{minutes}m{seconds}{}s", fraction(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_go_reads_them() {
        for (text, expected) in [
            ("30s", 30_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("500ms", 500_000_000),
            ("1.5s", 1_500_000_000),
            (".5m", 30_000_000_000),
            ("-5s", -5_000_000_000),
            ("+2us", 2_000),
            ("7µs", 7_000),
            ("0", 0),
            ("1h0.000000001s", 3_600_000_000_001),
        ] {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_says_which_units_exist() {
        for text in [
            "",
            "s",
            "1",
            "1d",
            "1s5",
            "1.2.3s",
            "--1s",
            "9999999h",
            "99999999999999999999999999999999999999999h",
            "1 s",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert_eq!(
            parse("1d").unwrap_err().to_string(),
            "\"d\" in \"1d\" is not a unit of time; the units are ns, us, ms, s, m and h"
        );
    }

    #[test]
    fn durations_are_written_as_go_writes_them() {
        for text in ["0s", "1h30m0s", "1.5s", "250ms", "1m0.5s", "-5s", "1.5µs", "3ns", "2562047h47m16.854775807s"] {
            assert_eq!(format(parse(text).unwrap()), text);
        }
        assert_eq!(format(i64::MIN), "-2562047h47m16.854775808s");
    }
}
