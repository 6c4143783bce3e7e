//! Ids in paths and prefixes of ids.

use std::str::FromStr;

use uuid::Uuid;

use crate::error::Error;

/// The id that a path names in full; whatever is no id cannot exist, so it is `missing`.
pub(crate) fn parse<T: FromStr>(text: &str, missing: &str) -> Result<T, Error> {
    text.parse().map_err(|_| Error::not_found(missing))
}

/// The first and the last UUID that start with `prefix`; an error if none can.
pub(crate) fn range(prefix: &str) -> Result<(Uuid, Uuid), Error> {
    const PATTERN: &str = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    let invalid =
        || Error::invalid(format!("{prefix:?} is not the beginning of an id: expected hexadecimal digits and dashes"));
    let fits = |(given, place): (u8, u8)| if place == b'x' { given.is_ascii_hexdigit() } else { given == place };
    if prefix.len() > PATTERN.len() || !prefix.bytes().zip(PATTERN.bytes()).all(fits) {
        return Err(invalid());
    }
    let rest = PATTERN.get(prefix.len()..).unwrap_or("");
    let completed = |digit: &str| Uuid::try_parse(&format!("{prefix}{}", rest.replace('x', digit)));
    match (completed("0"), completed("f")) {
        (Ok(first), Ok(last)) => Ok((first, last)),
        (Err(_), _) | (_, Err(_)) => Err(invalid()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_of_any_length_is_a_range() {
        let (first, last) = range("5f0").unwrap();
        assert_eq!(first.to_string(), "5f000000-0000-0000-0000-000000000000");
        assert_eq!(last.to_string(), "5f0fffff-ffff-ffff-ffff-ffffffffffff");
        assert_eq!(range("").unwrap(), (Uuid::nil(), Uuid::max()));
        let whole = "5f0c7a1e-9b3d-4c55-8f0a-2d7b1c6e4a90";
        assert_eq!(range(whole).unwrap().0, range(whole).unwrap().1);
        assert_eq!(range("5F0C7A1E-").unwrap().0.to_string(), "5f0c7a1e-0000-0000-0000-000000000000");
        for bad in ["x", "5f0c7a1e9", "5f0c7a1e-9b3d-4c55-8f0a-2d7b1c6e4a900", "é", "-"] {
            assert!(range(bad).is_err(), "{bad}");
        }
    }
}
