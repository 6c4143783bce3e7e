//! Saying in a diff what the change would force.

use std::collections::BTreeMap;

use super::{DiffType, FieldDiff, JobDiff, ObjectDiff, TaskDiff, TaskGroupDiff};
use crate::evaluation::DesiredUpdates;

/// Notes in `diff` what a change forces; `updates` says what a dry run of the scheduler would do, per group.
pub fn annotate(diff: &mut JobDiff, updates: &BTreeMap<String, DesiredUpdates>) {
    for group in &mut diff.task_groups {
        if let Some(updates) = updates.get(&group.name) {
            group.updates = labelled(updates);
        }
        annotate_count(group);
        let of_group = group.r#type;
        for task in &mut group.tasks {
            annotate_task(task, of_group);
        }
    }
}

fn labelled(updates: &DesiredUpdates) -> BTreeMap<String, u64> {
    let DesiredUpdates { ignore, place, migrate, stop, in_place, destructive } = *updates;
    let labels = [
        ("ignore", ignore),
        ("create", place),
        ("destroy", stop),
        ("migrate", migrate),
        ("in-place update", in_place),
        ("create/destroy update", destructive),
    ];
    labels.into_iter().filter(|(_, n)| *n > 0).map(|(label, n)| (label.to_owned(), u64::from(n))).collect()
}

fn annotate_count(group: &mut TaskGroupDiff) {
    let Some(count) = group.fields.iter_mut().find(|field| field.name == "Count") else { return };
    let number = |text: &str| text.parse::<i64>().unwrap_or(0);
    let forced = match number(&count.new).cmp(&number(&count.old)) {
        std::cmp::Ordering::Greater => "forces create",
        std::cmp::Ordering::Less => "forces destroy",
        std::cmp::Ordering::Equal => return,
    };
    count.annotations.push(forced.to_owned());
}

fn annotate_task(task: &mut TaskDiff, group: DiffType) {
    let forced = match (task.r#type, group) {
        (DiffType::None, _) => return,
        (_, DiffType::Added) => "forces create",
        (_, DiffType::Deleted) => "forces destroy",
        (_, DiffType::Edited | DiffType::None) if is_destructive(task) => "forces create/destroy update",
        (_, DiffType::Edited | DiffType::None) => "forces in-place update",
    };
    task.annotations.push(forced.to_owned());
}

fn is_destructive(task: &TaskDiff) -> bool {
    let field_replaces = |field: &FieldDiff| field.r#type != DiffType::None && field.name != "KillTimeout";
    let object_replaces = |object: &ObjectDiff| match object.name.as_str() {
        "Service" | "Constraint" | "Affinity" | "Spread" => false,
        "LogConfig" => object.fields.iter().any(|field| field.name == "Disabled" && field.r#type != DiffType::None),
        _ => object.r#type != DiffType::None,
    };
    task.fields.iter().any(field_replaces) || task.objects.iter().any(object_replaces)
}
