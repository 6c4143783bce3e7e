//! The supervisor process itself: no async, no tokio, two threads.
//!
//! `daemon` makes the process and its socket; `supervisor` is the loop of the main thread, which forks, reaps and answers and never
//! touches a disk; `requests` is what it answers; `tasks` and `killing` are what it knows and how it ends what it knows; `spawn` is the
//! way from fork to exec; `pump` is the other thread; `upgrade` replaces the program in place.

mod args;
mod connection;
mod daemon;
mod killing;
mod log_file;
mod pump;
mod requests;
mod spawn;
mod supervisor;
mod tasks;
mod upgrade;

pub use args::{ArgsError, SupervisorArgs};
pub use daemon::{RunError, run_supervisor};
