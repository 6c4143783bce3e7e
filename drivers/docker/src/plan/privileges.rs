use bollard::models::{HostConfig, HostConfigCgroupnsModeEnum};
use orch_driver::TaskSpec;

use super::some_of;
use crate::config::{Config, DEFAULT_CAPS, matches};
use crate::task_config::{CgroupNs, Privileges};

/// By this variable a task says which NVIDIA devices it was given.
const NVIDIA_DEVICES: &str = "NVIDIA_VISIBLE_DEVICES";

pub(super) fn apply(
    container: &mut HostConfig,
    spec: &TaskSpec,
    task: &Privileges,
    node: &Config,
) -> Result<(), String> {
    if task.privileged && !node.allow_privileged {
        return Err("privileged containers are not allowed on this node: it takes allow_privileged".to_owned());
    }
    let modes = [
        ("pid", &task.pid_mode, &node.allowed_modes.pid),
        ("ipc", &task.ipc_mode, &node.allowed_modes.ipc),
        ("userns", &task.userns_mode, &node.allowed_modes.userns),
        ("uts", &task.uts_mode, &node.allowed_modes.uts),
    ];
    for (kind, mode, allowed) in modes {
        let Some(mode) = mode.as_deref().filter(|mode| leaves_the_container(mode)) else { continue };
        if !node.allow_privileged && !allowed.iter().any(|glob| matches(glob, mode)) {
            return Err(format!(
                "{kind}_mode {mode:?} is not allowed on this node: it takes allow_privileged, or allowed_modes.{kind}"
            ));
        }
    }
    container.privileged = Some(task.privileged);
    container.pid_mode = task.pid_mode.clone();
    container.ipc_mode = task.ipc_mode.clone();
    container.userns_mode = task.userns_mode.clone();
    container.uts_mode = task.uts_mode.clone();
    container.cgroupns_mode = task.cgroupns.map(|mode| match mode {
        CgroupNs::Host => HostConfigCgroupnsModeEnum::HOST,
        CgroupNs::Private => HostConfigCgroupnsModeEnum::PRIVATE,
    });
    (container.cap_add, container.cap_drop) = capabilities(task, node)?;
    container.devices = some_of(task.devices.clone());
    container.group_add = some_of(task.group_add.clone());
    container.security_opt = some_of(task.security_opt.clone());
    container.runtime = runtime(spec, task, node)?;
    Ok(())
}

/// Whether a mode lets a container into something that is not its own.
fn leaves_the_container(mode: &str) -> bool {
    mode == "host" || mode.starts_with("container:")
}

type Names = Option<Vec<String>>;

/// What is added and dropped, relative to what the engine gives by itself.
///
/// A task may ask for what the node allows. What the engine gives but the node does not allow is dropped.
fn capabilities(task: &Privileges, node: &Config) -> Result<(Names, Names), String> {
    let allows = |name: &str| node.allow_caps.iter().any(|allowed| allowed == "all" || allowed == name);
    let refused: Vec<&str> = task.cap_add.iter().map(String::as_str).filter(|name| !allows(name)).collect();
    if !refused.is_empty() {
        return Err(format!(
            "cap_add asks for what is not allowed on this node: {}; allow_caps has {}",
            refused.join(", "),
            node.allow_caps.join(", ")
        ));
    }
    let mut drop = task.cap_drop.clone();
    if !task.privileged {
        let surplus = DEFAULT_CAPS.iter().filter(|name| !allows(name) && !drop.iter().any(|own| own == *name));
        let surplus: Vec<String> = surplus.map(|name| (*name).to_owned()).collect();
        drop.extend(surplus);
    }
    let spell = |names: &[String]| some_of(names.iter().map(|name| name.to_ascii_uppercase()).collect());
    Ok((spell(&task.cap_add), spell(&drop)))
}

fn runtime(spec: &TaskSpec, task: &Privileges, node: &Config) -> Result<Option<String>, String> {
    if let Some(runtime) = &task.runtime {
        if !node.allow_runtimes.contains(runtime) {
            let allowed = node.allow_runtimes.join(", ");
            return Err(format!("runtime {runtime:?} is not allowed on this node: allow_runtimes has {allowed}"));
        }
        return Ok(Some(runtime.clone()));
    }
    let devices = spec.env.get(NVIDIA_DEVICES).is_some_and(|devices| !devices.is_empty());
    Ok(devices.then(|| node.nvidia_runtime.clone()))
}
