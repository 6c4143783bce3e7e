//! From blocks to the model: one function per block, one file per family.
//!
//! Each function takes a [`Body`], asks it for every attribute and block that may stand there, and finishes it, which
//! reports whatever else it holds. What the job parser itself fills in is filled in here, all other defaults by admission.

mod body;

mod group;
mod job;
mod task;

mod access;
mod network;
mod placement;
mod policies;
mod resources;
mod task_files;
mod volume;

mod connect;
mod gateway;
mod service;

use body::Body;
pub(crate) use job::job;
