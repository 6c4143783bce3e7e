//! Tests of diffs and of what updates mean for running allocations.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::compare::tree;
use super::table::{GROUP, JOB, Shape, TASK};
use super::*;
use crate::evaluation::DesiredUpdates;
use crate::job::{Job, Task, TaskGroup};

fn base() -> Value {
    json!({
        "ID": "shop", "Datacenters": ["dc1"], "Priority": 50, "Meta": {"owner": "team"},
        "TaskGroups": [{
            "Name": "web", "Count": 3, "EphemeralDisk": {},
            "RestartPolicy": {"Attempts": 1, "RenderTemplates": false},
            "Networks": [{"DynamicPorts": [{"Label": "http"}, {"Label": "admin"}], "ReservedPorts": [{"Label": "db", "Value": 5432}]}],
            "Services": [{"Name": "a", "PortLabel": "http", "Tags": ["x"]}, {"Name": "b", "PortLabel": "admin"}],
            "Tasks": [{
                "Name": "app", "Driver": "docker", "Config": {"image": "shop:1", "args": ["-a"], "labels": [{"tier": "web"}]},
                "Env": {"LOG": "info"}, "Resources": {"CPU": 200, "MemoryMB": 128}, "LogConfig": {},
                "Constraints": [{"LTarget": "${attr.arch}", "RTarget": "amd64", "Operand": "="}]
            }]
        }]
    })
}

fn job(value: Value) -> Job {
    serde_json::from_value(value).unwrap()
}

/// The base job with values replaced by JSON pointer.
fn edited(edits: &[(&str, Value)]) -> Job {
    let mut value = base();
    for (pointer, new) in edits {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        value.pointer_mut(parent).unwrap()[key] = new.clone();
    }
    job(value)
}

/// A diff in lines: `~ web/app/Resources CPU: 200 -> 300`.
fn lines(diff: &JobDiff) -> Vec<String> {
    let mut out = Vec::new();
    field_lines("", &diff.fields, &mut out);
    object_lines("", &diff.objects, &mut out);
    for group in &diff.task_groups {
        field_lines(&group.name, &group.fields, &mut out);
        object_lines(&group.name, &group.objects, &mut out);
        for task in &group.tasks {
            let path = format!("{}/{}", group.name, task.name);
            field_lines(&path, &task.fields, &mut out);
            object_lines(&path, &task.objects, &mut out);
        }
    }
    out
}

const fn sign(kind: DiffType) -> char {
    match kind {
        DiffType::Edited => '~',
        DiffType::Added => '+',
        DiffType::Deleted => '-',
        DiffType::None => ' ',
    }
}

fn field_lines(path: &str, fields: &[FieldDiff], out: &mut Vec<String>) {
    let changed = fields.iter().filter(|field| field.r#type != DiffType::None);
    out.extend(changed.map(|f| format!("{} {path} {}: {:?} -> {:?}", sign(f.r#type), f.name, f.old, f.new)));
}

fn object_lines(path: &str, objects: &[ObjectDiff], out: &mut Vec<String>) {
    for object in objects {
        let path = format!("{path}/{}", object.name);
        out.push(format!("{} {path}", sign(object.r#type)));
        field_lines(&path, &object.fields, out);
        object_lines(&path, &object.objects, out);
    }
}

#[test]
fn each_edit_shows_as_documented() {
    let task = "/TaskGroups/0/Tasks/0";
    for (edits, expected) in [
        (vec![], vec![]),
        (vec![("/Priority", json!(60))], vec!["~  Priority: \"50\" -> \"60\""]),
        (
            vec![("/Meta", json!({"team": "x"}))],
            vec!["-  Meta[owner]: \"team\" -> \"\"", "+  Meta[team]: \"\" -> \"x\""],
        ),
        (
            vec![("/Datacenters", json!(["dc1", "dc2"]))],
            vec!["+ /Datacenters", "+ /Datacenters Datacenters: \"\" -> \"dc2\""],
        ),
        (vec![("/Version", json!(9)), ("/Status", json!("running")), ("/Update", json!({"MaxParallel": 1}))], vec![]),
        (vec![("/TaskGroups/0/Count", json!(5))], vec!["~ web Count: \"3\" -> \"5\""]),
        (
            vec![
                (&*format!("{task}/Config/image"), json!("shop:2")),
                (&*format!("{task}/Config/labels"), json!([{"tier": "x"}])),
            ],
            vec![
                "~ web/app/Config",
                "~ web/app/Config image: \"shop:1\" -> \"shop:2\"",
                "~ web/app/Config labels[0][tier]: \"web\" -> \"x\"",
            ],
        ),
        (
            vec![(&*format!("{task}/Constraints/0/RTarget"), json!("arm64"))],
            vec![
                "+ web/app/Constraint",
                "+ web/app/Constraint LTarget: \"\" -> \"${attr.arch}\"",
                "+ web/app/Constraint Operand: \"\" -> \"=\"",
                "+ web/app/Constraint RTarget: \"\" -> \"arm64\"",
                "- web/app/Constraint",
                "- web/app/Constraint LTarget: \"${attr.arch}\" -> \"\"",
                "- web/app/Constraint Operand: \"=\" -> \"\"",
                "- web/app/Constraint RTarget: \"amd64\" -> \"\"",
            ],
        ),
        (
            vec![("/TaskGroups/0/Services/0/Tags", json!(["y"]))],
            vec![
                "~ web/Service",
                "~ web/Service/Tags",
                "+ web/Service/Tags Tags: \"\" -> \"y\"",
                "- web/Service/Tags Tags: \"x\" -> \"\"",
            ],
        ),
    ] {
        let edits: Vec<_> = edits.iter().map(|(pointer, value)| (*pointer, value.clone())).collect();
        let diff = diff(Some(&job(base())), &edited(&edits));
        assert_eq!(lines(&diff), expected);
        assert_eq!(diff.r#type, if expected.is_empty() { DiffType::None } else { DiffType::Edited });
        assert_eq!(diff.task_groups.len(), 1);
    }
}

#[test]
fn unchanged_fields_of_a_changed_block_are_included() {
    let diff = diff(Some(&job(base())), &edited(&[("/TaskGroups/0/Tasks/0/Resources/CPU", json!(300))]));
    let resources = &diff.task_groups[0].tasks[0].objects[0];
    assert_eq!((resources.name.as_str(), resources.r#type), ("Resources", DiffType::Edited));
    let memory = resources.fields.iter().find(|field| field.name == "MemoryMB").unwrap();
    assert_eq!((memory.r#type, memory.old.as_str(), memory.new.as_str()), (DiffType::None, "128", "128"));
}

#[test]
fn groups_and_tasks_come_and_go_by_name() {
    let mut value = base();
    value["TaskGroups"][0]["Name"] = json!("api");
    let diff = diff(Some(&job(base())), &job(value));
    let types: Vec<_> =
        diff.task_groups.iter().map(|group| (group.name.as_str(), group.r#type, group.tasks[0].r#type)).collect();
    assert_eq!(types, [("api", DiffType::Added, DiffType::Added), ("web", DiffType::Deleted, DiffType::Deleted)]);
}

#[test]
fn a_new_job_is_added_with_all_it_has() {
    let diff = diff(None, &job(base()));
    assert_eq!((diff.r#type, diff.task_groups[0].r#type), (DiffType::Added, DiffType::Added));
    assert!(lines(&diff).contains(&"+ web Count: \"\" -> \"3\"".to_owned()));
    assert!(lines(&diff).contains(&"+ web/Network/Static Port Value: \"\" -> \"5432\"".to_owned()));
}

#[test]
fn a_change_that_is_not_shown_still_edits_the_task() {
    let changed = edited(&[("/TaskGroups/0/Tasks/0/Lifecycle", json!({"Hook": "prestart"}))]);
    let task = diff(Some(&job(base())), &changed).task_groups[0].tasks[0].clone();
    assert_eq!((task.r#type, task.fields.len(), task.objects.len()), (DiffType::Edited, 0, 0));
}

#[test]
fn annotations_say_what_a_change_forces() {
    let updates =
        BTreeMap::from([("web".to_owned(), DesiredUpdates { place: 2, destructive: 3, ..Default::default() })]);
    let task = "/TaskGroups/0/Tasks/0";
    for (edit, expected) in [
        (("KillTimeout", json!("9s")), "forces in-place update"),
        (("Env", json!({"LOG": "debug"})), "forces create/destroy update"),
        (("LogConfig", json!({"MaxFiles": 5})), "forces in-place update"),
        (("LogConfig", json!({"Disabled": true})), "forces create/destroy update"),
    ] {
        let new = edited(&[(&format!("{task}/{}", edit.0), edit.1), ("/TaskGroups/0/Count", json!(5))]);
        let mut diff = diff(Some(&job(base())), &new);
        annotate(&mut diff, &updates);
        let group = &diff.task_groups[0];
        assert_eq!(group.fields[0].annotations, ["forces create"]);
        assert_eq!(group.tasks[0].annotations, [expected]);
        let labels: Vec<_> = group.updates.iter().map(|(label, n)| (label.as_str(), *n)).collect();
        assert_eq!(labels, [("create", 2), ("create/destroy update", 3)]);
    }
}

#[test]
fn updates_are_in_place_unless_a_running_allocation_cannot_take_them_on() {
    use UpdateKind::{Destructive, InPlace, None};
    let task = |field: &str| format!("/TaskGroups/0/Tasks/0/{field}");
    let group = |field: &str| format!("/TaskGroups/0/{field}");
    let reordered = json!([{"DynamicPorts": [{"Label": "admin"}, {"Label": "http"}], "ReservedPorts": [{"Label": "db", "Value": 5432}], "MBits": 5}]);
    let moved = json!([{"DynamicPorts": [{"Label": "http"}], "ReservedPorts": [{"Label": "db", "Value": 5433}]}]);
    let service = |extra: Value| {
        let mut service = json!({"Name": "a", "PortLabel": "http", "Tags": ["x"]});
        service.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        json!([service, {"Name": "b", "PortLabel": "admin"}])
    };
    for (pointer, value, expected) in [
        ("/Version".to_owned(), json!(4), None),
        ("/Priority".to_owned(), json!(70), InPlace),
        ("/Meta".to_owned(), json!({"owner": "other"}), Destructive),
        (group("Count"), json!(9), InPlace),
        (group("Meta"), json!({"owner": "team"}), InPlace),
        (group("EphemeralDisk"), json!({"SizeMB": 500}), Destructive),
        (group("RestartPolicy"), json!({"Attempts": 5, "RenderTemplates": false}), InPlace),
        (group("RestartPolicy"), json!({"Attempts": 1, "RenderTemplates": true}), Destructive),
        (group("Networks"), reordered, InPlace),
        (group("Networks"), moved, Destructive),
        (group("Services"), service(json!({"Checks": [{"Name": "c"}]})), InPlace),
        (group("Services"), json!([]), InPlace),
        (group("Services"), service(json!({"Connect": {"Native": true}})), Destructive),
        (group("Volumes"), json!({"v": {"Name": "v", "Type": "host"}}), Destructive),
        (group("Disconnect"), json!({"LostAfter": "1h"}), InPlace),
        (task("Driver"), json!("exec"), Destructive),
        (task("User"), json!("nobody"), Destructive),
        (task("Config"), json!({"image": "shop:2"}), Destructive),
        (task("Env"), json!({}), Destructive),
        (task("Meta"), json!({"owner": "team"}), InPlace),
        (task("Resources"), json!({"CPU": 201, "MemoryMB": 128}), Destructive),
        (task("Resources"), json!({"CPU": 200, "MemoryMB": 128, "IOPS": 4}), InPlace),
        (task("Constraints"), json!([]), InPlace),
        (task("KillTimeout"), json!("9s"), InPlace),
        (task("LogConfig"), json!({"MaxFiles": 3}), InPlace),
        (task("LogConfig"), json!({"Disabled": true}), Destructive),
        (task("Templates"), json!([{"DestPath": "a"}]), Destructive),
        (task("Identities"), json!([{"Name": "x"}]), Destructive),
        (task("Actions"), json!([{"Name": "x"}]), InPlace),
        (task("Name"), json!("other"), Destructive),
    ] {
        let new = edited(&[(&pointer, value.clone())]);
        assert_eq!(update_kind(&job(base()), &new, "web"), expected, "{pointer} = {value}");
    }
    assert_eq!(update_kind(&job(base()), &job(base()), "none"), Destructive);
}

#[test]
fn what_servers_write_is_no_change_of_specification() {
    let stored = edited(&[
        ("/Version", json!(3)),
        ("/Status", json!("running")),
        ("/StatusDescription", json!("x")),
        ("/Stable", json!(true)),
        ("/SubmitTime", json!(5)),
        ("/CreateIndex", json!(5)),
        ("/ModifyIndex", json!(5)),
        ("/JobModifyIndex", json!(5)),
    ]);
    assert!(same_spec(&stored, &job(base())));
    assert!(!same_spec(&edited(&[("/Priority", json!(51))]), &job(base())));
}

/// Fields that the table mentions, and those that a change in place is fine for.
fn check_fields_are_known(value: &Value, shape: &Shape, in_place: &[&str]) {
    for name in value.as_object().unwrap().keys() {
        let shown = shape.children.iter().any(|child| child.field == name);
        let known = shown || [shape.hidden, shape.replacing, in_place].iter().any(|list| list.contains(&name.as_str()));
        assert!(known, "does a change of {name} replace running allocations, and is it shown?");
    }
}

#[test]
fn every_field_of_the_job_tree_was_thought_of() {
    check_fields_are_known(
        &tree(&Job::default()),
        &JOB,
        &[
            "AllAtOnce",
            "ConsulNamespace",
            "DispatchIdempotencyToken",
            "Dispatched",
            "Meta",
            "Name",
            "Namespace",
            "NodePool",
            "ParentID",
            "Payload",
            "Priority",
            "Region",
            "Spreads",
            "Stop",
            "TaskGroups",
            "Type",
            "Update",
            "VaultNamespace",
            "VersionTag",
        ],
    );
    check_fields_are_known(
        &tree(&TaskGroup::default()),
        &GROUP,
        &[
            "Count",
            "MaxClientDisconnect",
            "MaxRunDuration",
            "Meta",
            "PreventRescheduleOnLost",
            "ShutdownDelay",
            "Spreads",
            "StopAfterClientDisconnect",
            "Tasks",
        ],
    );
    let in_place = ["KillSignal", "KillTimeout", "Leader", "Meta", "RestartPolicy", "ScalingPolicies", "ShutdownDelay"];
    check_fields_are_known(&tree(&Task::default()), &TASK, &in_place);
}

#[test]
fn diffs_of_every_field_survive_json() {
    let full: Job = serde_json::from_str(include_str!("../job/full.json")).unwrap();
    let shown = diff(Some(&job(base())), &full);
    let value = serde_json::to_value(&shown).unwrap();
    assert_eq!(value["Type"], "Edited");
    assert_eq!(serde_json::from_value::<JobDiff>(value).unwrap(), shown);
    assert_eq!(diff(Some(&full), &full).r#type, DiffType::None);
}
