//! Ranges and sets of ports.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An inclusive range of ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRange {
    /// The first port.
    pub first: u16,
    /// The last port.
    pub last: u16,
}

impl PortRange {
    /// How many ports there are.
    pub const fn len(self) -> u32 {
        if self.last < self.first { 0 } else { self.last as u32 - self.first as u32 + 1 }
    }

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Whether `port` is one of them.
    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }
}

impl Default for PortRange {
    /// The range that dynamic ports are taken from: 20000 to 32000.
    fn default() -> Self {
        Self { first: 20_000, last: 32_000 }
    }
}

/// A set of ports as an operator writes it: `22,80,8500-8600`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PortSet(Vec<PortRange>);

impl PortSet {
    /// Whether `port` is in the set.
    pub fn contains(&self, port: u16) -> bool {
        self.0.iter().any(|range| range.contains(port))
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ranges, as written.
    pub fn ranges(&self) -> &[PortRange] {
        &self.0
    }
}

/// Why a text is not a set of ports.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a port or a range of ports: write numbers from 1 to 65535 such as \"22,80,8500-8600\"")]
pub struct InvalidPorts {
    text: String,
}

impl FromStr for PortSet {
    type Err = InvalidPorts;

    fn from_str(text: &str) -> Result<Self, InvalidPorts> {
        let invalid = |part: &str| InvalidPorts { text: part.to_owned() };
        let mut ranges = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let port = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port > 0);
            match (port(first), port(last)) {
                (Some(first), Some(last)) if first <= last => ranges.push(PortRange { first, last }),
                _ => return Err(invalid(part)),
            }
        }
        Ok(Self(ranges))
    }
}

impl fmt::Display for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, range) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str(",")?;
            }
            if range.first == range.last {
                write!(f, "{}", range.first)?;
            } else {
                write!(f, "{}-{}", range.first, range.last)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_sets_read_and_print_ranges() {
        let set: PortSet = "22, 80,8500-8600".parse().unwrap();
        assert_eq!(set.to_string(), "22,80,8500-8600");
        assert!(set.contains(8550) && set.contains(22) && !set.contains(23));
        for bad in ["x", "0", "70000", "9-3", "1-2-3"] {
            assert!(bad.parse::<PortSet>().is_err(), "{bad}");
        }
    }
}
