//! What changed between two versions of a job: for people as a [`JobDiff`], for the scheduler as an [`UpdateKind`].
//!
//! Both come from one table, `table`, which says for each object of the job tree which fields are shown, how lists
//! are matched, and which fields a running allocation cannot take on without being replaced.

mod table;
mod types;

mod annotate;
mod compare;
mod update;

pub use annotate::annotate;
pub use compare::diff;
pub use types::{DiffType, FieldDiff, JobDiff, ObjectDiff, TaskDiff, TaskGroupDiff};
pub use update::{UpdateKind, same_spec, update_kind};

#[cfg(test)]
mod tests;
