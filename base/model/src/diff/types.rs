//! The shape in which a difference between two versions of a job is shown.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::JobId;
use crate::job::nullable::{Field, document};

/// What happened to a part of a job. In order of display.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub enum DiffType {
    /// It is in both and differs.
    Edited,
    /// It is only in the new version.
    Added,
    /// It is only in the old version.
    Deleted,
    /// It is the same in both.
    #[default]
    None,
}

impl Field for DiffType {}

document! {
    /// What changed in a job.
    pub struct JobDiff {
        /// What happened to the job.
        pub r#type: DiffType,
        /// The job.
        #[serde(rename = "ID")]
        pub id: JobId,
        /// Its own fields that changed.
        pub fields: Vec<FieldDiff>,
        /// Its blocks that changed.
        pub objects: Vec<ObjectDiff>,
        /// All groups of both versions, by name.
        pub task_groups: Vec<TaskGroupDiff>,
    }

    /// What changed in a group.
    pub struct TaskGroupDiff {
        /// What happened to the group.
        pub r#type: DiffType,
        /// Its name.
        pub name: String,
        /// Its own fields that changed.
        pub fields: Vec<FieldDiff>,
        /// Its blocks that changed.
        pub objects: Vec<ObjectDiff>,
        /// All tasks of both versions, by name.
        pub tasks: Vec<TaskDiff>,
        /// How many allocations the change would create, destroy and so on; see [`annotate`](super::annotate).
        pub updates: BTreeMap<String, u64>,
    }

    /// What changed in a task.
    pub struct TaskDiff {
        /// What happened to the task.
        pub r#type: DiffType,
        /// Its name.
        pub name: String,
        /// Its own fields that changed.
        pub fields: Vec<FieldDiff>,
        /// Its blocks that changed.
        pub objects: Vec<ObjectDiff>,
        /// What the change forces.
        pub annotations: Vec<String>,
    }

    /// What changed in a block.
    pub struct ObjectDiff {
        /// What happened to the block.
        pub r#type: DiffType,
        /// The block's name.
        pub name: String,
        /// All its fields, unchanged ones included.
        pub fields: Vec<FieldDiff>,
        /// The blocks in it that changed.
        pub objects: Vec<ObjectDiff>,
    }

    /// What changed in a field.
    pub struct FieldDiff {
        /// What happened to the field; an empty text counts as absent.
        pub r#type: DiffType,
        /// The field's name; `Meta[key]` for an entry of a map.
        pub name: String,
        /// The old value as text.
        pub old: String,
        /// The new value as text.
        pub new: String,
        /// What the change forces.
        pub annotations: Vec<String>,
    }
}
