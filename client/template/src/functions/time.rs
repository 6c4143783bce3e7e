//! Time, in UTC, with Go's way of saying how it is to be written: by an example.

use std::fmt::Write;

use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};

use super::{Table, exactly, expected, text};
use crate::value::{Failure, Value};

pub(super) const TABLE: Table = &[
    ("timestamp", |_, args| match args {
        [] => Ok(Value::text(format(&now(), "2006-01-02T15:04:05Z07:00"))),
        [layout] if text(layout)? == "unix" => Ok(Value::text(now().timestamp().as_second().to_string())),
        [layout] => Ok(Value::text(format(&now(), text(layout)?))),
        _ => Err("takes at most one layout".into()),
    }),
    ("sprig_now", |_, args| exactly(args).map(|[]| Value::Time(now().into()))),
    ("sprig_date", |_, args| {
        let [layout, at] = exactly(args)?;
        Ok(Value::text(format(&time(at)?, text(layout)?)))
    }),
    ("sprig_dateInZone", |_, args| {
        let [layout, at, zone] = exactly(args)?;
        let zone = text(zone)?;
        let zone = TimeZone::get(zone).map_err(|_| Failure(format!("there is no time zone {zone:?}")))?;
        Ok(Value::text(format(&time(at)?.with_time_zone(zone), text(layout)?)))
    }),
    ("sprig_htmlDate", |_, args| {
        let [at] = exactly(args)?;
        Ok(Value::text(format(&time(at)?, "2006-01-02")))
    }),
    ("sprig_unixEpoch", |_, args| {
        let [at] = exactly(args)?;
        Ok(Value::text(time(at)?.timestamp().as_second().to_string()))
    }),
    ("sprig_dateModify", |_, args| modified(args)),
    ("sprig_date_modify", |_, args| modified(args)),
];

fn now() -> Zoned {
    Timestamp::now().to_zoned(TimeZone::UTC)
}

/// A time, or seconds since 1970.
fn time(value: &Value) -> Result<Zoned, Failure> {
    match value {
        Value::Time(at) => Ok((**at).clone()),
        Value::Int(seconds) => Timestamp::from_second(*seconds)
            .map(|at| at.to_zoned(TimeZone::UTC))
            .map_err(|_| Failure(format!("{seconds} is too far from now"))),
        value => Err(expected("a time or a number of seconds", value)),
    }
}

fn modified(args: &[Value]) -> Result<Value, Failure> {
    let [by, at] = exactly(args)?;
    let by = text(by)?;
    let moved = duration(by).and_then(|by| time(at).ok()?.checked_add(by).ok());
    moved.map(|at| Value::Time(at.into())).ok_or_else(|| Failure(format!("cannot move a time by {by:?}")))
}

/// A duration as Go writes it: `-1h30m`.
fn duration(text: &str) -> Option<SignedDuration> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, unit) = rest.split_at(digits);
        let length = unit.find(|c: char| c.is_ascii_digit()).unwrap_or(unit.len());
        let (unit, after) = unit.split_at(length);
        let factor = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * factor;
        rest = after;
    }
    SignedDuration::try_from_secs_f64(sign * seconds).ok()
}

/// What Go has as methods of a time that take nothing.
pub(crate) fn field(at: &Zoned, name: &str) -> Option<Value> {
    let number = match name {
        "Unix" => at.timestamp().as_second(),
        "UnixMilli" => at.timestamp().as_millisecond(),
        "Year" => at.year().into(),
        "Day" => at.day().into(),
        "YearDay" => at.day_of_year().into(),
        "Hour" => at.hour().into(),
        "Minute" => at.minute().into(),
        "Second" => at.second().into(),
        "Month" => return Some(Value::text(MONTHS[usize::from(at.month().unsigned_abs()).clamp(1, 12) - 1])),
        "Weekday" => return Some(Value::text(weekday(at))),
        "UTC" => return Some(Value::Time(at.with_time_zone(TimeZone::UTC).into())),
        "String" => return Some(Value::text(default_text(at))),
        _ => return None,
    };
    Some(Value::Int(number))
}

/// How Go prints a time.
pub(crate) fn default_text(at: &Zoned) -> String {
    format(at, "2006-01-02 15:04:05.999999999 -0700 MST")
}

/// How JSON has a time.
pub(super) fn rfc3339(at: &Zoned) -> String {
    format(at, "2006-01-02T15:04:05.999999999Z07:00")
}

const MONTHS: [&str; 12] = [
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

fn weekday(at: &Zoned) -> &'static str {
    match at.weekday() {
        Weekday::Monday => "Monday",
        Weekday::Tuesday => "Tuesday",
        Weekday::Wednesday => "Wednesday",
        Weekday::Thursday => "Thursday",
        Weekday::Friday => "Friday",
        Weekday::Saturday => "Saturday",
        Weekday::Sunday => "Sunday",
    }
}

/// Writes a part of a time.
type Show = fn(&Zoned) -> String;

/// What parts of an example stand for; of those that begin alike the longer one is first.
const PARTS: &[(&str, Show)] = &[
    ("January", |at| MONTHS[usize::from(at.month().unsigned_abs()).clamp(1, 12) - 1].to_owned()),
    ("Jan", |at| MONTHS[usize::from(at.month().unsigned_abs()).clamp(1, 12) - 1][..3].to_owned()),
    ("Monday", |at| weekday(at).to_owned()),
    ("Mon", |at| weekday(at)[..3].to_owned()),
    ("MST", |at| at.strftime("%Z").to_string()),
    ("002", |at| format!("{:03}", at.day_of_year())),
    ("01", |at| format!("{:02}", at.month())),
    ("02", |at| format!("{:02}", at.day())),
    ("03", |at| format!("{:02}", twelve(at))),
    ("04", |at| format!("{:02}", at.minute())),
    ("05", |at| format!("{:02}", at.second())),
    ("06", |at| format!("{:02}", at.year().rem_euclid(100))),
    ("15", |at| format!("{:02}", at.hour())),
    ("1", |at| at.month().to_string()),
    ("2006", |at| format!("{:04}", at.year())),
    ("2", |at| at.day().to_string()),
    ("_2006", |at| format!("_{:04}", at.year())),
    ("_2", |at| format!("{:>2}", at.day())),
    ("3", |at| twelve(at).to_string()),
    ("4", |at| at.minute().to_string()),
    ("5", |at| at.second().to_string()),
    ("PM", |at| if at.hour() >= 12 { "PM".into() } else { "AM".into() }),
    ("pm", |at| if at.hour() >= 12 { "pm".into() } else { "am".into() }),
    ("-07:00", |at| offset(at, ":")),
    ("-0700", |at| offset(at, "")),
    ("-07", |at| offset(at, "")[..3].to_owned()),
    ("Z07:00", |at| if at.offset().is_zero() { "Z".into() } else { offset(at, ":") }),
    ("Z0700", |at| if at.offset().is_zero() { "Z".into() } else { offset(at, "") }),
    ("Z07", |at| if at.offset().is_zero() { "Z".into() } else { offset(at, "")[..3].to_owned() }),
];

fn twelve(at: &Zoned) -> i8 {
    match at.hour() % 12 {
        0 => 12,
        hour => hour,
    }
}

fn offset(at: &Zoned, between: &str) -> String {
    let minutes = at.offset().seconds() / 60;
    let sign = if minutes < 0 { '-' } else { '+' };
    format!("{sign}{:02}{between}{:02}", minutes.abs() / 60, minutes.abs() % 60)
}

/// Writes a time as Go's example time is written.
pub(crate) fn format(at: &Zoned, layout: &str) -> String {
    let mut out = String::new();
    let mut rest = layout;
    while let Some(first) = rest.chars().next() {
        if let Some(taken) = fraction(at, rest, &mut out) {
            rest = &rest[taken..];
        } else if let Some((part, show)) = PARTS.iter().find(|(part, _)| begins(rest, part)) {
            out.push_str(&show(at));
            rest = &rest[part.len()..];
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    out
}

/// A short name of a month or day only counts where the word ends with it.
fn begins(rest: &str, part: &str) -> bool {
    let Some(after) = rest.strip_prefix(part) else { return false };
    !(matches!(part, "Jan" | "Mon") && after.starts_with(|c: char| c.is_ascii_lowercase()))
}

/// Writes `.000` or `.999`, of any length, and says how much of the layout that was.
fn fraction(at: &Zoned, rest: &str, out: &mut String) -> Option<usize> {
    let digits = rest.strip_prefix(['.', ','])?;
    let kind = digits.chars().next().filter(|c| matches!(c, '0' | '9'))?;
    let count = digits.len() - digits.trim_start_matches(kind).len();
    if digits[count..].starts_with(|c: char| c.is_ascii_digit()) || count > 9 {
        return None;
    }
    let all = format!("{:09}", at.subsec_nanosecond());
    let shown = if kind == '9' { all[..count].trim_end_matches('0') } else { &all[..count] };
    if !shown.is_empty() {
        write!(out, "{}{shown}", &rest[..1]).unwrap_or_default();
    }
    Some(count + 1)
}
