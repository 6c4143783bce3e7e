//! From a task's specification to what the supervisor is asked to start. Reads the host, changes nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use orch_driver::{Error, LogSpec, TaskDirs, TaskLimits, TaskSpec};
use orch_host::cgroup::Hierarchies;
use orch_supervisor::{CgroupSpec, Denied, DriverTasks, SpawnSpec, limits_of, resolve_user};

use crate::config::{Config, TaskConfig, is_denied};
use crate::{NAME, command};

/// What to ask of the supervisor for `spec`. Blocks for a few looks at the disk.
pub(crate) fn make(spec: TaskSpec, node: &Config) -> Result<SpawnSpec, Error> {
    let task = TaskConfig::read(&spec.config)?;
    let denied = Denied { uids: &node.denied_host_uids, gids: &node.denied_host_gids };
    let user = resolve_user(spec.user.as_deref(), denied).map_err(|error| refused(&error))?;
    let command = command::find(&task.command, &spec.dirs, &spec.env).map_err(|error| refused(&error))?;
    let LogSpec { dir, max_files, max_file_bytes, disabled } = spec.logs;
    Ok(SpawnSpec {
        key: DriverTasks::key(NAME, &spec.id),
        command,
        work_dir: work_dir(&task, &spec.dirs)?,
        user,
        cgroup: Some(cgroup(&task, spec.limits)?),
        logs: orch_supervisor::LogSpec { dir, task: spec.id.task, max_files, max_file_bytes, disabled },
        oom_score_adj: task.oom_score_adj,
        sandbox: None,
        env: environment(spec.env, &node.denied_envvars, &task.denied_envvars),
        args: task.args,
    })
}

/// A start that fails the same way however often it is tried.
fn refused(error: &dyn std::error::Error) -> Error {
    let message = match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    };
    Error::StartFailed { message, recoverable: false }
}

fn work_dir(task: &TaskConfig, dirs: &TaskDirs) -> Result<PathBuf, Error> {
    let directory = task.work_dir.as_ref().map_or_else(|| dirs.task.clone(), |path| dirs.task.join(path));
    if directory.is_dir() {
        return Ok(directory);
    }
    let message = format!("working directory {} does not exist", directory.display());
    Err(Error::StartFailed { message, recoverable: false })
}

fn environment(
    env: BTreeMap<String, String>,
    denied_by_node: &[String],
    denied_by_task: &[String],
) -> Vec<(String, String)> {
    env.into_iter().filter(|(name, _)| !is_denied(name, denied_by_node) && !is_denied(name, denied_by_task)).collect()
}

fn cgroup(task: &TaskConfig, limits: TaskLimits) -> Result<CgroupSpec, Error> {
    if task.cgroup_v2_override.is_none() && task.cgroup_v1_override.is_empty() {
        return Ok(CgroupSpec::Own(limits_of(limits)));
    }
    let host =
        Hierarchies::detect().map_err(|error| Error::failed("cannot find the control groups of this host", error))?;
    let v2 = task.cgroup_v2_override.iter().map(|path| ("version 2".to_owned(), host.v2.as_deref(), path));
    let v1 = task
        .cgroup_v1_override
        .iter()
        .map(|(controller, path)| (format!("version 1 controller {controller}"), host.v1_root(controller), path));
    v2.chain(v1)
        .map(|(tree, root, path)| existing(&tree, root, path))
        .collect::<Result<_, _>>()
        .map(CgroupSpec::Existing)
}

fn existing(tree: &str, root: Option<&Path>, path: &str) -> Result<PathBuf, Error> {
    let failed = |message| Err(Error::StartFailed { message, recoverable: false });
    let Some(root) = root else {
        return failed(format!("this host has no control groups of {tree} for {path:?}"));
    };
    let inside = Path::new(path).strip_prefix(root).unwrap_or(Path::new(path.trim_start_matches('/')));
    let directory = root.join(inside);
    if directory.is_dir() {
        Ok(directory)
    } else {
        failed(format!("control group {} does not exist", directory.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn denied_variables_are_taken_out() {
        let env = ["KEEP", "NODE_TOKEN", "TASK_TOKEN"].map(|name| (name.to_owned(), "1".to_owned()));
        let left = environment(env.into(), &["NODE_*".to_owned()], &["TASK_*".to_owned()]);
        assert_eq!(left, [("KEEP".to_owned(), "1".to_owned())]);
    }

    #[test]
    fn a_foreign_control_group_is_looked_for_below_its_tree() {
        let tree = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(tree.path().join("mine/task")).unwrap();
        let root = Some(tree.path());
        let expected = tree.path().join("mine/task");
        for path in ["mine/task", "/mine/task", &expected.display().to_string()] {
            assert_eq!(existing("version 2", root, path).unwrap(), expected);
        }
        let missing = existing("version 2", root, "other").unwrap_err().to_string();
        assert!(missing.contains("does not exist"), "{missing}");
        assert!(existing("version 2", None, "mine/task").unwrap_err().to_string().contains("no control groups"));
    }
}
