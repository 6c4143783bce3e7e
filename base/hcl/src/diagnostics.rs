//! What is wrong with a document, where, and how it is shown.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::source::{Source, Span};

/// How many diagnostics one document may collect; further ones are dropped.
const MAX_DIAGNOSTICS: usize = 100;

/// Source lines are shown up to this many characters around the place.
const MAX_LINE_CHARS: usize = 160;

/// How bad a diagnostic is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The document cannot be used.
    Error,
    /// The document can be used, but probably does not mean what its author thinks.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// One finding with its place; it owns what it shows, so it outlives the source.
///
/// `Display` renders all of it over several lines; [`Diagnostic::summary`] is its first line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// Name of the source.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Text of that line.
    pub source_line: String,
    /// How many characters of that line are meant, at least 1.
    pub length: usize,
    /// Further facts, one line each.
    pub notes: Vec<String>,
}

impl Diagnostic {
    /// An error at a place.
    pub fn error(source: &Source, span: Span, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, source, span, message.into())
    }

    /// A warning at a place.
    pub fn warning(source: &Source, span: Span, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, source, span, message.into())
    }

    fn new(severity: Severity, source: &Source, span: Span, message: String) -> Self {
        let position = source.position(span.start);
        let source_line = source.line(position.line).to_owned();
        let rest = source_line.chars().count().saturating_sub(position.column - 1);
        let length = source.slice(span).split('\n').next().map_or(1, |text| text.trim_end().chars().count());
        Self {
            severity,
            message,
            help: None,
            file: source.name().to_owned(),
            line: position.line,
            column: position.column,
            length: length.min(rest).max(1),
            source_line,
            notes: Vec::new(),
        }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds a further fact.
    #[must_use]
    pub fn with_note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// `file:line:column: error: message`, without source line and help.
    pub fn summary(&self) -> String {
        format!("{}:{}:{}: {}: {}", self.file, self.line, self.column, self.severity, self.message)
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.summary())?;
        if !self.source_line.trim().is_empty() {
            let (line, before) = excerpt(&self.source_line, self.column);
            let carets =
                "^".repeat(self.length.min(line.chars().count().saturating_sub(before.chars().count()).max(1)));
            write!(f, "\n  {line}\n  {before}{carets}")?;
        }
        for note in &self.notes {
            write!(f, "\n  note: {note}")?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n  help: {help}")?;
        }
        Ok(())
    }
}

/// The part of a line to show, and what stands before the caret (tabs kept, so that the caret lines up).
fn excerpt(line: &str, column: usize) -> (String, String) {
    let skipped = (column - 1).saturating_sub(MAX_LINE_CHARS / 2);
    let shown: String = line
        .chars()
        .skip(skipped)
        .take(MAX_LINE_CHARS)
        .map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c })
        .collect();
    let before = shown.chars().take(column - 1 - skipped).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    (shown, before)
}

/// The findings of one run over one or several documents, in the order of discovery.
///
/// Readers share it by reference. As an error its text is every finding, rendered, with an empty line between.
#[derive(Debug, Default)]
pub struct Diagnostics {
    list: Mutex<Vec<Diagnostic>>,
}

impl Diagnostics {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Diagnostic>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds one; the same finding at the same place is kept once. Beyond a hundred none is added, but the first error always is.
    pub fn push(&self, diagnostic: Diagnostic) {
        let mut list = self.lock();
        let is_first_error =
            diagnostic.severity == Severity::Error && list.iter().all(|known| known.severity != Severity::Error);
        if (list.len() < MAX_DIAGNOSTICS || is_first_error) && !list.contains(&diagnostic) {
            list.push(diagnostic);
        }
    }

    /// Adds an error at a place.
    pub fn error(&self, source: &Source, span: Span, message: impl Into<String>) {
        self.push(Diagnostic::error(source, span, message));
    }

    /// Adds a warning at a place.
    pub fn warning(&self, source: &Source, span: Span, message: impl Into<String>) {
        self.push(Diagnostic::warning(source, span, message));
    }

    /// Adds all of another collection.
    pub fn extend(&self, other: Self) {
        for diagnostic in other.into_vec() {
            self.push(diagnostic);
        }
    }

    /// Whether at least one is an error.
    pub fn has_errors(&self) -> bool {
        self.lock().iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// Whether there are none, not even warnings.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// A copy of all.
    pub fn to_vec(&self) -> Vec<Diagnostic> {
        self.lock().clone()
    }

    /// All of them.
    pub fn into_vec(self) -> Vec<Diagnostic> {
        self.list.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        Self { list: Mutex::new(vec![diagnostic]) }
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.lock().iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            diagnostic.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diagnostic_shows_the_line_a_caret_and_the_help() {
        let source = Source::new("web.hcl", "job \"web\" {\n\tcount = 2.5\n}\n");
        let diagnostic =
            Diagnostic::error(&source, Span::new(21, 24), "`count` must be a whole number").with_help("write 2 or 3");
        let expected = "web.hcl:2:10: error: `count` must be a whole number\n  \tcount = 2.5\n  \t        ^^^\n  help: write 2 or 3";
        assert_eq!(diagnostic.to_string(), expected);
    }

    #[test]
    fn a_long_line_is_shown_around_the_place() {
        let source = Source::new("x", format!("{}bad{}", "a".repeat(5000), "b".repeat(5000)));
        let text = Diagnostic::error(&source, Span::new(5000, 5003), "no").to_string();
        assert!(text.len() < 600 && text.contains("bad") && text.contains("^^^"), "{text}");
    }

    #[test]
    fn the_same_finding_is_kept_once() {
        let source = Source::new("x", "a");
        let diagnostics = Diagnostics::new();
        diagnostics.error(&source, Span::new(0, 1), "no");
        diagnostics.error(&source, Span::new(0, 1), "no");
        assert_eq!(diagnostics.len(), 1);
    }

    #[test]
    fn many_warnings_do_not_hide_an_error() {
        let source = Source::new("x", "a");
        let diagnostics = Diagnostics::new();
        for number in 0..200 {
            diagnostics.warning(&source, Span::new(0, 1), format!("odd {number}"));
        }
        diagnostics.error(&source, Span::new(0, 1), "no");
        assert_eq!((diagnostics.len(), diagnostics.has_errors()), (101, true));
    }
}
