//! Points in time as the engine writes them.

use orch_model::Timestamp;

const LENGTH_OF_SECONDS: usize = "2026-01-02T03:04:05".len();

/// Reads `2026-01-02T03:04:05.123456789Z`; the fraction may be shorter or absent. `None` for anything else, and for the year 1, by which
/// the engine says "never".
pub(crate) fn parse(text: &str) -> Option<Timestamp> {
    let (seconds, fraction) = text.strip_suffix('Z')?.split_at_checked(LENGTH_OF_SECONDS)?;
    let digits = |range: std::ops::Range<usize>| {
        let part = seconds.get(range)?;
        part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse::<i64>().ok())?
    };
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if marks.iter().any(|(at, mark)| seconds.as_bytes().get(*at) != Some(mark)) {
        return None;
    }
    let days = days_since_epoch(digits(0..4)?, digits(5..7)?, digits(8..10)?);
    let secs = ((days * 24 + digits(11..13)?) * 60 + digits(14..16)?) * 60 + digits(17..19)?;
    if secs <= 0 {
        return None;
    }
    let nanos = match fraction.strip_prefix('.') {
        Some(fraction) if (1..=9).contains(&fraction.len()) && fraction.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{fraction:0<9}").parse::<i64>().ok()?
        }
        None if fraction.is_empty() => 0,
        Some(_) | None => return None,
    };
    Some(Timestamp(secs.checked_mul(1_000_000_000)?.checked_add(nanos)?))
}

/// Days from 1970-01-01 in the Gregorian calendar, counted in eras of 400 years that begin in March.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_the_engine_are_read() {
        for (text, nanos) in [
            ("1970-01-01T00:00:01Z", 1_000_000_000),
            ("2000-02-29T12:00:00.5Z", 951_825_600_500_000_000),
            ("2026-11-22T10:46:46.868420698Z", 1_795_344_406_868_420_698),
        ] {
            assert_eq!(parse(text), Some(Timestamp(nanos)), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "0001-01-01T00:00:00Z",
            "2026-11-22 10:46:46Z",
            "2026-11-22T10:46:46",
            "2026-11-22T10:46:46.Z",
            "é026-11-22T10:46:46Z",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
