//! `orch job …`.

pub(crate) mod action;
pub(crate) mod allocs;
mod deployments;
mod diff;
mod eval;
mod file;
mod history;
pub(crate) mod init;
pub(crate) mod inspect;
pub(crate) mod plan;
mod promote;
mod revert;
pub(crate) mod run;
mod scale;
mod scaling_events;
pub(crate) mod status;
pub(crate) mod stop;
pub(crate) mod validate;

use clap::Subcommand;

use super::{DONE, Outcome};
use crate::context::Context;
use crate::monitor;
use crate::terminal;

#[derive(Debug, Subcommand)]
#[command(disable_help_subcommand = true)]
pub(crate) enum JobCommand {
    /// Run a job, or update it
    Run(run::RunArgs),
    /// Say what running a job would change; exits with 1 if it creates or destroys allocations, with 255 on errors
    Plan(plan::PlanArgs),
    /// Show jobs, or one in detail
    Status(status::StatusArgs),
    /// Stop jobs
    Stop(stop::StopArgs),
    /// Check a job file
    Validate(validate::ValidateArgs),
    /// Show a job as it is stored
    Inspect(inspect::InspectArgs),
    /// Show the allocations of a job
    Allocs(allocs::AllocsArgs),
    /// Show the versions of a job
    History(history::HistoryArgs),
    /// Make what an earlier version of a job says its newest version
    Revert(revert::RevertArgs),
    /// Change the count of a group
    Scale(scale::ScaleArgs),
    /// Show how the groups of a job were scaled lately
    ScalingEvents(scaling_events::ScalingEventsArgs),
    /// Show the deployments of a job
    Deployments(deployments::DeploymentsArgs),
    /// Let the canaries of a job's newest deployment replace what ran before
    Promote(promote::PromoteArgs),
    /// Have the scheduler look at a job again
    Eval(eval::EvalArgs),
    /// Run an action of a job inside one of its tasks
    Action(action::ActionArgs),
    /// Write an example job file
    Init(init::InitArgs),
}

pub(crate) async fn run(context: &Context, command: JobCommand) -> Outcome {
    match command {
        JobCommand::Run(args) => run::run(context, args).await,
        JobCommand::Plan(args) => plan::run(context, args).await,
        JobCommand::Status(args) => status::run(context, args).await,
        JobCommand::Stop(args) => stop::run(context, args).await,
        JobCommand::Validate(args) => validate::run(context, args).await,
        JobCommand::Inspect(args) => inspect::run(context, args).await,
        JobCommand::Allocs(args) => allocs::run(context, args).await,
        JobCommand::History(args) => history::run(context, args).await,
        JobCommand::Revert(args) => revert::run(context, args).await,
        JobCommand::Scale(args) => scale::run(context, args).await,
        JobCommand::ScalingEvents(args) => scaling_events::run(context, args).await,
        JobCommand::Deployments(args) => deployments::run(context, args).await,
        JobCommand::Promote(args) => promote::run(context, args).await,
        JobCommand::Eval(args) => eval::run(context, args).await,
        JobCommand::Action(args) => action::run(context, args).await,
        JobCommand::Init(args) => init::run(&args),
    }
}

/// Follows an evaluation that a command created, and the deployment that it began; with `detach`, only names it.
async fn follow(context: &Context, eval: &str, detach: bool, verbose: super::Verbose) -> Outcome {
    if eval.is_empty() {
        return Ok(DONE);
    }
    if detach {
        terminal::line(format!("Evaluation ID: {}", verbose.id(eval)));
        return Ok(DONE);
    }
    monitor::rollout(context, eval, verbose).await
}

fn print_warnings(style: crate::output::Style, warnings: &str) {
    if !warnings.is_empty() {
        terminal::line(style.yellow(&format!("Job Warnings:\n{warnings}\n")));
    }
}
