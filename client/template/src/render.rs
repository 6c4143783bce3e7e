//! Rendering a template once.

use std::collections::BTreeMap;
use std::thread;

use crate::data::{Data, Dependency};
use crate::error::{Error, Fault};
use crate::execute::execute;
use crate::parse::{Program, parse};
use crate::run::Run;
use crate::sandbox::{Sandbox, Stamp};
use crate::template::{Limits, Source, Template};
use crate::value::Value;

/// What a template became.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rendered {
    /// The result; of no use while something is missing.
    pub content: Vec<u8>,
    /// What it was made of, sorted.
    pub reads: Vec<Dependency>,
    /// What it needs and is not there yet, sorted.
    pub missing: Vec<Dependency>,
}

/// A rendering with what tells apart the contents of the files it read.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) rendered: Rendered,
    pub(crate) files: BTreeMap<String, Option<Stamp>>,
}

/// What reading and executing templates may take of the stack: both recurse.
const STACK: usize = 16 << 20;

/// Renders a template once and writes nothing. Blocks: not to be called where others wait.
pub fn render(template: &Template, data: &dyn Data, sandbox: &Sandbox, limits: Limits) -> Result<Rendered, Error> {
    let program = compile(template, sandbox, limits)?;
    attempt(template, &program, data, sandbox, limits).map(|attempt| attempt.rendered)
}

/// Reads a template.
pub(crate) fn compile(template: &Template, sandbox: &Sandbox, limits: Limits) -> Result<Program, Error> {
    on_own_stack(|| {
        let read;
        let text = match &template.source {
            Source::Inline(text) => text,
            Source::File(path) => {
                let found = sandbox.read(path, limits.output).map_err(Fault::somewhere)?;
                let (content, _) =
                    found.ok_or_else(|| Fault::somewhere(format!("its source {} does not exist", path.display())))?;
                read = String::from_utf8(content)
                    .map_err(|_| Fault::somewhere(format!("its source {} is not UTF-8 text", path.display())))?;
                &read
            }
        };
        if text.len() > limits.output {
            return Err(Fault::somewhere(format!("its text is larger than {} MiB", limits.output >> 20)));
        }
        parse(text, &template.left_delim, &template.right_delim)
    })
    .map_err(|fault| fault.of(template.name()))
}

/// Executes a template that has been read.
pub(crate) fn attempt(
    template: &Template,
    program: &Program,
    data: &dyn Data,
    sandbox: &Sandbox,
    limits: Limits,
) -> Result<Attempt, Error> {
    on_own_stack(|| {
        let mut run = Run::new(data, sandbox, limits);
        let result = execute(program, &mut run, template.error_on_missing_key, &Value::Nil);
        let content = match result {
            Ok(content) => content,
            // Whatever went wrong may have done so because something is empty that will not stay so.
            Err(_) if !run.missing.is_empty() => Vec::new(),
            Err(fault) => return Err(fault),
        };
        let files = run.reads.iter().filter_map(|(dependency, stamp)| match dependency {
            Dependency::File(path) => Some((path.clone(), *stamp)),
            Dependency::Service(_)
            | Dependency::Services
            | Dependency::Variable(_)
            | Dependency::VariableExists(_)
            | Dependency::Variables(_) => None,
        });
        let files = files.collect();
        let reads = run.reads.into_keys().collect();
        Ok(Attempt { rendered: Rendered { content, reads, missing: run.missing.into_iter().collect() }, files })
    })
    .map_err(|fault| fault.of(template.name()))
}

/// Does the work on a thread that has the stack for it, and waits for it.
fn on_own_stack<T: Send>(work: impl FnOnce() -> Result<T, Fault> + Send) -> Result<T, Fault> {
    let builder = thread::Builder::new().name("template".into()).stack_size(STACK);
    thread::scope(|scope| {
        let thread = builder
            .spawn_scoped(scope, work)
            .map_err(|error| Fault::somewhere(format!("cannot start a thread to render it: {error}")))?;
        thread.join().unwrap_or_else(|_| Err(Fault::somewhere("rendering it failed for a reason of its own")))
    })
}

#[cfg(test)]
mod tests;
