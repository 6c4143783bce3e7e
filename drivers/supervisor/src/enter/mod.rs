//! Commands that people run inside of a task.
//!
//! The agent starts its own program in a hidden mode, [`MODE`], and tells it over a socket what to do. That process joins the task's
//! namespaces, forks the command into the task's control groups, and stays as its parent: it tells how the command ended, and kills
//! it when the agent hangs up. `process` is that process; `session` and `terminal` are the agent's half.

mod process;
mod session;
mod terminal;

use std::path::PathBuf;

use orch_host::ProcessId;
use orch_host::cgroup::TaskCgroup;
use orch_host::limits::OriginalLimits;
use serde::{Deserialize, Serialize};

use crate::spec::Place;

pub use process::main;
pub(crate) use session::{Program, open};

/// The first argument of a process that is to run [`main`].
pub const MODE: &str = "__enter";

/// What to run where.
///
/// With a terminal the answer brings its master; without one, the ends of three pipes come along.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    /// The first process of the task.
    process: ProcessId,
    cgroup: TaskCgroup,
    place: Place,
    filter: Vec<u64>,
    command: Vec<String>,
    env: Vec<(String, String)>,
    terminal: Option<Size>,
    limits: OriginalLimits,
}

/// The size of a terminal, in characters.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Size {
    rows: u16,
    columns: u16,
}

#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    /// The command runs.
    Started,
    /// It does not, for this reason.
    Refused { doing: String, path: Option<PathBuf>, errno: i32 },
    /// It has ended with this code, as a shell would tell it.
    Ended(i32),
}
