//! What reads have in common: parameters on the way there, headers on the way back.

use std::time::Duration;

use http::HeaderMap;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::Config;

/// What must be escaped in a path segment or a parameter.
pub(super) const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// How a read is done; the default is a linearizable one that answers at once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QueryOptions {
    /// Waits until there is something newer than this index; 0 answers at once.
    pub index: u64,
    /// How long to wait for that; `None` is the agent's default of five minutes.
    pub wait: Option<Duration>,
    /// Whether any server may answer from what it has.
    pub stale: bool,
    /// Only what starts with this.
    pub prefix: String,
    /// Only what this expression holds for.
    pub filter: String,
    /// How many at once; 0 is all.
    pub per_page: u32,
    /// Where the page begins: [`QueryMeta::next_token`] of the page before.
    pub next_token: String,
    /// The namespace, `*` for all; `None` is the client's.
    pub namespace: Option<String>,
    /// Further parameters of the endpoint.
    pub params: Vec<(String, String)>,
}

impl QueryOptions {
    /// Reads once there is something newer than `index`.
    pub fn after(index: u64) -> Self {
        Self { index, ..Self::default() }
    }

    /// How long the agent may take because it was asked to wait, its jitter included.
    pub(super) fn longest_wait(&self) -> Duration {
        if self.index == 0 {
            return Duration::ZERO;
        }
        with_jitter(self.wait.unwrap_or(MAX_WAIT).min(MAX_WAIT))
    }
}

/// How long an agent waits at most.
const MAX_WAIT: Duration = Duration::from_secs(300);

/// How long an agent that is asked to wait so long may take.
fn with_jitter(wait: Duration) -> Duration {
    wait + wait / 16
}

/// What an answer says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QueryMeta {
    /// The index of what was read: what to wait after.
    pub index: u64,
    /// Whether the server that answered knew a leader.
    pub known_leader: bool,
    /// How long ago it had heard from it.
    pub last_contact: Duration,
    /// Where the next page begins, if there is one.
    pub next_token: Option<String>,
}

impl QueryMeta {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let number = |name: &str| text(name).and_then(|text| text.parse().ok()).unwrap_or(0);
        Self {
            index: number("x-nomad-index"),
            known_leader: text("x-nomad-knownleader") == Some("true"),
            last_contact: Duration::from_millis(number("x-nomad-lastcontact")),
            next_token: text("x-nomad-nexttoken").filter(|token| !token.is_empty()).map(str::to_owned),
        }
    }
}

/// The query of a request, escaped.
#[derive(Debug, Default)]
pub(super) struct Query(String);

impl Query {
    /// A query that is escaped already.
    pub(super) fn raw(query: &str) -> Self {
        Self(query.to_owned())
    }

    /// The query that `options` stand for.
    pub(super) fn of(options: &QueryOptions) -> Self {
        let mut query = Self::default();
        if options.index > 0 {
            query.push("index", &options.index.to_string());
            if let Some(wait) = options.wait {
                query.push("wait", &format!("{}ms", wait.as_millis()));
            }
        }
        if options.stale {
            query.push("stale", "");
        }
        for (name, value) in [
            ("prefix", &options.prefix),
            ("filter", &options.filter),
            ("next_token", &options.next_token),
            ("namespace", options.namespace.as_ref().unwrap_or(&String::new())),
        ] {
            if !value.is_empty() {
                query.push(name, value);
            }
        }
        if options.per_page > 0 {
            query.push("per_page", &options.per_page.to_string());
        }
        for (name, value) in &options.params {
            query.push(name, value);
        }
        query
    }

    pub(super) fn add_all(mut self, params: &[(&str, &str)]) -> Self {
        for (name, value) in params {
            self.push(name, value);
        }
        self
    }

    /// Namespace and region of the client, unless the query names others.
    pub(super) fn add_defaults(mut self, config: &Config) -> Self {
        for (name, value) in [("namespace", &config.namespace), ("region", &config.region)] {
            if !value.is_empty() && !self.has(name) {
                self.push(name, value);
            }
        }
        self
    }

    /// How long the agent may take because the query may ask it to wait.
    pub(super) fn longest_wait(&self) -> Duration {
        if self.has("index") { with_jitter(MAX_WAIT) } else { Duration::ZERO }
    }

    pub(super) fn append_to(&self, path: &str) -> String {
        if self.0.is_empty() { path.to_owned() } else { format!("{path}?{}", self.0) }
    }

    fn has(&self, name: &str) -> bool {
        self.0.split('&').any(|pair| pair.split('=').next() == Some(name))
    }

    fn push(&mut self, name: &str, value: &str) {
        if !self.0.is_empty() {
            self.0.push('&');
        }
        self.0.extend(utf8_percent_encode(name, COMPONENT));
        self.0.push('=');
        self.0.extend(utf8_percent_encode(value, COMPONENT));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_become_escaped_parameters_and_the_clients_namespace_comes_last() {
        let options = QueryOptions {
            index: 42,
            wait: Some(Duration::from_secs(10)),
            filter: "Type == \"batch\"".into(),
            per_page: 2,
            ..QueryOptions::default()
        };
        let config = Config { namespace: "a b".into(), region: "eu".into(), ..Config::default() };
        assert_eq!(
            Query::of(&options).add_all(&[("region", "us")]).add_defaults(&config).append_to("/v1/jobs"),
            "/v1/jobs?index=42&wait=10000ms&filter=Type%20%3D%3D%20%22batch%22&per_page=2&region=us&namespace=a%20b"
        );
        let everywhere = QueryOptions { namespace: Some("*".into()), ..QueryOptions::default() };
        assert_eq!(Query::of(&everywhere).add_defaults(&Config::default()).append_to("/x"), "/x?namespace=%2A");
    }
}
