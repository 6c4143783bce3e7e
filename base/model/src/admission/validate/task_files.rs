//! Rules about templates and artifacts.

use super::Checks;
use super::text::{cleaned, escapes, is_interpolated};
use crate::job::{ChangeMode, Task, TaskArtifact, Template};

pub(super) fn check(checks: &mut Checks<'_>, task: &Task) {
    checks.each("template", &task.templates, template);
    let destinations: Vec<String> =
        task.templates.iter().filter(|t| !t.dest_path.is_empty()).map(|t| cleaned(&t.dest_path)).collect();
    checks.unique("template destination", destinations.iter().map(String::as_str));
    checks.each("artifact", &task.artifacts, artifact);
}

fn template(checks: &mut Checks<'_>, template: &Template) {
    let sources = [&template.source_path, &template.embedded_tmpl];
    if sources.iter().all(|source| source.is_empty()) {
        checks.refuse_block("a template needs data or a source");
    }
    checks.refuse_if(template.dest_path.is_empty(), "destination", "a template needs a destination");
    checks.refuse_if(escapes(&template.dest_path), "destination", "leads out of the task's directory");
    match template.change_mode() {
        None => {
            checks.refuse("change_mode", format!("{:?} is not one of {}", template.change_mode, ChangeMode::choices()))
        }
        Some(ChangeMode::Signal) => {
            checks.refuse_if(template.change_signal.is_empty(), "change_signal", "mode signal needs a signal");
            checks.refuse_if(
                template.envvars,
                "change_mode",
                "a signal cannot change the environment: use restart or noop",
            );
        }
        Some(ChangeMode::Script) => match &template.change_script {
            None => checks.refuse("change_script", "mode script needs a change_script block"),
            Some(script) => checks.block("change_script", "", |checks| {
                checks.refuse_if(script.command.is_empty(), "command", "a script needs a command");
                checks.refuse_if(script.timeout.0 < 0, "timeout", "must not be negative");
            }),
        },
        Some(ChangeMode::Noop | ChangeMode::Restart) => {}
    }
    checks.refuse_if(template.splay.0 < 0, "splay", "must not be negative");
    let octal = u32::from_str_radix(&template.perms, 8).is_ok_and(|bits| bits <= 0o7777);
    checks.refuse_if(!octal, "perms", "must be octal permissions such as 0644");
    if template.vault_grace.0 != 0 {
        checks.warn("`vault_grace` is deprecated and ignored");
    }
    if let Some(wait) = &template.wait {
        let (min, max) = (wait.min.unwrap_or_default(), wait.max);
        checks.block("wait", "", |checks| {
            checks.refuse_if(min.0 < 0, "min", "must not be negative");
            checks.refuse_if(max.is_some_and(|max| min > max), "min", "must not exceed max");
        });
    }
}

fn artifact(checks: &mut Checks<'_>, artifact: &TaskArtifact) {
    checks.refuse_if(artifact.getter_source.is_empty(), "source", "an artifact needs a source");
    checks.choice("mode", &artifact.getter_mode, &["any", "file", "dir"]);
    checks.refuse_if(escapes(&artifact.relative_dest), "destination", "leads out of the task's directory");
    let Some(checksum) = artifact.getter_options.get("checksum").filter(|text| !is_interpolated(text)) else { return };
    if !is_checksum(checksum) {
        checks.refuse(
            "options",
            format!("checksum {checksum:?} is not <type>:<hex> with type md5, sha1, sha256 or sha512"),
        );
    }
}

fn is_checksum(text: &str) -> bool {
    let Some((kind, digits)) = text.trim().split_once(':') else { return false };
    let length = match kind {
        "md5" => 32,
        "sha1" => 40,
        "sha256" => 64,
        "sha512" => 128,
        _ => return false,
    };
    digits.len() == length && digits.bytes().all(|b| b.is_ascii_hexdigit())
}
