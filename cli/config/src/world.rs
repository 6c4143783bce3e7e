//! What the client brings to its tasks: artifacts and templates.

use std::time::Duration;

use orch_client::Config;
use orch_template::Wait;

use crate::merged::Merged;

pub(crate) fn build(merged: &mut Merged, config: &mut Config) {
    artifacts(merged, config);
    templates(merged, config);
}

fn artifacts(merged: &mut Merged, config: &mut Config) {
    let own = &mut config.artifacts;
    let timeouts = [
        ("client.artifact.http_read_timeout", &mut own.http_read_timeout),
        ("client.artifact.git_timeout", &mut own.git_timeout),
        ("client.artifact.s3_timeout", &mut own.s3_timeout),
    ];
    for (path, timeout) in timeouts {
        *timeout = merged.duration(path).unwrap_or(*timeout);
    }
    let sizes = [
        ("client.artifact.http_max_size", &mut own.http_max_size),
        ("client.artifact.decompression_size_limit", &mut own.decompression_size_limit),
    ];
    for (path, size) in sizes {
        *size = merged.bytes(path).unwrap_or(*size);
    }
    let files = merged.int("client.artifact.decompression_file_count_limit", 0, i64::MAX);
    own.decompression_file_count_limit = files.unwrap_or(own.decompression_file_count_limit);
    own.disable_artifact_inspection = merged.flag("client.artifact.disable_artifact_inspection").unwrap_or(false);
    own.disable_filesystem_isolation = merged.flag("client.artifact.disable_filesystem_isolation").unwrap_or(false);
    let paths = "client.artifact.filesystem_isolation_extra_paths";
    for text in merged.list(paths) {
        match text.parse() {
            Ok(path) => own.filesystem_isolation_extra_paths.push(path),
            Err(message) => merged.refuse(paths, format_args!("is not valid: {message}")),
        }
    }
    if let Some(names) = merged.text("client.artifact.set_environment_variables") {
        let names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
        own.set_environment_variables = names.map(str::to_owned).collect();
    }
}

fn templates(merged: &mut Merged, config: &mut Config) {
    let own = &mut config.templates;
    own.wait = wait(merged, "client.template.wait");
    own.wait_bounds = wait(merged, "client.template.wait_bounds");
}

/// The block `path`, unless it is absent or switched off. Where only the least is set, the most is four times as long.
fn wait(merged: &mut Merged, path: &str) -> Option<Wait> {
    if merged.flag(&format!("{path}.enabled")) == Some(false) {
        return None;
    }
    let [min, max] = ["min", "max"].map(|key| merged.duration(&format!("{path}.{key}")));
    if min.is_none() && max.is_none() {
        return None;
    }
    let min = min.unwrap_or(Duration::ZERO);
    let max = max.unwrap_or(min * 4);
    if max < min {
        merged.refuse(&format!("{path}.max"), format_args!("must be at least min, {min:?}, not {max:?}"));
    }
    Some(Wait { min, max: max.max(min) })
}
