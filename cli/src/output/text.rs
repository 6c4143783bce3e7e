//! Times, durations and sizes in words.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use orch_api::Time;

/// A time in the local zone, to the second; empty if there is none.
pub(crate) fn time(time: Time) -> String {
    time_nanos(time.0.0)
}

/// The same for a number of nanoseconds since 1970, of which 0 is none.
pub(crate) fn time_nanos(nanos: i64) -> String {
    in_zone(nanos, TimeZone::system())
}

fn in_zone(nanos: i64, zone: TimeZone) -> String {
    if nanos <= 0 {
        return String::new();
    }
    let Ok(timestamp) = Timestamp::from_nanosecond(i128::from(nanos)) else { return String::new() };
    let text = timestamp.to_zoned(zone).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string();
    match text.strip_suffix("+00:00") {
        Some(utc) => format!("{utc}Z"),
        None => text,
    }
}

/// How long ago a time in nanoseconds since 1970 was: `5m3s ago`; empty if there is none.
pub(crate) fn ago(nanos: i64) -> String {
    since(nanos, now())
}

/// How long after now a time in nanoseconds since 1970 is: `25s from now`; empty if it has passed or there is none.
pub(crate) fn from_now(nanos: i64) -> String {
    until(nanos, now())
}

/// How long after `now` a time is.
fn until(nanos: i64, now: i64) -> String {
    let seconds = nanos.saturating_sub(now).div_euclid(1_000_000_000);
    if nanos <= 0 || seconds < 0 { String::new() } else { format!("{} from now", duration(seconds)) }
}

fn now() -> i64 {
    i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}

/// How long before `now` a time was.
fn since(nanos: i64, now: i64) -> String {
    if nanos <= 0 {
        return String::new();
    }
    format!("{} ago", duration((now.saturating_sub(nanos) / 1_000_000_000).max(0)))
}

/// The two largest units of a number of seconds: `1d3h`.
pub(crate) fn duration(seconds: i64) -> String {
    const UNITS: [(&str, i64); 6] =
        [("y", 365 * 86_400), ("mo", 30 * 86_400), ("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];
    let mut rest = seconds;
    let mut text = String::new();
    let mut shown = 0;
    for (unit, length) in UNITS {
        let count = rest / length;
        rest %= length;
        if shown > 0 || count > 0 {
            shown += 1;
            if count > 0 {
                text.push_str(&format!("{count}{unit}"));
            }
        }
        if shown == 2 {
            break;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// Mebibytes with the unit that suits: `300 MiB`, `1.5 GiB`.
pub(crate) fn mebibytes(mib: u64) -> String {
    size(mib.saturating_mul(1 << 20))
}

/// Bytes with the binary unit that suits.
#[expect(clippy::cast_precision_loss, reason = "shown with two digits after the point")]
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut unit = 0;
    while unit + 1 < UNITS.len() && bytes >= 1 << (10 * (unit + 1)) {
        unit += 1;
    }
    let scaled = bytes as f64 / (1_u64 << (10 * unit)) as f64;
    let text = format!("{scaled:.1}");
    format!("{} {}", text.strip_suffix(".0").unwrap_or(&text), UNITS[unit])
}

/// The text, or `<none>`.
pub(crate) fn or_none(text: &str) -> &str {
    if text.is_empty() { "<none>" } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_show_their_zone() {
        let nanos = 1_893_456_000_900_000_000;
        assert_eq!(in_zone(nanos, TimeZone::UTC), "2030-01-01T00:00:00Z");
        assert_eq!(in_zone(nanos, TimeZone::fixed(jiff::tz::offset(2))), "2030-01-01T02:00:00+02:00");
        assert_eq!(in_zone(0, TimeZone::UTC), "");
    }

    #[test]
    fn ages_have_their_two_largest_units() {
        let at = |seconds: i64| since(1_000_000_000, (seconds + 1) * 1_000_000_000);
        for (seconds, text) in [
            (0, "0s ago"),
            (59, "59s ago"),
            (303, "5m3s ago"),
            (3_600, "1h ago"),
            (3_605, "1h ago"),
            (93_784, "1d2h ago"),
            (40 * 86_400, "1mo10d ago"),
        ] {
            assert_eq!(at(seconds), text);
        }
        assert_eq!(since(0, 5), "");
        assert_eq!(until(26_000_000_000, 1_000_000_000), "25s from now");
        assert_eq!((until(0, 5), until(5, 6)), (String::new(), String::new()));
    }

    #[test]
    fn sizes_have_the_unit_that_suits() {
        assert_eq!(size(0), "0 B");
        assert_eq!(mebibytes(300), "300 MiB");
        assert_eq!(mebibytes(1536), "1.5 GiB");
    }
}
