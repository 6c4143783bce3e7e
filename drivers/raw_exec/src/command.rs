use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use orch_driver::TaskDirs;

/// Where programs are looked for if the task's environment does not say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why there is no program to run.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CommandError {
    #[error("command {command:?} was not found in {}", paths(.looked_in))]
    NotFound { command: String, looked_in: Vec<PathBuf> },
    #[error("command {} is not executable: set its x permission", .0.display())]
    NotExecutable(PathBuf),
}

fn paths(directories: &[PathBuf]) -> String {
    let names: Vec<String> = directories.iter().map(|directory| directory.display().to_string()).collect();
    names.join(", ")
}

/// The program that `command` means: an absolute path, or one below the task's `local`, below the task's directory, or, without a slash,
/// in the `PATH` of its environment. Blocks for a few looks at the disk.
pub(crate) fn find(command: &str, dirs: &TaskDirs, env: &BTreeMap<String, String>) -> Result<PathBuf, CommandError> {
    let mut directories = vec![dirs.local.clone(), dirs.task.clone()];
    if !command.contains('/') {
        let path = env.get("PATH").map_or(DEFAULT_PATH, String::as_str);
        // An entry that is not absolute would depend on where the agent runs.
        directories.extend(std::env::split_paths(path).filter(|directory| directory.is_absolute()));
    }
    if Path::new(command).is_absolute() {
        directories = vec![PathBuf::from("/")];
    }
    let mut unusable = None;
    for directory in &directories {
        let file = directory.join(command);
        match std::fs::metadata(&file) {
            Ok(facts) if facts.is_file() && facts.permissions().mode() & 0o111 != 0 => return Ok(file),
            Ok(facts) if facts.is_file() => drop(unusable.get_or_insert(file)),
            Ok(_) | Err(_) => {}
        }
    }
    Err(match unusable {
        Some(file) => CommandError::NotExecutable(file),
        None => CommandError::NotFound { command: command.to_owned(), looked_in: directories },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(file: &Path, mode: u32) {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn the_tasks_own_programs_come_before_those_of_the_host() {
        let root = tempfile::tempdir().unwrap();
        let dirs = TaskDirs { task: root.path().join("t"), local: root.path().join("t/local"), ..TaskDirs::default() };
        let bin = root.path().join("bin");
        let env = BTreeMap::from([("PATH".to_owned(), format!("relative:{}", bin.display()))]);
        let find = |command: &str| super::find(command, &dirs, &env);

        let missing = find("prog").unwrap_err().to_string();
        assert!(missing.contains("\"prog\"") && missing.contains(&bin.display().to_string()), "{missing}");
        assert!(!missing.contains("relative"), "{missing}");
        for place in [bin.join("prog"), dirs.task.join("prog"), dirs.local.join("prog")] {
            put(&place, 0o755);
            assert_eq!(find("prog"), Ok(place));
        }
        put(&dirs.task.join("sub/tool"), 0o755);
        assert_eq!(find("sub/tool"), Ok(dirs.task.join("sub/tool")));
        assert_eq!(find(&bin.join("prog").display().to_string()), Ok(bin.join("prog")));
    }

    #[test]
    fn a_file_that_may_not_be_executed_is_said_to_be_one() {
        let root = tempfile::tempdir().unwrap();
        let dirs = TaskDirs { task: root.path().join("t"), local: root.path().join("t/local"), ..TaskDirs::default() };
        put(&dirs.local.join("data"), 0o644);
        assert_eq!(find("data", &dirs, &BTreeMap::new()), Err(CommandError::NotExecutable(dirs.local.join("data"))));
        assert!(matches!(find("local", &dirs, &BTreeMap::new()), Err(CommandError::NotFound { .. })));
    }
}
