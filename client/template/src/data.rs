//! Where the values of a template come from.

use std::collections::BTreeMap;
use std::fmt;

use tokio::sync::watch;

/// What a [`Data`] knows of something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<T> {
    /// It is this.
    Found(T),
    /// It is not there, or not known yet: the template waits until [`Data::changes`] says that something changed.
    Missing,
    /// It can never be had here, and why: one sentence without a full stop.
    NotHere(String),
}

/// Where the values of a task's templates come from; answers at once from what it has at hand.
///
/// What has to be fetched first is [`Answer::Missing`]; having fetched it, `changes` says so, and asking again finds it.
pub trait Data: Send + Sync {
    /// A variable of the task's environment.
    fn env(&self, name: &str) -> Option<String>;

    /// The instances of a service, which may be none.
    fn service(&self, name: &str) -> Answer<Vec<Service>>;

    /// The services of the task's namespace.
    fn services(&self) -> Answer<Vec<ServiceName>>;

    /// The items of a variable; missing if there is no such variable.
    fn variable(&self, path: &VariablePath) -> Answer<Variable>;

    /// Whether there is such a variable; missing only if that is not known yet.
    fn variable_exists(&self, path: &VariablePath) -> Answer<bool>;

    /// The variables whose path begins with this.
    fn variables(&self, prefix: &VariablePath) -> Answer<Vec<VariablePath>>;

    /// A count that moves whenever an answer may have become another one; without it none ever does.
    fn changes(&self) -> Option<watch::Receiver<u64>>;
}

/// What this node knows by itself: the environment; services and variables are refused as not available.
#[derive(Debug, Clone, Default)]
pub struct Local {
    /// The task's environment.
    pub env: BTreeMap<String, String>,
}

impl Data for Local {
    fn env(&self, name: &str) -> Option<String> {
        self.env.get(name).cloned()
    }

    fn service(&self, _: &str) -> Answer<Vec<Service>> {
        Answer::NotHere("service discovery is not available yet".into())
    }

    fn services(&self) -> Answer<Vec<ServiceName>> {
        Answer::NotHere("service discovery is not available yet".into())
    }

    fn variable(&self, _: &VariablePath) -> Answer<Variable> {
        Answer::NotHere("variables are not available yet".into())
    }

    fn variable_exists(&self, _: &VariablePath) -> Answer<bool> {
        Answer::NotHere("variables are not available yet".into())
    }

    fn variables(&self, _: &VariablePath) -> Answer<Vec<VariablePath>> {
        Answer::NotHere("variables are not available yet".into())
    }

    fn changes(&self) -> Option<watch::Receiver<u64>> {
        None
    }
}

/// An instance of a service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Service {
    /// Its registration's id.
    pub id: String,
    /// The service's name.
    pub name: String,
    /// The namespace it is in.
    pub namespace: String,
    /// The id of the node it runs on.
    pub node: String,
    /// That node's datacenter.
    pub datacenter: String,
    /// Where it listens.
    pub address: String,
    /// The port it listens on.
    pub port: u16,
    /// Its tags.
    pub tags: Vec<String>,
    /// The job it belongs to.
    pub job_id: String,
    /// The allocation it belongs to.
    pub alloc_id: String,
}

/// A service as a list of services shows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServiceName {
    /// The service's name.
    pub name: String,
    /// The tags of all its instances.
    pub tags: Vec<String>,
}

/// Which variable is meant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct VariablePath {
    /// The namespace; empty for the task's own.
    pub namespace: String,
    /// The path in it.
    pub path: String,
}

impl VariablePath {
    /// Reads `path` or `path@namespace`.
    pub(crate) fn parse(text: &str) -> Self {
        let (path, namespace) = text.split_once('@').unwrap_or((text, ""));
        Self { namespace: namespace.to_owned(), path: path.to_owned() }
    }
}

impl fmt::Display for VariablePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace.as_str() {
            "" => f.write_str(&self.path),
            namespace => write!(f, "{}@{namespace}", self.path),
        }
    }
}

/// A variable and its items.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Variable {
    /// Where it is, with its namespace.
    pub path: VariablePath,
    /// What it holds.
    pub items: BTreeMap<String, String>,
}

/// Something that a template was made of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dependency {
    /// A file, as the template names it.
    File(String),
    /// The instances of a service.
    Service(String),
    /// The list of services.
    Services,
    /// The items of a variable.
    Variable(VariablePath),
    /// Whether a variable exists.
    VariableExists(VariablePath),
    /// The variables below a prefix.
    Variables(VariablePath),
}

impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file({path})"),
            Self::Service(name) => write!(f, "nomad.service({name})"),
            Self::Services => f.write_str("nomad.services"),
            Self::Variable(path) => write!(f, "nomad.var.block({path})"),
            Self::VariableExists(path) => write!(f, "nomad.var.exists({path})"),
            Self::Variables(prefix) => write!(f, "nomad.var.list({prefix})"),
        }
    }
}
