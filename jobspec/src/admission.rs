//! What admission says about a job, shown in the text that the job was written in.

use std::collections::BTreeSet;

use orch_hcl::{Diagnostic, Diagnostics, Source};
use orch_model::admission::{AdmissionContext, Report, canonicalize, validate};

use crate::parse::{ParseOptions, Parsed, Partial, in_order, parse_lenient};

/// A job file with everything that is wrong with it.
#[derive(Debug)]
pub struct Checked {
    /// The job as it was written, defaults not filled in; see [`Partial::parsed`].
    pub parsed: Option<Parsed>,
    /// All errors and warnings, of reading and of admission, in the order of the text.
    pub diagnostics: Diagnostics,
}

/// Reads a job file and runs admission on what could be read, so that all that is wrong comes out together.
///
/// Complaints of admission that only follow from something that could not be read are left out.
pub fn check(source: Source, options: &ParseOptions, context: &AdmissionContext<'_>) -> Checked {
    let Partial { parsed, errors } = parse_lenient(source, options);
    let Some(parsed) = parsed else { return Checked { parsed: None, diagnostics: errors } };
    let mut job = parsed.job.clone();
    canonicalize(&mut job, context);
    let report = validate(&job, None, context);
    for diagnostic in parsed.warnings.to_vec() {
        errors.push(diagnostic);
    }
    errors.extend(admission_diagnostics(&parsed, &report));
    Checked { parsed: Some(parsed), diagnostics: in_order(errors) }
}

/// What admission reports about a parsed job, each with its place in the text.
pub fn admission_diagnostics(parsed: &Parsed, report: &Report) -> Diagnostics {
    let places = &parsed.places;
    let source = places.source();
    let diagnostics = Diagnostics::new();
    let mut told = BTreeSet::new();
    for error in report.errors.iter().filter(|error| !places.was_not_read(&error.path)) {
        let span = places.locate(&error.path).unwrap_or_default();
        // What several groups or tasks inherit is wrong once.
        if told.insert((span.start, span.end, &error.message)) {
            diagnostics.push(Diagnostic::error(source, span, error.to_string()));
        }
    }
    for warning in &report.warnings {
        let span = places.locate_sentence(warning).unwrap_or_default();
        diagnostics.push(Diagnostic::warning(source, span, warning.as_str()));
    }
    diagnostics
}
