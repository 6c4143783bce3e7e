//! The supervisor process itself: no async, no tokio, two threads.
//!
//! `daemon` makes the process and its socket, `init` makes it of the first process of a container; `supervisor` is the loop of the main thread, which forks, reaps and answers and never
//! touches a disk; `requests` is what it answers; `tasks` and `killing` are what it knows and how it ends what it knows; `spawn` is the
//! way from fork to exec, `sandbox` and `reaper` what is on it for a task with namespaces of its own, `slots` what makes it cheap; `pump` is the other thread; `upgrade` replaces the program in place.

mod args;
mod connection;
mod daemon;
mod init;
mod killing;
mod log_file;
mod pump;
mod reaper;
mod requests;
mod sandbox;
mod slots;
mod spawn;
mod supervisor;
mod tasks;
mod upgrade;

pub use args::{ArgsError, SupervisorArgs};
pub(crate) use daemon::READY;
pub use daemon::{RunError, run_supervisor};
pub(crate) use init::message as init_message;
pub use init::{AgentCommand, run_as_init};
