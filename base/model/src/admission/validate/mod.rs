//! Checking every rule of the job specification; all errors are collected.

mod group;
mod host_volume;
mod job;
mod network;
mod placement;
mod policies;
mod resources;
mod service;
mod task;
mod task_files;
mod text;
mod volume;

pub use host_volume::validate_host_volume;

use super::{AdmissionContext, FieldError, FieldPath, Report, Step, gates};
use crate::job::{Job, JobType};

/// Checks a canonical job; `existing` is the stored job that it would replace.
///
/// Every rule is checked and every error collected, those for features that are not built yet included.
pub fn validate(job: &Job, existing: Option<&Job>, ctx: &AdmissionContext<'_>) -> Report {
    let mut report = rules(job, existing, ctx);
    gates::check(job, &mut report);
    report
}

/// Checks the rules of the job specification alone.
pub(super) fn rules(job: &Job, existing: Option<&Job>, ctx: &AdmissionContext<'_>) -> Report {
    let mut checks = Checks { job, kind: job.kind(), ctx, path: Vec::new(), report: Report::default() };
    job::check(&mut checks, existing);
    checks.report
}

/// The walk over a job: where it is, and what it has found so far.
struct Checks<'a> {
    job: &'a Job,
    kind: Option<JobType>,
    ctx: &'a AdmissionContext<'a>,
    path: Vec<Step>,
    report: Report,
}

impl Checks<'_> {
    /// Goes into a block with a label, or an empty one where it has none.
    fn block(&mut self, name: &'static str, label: &str, inside: impl FnOnce(&mut Self)) {
        self.within(Step::Block(name, label.to_owned()), inside);
    }

    /// Goes into each block of a repeated kind that has no label.
    fn each<T>(&mut self, name: &'static str, blocks: &[T], mut inside: impl FnMut(&mut Self, &T)) {
        for (i, block) in blocks.iter().enumerate() {
            let step = if blocks.len() == 1 { Step::Block(name, String::new()) } else { Step::Nth(name, i) };
            self.within(step, |checks| inside(checks, block));
        }
    }

    fn within(&mut self, step: Step, inside: impl FnOnce(&mut Self)) {
        self.path.push(step);
        inside(self);
        self.path.pop();
    }

    /// Reports the block that the walk is in.
    fn refuse_block(&mut self, message: impl Into<String>) {
        let path = FieldPath(self.path.clone());
        self.report.errors.push(FieldError { path, message: message.into() });
    }

    /// Reports an attribute of the block that the walk is in.
    fn refuse(&mut self, attribute: &'static str, message: impl Into<String>) {
        let mut path = self.path.clone();
        path.push(Step::Attr(attribute));
        self.report.errors.push(FieldError { path: FieldPath(path), message: message.into() });
    }

    fn refuse_if(&mut self, wrong: bool, attribute: &'static str, message: &str) {
        if wrong {
            self.refuse(attribute, message);
        }
    }

    fn warn(&mut self, message: &str) {
        let path = FieldPath(self.path.clone());
        self.report.warnings.push(format!("{path}: {message}"));
    }

    /// Refuses a value that is none of the words to choose from.
    fn choice(&mut self, attribute: &'static str, value: &str, choices: &[&str]) {
        if !choices.contains(&value) {
            let shown: Vec<_> = choices.iter().filter(|word| !word.is_empty()).copied().collect();
            self.refuse(attribute, format!("{value:?} is not one of {}", shown.join(", ")));
        }
    }

    /// Refuses names that occur twice.
    fn unique<'n>(&mut self, what: &str, names: impl IntoIterator<Item = &'n str>) {
        let mut seen = std::collections::BTreeSet::new();
        let mut reported = std::collections::BTreeSet::new();
        for name in names {
            if !seen.insert(name) && reported.insert(name) {
                self.refuse_block(format!("{what} {name:?} is given more than once"));
            }
        }
    }
}
