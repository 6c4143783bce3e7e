//! Addresses of agents.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where an agent listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A host and a port.
    Tcp {
        /// A name or an IP address, the latter without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// A socket in the file system.
    Unix(PathBuf),
}

/// A text that is no address of an agent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAddress {
    /// It is not of a known form.
    #[error("{0:?} is not an address of an agent: write http://host:port or unix:///path/to/socket")]
    Malformed(String),
    /// It asks for TLS.
    #[error("{0:?} asks for TLS, which this version does not speak: write http://host:port")]
    Tls(String),
}

impl Address {
    /// The port of an agent that names none.
    pub const DEFAULT_PORT: u16 = 4646;

    /// What the `Host` header says.
    pub(super) fn host(&self) -> String {
        match self {
            Self::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Self::Tcp { host, port } => format!("{host}:{port}"),
            Self::Unix(_) => "localhost".to_owned(),
        }
    }
}

impl Default for Address {
    fn default() -> Self {
        Self::Tcp { host: "127.0.0.1".into(), port: Self::DEFAULT_PORT }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { .. } => write!(f, "http://{}", self.host()),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let malformed = || InvalidAddress::Malformed(text.to_owned());
        if let Some(path) = text.strip_prefix("unix://") {
            return if path.is_empty() { Err(malformed()) } else { Ok(Self::Unix(path.into())) };
        }
        if text.starts_with("https://") {
            return Err(InvalidAddress::Tls(text.to_owned()));
        }
        let authority = match text.split_once("://") {
            Some(("http", rest)) => rest,
            Some(_) => return Err(malformed()),
            None => text,
        };
        let authority: http::uri::Authority =
            authority.strip_suffix('/').unwrap_or(authority).parse().map_err(|_| malformed())?;
        if authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(malformed());
        }
        let port = match authority.as_str().strip_prefix(authority.host()) {
            Some("") => Self::DEFAULT_PORT,
            Some(rest) => rest.strip_prefix(':').and_then(|port| port.parse().ok()).ok_or_else(malformed)?,
            None => return Err(malformed()),
        };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self::Tcp { host, port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_http_or_a_socket_with_a_default_port() {
        for (text, shown) in [
            ("http://127.0.0.1:4646", "http://127.0.0.1:4646"),
            ("http://node-1/", "http://node-1:4646"),
            ("127.0.0.1:80", "http://127.0.0.1:80"),
            ("http://[::1]:5000", "http://[::1]:5000"),
            ("unix:///run/orch.sock", "unix:///run/orch.sock"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), shown, "{text}");
        }
        for bad in ["", "ftp://x", "https://x", "http://", "http://x:99999", "unix://", "http://a b", "http://u@h"] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }
}
