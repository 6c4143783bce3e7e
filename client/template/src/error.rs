//! Why a template could not be rendered.

use std::path::{Path, PathBuf};

/// Why a template could not be rendered: which one, in which line if it has to do with one, and what is wrong there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template {}{}: {cause}", .template.display(), line_text(*.line))]
pub struct Error {
    /// The template's destination.
    pub template: PathBuf,
    /// The line of the template, or of the environment rendered from it; counts from 1.
    pub line: Option<usize>,
    /// What is wrong: one sentence without a full stop.
    pub cause: String,
}

fn line_text(line: Option<usize>) -> String {
    line.map(|line| format!(" line {line}")).unwrap_or_default()
}

/// What is wrong, and in which line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) line: Option<usize>,
    pub(crate) cause: String,
}

impl Fault {
    pub(crate) fn at(line: usize, cause: impl Into<String>) -> Self {
        Self { line: Some(line), cause: cause.into() }
    }

    pub(crate) fn somewhere(cause: impl Into<String>) -> Self {
        Self { line: None, cause: cause.into() }
    }

    pub(crate) fn of(self, template: &Path) -> Error {
        Error { template: template.to_owned(), line: self.line, cause: self.cause }
    }
}
