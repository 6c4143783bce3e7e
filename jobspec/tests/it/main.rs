//! What job files become, and what is said about those that are wrong.
#![allow(clippy::unwrap_used, reason = "tests")]

mod examples;
mod golden;
mod hostile;
mod mapping;
mod vectors;
mod worked_example;

use orch_jobspec::{ParseOptions, Source, parse};
use orch_model::Job;
use orch_model::admission::AdmissionContext;

fn context() -> AdmissionContext<'static> {
    AdmissionContext::new(&["raw_exec", "mock_driver", "docker"])
}

/// The job of a text that is right.
fn job(text: &str) -> Job {
    parse(Source::new("job.hcl", text), &ParseOptions::default()).unwrap_or_else(|error| panic!("{text}\n{error}")).job
}

/// The first lines of everything that is wrong with a text.
fn errors(text: &str) -> String {
    let diagnostics = parse(Source::new("job.hcl", text), &ParseOptions::default()).expect_err(text);
    diagnostics.to_vec().iter().map(|diagnostic| diagnostic.summary()).collect::<Vec<_>>().join("\n")
}
