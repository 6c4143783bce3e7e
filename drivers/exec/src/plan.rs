//! From a task's specification to what the supervisor is asked to start. Reads the host; makes what is mounted upon.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use orch_driver::{Error, LogSpec, TaskDirs, TaskMount, TaskSpec};
use orch_host::cgroup::Limits;
use orch_model::job::DnsConfig;
use orch_supervisor::{CgroupSpec, Denied, DriverTasks, SpawnSpec, UserIds, limits_of, resolve_user};

use crate::config::{Config, TaskConfig};
use crate::sandbox::{self, HostPath, Mountpoint, SandboxPlan, World};
use crate::{NAME, host, mountpoints};

/// Whom a task runs as that names nobody.
const DEFAULT_USER: &str = "nobody";
/// Where programs are looked for if the task's environment does not say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What to ask of the supervisor, and what the task will do without.
pub(crate) struct Planned {
    pub(crate) spawn: SpawnSpec,
    pub(crate) warnings: Vec<String>,
}

/// What to ask of the supervisor for `spec`. Blocks for some looks at the disk.
pub(crate) fn make(spec: TaskSpec, node: &Config) -> Result<Planned, Error> {
    let task = TaskConfig::read(&spec.config, node)?;
    let denied = Denied { uids: &node.denied_host_uids, gids: &node.denied_host_gids };
    let user = spec.user.as_deref().filter(|user| !user.is_empty()).unwrap_or(DEFAULT_USER);
    let user = resolve_user(Some(user), denied).map_err(|error| refused(&error))?;
    let held = host::held();
    let missing = task.asked - held;
    if !missing.is_empty() {
        let message = format!("cap_add names {missing}, which this host does not let its tasks have");
        return Err(Error::StartFailed { message, recoverable: false });
    }
    let mounts =
        spec.mounts.iter().map(|mount| Ok((mount.clone(), is_dir(mount)?))).collect::<Result<Vec<_>, Error>>()?;
    let world = World {
        dirs: &spec.dirs,
        logs: &spec.logs.dir,
        chroot: present(&node.chroot_env),
        mounts: &mounts,
        resolver: spec.dns.as_ref().map(|dns| write_resolver(dns, &spec.dirs)).transpose()?,
        programs: programs(&task.command, &spec.env),
        pid_mode: task.pid_mode,
        ipc_mode: task.ipc_mode,
        capabilities: task.capabilities & held,
        ambient: task.asked,
        pivot: !node.no_pivot_root,
    };
    let SandboxPlan { sandbox, mountpoints } = sandbox::plan(&world).map_err(|error| refused(&error))?;
    for mountpoint in &mountpoints {
        mountpoints::prepare(mountpoint).map_err(|error| refused(&error))?;
    }
    if let Some(user) = &user {
        give_secrets(&spec.dirs, user)?;
    }
    let warnings = covered(&mountpoints, &world.chroot);
    let LogSpec { dir, max_files, max_file_bytes, disabled } = spec.logs;
    let limits = Limits { pids_max: task.pids_limit, ..limits_of(spec.limits) };
    let spawn = SpawnSpec {
        key: DriverTasks::key(NAME, &spec.id),
        command: task.command.into(),
        args: task.args,
        env: environment(spec.env),
        work_dir: task.work_dir,
        user,
        cgroup: Some(CgroupSpec::Own(limits)),
        logs: orch_supervisor::LogSpec { dir, task: spec.id.task, max_files, max_file_bytes, disabled },
        oom_score_adj: None,
        sandbox: Some(Box::new(sandbox)),
    };
    Ok(Planned { spawn, warnings })
}

/// A start that fails the same way however often it is tried.
fn refused(error: &dyn std::error::Error) -> Error {
    let message = match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    };
    Error::StartFailed { message, recoverable: false }
}

/// What of the host there is.
fn present(chroot_env: &BTreeMap<PathBuf, PathBuf>) -> Vec<HostPath> {
    let found = chroot_env.iter().filter_map(|(source, target)| {
        let facts = source.metadata().ok()?;
        Some(HostPath { source: source.clone(), target: target.clone(), is_dir: facts.is_dir() })
    });
    found.collect()
}

fn is_dir(mount: &TaskMount) -> Result<bool, Error> {
    let facts = mount.host_path.metadata().map_err(|error| Error::StartFailed {
        message: format!("{} cannot be mounted: {error}", mount.host_path.display()),
        recoverable: true,
    })?;
    Ok(facts.is_dir())
}

/// Where the program may be, in the order in which it is looked for: in the task's own directories, then, without a slash, in its `PATH`.
fn programs(command: &str, env: &BTreeMap<String, String>) -> Vec<PathBuf> {
    if command.starts_with('/') {
        return vec![command.into()];
    }
    let own = ["/local", "/"].map(PathBuf::from);
    let path = env.get("PATH").map_or(DEFAULT_PATH, String::as_str);
    let searched = std::env::split_paths(path).filter(|directory| directory.is_absolute());
    let searched: Vec<PathBuf> = if command.contains('/') { Vec::new() } else { searched.collect() };
    own.into_iter().chain(searched).map(|directory| directory.join(command)).collect()
}

fn environment(mut env: BTreeMap<String, String>) -> Vec<(String, String)> {
    env.entry("PATH".to_owned()).or_insert_with(|| DEFAULT_PATH.to_owned());
    env.into_iter().collect()
}

/// Writes the file that takes the place of the host's `/etc/resolv.conf`, where only the agent can reach it.
fn write_resolver(dns: &DnsConfig, dirs: &TaskDirs) -> Result<PathBuf, Error> {
    let mut text = String::new();
    for server in &dns.servers {
        // Writing to a text cannot fail.
        let _infallible = writeln!(text, "nameserver {server}");
    }
    for (word, values) in [("search", &dns.searches), ("options", &dns.options)] {
        if !values.is_empty() {
            let _infallible = writeln!(text, "{word} {}", values.join(" "));
        }
    }
    let directory = dirs.task.join("private");
    let file = directory.join("resolv.conf");
    let written = match std::fs::DirBuilder::new().mode(0o700).create(&directory) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        Ok(()) | Err(_) => std::fs::write(&file, text),
    };
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    written
        .and_then(|()| std::fs::set_permissions(&file, readable))
        .map(|()| file.clone())
        .map_err(|error| Error::failed(format!("{} cannot be written", file.display()), error))
}

/// The secrets are their reader's: the agent cannot know whom a task runs as that names nobody.
fn give_secrets(dirs: &TaskDirs, user: &UserIds) -> Result<(), Error> {
    std::os::unix::fs::lchown(&dirs.secrets, Some(user.uid), Some(user.gid))
        .map_err(|error| Error::failed(format!("{} cannot be given to the task", dirs.secrets.display()), error))
}

/// The task's files that it cannot see for what is mounted upon them.
fn covered(mountpoints: &[Mountpoint], chroot: &[HostPath]) -> Vec<String> {
    let filled = |directory: &Path| std::fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some());
    let of_host = |inside: &Path| chroot.iter().any(|path| path.target.strip_prefix("/").ok() == Some(inside));
    let directories = mountpoints.iter().filter_map(|mountpoint| match mountpoint {
        Mountpoint::Made { base, inside, is_dir: true } if of_host(inside) && filled(&base.join(inside)) => {
            Some(inside)
        }
        Mountpoint::Made { .. } | Mountpoint::Found { .. } => None,
    });
    directories
        .map(|inside| {
            let directory = inside.display();
            format!(
                "the files in the task's own {directory}/ are covered by /{directory} of the host: put them into local/"
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tasks_own_programs_come_before_those_of_the_host() {
        let env = BTreeMap::from([("PATH".to_owned(), "relative:/usr/bin".to_owned())]);
        let paths = |paths: &[&str]| paths.iter().map(PathBuf::from).collect::<Vec<_>>();
        assert_eq!(programs("/bin/sh", &env), paths(&["/bin/sh"]));
        assert_eq!(programs("bin/tool", &env), paths(&["/local/bin/tool", "/bin/tool"]));
        assert_eq!(programs("tool", &env), paths(&["/local/tool", "/tool", "/usr/bin/tool"]));
        assert!(programs("tool", &BTreeMap::new()).contains(&PathBuf::from("/usr/sbin/tool")));
    }

    #[test]
    fn name_servers_are_written_as_the_resolver_reads_them() {
        let root = tempfile::tempdir().unwrap();
        let dirs = TaskDirs { task: root.path().into(), ..TaskDirs::default() };
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let dns = DnsConfig {
            servers: texts(&["10.0.0.1", "10.0.0.2"]),
            searches: texts(&["a.example", "b.example"]),
            options: texts(&["ndots:2"]),
        };
        let file = write_resolver(&dns, &dirs).unwrap();
        let expected = "nameserver 10.0.0.1\nnameserver 10.0.0.2\nsearch a.example b.example\noptions ndots:2\n";
        assert_eq!(std::fs::read_to_string(file).unwrap(), expected);
    }

    #[test]
    fn files_that_the_host_covers_are_told() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("etc")).unwrap();
        let host = [HostPath { source: "/etc".into(), target: "/etc".into(), is_dir: true }];
        let points = [Mountpoint::Made { base: root.path().into(), inside: "etc".into(), is_dir: true }];
        assert_eq!(covered(&points, &host), [""; 0]);
        std::fs::write(root.path().join("etc/app.conf"), "").unwrap();
        assert!(covered(&points, &host)[0].contains("put them into local/"));
    }
}
