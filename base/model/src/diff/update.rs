//! Whether running allocations can take on a new version of their job.

use std::collections::BTreeSet;

use serde_json::Value;

use super::compare::tree;
use super::table::{Child, GROUP, How, Shape, TASK};
use crate::ids::StateIndex;
use crate::job::{Job, JobStatus, ScalingPolicy, TaskGroup};
use crate::time::Timestamp;

/// What a new version of a job means for the running allocations of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UpdateKind {
    /// Nothing that concerns them changed.
    None,
    /// They take on the new version as they run, if their node still fits.
    InPlace,
    /// They must be replaced.
    Destructive,
}

/// What the change from `old` to `new`, both canonical, means for running allocations of `group`.
///
/// A group that only one of them has is `Destructive`. Whether the node still fits, by datacenter, pool, constraints and
/// resources, is for the scheduler to see.
pub fn update_kind(old: &Job, new: &Job, group: &str) -> UpdateKind {
    let (Some(before), Some(after)) = (old.group(group), new.group(group)) else { return UpdateKind::Destructive };
    if replaces(old, before, new, after) {
        return UpdateKind::Destructive;
    }
    if before == after && same_around_groups(old, new) { UpdateKind::None } else { UpdateKind::InPlace }
}

fn replaces(old_job: &Job, old: &TaskGroup, new_job: &Job, new: &TaskGroup) -> bool {
    let names = |group: &TaskGroup| group.tasks.iter().map(|task| task.name.clone()).collect::<BTreeSet<_>>();
    if names(old) != names(new) || old.tasks.len() != new.tasks.len() {
        return true;
    }
    shape_replaces(&GROUP, &tree(old), &tree(new))
        || old.tasks.iter().any(|task| {
            let Some(after) = new.task(&task.name) else { return true };
            shape_replaces(&TASK, &tree(task), &tree(after))
                || old_job.combined_meta(&old.name, &task.name) != new_job.combined_meta(&new.name, &after.name)
        })
}

/// Whether a field that the table calls replacing differs, here or in a nested object.
fn shape_replaces(shape: &Shape, old: &Value, new: &Value) -> bool {
    let child_of = |field: &str| shape.children.iter().find(|child| child.field == field);
    shape.replacing.iter().any(|field| {
        let relevant = |value: &Value| child_of(field).map_or_else(|| value.clone(), |child| relevant(child, value));
        relevant(&old[field]) != relevant(&new[field])
    }) || shape.children.iter().any(|child| child_replaces(child, &old[child.field], &new[child.field]))
}

fn child_replaces(child: &Child, old: &Value, new: &Value) -> bool {
    match child.how {
        How::One => shape_replaces(child.shape, old, new),
        // Objects that come, go or are renamed count by what they replace: nothing, if those fields are unset.
        How::Score(_) => child.shape.replacing.iter().any(|field| {
            let set = |value: &Value| {
                let items = value.as_array().into_iter().flatten();
                items.map(|item| item[*field].to_string()).filter(|text| text != "null").collect::<BTreeSet<_>>()
            };
            set(old) != set(new)
        }),
        How::Free | How::Set | How::Content | How::Key(_) | How::MapKey | How::Tree => false,
    }
}

/// A nested value without hidden fields, and in an order that does not depend on the one it was written in.
fn relevant(child: &Child, value: &Value) -> Value {
    match value {
        Value::Array(items) => {
            let mut items: Vec<_> = items.iter().map(|item| relevant(child, item)).collect();
            match child.how {
                How::Key(_) | How::Set => items.sort_by_key(Value::to_string),
                How::One | How::Free | How::Content | How::MapKey | How::Score(_) | How::Tree => {}
            }
            Value::Array(items)
        }
        Value::Object(fields) => {
            let kept = fields.iter().filter(|(name, _)| !child.shape.hidden.contains(&name.as_str()));
            let nested = |name: &str| child.shape.children.iter().find(|child| child.field == name);
            kept.map(|(name, value)| {
                (name.clone(), nested(name).map_or_else(|| value.clone(), |child| relevant(child, value)))
            })
            .collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// Whether two jobs say the same; what servers write into a job does not count.
pub fn same_spec(old: &Job, new: &Job) -> bool {
    spec_of(old) == spec_of(new)
}

/// Whether two jobs say the same outside of their groups.
fn same_around_groups(old: &Job, new: &Job) -> bool {
    let around = |job: &Job| spec_of(&Job { task_groups: Vec::new(), ..job.clone() });
    around(old) == around(new)
}

/// The job without what servers write into it.
fn spec_of(job: &Job) -> Job {
    let mut spec = Job {
        status: JobStatus::default(),
        status_description: String::new(),
        stable: false,
        version: 0,
        submit_time: Timestamp::NONE,
        create_index: StateIndex::default(),
        modify_index: StateIndex::default(),
        job_modify_index: StateIndex::default(),
        version_tag: None,
        ..job.clone()
    };
    for group in &mut spec.task_groups {
        group.scaling.iter_mut().for_each(forget_identity);
        group.tasks.iter_mut().flat_map(|task| &mut task.scaling_policies).for_each(forget_identity);
    }
    spec
}

fn forget_identity(policy: &mut ScalingPolicy) {
    policy.id.clear();
    policy.create_index = StateIndex::default();
    policy.modify_index = StateIndex::default();
}
