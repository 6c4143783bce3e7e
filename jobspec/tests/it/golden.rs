//! Job files beside what they become: `ok/` has jobs as JSON, `err/` rendered diagnostics.
//!
//! `UPDATE_GOLDEN=1` writes what comes out; the difference is then reviewed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use orch_jobspec::{ParseOptions, Source, check};
use serde_json::Value;

use super::{context, job};

fn inputs(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
    let entries = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let mut inputs: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "hcl")).collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "{folder:?}");
    inputs
}

fn compare(path: &Path, found: &str) -> Option<String> {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, found).unwrap();
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    (expected != found).then(|| format!("{} is not what came out:\n{found}", path.display()))
}

fn run(folder: &str, extension: &str, render: impl Fn(&Path, &str) -> String) {
    let differences: Vec<_> = inputs(folder)
        .iter()
        .filter_map(|input| {
            let text = std::fs::read_to_string(input).unwrap();
            compare(&input.with_extension(extension), &render(input, &text))
        })
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Leaves out what is empty, so that a golden file shows what was said.
fn without_empty(value: Value) -> Value {
    match value {
        Value::Array(elements) => elements.into_iter().map(without_empty).collect(),
        Value::Object(entries) => entries
            .into_iter()
            .filter(|(_, value)| !is_empty(value))
            .map(|(key, value)| (key, without_empty(value)))
            .collect(),
        other => other,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(elements) => elements.is_empty(),
        Value::Bool(true) | Value::Object(_) => false,
    }
}

#[test]
fn jobs_become_the_json_beside_them() {
    run("ok", "json", |_, text| {
        let job = without_empty(serde_json::to_value(job(text)).unwrap());
        format!("{}\n", serde_json::to_string_pretty(&job).unwrap())
    });
}

#[test]
fn mistakes_are_told_as_in_the_text_beside_them() {
    run("err", "txt", |path, text| {
        let name = path.file_name().unwrap().to_str().unwrap();
        let checked = check(Source::new(name, text), &ParseOptions::default(), &context());
        assert!(checked.diagnostics.has_errors(), "{name}");
        format!("{}\n", checked.diagnostics)
    });
}

/// Fields that no job file can set, with the block they are in; two others are `false` in the golden file.
const NOT_WRITTEN: [&str; 27] = [
    "Disconnect.Replace",
    "Job.ConsulNamespace",
    "Job.CreateIndex",
    "Job.DispatchIdempotencyToken",
    "Job.Dispatched",
    "Job.JobModifyIndex",
    "Job.ModifyIndex",
    "Job.NomadTokenID",
    "Job.ParentID",
    "Job.Payload",
    "Job.Stable",
    "Job.StatusDescription",
    "Job.Stop",
    "Job.SubmitTime",
    "Job.VaultNamespace",
    "Job.Version",
    "Job.VersionTag",
    "Periodic.Enabled",
    "Scaling.CreateIndex",
    "Scaling.ID",
    "Scaling.ModifyIndex",
    "Scaling.Target",
    "ScalingPolicies.CreateIndex",
    "ScalingPolicies.ID",
    "ScalingPolicies.ModifyIndex",
    "ScalingPolicies.Target",
    "Services.Namespace",
];

/// Notes for each field, named by its block and itself, whether some file has a value for it.
fn visit(value: &Value, block: &str, seen: &mut BTreeMap<String, bool>) {
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                *seen.entry(format!("{block}.{key}")).or_default() |= !is_empty(value);
                visit(value, key, seen);
            }
        }
        Value::Array(elements) => elements.iter().for_each(|element| visit(element, block, seen)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn every_field_of_a_job_can_be_written() {
    let mut seen = BTreeMap::new();
    for input in inputs("ok") {
        visit(&serde_json::to_value(job(&std::fs::read_to_string(input).unwrap())).unwrap(), "Job", &mut seen);
    }
    let never: Vec<_> = seen.into_iter().filter(|(_, written)| !written).map(|(path, _)| path).collect();
    assert_eq!(never, NOT_WRITTEN);
}
