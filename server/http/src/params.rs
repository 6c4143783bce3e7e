//! The parameters of a request's query, and those that every read understands.

use std::borrow::Cow;
use std::time::Duration;

use orch_model::{Namespace, Nanos, StateIndex};

use crate::control::Consistency;
use crate::error::Error;
use crate::limits;

/// The parameters of a query, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// Reads the query of a request.
    pub(crate) fn parse(query: &str) -> Result<Self, Error> {
        if query.len() > limits::QUERY_BYTES {
            return Err(Error::invalid(format!(
                "query of {} bytes is longer than {}",
                query.len(),
                limits::QUERY_BYTES
            )));
        }
        let pairs = form_urlencoded::parse(query.as_bytes());
        Ok(Self(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect()))
    }

    /// The first value of `name`; "" if it is not there.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.find(name).unwrap_or("")
    }

    /// The first value of `name`.
    pub(crate) fn find(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// All values of `name`.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// A truth value; `None` if it is not there or empty.
    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, Error> {
        match self.get(name) {
            "" => Ok(None),
            text => parse_bool(text).map(Some).ok_or_else(|| {
                Error::invalid(format!("Failed to parse value of {name:?} ({text:?}) as a bool: use true or false"))
            }),
        }
    }

    /// A whole number; `None` if it is not there or empty.
    pub(crate) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Error> {
        match self.get(name) {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| {
                Error::invalid(format!("Failed to parse value of {name:?} ({text:?}) as a number in its range"))
            }),
        }
    }

    /// Whether the answer is to be indented.
    pub(crate) fn pretty(&self) -> bool {
        self.find("pretty").is_some_and(|value| value != "0")
    }

    /// The namespace; the default one if none is given.
    pub(crate) fn namespace(&self) -> Namespace {
        match self.get("namespace") {
            "" => Namespace::new(Namespace::DEFAULT),
            name => Namespace::new(name),
        }
    }

    /// The evaluation priority of a write.
    pub(crate) fn eval_priority(&self) -> Result<Option<u16>, Error> {
        eval_priority(self.number("eval_priority")?.unwrap_or(0))
    }
}

/// An evaluation priority as requests give it: 0 is "the job's".
pub(crate) fn eval_priority(priority: i64) -> Result<Option<u16>, Error> {
    match u16::try_from(priority) {
        Ok(0) => Ok(None),
        Ok(priority @ 1..=100) => Ok(Some(priority)),
        Ok(_) | Err(_) => Err(Error::invalid("eval priority must be between 1 and 100 inclusively")),
    }
}

/// A truth value as Go reads one.
fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// What every read understands.
#[derive(Debug, Clone)]
pub(crate) struct Read {
    /// How fresh the answer must be.
    pub(crate) consistency: Consistency,
    /// Waits for something newer, unless 0.
    pub(crate) index: StateIndex,
    /// How long.
    pub(crate) wait: Duration,
    /// The namespace; `None` is all of them.
    pub(crate) namespace: Option<Namespace>,
    /// Only ids that start with it.
    pub(crate) prefix: String,
    /// Only what this holds for.
    pub(crate) filter: String,
    /// How many at once; 0 is all.
    pub(crate) per_page: usize,
    /// Where the page begins.
    pub(crate) next_token: String,
    /// Whether the order is turned round.
    pub(crate) reverse: bool,
}

impl Read {
    /// Takes what every read understands from `params`.
    pub(crate) fn of(params: &Params) -> Result<Self, Error> {
        Ok(Self {
            consistency: consistency(params)?,
            index: index(params)?,
            wait: wait(params)?,
            namespace: Some(params.namespace()).filter(|name| name.as_str() != "*"),
            prefix: params.get("prefix").to_owned(),
            filter: params.get("filter").to_owned(),
            per_page: per_page(params)?,
            next_token: params.get("next_token").to_owned(),
            reverse: params.get("reverse") == "true",
        })
    }
}

/// How fresh an answer must be.
pub(crate) fn consistency(params: &Params) -> Result<Consistency, Error> {
    let stale = match params.find("stale") {
        None => false,
        Some("") => true,
        Some(text) => parse_bool(text).ok_or_else(|| {
            Error::invalid(format!("Failed to parse value of \"stale\" ({text:?}) as a bool: use true or false"))
        })?,
    };
    Ok(if stale { Consistency::Stale } else { Consistency::Linearizable })
}

fn index(params: &Params) -> Result<StateIndex, Error> {
    match params.get("index") {
        "" => Ok(StateIndex(0)),
        text => text.parse().map(StateIndex).map_err(|_| Error::invalid("Invalid index")),
    }
}

fn wait(params: &Params) -> Result<Duration, Error> {
    let invalid = || Error::invalid("Invalid wait time");
    match params.get("wait") {
        "" => Ok(limits::DEFAULT_WAIT),
        text => {
            let wait: Nanos = text.parse().map_err(|_| invalid())?;
            let wait = if wait.0 < 0 { return Err(invalid()) } else { wait.to_std() };
            Ok(if wait.is_zero() { limits::DEFAULT_WAIT } else { wait.min(limits::MAX_WAIT) })
        }
    }
}

fn per_page(params: &Params) -> Result<usize, Error> {
    let invalid = || Error::invalid("Invalid per_page: expected a number from 0 to 2147483647");
    match params.get("per_page") {
        "" => Ok(0),
        text => {
            let count: i32 = text.parse().map_err(|_| invalid())?;
            usize::try_from(count).map_err(|_| invalid())
        }
    }
}

/// The text that a part of a path stands for; an error if it is not UTF-8.
pub(crate) fn decode_path(raw: &str) -> Result<Cow<'_, str>, Error> {
    percent_encoding::percent_decode_str(raw)
        .decode_utf8()
        .map_err(|_| Error::invalid("the path is not UTF-8 once its escapes are read"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Read, String> {
        Params::parse(query).and_then(|params| Read::of(&params)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_plain_read_is_linearizable_in_the_default_namespace_and_answers_at_once() {
        let plain = read("").unwrap();
        assert_eq!((plain.consistency, plain.index.0, plain.per_page), (Consistency::Linearizable, 0, 0));
        assert_eq!(plain.namespace, Some(Namespace::new("default")));
        assert_eq!(read("namespace=*").unwrap().namespace, None);
        assert_eq!(read("stale").unwrap().consistency, Consistency::Stale);
        assert_eq!(read("stale=false").unwrap().consistency, Consistency::Linearizable);
        assert_eq!(read("index=5&wait=1m").unwrap().wait, Duration::from_secs(60));
        assert_eq!(read("wait=2h").unwrap().wait, limits::MAX_WAIT);
    }

    #[test]
    fn malformed_parameters_are_named() {
        for (query, message) in [
            ("index=-1", "Invalid index"),
            ("index=abc", "Invalid index"),
            ("index=18446744073709551616", "Invalid index"),
            ("wait=x", "Invalid wait time"),
            ("wait=10", "Invalid wait time"),
            ("wait=-5s", "Invalid wait time"),
            ("stale=maybe", "\"stale\""),
            ("per_page=-1", "Invalid per_page"),
            ("per_page=99999999999", "Invalid per_page"),
        ] {
            let error = read(query).unwrap_err();
            assert!(error.contains(message), "{query}: {error}");
        }
        assert!(Params::parse(&"x".repeat(limits::QUERY_BYTES + 1)).is_err());
    }
}
