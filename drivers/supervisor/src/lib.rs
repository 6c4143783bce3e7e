//! The supervisor: one small process per node that is the parent of all exec-like tasks, and the agent's half that talks to it.
//!
//! - [`run_supervisor`] is the process: two threads, no async. One forks, reaps and answers on a Unix socket and never touches a disk;
//!   the other moves what tasks write from their pipes into rotated log files.
//! - [`run_as_init`] is the same as the first process of a container, with the agent as its child.
//! - [`Handle`] is the agent's half: it starts a supervisor when none answers, and holds duplicates of every pipe, so that the loss
//!   of the supervisor breaks none. A new one then adopts the tasks, whose exit codes alone are unknown.
//!
//! - [`DriverTasks`] is what drivers over it have in common, and [`enter`] runs commands inside of tasks for them.
//!
//! Never in here: how a driver starts its tasks, jobs, allocations, restart policies. A task is a key, a command line and limits.
#![allow(
    unsafe_code,
    reason = "clone3, what happens between it and exec, splice, and descriptors received over a socket"
)]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod client;
pub mod enter;
mod error;
mod frame;
mod privileges;
mod process;
mod protocol;
mod sandbox;
mod socket;
mod spec;
mod sys;
mod tasks;

pub use client::{Handle, Options, Service, speak_with_init};
pub use error::{Error, StartError};
pub use process::{AgentCommand, ArgsError, RunError, SupervisorArgs, run_as_init, run_supervisor};
pub use protocol::Stage;
pub use sandbox::{MountFlags, Namespaces, Privileges, Sandbox, Sharing, Step};
pub use spec::{
    CgroupSpec, ExitStatus, Lifetime, LogSpec, Place, SpawnSpec, Started, TaskEntry, TaskKey, TaskStats, UserIds,
};
pub use tasks::{Denied, DriverTasks, IdRanges, InvalidIdRange, UserError, limits_of, resolve_user};
