//! Control groups of both versions: limits, accounting, and killing everything in a group.
//!
//! On a host with only version 2 one directory per task does it all. With only version 1 there is a directory per controller.
//! On a hybrid host version 1 carries the limits, and the version 2 tree beside it, which has no useful controllers there, carries
//! `cgroup.kill` and the notice that a group is empty.

mod detect;
mod files;
mod layout;
mod limits;
mod stats;
mod task;

pub use detect::{Hierarchies, Version};
pub use layout::CgroupLayout;
pub use limits::{Limits, cpu_weight};
pub use stats::Stats;
pub use task::TaskCgroup;
