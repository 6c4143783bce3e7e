//! `orch job stop`.

use std::io::{BufRead as _, IsTerminal as _};

use anyhow::{Context as _, bail};
use orch_api::client::DeregisterOptions;

use crate::commands::{DONE, FAILED, Outcome, Verbose};
use crate::context::Context;
use crate::terminal;
use crate::{monitor, resolve};

#[derive(Debug, clap::Args)]
pub(crate) struct StopArgs {
    /// The jobs
    #[arg(required = true)]
    jobs: Vec<String>,
    /// Forget the job instead of keeping it as stopped
    #[arg(long)]
    purge: bool,
    /// Return at once instead of following what becomes of the job
    #[arg(long)]
    detach: bool,
    /// Priority of the evaluation instead of the job's
    #[arg(long, value_name = "n")]
    eval_priority: Option<u16>,
    /// Skip the shutdown delay of tasks
    #[arg(long)]
    no_shutdown_delay: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    verbose: Verbose,
}

pub(crate) async fn run(context: &Context, args: StopArgs) -> Outcome {
    let options = DeregisterOptions {
        purge: args.purge,
        no_shutdown_delay: args.no_shutdown_delay,
        eval_priority: args.eval_priority,
    };
    let mut worst = DONE;
    for given in &args.jobs {
        let found = resolve::job(context, given).await?;
        let context = context.in_namespace(&found.namespace);
        if args.jobs.len() == 1 && found.id != *given && !args.yes {
            match confirm(&found.id)? {
                Answer::Yes => {}
                Answer::No => {
                    terminal::line("Cancelling job stop");
                    return Ok(DONE);
                }
                Answer::Unclear => {
                    terminal::line("For confirmation, an exact 'y' is required.");
                    return Ok(FAILED);
                }
            }
        }
        let stopping = context.client.deregister_job(&found.id, options).await;
        let answer = stopping.with_context(|| format!("the job {:?} was not stopped", found.id))?;
        if args.detach {
            if !answer.eval_id.is_empty() {
                terminal::line(&answer.eval_id);
            }
            continue;
        }
        if !answer.eval_id.is_empty() {
            worst = worst.max(monitor::evaluation(&context, &answer.eval_id, args.verbose).await?);
        }
    }
    Ok(worst)
}

enum Answer {
    Yes,
    No,
    Unclear,
}

fn confirm(job: &str) -> anyhow::Result<Answer> {
    if !std::io::stdin().is_terminal() {
        bail!("the id is that of the job {job:?} only by its beginning: write all of it, or use -yes");
    }
    terminal::out(format!("Are you sure you want to stop job \"{job}\"? [y/N] "));
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context("cannot read the answer")?;
    let line = line.trim();
    Ok(match line {
        "y" => Answer::Yes,
        "" => Answer::No,
        _ if line.to_ascii_lowercase().starts_with('n') => Answer::No,
        _ => Answer::Unclear,
    })
}
