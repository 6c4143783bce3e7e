//! Whom a task may connect to.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One entry of `allowed_hosts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostPattern {
    host: Host,
    /// Any, where it is not named.
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Any,
    Net(IpNet),
    /// In small letters.
    Name(String),
    /// All names that end in this, which begins with a dot.
    Below(String),
}

/// Why a text says nothing; goes on a sentence that has named the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InvalidPattern(pub(crate) &'static str);

impl fmt::Display for InvalidPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl FromStr for HostPattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        let (host, port) = split_port(text).ok_or(InvalidPattern("whose port is not a number up to 65535"))?;
        Ok(Self { host: host.parse()?, port })
    }
}

impl FromStr for Host {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        if text == "*" {
            return Ok(Self::Any);
        }
        if let Some(net) = text.parse().ok().or_else(|| text.parse().ok().map(|ip: IpAddr| IpNet::from(ip))) {
            return Ok(Self::Net(net));
        }
        let name = text.to_ascii_lowercase();
        let (below, rest) = match name.strip_prefix('*') {
            Some(rest) => (true, rest.strip_prefix('.').ok_or(NO_HOST)?),
            None => (false, name.as_str()),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if rest.is_empty() || !rest.chars().all(plain) {
            return Err(NO_HOST);
        }
        Ok(if below { Self::Below(format!(".{rest}")) } else { Self::Name(name) })
    }
}

const NO_HOST: InvalidPattern = InvalidPattern("which is neither a name, *.domain, an address, a network nor *");

/// Host and port of `text`; an address of version 6 stands in brackets where a port follows. `None` if there is a port that is none.
fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    if let Some((address, rest)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return match rest.strip_prefix(':') {
            Some(port) => Some((address, Some(port.parse().ok()?))),
            None => rest.is_empty().then_some((address, None)),
        };
    }
    match text.split_once(':') {
        Some((_, more)) if more.contains(':') => Some((text, None)),
        Some((host, port)) => Some((host, Some(port.parse().ok()?))),
        None => Some((text, None)),
    }
}

impl HostPattern {
    /// Whether a server called `name` may be spoken to on `port`. A name that is an address counts as the address.
    pub(crate) fn allows(&self, name: &str, port: u16) -> bool {
        self.port.is_none_or(|own| own == port) && self.host.is(name)
    }

    /// Whether `address` may be spoken to, whatever it is called.
    pub(crate) fn allows_address(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        self.port.is_none_or(|own| own == address.port())
            && match &self.host {
                Host::Any => true,
                Host::Net(net) => net.contains(&ip),
                Host::Name(_) | Host::Below(_) => false,
            }
    }

    /// Whether the addresses of `name` may be asked for.
    pub(crate) fn allows_lookup(&self, name: &str) -> bool {
        self.host.is(name)
    }

    /// The name that it is about, and on which port it may be spoken to, where it is about one.
    pub(crate) fn name(&self) -> Option<&str> {
        match &self.host {
            Host::Name(name) => Some(name),
            Host::Any | Host::Net(_) | Host::Below(_) => None,
        }
    }
}

impl Host {
    fn is(&self, name: &str) -> bool {
        let bare = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
        let ip = bare.parse::<IpAddr>().ok().map(|ip| ip.to_canonical());
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        match (self, ip) {
            (Self::Any, _) => true,
            (Self::Net(net), Some(ip)) => net.contains(&ip),
            (Self::Net(_), None) | (Self::Name(_) | Self::Below(_), Some(_)) => false,
            (Self::Name(own), None) => *own == name,
            (Self::Below(end), None) => name.len() > end.len() && name.ends_with(end.as_str()),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.host, self.port) {
            (Host::Net(net @ IpNet::V6(_)), Some(_)) => write!(f, "[{net}]")?,
            (host, _) => write!(f, "{host}")?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Net(net) => write!(f, "{net}"),
            Self::Name(name) => f.write_str(name),
            Self::Below(end) => write!(f, "*{end}"),
        }
    }
}

impl Serialize for HostPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HostPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> HostPattern {
        let pattern: HostPattern = text.parse().unwrap();
        assert_eq!(pattern.to_string().parse::<HostPattern>().unwrap(), pattern, "{text}");
        pattern
    }

    #[test]
    fn a_pattern_allows_what_it_names_and_no_more() {
        for (text, host, port, allowed) in [
            ("example.com", "EXAMPLE.com", 80, true),
            ("example.com", "example.com.", 80, true),
            ("example.com", "a.example.com", 80, false),
            ("example.com", "example.com.evil.net", 80, false),
            ("example.com:443", "example.com", 80, false),
            ("example.com:443", "example.com", 443, true),
            ("*.example.com", "a.b.example.com", 1, true),
            ("*.example.com", "example.com", 1, false),
            ("*.example.com", "badexample.com", 1, false),
            ("10.0.0.0/8", "10.1.2.3", 1, true),
            ("10.0.0.0/8", "::ffff:10.1.2.3", 1, true),
            ("10.0.0.0/8:53", "10.1.2.3", 54, false),
            ("10.0.0.0/8", "11.1.2.3", 1, false),
            ("10.0.0.1", "167772161", 1, false),
            ("[::1]:80", "[::1]", 80, true),
            ("::1", "::1", 9, true),
            ("*", "anything", 1, true),
            ("*:80", "1.2.3.4", 81, false),
        ] {
            assert_eq!(pattern(text).allows(host, port), allowed, "{text} {host} {port}");
        }
    }

    #[test]
    fn an_address_is_not_allowed_by_a_name() {
        let address: SocketAddr = "127.0.0.1:80".parse().unwrap();
        assert!(pattern("127.0.0.0/8:80").allows_address(address));
        assert!(!pattern("localhost").allows_address(address));
        assert!(pattern("localhost").allows_lookup("localhost") && !pattern("localhost").allows_lookup("other"));
    }

    #[test]
    fn nonsense_is_no_pattern() {
        for text in ["", "a b", "*x", "*.", "x:", "x:70000", "http://x", "[::1]x"] {
            assert!(text.parse::<HostPattern>().is_err(), "{text}");
        }
    }
}
