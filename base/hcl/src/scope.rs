//! What names mean while an expression is evaluated, and how much work it may cause.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::value::Value;

/// How many bytes of values and steps all evaluations of one scope and its children may produce.
const BUDGET: u64 = 64 << 20;

/// What happens to a name that nobody defined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownRoots {
    /// `attr.kernel.name` evaluates to the text `${attr.kernel.name}`, for somebody else to interpolate later.
    KeepLiteral,
    /// It is an error.
    Error,
}

/// What the functions that read files may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileAccess {
    /// Nothing: such a call is an error.
    Disabled,
    /// Everything; relative paths start at this directory.
    Base(PathBuf),
}

/// The names visible to an expression; cheap to clone and to extend.
///
/// All scopes made from one share its settings and its evaluation budget.
#[derive(Debug, Clone)]
pub struct Scope {
    unknown: UnknownRoots,
    files: Arc<FileAccess>,
    budget: Arc<AtomicU64>,
    innermost: Option<Arc<Binding>>,
}

#[derive(Debug)]
struct Binding {
    name: String,
    value: Value,
    outer: Option<Arc<Binding>>,
}

impl Scope {
    /// A scope without names.
    pub fn new(unknown: UnknownRoots, files: FileAccess) -> Self {
        Self { unknown, files: Arc::new(files), budget: Arc::new(AtomicU64::new(BUDGET)), innermost: None }
    }

    /// A scope without names, in which an unknown one is an error; files and budget are shared with this one.
    #[must_use]
    pub fn without_names(&self) -> Self {
        Self { unknown: UnknownRoots::Error, innermost: None, ..self.clone() }
    }

    /// This scope with one more name, which hides an earlier one.
    #[must_use]
    pub fn with(&self, name: impl Into<String>, value: Value) -> Self {
        let binding = Binding { name: name.into(), value, outer: self.innermost.clone() };
        Self { innermost: Some(Arc::new(binding)), ..self.clone() }
    }

    /// The value of a root name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let mut binding = self.innermost.as_deref();
        while let Some(current) = binding {
            if current.name == name {
                return Some(&current.value);
            }
            binding = current.outer.as_deref();
        }
        None
    }

    /// The names in scope, innermost first.
    pub(crate) fn names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        let mut binding = self.innermost.as_deref();
        while let Some(current) = binding {
            names.push(current.name.as_str());
            binding = current.outer.as_deref();
        }
        names
    }

    pub(crate) fn unknown_roots(&self) -> UnknownRoots {
        self.unknown
    }

    pub(crate) fn files(&self) -> &FileAccess {
        &self.files
    }

    /// Takes `cost` from the budget; false when it is used up.
    pub(crate) fn charge(&self, cost: usize) -> bool {
        let cost = u64::try_from(cost).unwrap_or(u64::MAX);
        let taken = self.budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(cost));
        taken.is_ok()
    }
}
