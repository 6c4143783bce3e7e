//! The contract of [`Driver`], as checks that every driver passes.
//!
//! A driver's `tests/it/main.rs` gives a [`Fixture`], which says how the programs of the suite look in the driver's own `config`, and calls
//! [`check`]. Each check is a function named after what it asserts; all run, one after the other, and [`Report`] says which broke and how.
//!
//! Feature `testing`. Nothing in here is for production.

mod bench;
mod config;
mod ending;
mod inside;
mod lifecycle;
mod output;
mod recovery;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::driver::Driver;

pub use bench::{Bench, Outcome};

/// A task's `config`.
pub type Config = BTreeMap<String, serde_json::Value>;

/// How long one check may take before it counts as broken.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the suite wants a task to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// Runs until it is ended. The stop signal ends it.
    Forever,
    /// Exits with this code at once.
    Exit(i32),
    /// Writes `ready` and a line break to stdout, and then runs on whatever signal it gets, except for SIGKILL.
    IgnoresSignals,
    /// Writes `ready` and a line break to stdout, and exits with code 7 when SIGUSR1 comes.
    ExitsOnUsr1,
    /// Writes one text to stdout and another to stderr, and exits with code 0.
    Prints {
        /// What goes to stdout; ends with a line break.
        stdout: String,
        /// What goes to stderr; ends with a line break.
        stderr: String,
    },
    /// Writes its variable `ORCH_CHECK` and its working directory to stdout, a line each, and exits with code 0.
    ShowsSurroundings,
    /// Has a valid `config`, but cannot be started.
    Unstartable,
}

/// What the suite runs inside a task that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Copies what it reads to stdout, writes `done` and a line break to stderr, and exits with this code.
    Copies(i32),
    /// Writes its variable `ORCH_CHECK` and a line break to stdout.
    ShowsVariable,
    /// Writes the size of its terminal to stdout, rows and columns with a space between, once for each line that it reads.
    ShowsTerminal,
    /// Writes `started` and a line break to stdout, and then adds a byte to this file a few times in a second for as long as it runs.
    Ticks(PathBuf),
    /// Writes what is in this file to stdout; exits with another code than 0 if there is none.
    Reads(PathBuf),
    /// Makes this file; exits with another code than 0 if it cannot.
    Makes(PathBuf),
}

impl Command {
    /// How it looks where there is a shell with the usual commands.
    pub fn in_shell(&self) -> Vec<String> {
        let script = match self {
            Self::Copies(code) => format!("cat; echo done >&2; exit {code}"),
            Self::ShowsVariable => "echo \"$ORCH_CHECK\"".to_owned(),
            Self::ShowsTerminal => "while read line; do stty size; done".to_owned(),
            Self::Ticks(file) => {
                format!("echo started; while printf x >> '{}'; do sleep 0.1; done", file.display())
            }
            Self::Reads(file) => format!("cat '{}'", file.display()),
            Self::Makes(file) => format!(": > '{}'", file.display()),
        };
        vec!["sh".to_owned(), "-c".to_owned(), script]
    }
}

/// What the suite needs to know about a driver, and where it may make its directories.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// The driver over its backend. Called once for each check and each reopening: a value that knows nothing of the earlier ones, as after
    /// a restart of the agent.
    async fn open(&self) -> Arc<dyn Driver>;

    /// How `program` looks for this driver; `None` if it cannot do such a thing, and then the checks that need it are skipped.
    fn config(&self, program: &Program) -> Option<Config>;

    /// Configurations that the driver must refuse, each with the key that the refusal has to name.
    fn invalid_configs(&self) -> Vec<(Config, &'static str)>;

    /// A directory that exists and in which every task gets directories of its own.
    fn root(&self) -> PathBuf;

    /// The environment that every task gets besides what a check adds.
    fn env(&self) -> BTreeMap<String, String> {
        BTreeMap::from([("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned())])
    }

    /// How `command` looks for this driver; `None` if it cannot run such a thing, and then the checks that need it are skipped. Asked only
    /// where [`Capabilities::exec`](crate::Capabilities::exec) says that commands can be run.
    fn command(&self, command: &Command) -> Option<Vec<String>> {
        Some(command.in_shell())
    }

    /// Where a task sees its directory `local`.
    fn local_dir(&self, spec: &crate::TaskSpec) -> PathBuf {
        spec.dirs.local.clone()
    }

    /// Where a task finds its own directory, as [`Program::ShowsSurroundings`] prints it.
    fn work_dir(&self, spec: &crate::TaskSpec) -> PathBuf {
        spec.dirs.task.clone()
    }
}

/// What came of the checks.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The checks that hold.
    pub passed: Vec<&'static str>,
    /// The checks that need a program which the fixture does not have.
    pub skipped: Vec<&'static str>,
    /// The checks that do not hold, and why.
    pub broken: Vec<(&'static str, String)>,
}

/// Runs every check, and panics with the list of all that do not hold. Returns what was passed and skipped.
///
/// A caller asserts on `skipped`, so that a driver which stops being checked is noticed.
pub async fn check(fixture: &dyn Fixture) -> Report {
    let mut report = Report::default();
    for (name, contract) in CONTRACTS {
        let mut bench = Bench::open(fixture).await;
        let outcome = match tokio::time::timeout(PATIENCE, contract(&mut bench)).await {
            Ok(outcome) => outcome,
            Err(_) => Outcome::Broken(format!("not done within {PATIENCE:?}")),
        };
        let left = bench.clear().await;
        match (outcome, left) {
            (Outcome::Holds, None) => report.passed.push(name),
            (Outcome::Skipped, None) => report.skipped.push(name),
            (Outcome::Broken(why), _) => report.broken.push((name, why)),
            (Outcome::Holds | Outcome::Skipped, Some(left)) => report.broken.push((name, left)),
        }
    }
    let broken: Vec<String> = report.broken.iter().map(|(name, why)| format!("\n  {name}: {why}")).collect();
    assert!(broken.is_empty(), "{} contracts of Driver do not hold:{}", broken.len(), broken.concat());
    report
}

type Contract = for<'a> fn(&'a mut Bench<'_>) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

macro_rules! contracts {
    ($($module:ident :: $name:ident),* $(,)?) => {
        &[$((stringify!($name), |bench| Box::pin(async move { Outcome::from($module::$name(bench).await) }))),*]
    };
}

/// Every check with its name, in the order in which they run: the plain ones first.
const CONTRACTS: &[(&str, Contract)] = contracts![
    config::every_driver_tells_its_name_and_works_here,
    config::mistakes_in_the_config_name_their_key,
    config::a_valid_config_is_accepted,
    lifecycle::start_returns_while_the_task_runs,
    lifecycle::wait_answers_with_the_exit_code,
    lifecycle::every_waiter_gets_the_same_status,
    lifecycle::a_failed_start_leaves_nothing,
    lifecycle::a_run_is_started_only_once,
    lifecycle::runs_of_one_task_are_apart,
    lifecycle::an_ended_task_is_known_until_it_is_destroyed,
    lifecycle::unknown_tasks_are_errors,
    lifecycle::a_running_task_has_figures,
    ending::stop_ends_a_task_and_may_be_repeated,
    ending::stop_kills_what_ignores_its_signal,
    ending::two_stops_at_once_both_end,
    ending::signals_reach_the_task,
    ending::a_signal_that_does_not_exist_is_an_error,
    ending::destroy_ends_a_running_task,
    recovery::a_reopened_driver_finds_a_running_task,
    recovery::a_recovered_task_is_signalled_and_tells_its_code,
    recovery::a_reopened_driver_tells_how_a_task_ended,
    recovery::a_destroyed_task_is_not_recovered,
    recovery::list_gives_handles_that_can_be_recovered,
    output::output_goes_to_its_files,
    output::disabled_logs_leave_no_file,
    output::the_task_sees_its_environment_and_directory,
    inside::commands_are_refused_where_they_cannot_be_run,
    inside::a_command_reads_writes_and_tells_its_code,
    inside::a_command_has_the_environment_it_is_given,
    inside::a_terminal_has_the_size_it_is_given,
    inside::a_dropped_session_ends_its_command,
    inside::a_command_cannot_outlive_its_task,
    inside::mounts_are_seen_where_they_should_be,
];
