//! What a task's `config` names on the host, read or checked before the engine is told of it. Blocks for a few looks at the disk.

use std::io;
use std::path::{Path, PathBuf};

use orch_driver::{TaskDirs, TaskSpec};

use crate::config::Config;
use crate::task_config::TaskConfig;

/// A security profile may not be larger.
const PROFILE_LIMIT: u64 = 1 << 20;

/// Puts the text of seccomp profiles in place of their paths, as the engine wants it.
///
/// # Errors
/// A sentence: the file is not there, not JSON, or not the task's to read.
pub(crate) fn profiles(task: &mut TaskConfig, spec: &TaskSpec, node: &Config) -> Result<(), String> {
    for option in &mut task.privileges.security_opt {
        let path = ["seccomp=", "seccomp:"].iter().find_map(|prefix| option.strip_prefix(prefix));
        let Some(path) = path.filter(|path| !["unconfined", "builtin"].contains(path)) else { continue };
        let failed = |error: io::Error| format!("security_opt: the seccomp profile {path:?} cannot be read: {error}");
        let place = spec.dirs.task.join(path);
        if !node.volumes_enabled && !is_inside(&place, &spec.dirs).map_err(failed)? {
            return Err(format!(
                "security_opt: the seccomp profile {path:?} is outside of the allocation's directories"
            ));
        }
        if std::fs::metadata(&place).map_err(failed)?.len() > PROFILE_LIMIT {
            return Err(format!("security_opt: the seccomp profile {path:?} is larger than {PROFILE_LIMIT} bytes"));
        }
        let text = std::fs::read(&place).map_err(failed)?;
        let profile: serde_json::Value = serde_json::from_slice(&text)
            .map_err(|error| format!("security_opt: the seccomp profile {path:?} is not JSON: {error}"))?;
        *option = format!("seccomp={profile}");
    }
    Ok(())
}

/// Checks that none of `sources` leads out of the allocation's directories by a link: the engine would follow it.
pub(crate) fn stays_inside(sources: &[PathBuf], dirs: &TaskDirs) -> Result<(), String> {
    for source in sources {
        match is_inside(source, dirs) {
            Ok(true) => {}
            Ok(false) => {
                return Err(format!(
                    "{} leads out of the allocation's directories: that takes volumes {{ enabled = true }} on this node",
                    source.display()
                ));
            }
            Err(error) => return Err(format!("cannot look at {}: {error}", source.display())),
        }
    }
    Ok(())
}

/// Whether the real place of `path`, or of as much of it as exists, is in the task's or the shared directory.
fn is_inside(path: &Path, dirs: &TaskDirs) -> io::Result<bool> {
    let real = real(path)?;
    for directory in [&dirs.task, &dirs.shared] {
        match directory.canonicalize() {
            Ok(directory) if real.starts_with(&directory) => return Ok(true),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// A link that leads nowhere counts as itself leading out: the engine would make what it points to.
fn real(path: &Path) -> io::Result<PathBuf> {
    let mut existing = path;
    loop {
        match existing.canonicalize() {
            Ok(real) => return Ok(real),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if existing.symlink_metadata().is_ok() {
                    return std::fs::read_link(existing);
                }
                existing = existing.parent().ok_or(error)?;
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use serde_json::json;

    use super::*;

    fn task_dirs(root: &Path) -> TaskDirs {
        let dirs = TaskDirs {
            task: root.join("web"),
            local: root.join("web/local"),
            secrets: root.join("web/secrets"),
            shared: root.join("alloc"),
        };
        for directory in [&dirs.local, &dirs.secrets, &dirs.shared] {
            std::fs::create_dir_all(directory).unwrap();
        }
        dirs
    }

    #[test]
    fn links_do_not_lead_out() {
        let root = tempfile::tempdir().unwrap();
        let dirs = task_dirs(root.path());
        symlink("/etc", dirs.local.join("etc")).unwrap();
        symlink("/no/such/thing", dirs.local.join("nowhere")).unwrap();
        symlink(&dirs.shared, dirs.local.join("shared")).unwrap();
        for (path, fits) in [
            ("new/deep", true),
            ("shared/x", true),
            ("etc", false),
            ("etc/new", false),
            ("nowhere", false),
            ("nowhere/x", false),
        ] {
            let checked = stays_inside(&[dirs.local.join(path)], &dirs);
            assert_eq!(checked.is_ok(), fits, "{path}: {checked:?}");
        }
    }

    #[test]
    fn profiles_are_read_from_the_tasks_directory_only() {
        let root = tempfile::tempdir().unwrap();
        let spec = TaskSpec { dirs: task_dirs(root.path()), ..TaskSpec::default() };
        std::fs::write(spec.dirs.local.join("profile.json"), "{\n \"defaultAction\": \"SCMP_ACT_ALLOW\" }").unwrap();
        std::fs::write(spec.dirs.local.join("wrong.json"), "no").unwrap();
        let load = |options: serde_json::Value| {
            let config = json!({"image": "i", "security_opt": options});
            let mut task = TaskConfig::read(&serde_json::from_value(config).unwrap()).unwrap();
            profiles(&mut task, &spec, &Config::default()).map(|()| task.privileges.security_opt)
        };
        let loaded = load(json!(["no-new-privileges", "seccomp=local/profile.json", "seccomp=unconfined"])).unwrap();
        let expected = ["no-new-privileges", "seccomp={\"defaultAction\":\"SCMP_ACT_ALLOW\"}", "seccomp=unconfined"];
        assert_eq!(loaded, expected);
        for (path, part) in
            [("/etc/passwd", "outside"), ("local/wrong.json", "not JSON"), ("local/absent.json", "cannot be read")]
        {
            let message = load(json!([format!("seccomp={path}")])).unwrap_err();
            assert!(message.contains(part), "{message}");
        }
    }
}
