//! `orch job validate`.

use std::sync::Arc;

use orch_api::client::Error;
use orch_jobspec::Diagnostics;

use super::file::FileArgs;
use super::print_warnings;
use super::run::written_namespace;
use crate::commands::{DONE, FAILED, Outcome};
use crate::context::Context;
use crate::terminal;

#[derive(Debug, clap::Args)]
pub(crate) struct ValidateArgs {
    #[command(flatten)]
    file: FileArgs,
}

pub(crate) async fn run(context: &Context, args: ValidateArgs) -> Outcome {
    let read = match args.file.read() {
        Ok(read) => read,
        Err(error) if error.is::<Diagnostics>() => {
            terminal::err(format!("{}\n\n{error}", context.style.red("Job validation errors:")));
            return Ok(FAILED);
        }
        Err(error) => return Err(error),
    };
    let context = context.in_namespace(written_namespace(&read.job));
    let answer = match context.client.validate_job(Arc::new(read.job)).await {
        Ok(answer) => answer,
        Err(Error::Unreachable { address, .. }) => {
            terminal::err(format!(
                "No agent answers at {address}: the job was checked without it, and the configuration of its drivers was \
                 not checked"
            ));
            return succeed(&context);
        }
        Err(error) => return Err(error.into()),
    };
    print_warnings(context.style, &answer.warnings);
    if !answer.validation_errors.is_empty() || !answer.error.is_empty() {
        terminal::err(context.style.red("Job validation errors:"));
        for error in &answer.validation_errors {
            terminal::err(format!("* {error}"));
        }
        if answer.validation_errors.is_empty() {
            terminal::err(answer.error);
        }
        return Ok(FAILED);
    }
    succeed(&context)
}

fn succeed(context: &Context) -> Outcome {
    terminal::line(context.style.green("Job validation successful"));
    Ok(DONE)
}
