//! Rules about tasks.

use super::text::{escapes, is_identifier, is_word};
use super::{Checks, group, placement, policies, resources, service, task_files};
use crate::admission::canonicalize::DEFAULT_IDENTITY;
use crate::job::{Secret, Task, TaskGroup, TaskScheduleCron, Vault, WorkloadIdentity};

pub(super) fn check(checks: &mut Checks<'_>, group: &TaskGroup, task: &Task) {
    name(checks, &task.name);
    driver(checks, task);
    checks.refuse_if(task.kill_timeout.0 < 0, "kill_timeout", "must not be negative");
    checks.refuse_if(task.shutdown_delay.0 < 0, "shutdown_delay", "must not be negative");
    placement::constraints(checks, &task.constraints, placement::Level::Task);
    placement::affinities(checks, &task.affinities);
    if let Some(asked) = &task.resources {
        checks.block("resources", "", |checks| resources::check(checks, asked));
    }
    if let Some(policy) = &task.restart_policy {
        checks.block("restart", "", |checks| policies::restart(checks, policy));
    }
    if let Some(lifecycle) = &task.lifecycle {
        checks.block("lifecycle", "", |checks| {
            checks.choice("hook", &lifecycle.hook, &["prestart", "poststart", "poststop"]);
        });
    }
    logs(checks, group, task);
    task_files::check(checks, task);
    mounts(checks, group, task);
    service::of_task(checks, group, task);
    identities(checks, task);
    checks.unique("secret", task.secrets.iter().map(|secret| secret.name.as_str()));
    for secret in &task.secrets {
        checks.block("secret", &secret.name, |checks| self::secret(checks, secret, task.vault.as_ref()));
    }
    if let Some(vault) = &task.vault {
        checks.block("vault", "", |checks| change_mode(checks, &vault.change_mode, &vault.change_signal));
    }
    small_blocks(checks, task);
}

fn name(checks: &mut Checks<'_>, name: &str) {
    checks.refuse_if(name.is_empty(), "name", "a task needs a name");
    checks.refuse_if(name == "alloc", "name", "`alloc` is the name of the directory that the tasks share");
    checks.refuse_if(name.contains(['/', '\\', '\0']), "name", "a task's name must not contain slashes or NUL");
}

fn driver(checks: &mut Checks<'_>, task: &Task) {
    let driver = task.driver.as_str();
    if driver.is_empty() {
        return checks.refuse("driver", "a task needs a driver");
    }
    if !checks.ctx.drivers.contains(&driver) {
        let known = checks.ctx.drivers.join(", ");
        return checks.refuse("driver", format!("there is no driver {driver:?}: it is not one of {known}"));
    }
    let Some((_, known)) = checks.ctx.driver_options.iter().find(|(name, _)| *name == driver) else { return };
    for key in task.config.keys().filter(|key| !known.contains(&key.as_str())) {
        let nearest = known.iter().map(|candidate| (strsim::osa_distance(key, candidate), *candidate)).min();
        let advice = match nearest {
            Some((distance, candidate)) if distance <= 1 + key.len() / 3 => format!("did you mean `{candidate}`?"),
            Some(_) | None => format!("it has {}", known.join(", ")),
        };
        checks.refuse("config", format!("the driver {driver} has no option `{key}`: {advice}"));
    }
}

fn logs(checks: &mut Checks<'_>, group: &TaskGroup, task: &Task) {
    let Some(logs) = &task.log_config else { return };
    checks.block("logs", "", |checks| {
        checks.refuse_if(logs.max_files < 1, "max_files", "must be at least 1");
        checks.refuse_if(logs.max_file_size_mb < 1, "max_file_size", "must be at least 1 MB");
        let size = logs.max_files.saturating_mul(logs.max_file_size_mb);
        let disk = group.ephemeral_disk.as_ref().map_or(300, |disk| disk.size_mb);
        if !logs.disabled && size >= disk {
            checks.refuse_block(format!(
                "log files may fill {size} MB, which is not less than the ephemeral disk's {disk} MB"
            ));
        }
    });
}

fn mounts(checks: &mut Checks<'_>, group: &TaskGroup, task: &Task) {
    checks.each("volume_mount", &task.volume_mounts, |checks, mount| {
        if !group.volumes.contains_key(&mount.volume) {
            checks.refuse("volume", format!("the group has no volume {:?}", mount.volume));
        }
        checks.refuse_if(mount.destination.is_empty(), "destination", "a mount needs a destination");
        let modes = ["private", "host-to-task", "bidirectional"];
        checks.choice("propagation_mode", &mount.propagation_mode, &modes);
        checks.choice("selinux_label", &mount.selinux_label, &["", "z", "Z"]);
    });
}

fn change_mode(checks: &mut Checks<'_>, mode: &str, signal: &str) {
    checks.choice("change_mode", mode, &["", "noop", "restart", "signal"]);
    checks.refuse_if(mode == "signal" && signal.is_empty(), "change_signal", "mode signal needs a signal");
    checks.refuse_if(mode != "signal" && !signal.is_empty(), "change_signal", "only mode signal has a signal");
}

fn identities(checks: &mut Checks<'_>, task: &Task) {
    let default = task.identity.iter().map(|identity| (identity, true));
    let named = task.identities.iter().map(|identity| (identity, false));
    let is_default = |identity: &WorkloadIdentity| identity.name.is_empty() || identity.name == DEFAULT_IDENTITY.0;
    if task.identities.iter().any(is_default) {
        checks.refuse_block("Duplicate default identities");
    }
    checks.unique("identity", task.identities.iter().filter(|i| !is_default(i)).map(|i| i.name.as_str()));
    for (identity, is_default) in default.chain(named) {
        checks.block("identity", &identity.name, |checks| self::identity(checks, identity, is_default));
    }
}

fn identity(checks: &mut Checks<'_>, identity: &WorkloadIdentity, is_default: bool) {
    if !identity.name.is_empty() && !is_identifier(&identity.name) {
        checks.refuse("name", format!("{:?} is not a name of letters, digits, - and _", identity.name));
    }
    checks.refuse_if(identity.audience.iter().any(String::is_empty), "aud", "an audience must not be empty");
    change_mode(checks, &identity.change_mode, &identity.change_signal);
    checks.refuse_if(identity.ttl.0 < 0, "ttl", "must not be negative");
    checks.refuse_if(is_default && identity.ttl.0 != 0, "ttl", "the default identity lives as long as its allocation");
    checks.refuse_if(!identity.filepath.is_empty() && !identity.file, "filepath", "needs file = true");
    checks.refuse_if(escapes(&identity.filepath), "filepath", "leads out of the task's directory");
    if is_default {
        return;
    }
    match identity.audience.len() {
        0 => checks.warn("identities without an audience are accepted by anyone"),
        1 => {}
        _ => checks.warn("an identity with several audiences can be replayed by one at the other"),
    }
    if identity.ttl.0 == 0 {
        checks.warn("identities without a ttl never expire");
    } else if identity.env && identity.change_mode != "restart" {
        checks.warn("an environment variable is only renewed by a restart: set change_mode");
    }
}

fn secret(checks: &mut Checks<'_>, secret: &Secret, vault: Option<&Vault>) {
    checks.refuse_if(!is_word(&secret.name), "name", "must be made of letters, digits and _");
    checks.refuse_if(secret.provider.is_empty(), "provider", "a secret needs a provider");
    checks.refuse_if(secret.path.is_empty(), "path", "a secret needs a path");
    let known: &[&str] = match secret.provider.as_str() {
        "nomad" => &["namespace"],
        "vault" => &["engine"],
        _ => {
            checks.refuse_if(!secret.config.is_empty(), "config", "provider plugins are configured by env");
            return;
        }
    };
    checks.refuse_if(!secret.env.is_empty(), "env", "built-in providers are configured by config");
    for key in secret.config.keys().filter(|key| !known.contains(&key.as_str())) {
        checks.refuse("config", format!("{key:?} is no setting of provider {}", secret.provider));
    }
    if secret.provider == "vault" {
        checks.refuse_if(vault.is_none(), "provider", "secrets from Vault need a vault block");
        let engine = secret.config.get("engine").and_then(serde_json::Value::as_str).unwrap_or("kv_v1");
        checks.refuse_if(!["kv_v1", "kv_v2"].contains(&engine), "config", "engine must be kv_v1 or kv_v2");
    }
}

fn small_blocks(checks: &mut Checks<'_>, task: &Task) {
    checks.unique("action", task.actions.iter().map(|action| action.name.as_str()));
    for action in &task.actions {
        checks.block("action", &action.name, |checks| {
            let odd = action.name.contains(|c: char| c.is_whitespace() || c == '\0');
            let length = action.name.chars().count();
            checks.refuse_if(odd || !(1..=128).contains(&length), "name", "must be 1 to 128 characters without spaces");
            checks.refuse_if(action.command.is_empty(), "command", "an action needs a command");
        });
    }
    if let Some(payload) = &task.dispatch_payload {
        checks.block("dispatch_payload", "", |checks| {
            checks.refuse_if(payload.file.is_empty(), "file", "a payload needs a file");
            checks.refuse_if(escapes(&payload.file), "file", "leads out of the directory local/");
        });
    }
    if let Some(plugin) = &task.csi_plugin_config {
        checks.block("csi_plugin", "", |checks| {
            checks.refuse_if(plugin.id.is_empty(), "id", "a plugin needs an id");
            checks.choice("type", &plugin.r#type, &["node", "controller", "monolith"]);
            let nested =
                plugin.stage_publish_base_dir.starts_with(&format!("{}/", plugin.mount_dir.trim_end_matches('/')));
            checks.refuse_if(nested, "stage_publish_base_dir", "must not be under mount_dir");
        });
    }
    if let Some(cron) = task.schedule.as_ref().and_then(|schedule| schedule.cron.as_ref()) {
        checks.block("schedule", "", |checks| schedule(checks, cron));
    }
    checks.each("scaling", &task.scaling_policies, |checks, policy| {
        checks.choice("type", &policy.r#type, &["vertical_cpu", "vertical_mem"]);
        group::bounds(checks, policy, None);
    });
    checks.unique("scaling", task.scaling_policies.iter().map(|policy| policy.r#type.as_str()));
}

fn schedule(checks: &mut Checks<'_>, cron: &TaskScheduleCron) {
    let fields = |text: &str| text.split_whitespace().count();
    let plain = |text: &str| !text.contains([',', '/']);
    checks.refuse_if(
        fields(&cron.start) != 6 || !plain(&cron.start),
        "start",
        "must have 6 cron fields without , and /",
    );
    checks.refuse_if(fields(&cron.end) != 2 || !plain(&cron.end), "end", "must have 2 cron fields without , and /");
}
