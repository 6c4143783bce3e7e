//! Errors and warnings, each with the place in the job that it is about.

use std::fmt;

/// One step from a job to a field of it, in the words of the job specification.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// A block and its label, which is empty for blocks without one.
    Block(&'static str, String),
    /// The block of that index among its siblings of the same name, counted from 0.
    Nth(&'static str, usize),
    /// An attribute.
    Attr(&'static str),
}

/// Where a field is, from the job down: `group "web" > task "app" > resources.cpu`. Empty is the job itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct FieldPath(pub Vec<Step>);

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("job");
        }
        let mut previous_is_plain = false;
        for (i, step) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(if previous_is_plain { "." } else { " > " })?;
            }
            match step {
                Step::Block(name, label) if label.is_empty() => f.write_str(name)?,
                Step::Block(name, label) => write!(f, "{name} {label:?}")?,
                Step::Nth(name, index) => write!(f, "{name}[{index}]")?,
                Step::Attr(name) => f.write_str(name)?,
            }
            previous_is_plain = !matches!(step, Step::Block(_, label) if !label.is_empty());
        }
        Ok(())
    }
}

/// A sentence about a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// The field.
    pub path: FieldPath,
    /// What is wrong with it and what would be right.
    pub message: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

impl std::error::Error for FieldError {}

/// All that admission has to say about a job.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Why the job is refused; empty if it is accepted.
    pub errors: Vec<FieldError>,
    /// What the submitter should know of an accepted job.
    pub warnings: Vec<String>,
}

impl Report {
    /// Whether the job may be registered.
    pub fn is_accepted(&self) -> bool {
        self.errors.is_empty()
    }

    /// The warnings as one text, `N warning(s):` and a line each; empty if there are none.
    pub fn warnings_text(&self) -> String {
        if self.warnings.is_empty() {
            return String::new();
        }
        let lines = self.warnings.iter().map(|warning| format!("* {warning}")).collect::<Vec<_>>();
        format!("{} warning(s):\n\n{}", self.warnings.len(), lines.join("\n"))
    }
}

/// The errors as one text: `N error(s) occurred:` and a line each.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} error(s) occurred:", self.errors.len())?;
        for error in &self.errors {
            write!(f, "\n\t* {error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Report {}
