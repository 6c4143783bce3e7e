//! The volumes of the host that a task sees.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use orch_driver::{Propagation, TaskMount};
use orch_model::job::{TaskGroup, VolumeMount};

use super::{Made, TaskHook, TaskSetup};
use crate::alloc_runner::task::PrepareError;
use crate::interpolate::Names;

/// Finds the directories of the volumes that a task mounts.
pub(super) struct Volumes;

#[async_trait]
impl TaskHook for Volumes {
    fn name(&self) -> &'static str {
        "volumes"
    }

    async fn prestart(&self, setup: &TaskSetup, made: &mut Made) -> Result<(), PrepareError> {
        let task = setup.task()?;
        if task.volume_mounts.is_empty() {
            return Ok(());
        }
        if !super::driver(&setup.context, task)?.capabilities().mounts {
            return Err(PrepareError::Invalid(format!(
                "task {:?} mounts volumes, which its driver {:?} does not support",
                task.name, task.driver
            )));
        }
        let group = setup.group()?;
        let mounts = task.volume_mounts.iter().map(|mount| find(setup, group, mount, &made.names));
        made.mounts = mounts.collect::<Result<_, _>>()?;
        Ok(())
    }
}

fn find(setup: &TaskSetup, group: &TaskGroup, mount: &VolumeMount, names: &Names) -> Result<TaskMount, PrepareError> {
    let invalid = PrepareError::Invalid;
    let VolumeMount { volume, destination, read_only, propagation_mode, selinux_label: _ } = mount;
    let request =
        group.volumes.get(volume).ok_or_else(|| invalid(format!("the group has no volume {volume:?} to mount")))?;
    if request.r#type != "host" {
        return Err(invalid(format!(
            "volume {volume:?} is of type {:?}: this node mounts host volumes",
            request.r#type
        )));
    }
    let source = names.fill(&request.source_for(setup.alloc.index));
    let namespace = setup.alloc.job.namespace.as_str();
    let found = setup.context.volumes.find(&source, namespace).ok_or_else(|| {
        PrepareError::Setup(format!("this node has no host volume {source:?}, which volume {volume:?} asks for"))
    })?;
    if !found.path.exists() {
        let path = found.path.display();
        return Err(PrepareError::Setup(format!("the directory {path} of the host volume {source:?} is not there")));
    }
    let propagation = match propagation_mode.as_str() {
        "" | "private" => Propagation::Private,
        "host-to-task" => Propagation::HostToTask,
        "bidirectional" => Propagation::Bidirectional,
        other => return Err(invalid(format!("volume {volume:?} has an unknown propagation_mode {other:?}"))),
    };
    Ok(TaskMount {
        host_path: found.path,
        task_path: inside(&names.fill(destination)),
        read_only: *read_only || request.read_only || found.read_only,
        propagation,
    })
}

/// A path in the task's own root; relative ones count from there.
fn inside(path: &str) -> PathBuf {
    Path::new("/").join(path)
}
