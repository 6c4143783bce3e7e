use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use bollard::models::{
    HostConfig, Mount, MountBindOptions, MountBindOptionsPropagationEnum, MountTmpfsOptions, MountType,
    MountVolumeOptions, MountVolumeOptionsDriverConfig,
};
use orch_driver::{Propagation, TaskMount, TaskSpec};

use super::{some_map, some_of};
use crate::config::Config;
use crate::task_config::{MountKind, Storage, TaskMountConfig};

/// Sets what a container mounts, and returns those sources that have to stay inside the allocation's directories.
pub(super) fn apply(
    container: &mut HostConfig,
    spec: &TaskSpec,
    task: &Storage,
    node: &Config,
) -> Result<Vec<PathBuf>, String> {
    let mut inside = Vec::new();
    let mut binds = own_binds(spec, node)?;
    for volume in &task.volumes {
        binds.push(bind(volume, spec, task, node, &mut inside)?);
    }
    let mut mounts: Vec<Mount> = spec.mounts.iter().map(given).collect::<Result<_, _>>()?;
    for mount in &task.mounts {
        mounts.push(asked(mount, spec, node, &mut inside)?);
    }
    if task.volume_driver.is_some() && !node.volumes_enabled {
        return Err("volume_driver is not allowed on this node: it takes volumes { enabled = true }".to_owned());
    }
    container.binds = some_of(binds);
    container.mounts = some_of(mounts);
    container.volume_driver = task.volume_driver.clone();
    container.readonly_rootfs = Some(task.readonly_rootfs);
    container.storage_opt = some_map(&task.storage_opt);
    Ok(inside)
}

/// The directories that every task has. Its logs are the agent's to write.
fn own_binds(spec: &TaskSpec, node: &Config) -> Result<Vec<String>, String> {
    let dirs = &spec.dirs;
    let mut own = vec![(&dirs.shared, "/alloc", ""), (&dirs.local, "/local", ""), (&dirs.secrets, "/secrets", "")];
    if spec.logs.dir.starts_with(&dirs.shared) {
        own.push((&spec.logs.dir, "/alloc/logs", "ro"));
    }
    own.into_iter()
        .map(|(source, target, mode)| {
            let modes: Vec<&str> =
                [mode].into_iter().filter(|mode| !mode.is_empty()).chain(node.selinux_label.as_deref()).collect();
            let suffix = if modes.is_empty() { String::new() } else { format!(":{}", modes.join(",")) };
            Ok(format!("{}:{target}{suffix}", text(source)?))
        })
        .collect()
}

/// One entry of `volumes`: `source:target[:mode]`.
fn bind(
    volume: &str,
    spec: &TaskSpec,
    task: &Storage,
    node: &Config,
    inside: &mut Vec<PathBuf>,
) -> Result<String, String> {
    let parts: Vec<&str> = volume.splitn(3, ':').collect();
    let (source, target, mode) = match parts[..] {
        [source, target] => (source, target, None),
        [source, target, mode] => (source, target, Some(mode)),
        _ => ("", "", None),
    };
    if source.is_empty() || !target.starts_with('/') {
        return Err(format!("volumes: {volume:?} must be source:/target or source:/target:mode"));
    }
    // With a driver, the source is the name of one of its volumes.
    let source = if task.volume_driver.is_some() {
        source.to_owned()
    } else {
        text(&resolve("volumes", source, spec, node, inside)?)?.to_owned()
    };
    let modes: Vec<&str> = mode.into_iter().chain(node.selinux_label.as_deref()).collect();
    let suffix = if modes.is_empty() { String::new() } else { format!(":{}", modes.join(",")) };
    Ok(format!("{source}:{target}{suffix}"))
}

/// A source on the host: relative to the task's directory; outside of the allocation only where the node allows it.
fn resolve(
    key: &str,
    source: &str,
    spec: &TaskSpec,
    node: &Config,
    inside: &mut Vec<PathBuf>,
) -> Result<PathBuf, String> {
    let path = plain(&spec.dirs.task.join(source));
    if node.volumes_enabled {
        return Ok(path);
    }
    if !path.starts_with(&spec.dirs.task) && !path.starts_with(&spec.dirs.shared) {
        return Err(format!(
            "{key}: {source:?} is outside of the allocation's directories: that takes volumes {{ enabled = true }} on this node"
        ));
    }
    inside.push(path.clone());
    Ok(path)
}

/// `path` without `.` and `..`, as if it had no links.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => plain.push(component),
        }
    }
    plain
}

/// What the agent mounts for the job.
fn given(mount: &TaskMount) -> Result<Mount, String> {
    let propagation = match mount.propagation {
        Propagation::Private => MountBindOptionsPropagationEnum::RPRIVATE,
        Propagation::HostToTask => MountBindOptionsPropagationEnum::RSLAVE,
        Propagation::Bidirectional => MountBindOptionsPropagationEnum::RSHARED,
    };
    Ok(Mount {
        typ: Some(MountType::BIND),
        source: Some(text(&mount.host_path)?.to_owned()),
        target: Some(text(&mount.task_path)?.to_owned()),
        read_only: Some(mount.read_only),
        bind_options: Some(MountBindOptions { propagation: Some(propagation), ..MountBindOptions::default() }),
        ..Mount::default()
    })
}

/// What the task's `config` mounts.
fn asked(mount: &TaskMountConfig, spec: &TaskSpec, node: &Config, inside: &mut Vec<PathBuf>) -> Result<Mount, String> {
    let body = Mount { target: Some(mount.target.clone()), read_only: Some(mount.read_only), ..Mount::default() };
    Ok(match &mount.kind {
        MountKind::Volume { no_copy, labels, driver } => {
            if driver.is_some() && !node.volumes_enabled {
                let needs = "it takes volumes { enabled = true }";
                return Err(format!("mount: a volume with a driver_config is not allowed on this node: {needs}"));
            }
            let driver_config = driver.as_ref().map(|(name, options)| MountVolumeOptionsDriverConfig {
                name: Some(name.clone()),
                options: some_map(options),
            });
            let labels: Option<HashMap<String, String>> = some_map(labels);
            Mount {
                typ: Some(MountType::VOLUME),
                source: (!mount.source.is_empty()).then(|| mount.source.clone()),
                volume_options: Some(MountVolumeOptions {
                    no_copy: Some(*no_copy),
                    labels,
                    driver_config,
                    ..MountVolumeOptions::default()
                }),
                ..body
            }
        }
        MountKind::Bind { propagation } => Mount {
            typ: Some(MountType::BIND),
            source: Some(text(&resolve("mount", &mount.source, spec, node, inside)?)?.to_owned()),
            bind_options: propagation
                .map(|propagation| MountBindOptions { propagation: Some(propagation), ..MountBindOptions::default() }),
            ..body
        },
        MountKind::Tmpfs { size, mode } => Mount {
            typ: Some(MountType::TMPFS),
            tmpfs_options: Some(MountTmpfsOptions { size_bytes: *size, mode: *mode, ..MountTmpfsOptions::default() }),
            ..body
        },
    })
}

fn text(path: &Path) -> Result<&str, String> {
    path.to_str().ok_or_else(|| format!("{} cannot be told to the engine: it is not UTF-8", path.display()))
}
