//! Version numbers and the lists of conditions on them that constraints write (`>= 1.2, < 2`).

use std::cmp::Ordering;

/// Why a text is no version or no list of conditions.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a {what}")]
pub struct InvalidVersion {
    what: &'static str,
    text: String,
}

/// A version number: dotted integers, an optional pre-release after `-`, an optional build after `+`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    segments: Vec<u64>,
    written: usize,
    prerelease: String,
}

impl Version {
    /// Reads `1.2.3-beta.1+build`, with or without a leading `v`; missing segments are 0.
    pub fn parse(text: &str) -> Result<Self, InvalidVersion> {
        Self::read(text).ok_or_else(|| InvalidVersion { what: "version", text: text.to_owned() })
    }

    fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix('v').unwrap_or(text);
        let (text, build) = text.split_once('+').map_or((text, None), |(text, build)| (text, Some(build)));
        let (numbers, prerelease) = text.split_once('-').map_or((text, None), |(numbers, pre)| (numbers, Some(pre)));
        let identifiers_are_valid = |text: &str| {
            text.split('.')
                .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-~_".contains(&b)))
        };
        if !prerelease.is_none_or(identifiers_are_valid) || !build.is_none_or(identifiers_are_valid) {
            return None;
        }
        let mut segments = numbers.split('.').map(number).collect::<Option<Vec<_>>>()?;
        let written = segments.len();
        segments.resize(written.max(3), 0);
        Some(Self { segments, written, prerelease: prerelease.unwrap_or_default().to_owned() })
    }

    fn same_base(&self, other: &Self) -> bool {
        self.compare_base(other) == Ordering::Equal
    }

    fn compare_base(&self, other: &Self) -> Ordering {
        let longest = self.segments.len().max(other.segments.len());
        let segment = |version: &Self, i| version.segments.get(i).copied().unwrap_or(0);
        (0..longest)
            .map(|i| segment(self, i).cmp(&segment(other, i)))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    }

    /// Numbers first; a pre-release comes before its release; the build does not count.
    fn compare(&self, other: &Self) -> Ordering {
        self.compare_base(other).then_with(|| compare_prerelease(&self.prerelease, &other.prerelease))
    }
}

fn number(text: &str) -> Option<u64> {
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

fn compare_prerelease(a: &str, b: &str) -> Ordering {
    match (a.is_empty(), b.is_empty()) {
        (true, true) => return Ordering::Equal,
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    let (mut a, mut b) = (a.split('.'), b.split('.'));
    loop {
        let order = match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            (Some(a), Some(b)) => match (number(a), number(b)) {
                (Some(a), Some(b)) => a.cmp(&b),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => a.cmp(b),
            },
        };
        if order.is_ne() {
            return order;
        }
    }
}

/// How conditions treat pre-releases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionRule {
    /// Operator `version`: a pre-release fulfils only conditions that name a pre-release of the same numbers.
    Version,
    /// Operator `semver`: a pre-release compares by precedence alone.
    Semver,
}

/// Conditions on a version, all of which must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionConstraints {
    rule: VersionRule,
    conditions: Vec<(Comparison, Version)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Pessimistic,
}

const COMPARISONS: [(&str, Comparison); 7] = [
    (">=", Comparison::GreaterOrEqual),
    ("<=", Comparison::LessOrEqual),
    ("!=", Comparison::NotEqual),
    ("~>", Comparison::Pessimistic),
    ("=", Comparison::Equal),
    ("<", Comparison::Less),
    (">", Comparison::Greater),
];

impl VersionConstraints {
    /// Reads conditions separated by commas: an operator (`=` where none is written) and a version each.
    pub fn parse(text: &str, rule: VersionRule) -> Result<Self, InvalidVersion> {
        let condition = |part: &str| {
            let part = part.trim();
            let (comparison, rest) = COMPARISONS
                .iter()
                .find_map(|(sign, comparison)| part.strip_prefix(sign).map(|rest| (*comparison, rest)))
                .unwrap_or((Comparison::Equal, part));
            Version::read(rest).map(|version| (comparison, version))
        };
        let conditions = text.split(',').map(condition).collect::<Option<Vec<_>>>();
        let invalid =
            || InvalidVersion { what: "list of version constraints such as \">= 1.2, < 2\"", text: text.to_owned() };
        Ok(Self { rule, conditions: conditions.ok_or_else(invalid)? })
    }

    /// Whether `version` fulfils every condition.
    pub fn matches(&self, version: &Version) -> bool {
        self.conditions.iter().all(|(comparison, bound)| self.holds(*comparison, version, bound))
    }

    fn holds(&self, comparison: Comparison, version: &Version, bound: &Version) -> bool {
        let order = version.compare(bound);
        let comparable = self.rule == VersionRule::Semver
            || match (version.prerelease.is_empty(), bound.prerelease.is_empty()) {
                (true, _) => true,
                (false, true) => false,
                (false, false) => version.same_base(bound),
            };
        match comparison {
            Comparison::Equal => order.is_eq(),
            Comparison::NotEqual => order.is_ne(),
            Comparison::Less => comparable && order.is_lt(),
            Comparison::LessOrEqual => comparable && order.is_le(),
            Comparison::Greater => comparable && order.is_gt(),
            Comparison::GreaterOrEqual => comparable && order.is_ge(),
            Comparison::Pessimistic => comparable && order.is_ge() && within_pessimistic(version, bound),
        }
    }
}

/// `~> 1.2.3` keeps `1.2`, `~> 1.2` keeps `1`: all written segments but the last stay.
fn within_pessimistic(version: &Version, bound: &Version) -> bool {
    let kept = bound.written.saturating_sub(1);
    version.segments.iter().zip(&bound.segments).take(kept).all(|(a, b)| a == b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_hold_as_their_operators_say() {
        use VersionRule::{Semver, Version as Loose};
        for (rule, conditions, version, expected) in [
            (Loose, ">= 1.2, < 2", "1.10.0", true),
            (Loose, ">= 1.2, < 2", "2.0", false),
            (Loose, "1.2", "1.2.0", true),
            (Loose, "!= 1.2", "v1.2.0", false),
            (Loose, "~> 1.2.3", "1.2.9", true),
            (Loose, "~> 1.2.3", "1.3.0", false),
            (Loose, "~> 1.2", "1.9.0", true),
            (Loose, "~> 1.2", "2.0.0", false),
            (Loose, ">= 1.0", "1.3.0-beta1", false),
            (Loose, ">= 1.3.0-alpha", "1.3.0-beta1", true),
            (Semver, ">= 1.0", "1.3.0-beta1", true),
            (Semver, "> 1.3.0-beta.2", "1.3.0-beta.11", true),
            (Semver, ">= 1.3.0", "1.3.0-beta1", false),
        ] {
            let parsed = VersionConstraints::parse(conditions, rule).unwrap();
            assert_eq!(parsed.matches(&Version::parse(version).unwrap()), expected, "{version} {conditions}");
        }
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for bad in ["", "1..2", "abc", ">= ", ">= 1.2, ", "=> 1", "1.2-"] {
            assert!(VersionConstraints::parse(bad, VersionRule::Version).is_err(), "{bad}");
        }
    }
}
