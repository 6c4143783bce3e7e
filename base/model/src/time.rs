//! Points in time and durations, as whole nanoseconds.

use std::fmt;
use std::time::Duration;

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// A point in time: nanoseconds since the Unix epoch; 0 means "never" or "not yet".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// No point in time.
    pub const NONE: Self = Self(0);

    /// Whether this is no point in time.
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// This point moved by `by`, within what can be represented.
    #[must_use]
    pub const fn plus(self, by: Nanos) -> Self {
        Self(self.0.saturating_add(by.0))
    }

    /// How long after `earlier` this is; negative if it is before.
    pub const fn since(self, earlier: Self) -> Nanos {
        Nanos(self.0.saturating_sub(earlier.0))
    }
}

/// A duration in nanoseconds, as in the HTTP API; may be negative where a submitted job says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
#[serde(transparent)]
pub struct Nanos(pub i64);

impl Nanos {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// `secs` seconds.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1_000_000_000))
    }

    /// `millis` milliseconds.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// The same as a `Duration`; negative durations become zero.
    pub fn to_std(self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0).unwrap_or(0))
    }
}

impl From<Duration> for Nanos {
    fn from(duration: Duration) -> Self {
        Self(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
    }
}

impl fmt::Display for Nanos {
    /// As Go prints a duration: `1h30m0s`, `1.5s`, `250ms`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        if self.0 < 0 {
            f.write_str("-")?;
        }
        let nanos = self.0.unsigned_abs();
        match nanos {
            0..1_000 => write!(f, "{nanos}ns"),
            1_000..1_000_000 => write!(f, "{}µs", Decimal(nanos, 1_000)),
            1_000_000..1_000_000_000 => write!(f, "{}ms", Decimal(nanos, 1_000_000)),
            _ => {
                let (secs, rest) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
                let (hours, minutes, secs) = (secs / 3600, secs / 60 % 60, secs % 60);
                if hours > 0 {
                    write!(f, "{hours}h")?;
                }
                if hours > 0 || minutes > 0 {
                    write!(f, "{minutes}m")?;
                }
                write!(f, "{}s", Decimal(secs * 1_000_000_000 + rest, 1_000_000_000))
            }
        }
    }
}

/// A count of `.1`-ths, shown as a decimal number without trailing zeros.
struct Decimal(u64, u64);

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / self.1, self.0 % self.1);
        if rest == 0 {
            return write!(f, "{whole}");
        }
        let digits = self.1.ilog10() as usize;
        let rest = format!("{rest:0digits$}");
        write!(f, "{whole}.{}", rest.trim_end_matches('0'))
    }
}

/// Why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a duration: write a number with a unit of ns, us, ms, s, m or h, such as \"30s\" or \"1h30m\""
)]
pub struct InvalidDuration {
    text: String,
}

impl std::str::FromStr for Nanos {
    type Err = InvalidDuration;

    /// Reads Go's duration syntax: a sign, then numbers with units (`1h30m`, `1.5s`, `250ms`); `0` needs no unit.
    fn from_str(text: &str) -> Result<Self, InvalidDuration> {
        parse_go_duration(text).ok_or_else(|| InvalidDuration { text: text.to_owned() })
    }
}

fn parse_go_duration(text: &str) -> Option<Nanos> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(Nanos::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let number_len = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(rest.len());
        let (number, tail) = rest.split_at(number_len);
        let unit_len = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_len);
        total = total.checked_add(scaled(number, unit_nanos(unit)?)?)?;
        rest = tail;
    }
    i64::try_from(if negative { -total } else { total }).ok().map(Nanos)
}

fn unit_nanos(unit: &str) -> Option<i128> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// `number` (digits with at most one point) times `unit`, cut to whole nanoseconds.
fn scaled(number: &str, unit: i128) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut value = whole.checked_mul(unit)?;
    let mut place = unit;
    for digit in fraction.bytes().take(18) {
        place /= 10;
        value = value.checked_add(place * i128::from(digit - b'0'))?;
    }
    Some(value)
}

impl<'de> Deserialize<'de> for Nanos {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_any(NanosVisitor)
        } else {
            i64::deserialize(deserializer).map(Self)
        }
    }
}

struct NanosVisitor;

impl Visitor<'_> for NanosVisitor {
    type Value = Nanos;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nanoseconds as an integer, or a duration such as \"30s\"")
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Nanos, E> {
        Ok(Nanos(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Nanos, E> {
        i64::try_from(value).map(Nanos).map_err(|_| E::custom("duration out of range"))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Nanos, E> {
        #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and in range")]
        if value.fract() == 0.0 && value.abs() < 9.0e18 {
            Ok(Nanos(value as i64))
        } else {
            Err(E::custom(format!("{value} is not a whole number of nanoseconds")))
        }
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Nanos, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Nanos, E> {
        Ok(Nanos::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_print_as_go_does() {
        for (text, nanos, printed) in [
            ("30s", 30_000_000_000, "30s"),
            ("1h30m", 5_400_000_000_000, "1h30m0s"),
            ("1.5s", 1_500_000_000, "1.5s"),
            ("250ms", 250_000_000, "250ms"),
            ("-5s", -5_000_000_000, "-5s"),
            ("0", 0, "0s"),
            ("1m0.5s", 60_500_000_000, "1m0.5s"),
        ] {
            let read: Nanos = text.parse().unwrap();
            assert_eq!(read, Nanos(nanos), "{text}");
            assert_eq!(read.to_string(), printed);
        }
        for bad in ["", "1", "1d", "s", "1.2.3s", "-", "99999999999h", "1s ", "."] {
            assert!(bad.parse::<Nanos>().is_err(), "{bad}");
        }
    }

    #[test]
    fn json_durations_are_integers_or_text() {
        assert_eq!(serde_json::from_str::<Nanos>("5").unwrap(), Nanos(5));
        assert_eq!(serde_json::from_str::<Nanos>("\"1s\"").unwrap(), Nanos::from_secs(1));
        assert!(serde_json::from_str::<Nanos>("1.5").is_err());
    }
}
