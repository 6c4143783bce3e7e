//! Times, written as RFC 3339: `formatdate timeadd`.

use jiff::SignedDuration;
use jiff::civil::{DateTime, Weekday};

use super::{Call, CallFault, Function, Outcome, function};
use crate::duration;

pub(super) const FUNCTIONS: &[Function] =
    &[function("formatdate", 2, 2, formatdate), function("timeadd", 2, 2, timeadd)];

/// A time of day in the zone it was written in.
#[derive(Debug, Clone, Copy)]
struct Time {
    local: DateTime,
    offset_minutes: i32,
}

/// Reads `2006-01-02T15:04:05Z` or with an offset such as `+01:00`.
fn time(call: &mut Call<'_>, index: usize) -> Result<Time, CallFault> {
    let text = call.string(index)?;
    parse(&text).ok_or_else(|| call.fault(index, format!("`{text}` is not a time such as 2006-01-02T15:04:05Z")))
}

fn parse(text: &str) -> Option<Time> {
    let (local, offset_minutes) = match text.strip_suffix(['Z', 'z']) {
        Some(local) => (local, 0),
        None => {
            let (local, offset) = text.split_at_checked(text.len().checked_sub(6)?)?;
            let (sign, offset) = match offset.strip_prefix('-') {
                Some(rest) => (-1, rest),
                None => (1, offset.strip_prefix('+')?),
            };
            let (hours, minutes) = offset.split_once(':')?;
            let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
            ((hours < 24 && minutes < 60).then_some(local)?, sign * (hours * 60 + minutes))
        }
    };
    let separated = local.len() > 10 && matches!(local.as_bytes()[10], b'T' | b't');
    let local = if separated { local.parse().ok()? } else { return None };
    Some(Time { local, offset_minutes })
}

impl Time {
    fn offset(&self, colon: bool) -> String {
        let sign = if self.offset_minutes < 0 { '-' } else { '+' };
        let minutes = self.offset_minutes.unsigned_abs();
        format!("{sign}{:02}{}{:02}", minutes / 60, if colon { ":" } else { "" }, minutes % 60)
    }

    fn zone(&self) -> String {
        if self.offset_minutes == 0 { "Z".to_owned() } else { self.offset(true) }
    }
}

fn timeadd(call: &mut Call<'_>) -> Outcome {
    let time = time(call, 0)?;
    let text = call.string(1)?;
    let nanoseconds = duration::parse(&text).map_err(|error| call.fault(1, error.to_string()))?;
    let span = SignedDuration::from_nanos(nanoseconds);
    let moved = time.local.checked_add(span).map_err(|_| call.fault(1, "the result is out of range"))?;
    let whole = moved.strftime("%Y-%m-%dT%H:%M:%S").to_string();
    let fraction = match moved.subsec_nanosecond() {
        0 => String::new(),
        nanoseconds => format!(".{nanoseconds:09}").trim_end_matches('0').to_owned(),
    };
    Ok(format!("{whole}{fraction}{}", time.zone()).into())
}

/// Runs of one letter are fields (`YYYY-MM-DD`); text in single quotes and other characters stand for themselves.
fn formatdate(call: &mut Call<'_>) -> Outcome {
    let spec = call.string(0)?;
    let time = time(call, 1)?;
    let mut text = String::new();
    let mut rest = spec.as_str();
    while let Some(c) = rest.chars().next() {
        if c == '\'' {
            let (literal, after) = quoted(&rest[1..]).ok_or_else(|| call.fault(0, "a quote is never closed"))?;
            text.push_str(&literal);
            rest = after;
            continue;
        }
        let run = rest.len() - rest.trim_start_matches(c).len();
        let (token, after) = rest.split_at(run);
        rest = after;
        if c.is_ascii_alphabetic() {
            let message = || format!("`{token}` is not a field of a date; put plain text into single quotes");
            text.push_str(&field(token, &time).ok_or_else(|| call.fault(0, message()))?);
        } else {
            text.push_str(token);
        }
        call.charge(16)?;
    }
    Ok(text.into())
}

/// Text up to the closing quote, where two quotes stand for one, and what follows.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut literal = String::new();
    let mut rest = text;
    loop {
        let (part, after) = rest.split_once('\'')?;
        literal.push_str(part);
        match after.strip_prefix('\'') {
            Some(more) => {
                literal.push('\'');
                rest = more;
            }
            None => return Some((literal, after)),
        }
    }
}

fn field(token: &str, time: &Time) -> Option<String> {
    let local = time.local;
    let twelve = match local.hour() % 12 {
        0 => 12,
        hour => hour,
    };
    let half = if local.hour() < 12 { "AM" } else { "PM" };
    Some(match token {
        "YYYY" => format!("{:04}", local.year()),
        "YY" => format!("{:02}", local.year().rem_euclid(100)),
        "MMMM" => month(local).to_owned(),
        "MMM" => month(local)[..3].to_owned(),
        "MM" => format!("{:02}", local.month()),
        "M" => local.month().to_string(),
        "DD" => format!("{:02}", local.day()),
        "D" => local.day().to_string(),
        "EEEE" => weekday(local).to_owned(),
        "EEE" => weekday(local)[..3].to_owned(),
        "hh" => format!("{:02}", local.hour()),
        "h" => local.hour().to_string(),
        "HH" => format!("{twelve:02}"),
        "H" => twelve.to_string(),
        "AA" => half.to_owned(),
        "aa" => half.to_lowercase(),
        "mm" => format!("{:02}", local.minute()),
        "m" => local.minute().to_string(),
        "ss" => format!("{:02}", local.second()),
        "s" => local.second().to_string(),
        "ZZZZZ" => time.offset(true),
        "ZZZZ" => time.offset(false),
        "ZZZ" if time.offset_minutes == 0 => "UTC".to_owned(),
        "ZZZ" => time.offset(false),
        "Z" => time.zone(),
        _ => return None,
    })
}

fn month(local: DateTime) -> &'static str {
    const NAMES: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let index = usize::try_from(local.month()).unwrap_or(1);
    NAMES.get(index - 1).copied().unwrap_or(NAMES[0])
}

fn weekday(local: DateTime) -> &'static str {
    match local.weekday() {
        Weekday::Monday => "Monday",
        Weekday::Tuesday => "Tuesday",
        Weekday::Wednesday => "Wednesday",
        Weekday::Thursday => "Thursday",
        Weekday::Friday => "Friday",
        Weekday::Saturday => "Saturday",
        Weekday::Sunday => "Sunday",
    }
}
