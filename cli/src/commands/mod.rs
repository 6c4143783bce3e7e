//! The commands: what they are called, and how each is run.

mod agent;
mod alloc;
mod deployment;
mod eval;
pub(crate) mod job;
mod node;
mod operator;
mod server;
mod status;
mod system;
mod version;
mod volume;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

pub(crate) use version::VERSION;

use crate::argv::{self, Mistake};
use crate::context::{Context, GeneralOptions};
use crate::terminal;

/// The exit code of a command that ran.
pub(crate) type Outcome = anyhow::Result<u8>;

/// Everything went well.
pub(crate) const DONE: u8 = 0;
/// Something did not.
pub(crate) const FAILED: u8 = 1;
/// There is no such command.
const UNKNOWN_COMMAND: u8 = 127;
/// `job plan` failed; 1 says that the plan changes something.
const PLAN_FAILED: u8 = 255;

/// Runs programs on a pool of machines.
#[derive(Debug, Parser)]
#[command(name = "orch", disable_version_flag = true, disable_help_subcommand = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    general: GeneralOptions,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
#[command(disable_help_subcommand = true)]
enum Command {
    /// Run an agent: a server, a client, or both
    Agent(Box<agent::AgentArgs>),
    /// Work with allocations
    Alloc {
        #[command(subcommand)]
        command: alloc::AllocCommand,
    },
    /// Work with deployments
    Deployment {
        #[command(subcommand)]
        command: deployment::DeploymentCommand,
    },
    /// Work with evaluations
    Eval {
        #[command(subcommand)]
        command: eval::EvalCommand,
    },
    /// Work with jobs
    Job {
        #[command(subcommand)]
        command: Box<job::JobCommand>,
    },
    /// Work with nodes
    Node {
        #[command(subcommand)]
        command: node::NodeCommand,
    },
    /// Operate the cluster
    Operator {
        #[command(subcommand)]
        command: operator::OperatorCommand,
    },
    /// Work with servers
    Server {
        #[command(subcommand)]
        command: server::ServerCommand,
    },
    /// Look after the system
    System {
        #[command(subcommand)]
        command: system::SystemCommand,
    },
    /// Work with volumes
    Volume {
        #[command(subcommand)]
        command: volume::VolumeCommand,
    },
    /// Show whatever an id or its beginning stands for; without one, the jobs
    Status(status::StatusArgs),
    /// Show the version
    Version,

    /// Run a job (job run)
    Run(job::run::RunArgs),
    /// Say what running a job would change (job plan)
    Plan(job::plan::PlanArgs),
    /// Stop a job (job stop)
    Stop(job::stop::StopArgs),
    /// Check a job file (job validate)
    Validate(job::validate::ValidateArgs),
    /// Show a job as it is stored (job inspect)
    Inspect(job::inspect::InspectArgs),
    /// Write an example job file (job init)
    Init(job::init::InitArgs),
    /// Show the output of a task (alloc logs)
    Logs(alloc::logs::LogsArgs),
    /// Show the files of an allocation (alloc fs)
    Fs(alloc::fs::FsArgs),
    /// Run a command inside a task (alloc exec)
    Exec(alloc::exec::ExecArgs),
    /// Run an action of a job inside one of its tasks (job action)
    Action(job::action::ActionArgs),
    #[command(hide = true)]
    AllocStatus(alloc::status::StatusArgs),
    #[command(hide = true)]
    EvalStatus(eval::status::StatusArgs),
    #[command(hide = true)]
    NodeStatus(node::status::StatusArgs),
    #[command(hide = true)]
    ServerMembers(server::MembersArgs),
    #[command(hide = true)]
    ServerJoin(server::JoinArgs),
    #[command(hide = true)]
    ServerForceLeave(server::ForceLeaveArgs),
}

/// Options that many commands have.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Verbose {
    /// Show whole ids and more details
    #[arg(long)]
    pub(crate) verbose: bool,
}

impl Verbose {
    /// An id as it is shown.
    pub(crate) fn id(self, id: &str) -> String {
        if self.verbose { id.to_owned() } else { short(id) }
    }
}

/// The first eight characters of an id.
pub(crate) fn short(id: &str) -> String {
    id.chars().take(8).collect()
}

/// Understands the command line, runs the command and reports its error.
pub(crate) fn main(args: Vec<OsString>) -> ExitCode {
    let mut root = Cli::command().bin_name("orch");
    root.build();
    if args.is_empty() {
        terminal::err(overview(&mut root));
        return UNKNOWN_COMMAND.into();
    }
    if args.first().is_some_and(|first| ["-v", "-version", "--version"].iter().any(|flag| first == flag)) {
        return version::run().into();
    }
    let is_plan = is_plan(&args);
    let rewritten = match argv::rewrite(&root, args) {
        Ok(rewritten) => rewritten,
        Err(mistake) => return report(mistake, is_plan).into(),
    };
    let parsed = root.clone().try_get_matches_from(std::iter::once(OsString::from("orch")).chain(rewritten));
    match parsed.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => run(cli, is_plan).into(),
        Err(error) => refuse(&error, is_plan).into(),
    }
}

/// Whether the command is `job plan`, whose errors have an exit code of their own.
fn is_plan(args: &[OsString]) -> bool {
    let words: Vec<_> =
        args.iter().filter_map(|argument| argument.to_str()).filter(|word| !word.starts_with('-')).collect();
    words.first() == Some(&"plan") || words.windows(2).any(|pair| pair == ["job", "plan"])
}

fn overview(root: &mut clap::Command) -> String {
    single_dashes(&root.render_help().to_string())
}

/// Help shows flags as people write them.
fn single_dashes(text: &str) -> String {
    text.replace(" --", " -").replace("[--", "[-").trim_end().to_owned()
}

fn report(mistake: Mistake, is_plan: bool) -> u8 {
    match mistake {
        Mistake::UnknownCommand { given, within, nearest } => {
            let advice = nearest.map(|word| format!("; did you mean `{within} {word}`?")).unwrap_or_default();
            terminal::err(format!("{within} has no command {given:?}{advice}"));
            terminal::err(format!("For a list of commands try '{within} -help'"));
            UNKNOWN_COMMAND
        }
        Mistake::Flag { command, message } => {
            terminal::err(message);
            terminal::err(format!("For additional help try '{command} -help'"));
            if is_plan { PLAN_FAILED } else { FAILED }
        }
    }
}

fn refuse(error: &clap::Error, is_plan: bool) -> u8 {
    let text = single_dashes(&error.render().to_string());
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            terminal::line(text);
            DONE
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            terminal::err(text);
            FAILED
        }
        _ => {
            terminal::err(sentence(error).unwrap_or_else(|| {
                let first = text.lines().next().unwrap_or_default();
                first.strip_prefix("error: ").unwrap_or(first).to_owned()
            }));
            let usage = text.lines().find_map(|line| line.strip_prefix("Usage: "));
            if let Some(usage) = usage {
                terminal::err(format!("Usage: {usage}"));
            }
            if is_plan { PLAN_FAILED } else { FAILED }
        }
    }
}

fn sentence(error: &clap::Error) -> Option<String> {
    let names = match error.get(ContextKind::InvalidArg)? {
        ContextValue::String(name) => name.clone(),
        ContextValue::Strings(names) => names.join(" "),
        _ => return None,
    };
    match error.kind() {
        ErrorKind::MissingRequiredArgument => {
            Some(format!("This command needs {}", single_dashes(&format!(" {names}")).trim()))
        }
        ErrorKind::UnknownArgument => Some(format!("This command does not take the argument {names:?}")),
        _ => None,
    }
}

fn run(cli: Cli, is_plan: bool) -> u8 {
    let Cli { general, command } = cli;
    let command = match command {
        Command::Agent(args) => return crate::agent::run(&args.sources(general.region.as_deref())),
        Command::Version => return version::run(),
        Command::Init(args) => return code(job::init::run(&args), false),
        command => command,
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            terminal::err(format!("cannot start: {error}"));
            return FAILED;
        }
    };
    let outcome = Context::new(&general).and_then(|context| runtime.block_on(dispatch(&context, command)));
    let code = code(outcome, is_plan);
    // A thread that waits for standard input must not hold up the end.
    runtime.shutdown_background();
    code
}

fn code(outcome: Outcome, is_plan: bool) -> u8 {
    outcome.unwrap_or_else(|error| {
        terminal::err(terminal::describe(&error));
        if is_plan { PLAN_FAILED } else { FAILED }
    })
}

async fn dispatch(context: &Context, command: Command) -> Outcome {
    match command {
        Command::Alloc { command } => alloc::run(context, command).await,
        Command::Deployment { command } => deployment::run(context, command).await,
        Command::Eval { command } => eval::run(context, command).await,
        Command::Job { command } => job::run(context, *command).await,
        Command::Node { command } => node::run(context, command).await,
        Command::Operator { command } => operator::run(context, command).await,
        Command::Server { command } => server::run(context, command).await,
        Command::System { command } => system::run(context, command).await,
        Command::Volume { command } => volume::run(context, command).await,
        Command::Status(args) => status::run(context, args).await,
        Command::Run(args) => job::run::run(context, args).await,
        Command::Plan(args) => job::plan::run(context, args).await,
        Command::Stop(args) => job::stop::run(context, args).await,
        Command::Validate(args) => job::validate::run(context, args).await,
        Command::Inspect(args) => job::inspect::run(context, args).await,
        Command::Logs(args) => alloc::logs::run(context, args).await,
        Command::Fs(args) => alloc::fs::run(context, args).await,
        Command::Exec(args) => alloc::exec::run(context, args).await,
        Command::Action(args) => job::action::run(context, args).await,
        Command::AllocStatus(args) => alloc::status::run(context, args).await,
        Command::EvalStatus(args) => eval::status::run(context, args).await,
        Command::NodeStatus(args) => node::status::run(context, args).await,
        Command::ServerMembers(args) => server::members(context, args).await,
        Command::ServerJoin(args) => server::join(context, args).await,
        Command::ServerForceLeave(args) => server::force_leave(context, args).await,
        Command::Agent(_) | Command::Version | Command::Init(_) => Ok(DONE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_every_command_and_flag_has_help() {
        Cli::command().debug_assert();
        let mut root = Cli::command();
        root.build();
        let mut commands = vec![&root];
        while let Some(command) = commands.pop() {
            let name = command.get_name();
            assert!(command.is_hide_set() || command.get_about().is_some(), "{name} has no help");
            for flag in command.get_arguments().filter(|flag| !flag.is_hide_set()) {
                assert!(flag.get_help().is_some(), "{} of {name} has no help", flag.get_id());
            }
            commands.extend(command.get_subcommands());
        }
    }

    #[test]
    fn only_job_plan_has_exit_codes_of_its_own() {
        let of = |line: &str| is_plan(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        assert!(of("plan web.hcl") && of("job plan web.hcl") && of("-address x job plan web.hcl"));
        assert!(!of("job status plan") && !of("job run plan"));
    }
}
