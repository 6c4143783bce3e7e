//! Reading a job file: syntax, variables, then the one job block.

use std::cell::RefCell;
use std::sync::Arc;

use orch_hcl::{
    Block, BodyReader, Diagnostic, Diagnostics, Document, FileAccess, Labels, Scope, Severity, Source, Span,
    UnknownRoots, VariableInputs, resolve_variables,
};
use orch_model::Job;

use crate::blocks;
use crate::places::Places;

/// Values for a job file's variables, from the weakest source to the strongest.
#[derive(Debug, Clone, Default)]
pub struct Variables {
    /// Names with texts from the environment, prefix removed; those that are not declared are ignored.
    pub environment: Vec<(String, String)>,
    /// Variable files in order, HCL or its JSON spelling.
    pub files: Vec<Source>,
    /// Names with texts from the command line, in order.
    pub flags: Vec<(String, String)>,
    /// Whether a value for a variable that is not declared is a warning instead of an error.
    pub allow_undeclared: bool,
}

/// What a job file is read with.
#[derive(Debug, Clone)]
pub struct ParseOptions {
    /// Values for its variables.
    pub variables: Variables,
    /// What functions such as `file` may see.
    pub file_access: FileAccess,
}

/// No values, and no access to files: how a server reads what it was sent.
impl Default for ParseOptions {
    fn default() -> Self {
        Self { variables: Variables::default(), file_access: FileAccess::Disabled }
    }
}

/// A job as it was written: defaults are not filled in, rules not checked.
#[derive(Debug)]
pub struct Parsed {
    /// The job.
    pub job: Job,
    /// What its author should know.
    pub warnings: Diagnostics,
    /// Where its fields were written.
    pub places: Places,
}

/// All that could be read of a job file, whether or not it is right.
#[derive(Debug)]
pub struct Partial {
    /// The job with what could not be read left out, and its warnings; `None` if there is no telling what the job is:
    /// a syntax error, a wrong variable, no job block.
    pub parsed: Option<Parsed>,
    /// What is wrong, in the order of the text.
    pub errors: Diagnostics,
}

/// Reads a job file in HCL or its JSON spelling.
///
/// # Errors
///
/// Everything that is wrong, in the order of the text, with the warnings.
pub fn parse(source: Source, options: &ParseOptions) -> Result<Parsed, Diagnostics> {
    let Partial { parsed, errors } = parse_lenient(source, options);
    match parsed {
        Some(parsed) if !errors.has_errors() => Ok(parsed),
        Some(parsed) => {
            errors.extend(parsed.warnings);
            Err(in_order(errors))
        }
        None => Err(errors),
    }
}

/// Reads as much of a job file as can be read, so that the rest can be checked as well.
pub fn parse_lenient(source: Source, options: &ParseOptions) -> Partial {
    let findings = Diagnostics::new();
    let read = read(source, options, &findings);
    let (errors, warnings) = split(in_order(findings));
    let parsed = read.map(|(job, places)| Parsed { job, warnings, places });
    Partial { parsed, errors }
}

fn read(source: Source, options: &ParseOptions, findings: &Diagnostics) -> Option<(Job, Places)> {
    let keep =
        |document: Result<Document, Diagnostics>| document.map_err(|diagnostics| findings.extend(diagnostics)).ok();
    let document = keep(orch_hcl::parse(source));
    let files: Option<Vec<Document>> =
        options.variables.files.iter().map(|file| keep(orch_hcl::parse(file.clone()))).collect();
    let (document, files) = (document?, files?);
    let Variables { environment, files: _, flags, allow_undeclared } = options.variables.clone();
    let inputs = VariableInputs { environment, files, flags, allow_undeclared };

    let scope = Scope::new(UnknownRoots::KeepLiteral, options.file_access.clone());
    let mut top = document.reader(&scope, findings);
    if is_api_json(&mut top) {
        let help = "give -json to submit it, or write it as {\"job\": {\"<id>\": {..}}}";
        let message = "this is a job in the API's JSON, not in the JSON spelling of HCL";
        findings.push(Diagnostic::error(document.source(), Span::new(0, 1), message).with_help(help));
        return None;
    }
    let scope = resolve_variables(&mut top, &inputs);
    let block = job_block(&mut top, findings);
    top.finish();
    let (scope, block) = (scope?, block?);
    let places = RefCell::new(Places::new(Arc::clone(document.source())));
    let job = blocks::job(&block, scope, &places);
    Some((job, places.into_inner()))
}

fn is_api_json(top: &mut BodyReader<'_>) -> bool {
    top.source().text().trim_start().starts_with('{')
        && !top.contains("job")
        && ["Job", "ID", "TaskGroups"].iter().any(|key| top.contains(key))
}

fn job_block<'d>(top: &mut BodyReader<'d>, findings: &Diagnostics) -> Option<Block<'d>> {
    let is_written = top.contains("job");
    let mut blocks = top.blocks_with("job", Labels::Exactly(&["id"])).into_iter();
    let first = blocks.next();
    for second in blocks {
        second.error("Duplicate job block: a file holds exactly one job");
    }
    if first.is_none() && !is_written {
        let help = "write `job \"name\" {` around the groups";
        findings.push(Diagnostic::error(top.source(), top.span(), "Missing job block").with_help(help));
    }
    first
}

/// Errors and warnings apart.
fn split(findings: Diagnostics) -> (Diagnostics, Diagnostics) {
    let (errors, warnings) = (Diagnostics::new(), Diagnostics::new());
    for diagnostic in findings.into_vec() {
        match diagnostic.severity {
            Severity::Error => errors.push(diagnostic),
            Severity::Warning => warnings.push(diagnostic),
        }
    }
    (errors, warnings)
}

/// The same findings, sorted by place.
pub(crate) fn in_order(findings: Diagnostics) -> Diagnostics {
    let mut list = findings.into_vec();
    list.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    let sorted = Diagnostics::new();
    for diagnostic in list {
        sorted.push(diagnostic);
    }
    sorted
}
