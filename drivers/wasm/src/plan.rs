//! From a task's specification to what its process is told. Reads the host, changes nothing.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use orch_driver::{Error, TaskMount, TaskPort, TaskSpec};
use orch_supervisor::{Denied, IdRanges, UserIds, resolve_user};
use serde::{Deserialize, Serialize};

use crate::codegen::Codegen;
use crate::config::{Config, Directory, Http, TaskConfig};
use crate::files::Beneath;
use crate::hosts::HostPattern;
use crate::limits;

/// What a task's process is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// The compiled file.
    pub(crate) artifact: PathBuf,
    pub(crate) kind: Kind,
    pub(crate) codegen: Codegen,
    /// The first of them is the name of the program.
    pub(crate) args: Vec<String>,
    /// All that the program sees; the process has an empty environment.
    pub(crate) env: Vec<(String, String)>,
    pub(crate) dirs: Vec<Preopen>,
    /// Set where requests are served.
    pub(crate) http: Option<HttpPlan>,
    /// How long the program may run, or one request may take.
    pub(crate) timeout: Option<Duration>,
    pub(crate) fuel: Option<u64>,
    /// In bytes, of all that runs at once.
    pub(crate) memory: Option<u64>,
    pub(crate) allowed_hosts: Vec<HostPattern>,
    /// The ports that were given to the task, on which it may listen.
    pub(crate) ports: Vec<u16>,
    /// Whom to become; `None` keeps the supervisor's user.
    pub(crate) user: Option<UserIds>,
}

/// What a compiled file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Module,
    Component,
}

/// A directory that the program sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Preopen {
    /// It may not lead out of this directory of the host.
    pub(crate) base: PathBuf,
    pub(crate) below: PathBuf,
    pub(crate) guest: String,
    pub(crate) read_only: bool,
}

/// How requests are served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HttpPlan {
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) max_concurrency: u32,
}

/// What is known before the module is compiled.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) module: File,
    pub(crate) codegen: Codegen,
    /// With `artifact` and `kind` to be filled in.
    pub(crate) plan: Plan,
    pub(crate) warnings: Vec<String>,
}

/// What `spec` asks for. Blocks for a few looks at the disk.
pub(crate) fn prepare(spec: &TaskSpec, node: &Config) -> Result<Prepared, Error> {
    let task = TaskConfig::read(&spec.config)?;
    let nobody = IdRanges::default();
    let user = resolve_user(spec.user.as_deref(), Denied { uids: &nobody, gids: &nobody });
    let user = user.map_err(|error| refused(error.to_string()))?;
    let module = find_module(&task.module, spec, &node.module_dirs)?;
    let http = task.http.as_ref().map(|http| http_plan(http, &spec.ports)).transpose()?;
    let timeout = task.http.as_ref().map(|http| http.timeout).or(task.timeout);
    let codegen = Codegen { epochs: timeout.is_some(), fuel: task.fuel.is_some() };
    let dirs = directories(&task.dirs, spec)?;
    let mut warnings = Vec::new();
    if spec.dns.is_some() {
        warnings.push("driver wasm resolves names as the host does: the network's dns block has no effect".to_owned());
    }
    let name =
        Path::new(&task.module).file_name().map_or_else(|| task.module.clone(), |name| name.to_string_lossy().into());
    let plan = Plan {
        artifact: PathBuf::new(),
        kind: Kind::Module,
        codegen,
        args: std::iter::once(name).chain(task.args).collect(),
        env: spec.env.clone().into_iter().collect(),
        dirs,
        http,
        timeout,
        fuel: task.fuel,
        memory: limits::program_memory(&spec.limits),
        allowed_hosts: task.allowed_hosts,
        ports: spec.ports.iter().map(|port| port.host).collect(),
        user,
    };
    Ok(Prepared { module, codegen, plan, warnings })
}

/// A start that fails the same way however often it is tried.
pub(crate) fn refused(message: String) -> Error {
    Error::StartFailed { message, recoverable: false }
}

fn http_plan(http: &Http, ports: &[TaskPort]) -> Result<HttpPlan, Error> {
    let listen: Vec<SocketAddr> = ports
        .iter()
        .filter(|port| port.label == http.port)
        .map(|port| SocketAddr::new(port.host_ip, port.host))
        .collect();
    if listen.is_empty() {
        let labels: Vec<&str> = ports.iter().map(|port| port.label.as_str()).collect();
        let there = if labels.is_empty() { "none".to_owned() } else { labels.join(", ") };
        return Err(refused(format!("the group has no port {:?} to serve on; its ports: {there}", http.port)));
    }
    Ok(HttpPlan { listen, max_concurrency: http.max_concurrency })
}

/// A directory of the task, as it sees it and as the host does.
struct Place<'a> {
    guest: &'a Path,
    host: &'a Path,
    read_only: bool,
}

/// Where the paths of a task lead: to its own directories and its volumes.
fn places(spec: &TaskSpec) -> impl Iterator<Item = Place<'_>> {
    let own = [("/alloc", &spec.dirs.shared), ("/local", &spec.dirs.local), ("/secrets", &spec.dirs.secrets)];
    let own = own.into_iter().map(|(guest, host)| Place { guest: Path::new(guest), host, read_only: false });
    own.chain(spec.mounts.iter().map(|TaskMount { host_path, task_path, read_only, propagation: _ }| Place {
        guest: task_path,
        host: host_path,
        read_only: *read_only,
    }))
}

fn find_module(module: &str, spec: &TaskSpec, module_dirs: &[PathBuf]) -> Result<File, Error> {
    let path = Path::new(module);
    let candidates: Vec<Beneath> = if path.is_absolute() {
        let as_seen = places(spec).filter_map(|place| Beneath::of(path, place.guest, place.host));
        let own = [&spec.dirs.task, &spec.dirs.local, &spec.dirs.secrets, &spec.dirs.shared];
        let on_host = own.into_iter().chain(module_dirs).filter_map(|base| Beneath::of(path, base, base));
        as_seen.chain(on_host).collect()
    } else {
        let bases = [&spec.dirs.local, &spec.dirs.task];
        bases.into_iter().map(|base| Beneath { base: base.clone(), below: path.to_owned() }).collect()
    };
    if candidates.is_empty() {
        let message = format!(
            "module {module} is outside of the task's directories: put it there with an artifact block, or have the \
             node's module_dirs name its directory"
        );
        return Err(refused(message));
    }
    let mut reason = None;
    for candidate in &candidates {
        match candidate.open_file() {
            Ok(file) => return Ok(file),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => drop(reason.get_or_insert(error)),
        }
    }
    Err(refused(match reason {
        Some(error) => format!("module {module} cannot be read: {error}"),
        None => {
            let places: Vec<String> = candidates.iter().map(|place| place.base.display().to_string()).collect();
            format!("module {module} was not found in {}", places.join(", "))
        }
    }))
}

fn directories(more: &[Directory], spec: &TaskSpec) -> Result<Vec<Preopen>, Error> {
    let preopen = |place: Beneath, guest: String, read_only: bool| {
        place.open_directory().map_err(|error| {
            let path = place.base.join(&place.below);
            refused(format!("directory {} cannot be given to the task: {error}", path.display()))
        })?;
        Ok(Preopen { base: place.base, below: place.below, guest, read_only })
    };
    let mut dirs = Vec::new();
    for Place { guest, host, read_only } in places(spec) {
        let guest = guest.to_str().ok_or_else(|| refused(format!("{} is not text", guest.display())))?;
        dirs.push(preopen(Beneath::whole(host), guest.to_owned(), read_only)?);
    }
    for Directory { host, guest, read_only } in more {
        let (place, only_read) = if host.is_absolute() {
            let found =
                places(spec).find_map(|place| Some((Beneath::of(host, place.guest, place.host)?, place.read_only)));
            found.ok_or_else(|| {
                refused(format!("directory {} of dirs is outside of the task's directories", host.display()))
            })?
        } else {
            (Beneath { base: spec.dirs.task.clone(), below: host.clone() }, false)
        };
        dirs.push(preopen(place, guest.clone(), *read_only || only_read)?);
    }
    Ok(dirs)
}

#[cfg(test)]
mod tests {
    use orch_driver::TaskDirs;
    use serde_json::{Value, json};

    use super::*;

    struct Alloc {
        root: tempfile::TempDir,
    }

    impl Alloc {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            for directory in ["alloc", "web/local", "web/secrets", "store", "volume"] {
                std::fs::create_dir_all(root.path().join(directory)).unwrap();
            }
            Self { root }
        }

        fn put(&self, file: &str) {
            std::fs::write(self.root.path().join(file), "(module)").unwrap();
        }

        fn prepare(&self, config: Value) -> Result<Prepared, Error> {
            let root = self.root.path();
            let task = root.join("web");
            let spec = TaskSpec {
                config: serde_json::from_value(config).unwrap(),
                dirs: TaskDirs {
                    local: task.join("local"),
                    secrets: task.join("secrets"),
                    shared: root.join("alloc"),
                    task,
                },
                mounts: vec![TaskMount {
                    host_path: root.join("volume"),
                    task_path: "/data".into(),
                    read_only: true,
                    propagation: orch_driver::Propagation::Private,
                }],
                ports: vec![TaskPort {
                    label: "http".to_owned(),
                    host_ip: [127, 0, 0, 1].into(),
                    host: 8080,
                    inside: 80,
                }],
                ..TaskSpec::default()
            };
            prepare(&spec, &Config { module_dirs: vec![root.join("store")], ..Config::default() })
        }
    }

    #[test]
    fn a_module_is_found_by_every_name_that_it_has() {
        let alloc = Alloc::new();
        for file in ["web/local/a.wasm", "web/b.wasm", "alloc/c.wasm", "volume/d.wasm", "store/e.wasm"] {
            alloc.put(file);
        }
        let host = |file: &str| alloc.root.path().join(file).display().to_string();
        let names = ["a.wasm", "local/a.wasm", "/local/a.wasm", "b.wasm", "/alloc/c.wasm", "/data/d.wasm"];
        let on_host = [host("web/local/a.wasm"), host("alloc/c.wasm"), host("store/e.wasm")];
        for module in names.map(str::to_owned).into_iter().chain(on_host) {
            alloc.prepare(json!({"module": module})).unwrap();
        }
    }

    #[test]
    fn nothing_outside_is_taken() {
        let alloc = Alloc::new();
        alloc.put("outside.wasm");
        std::os::unix::fs::symlink("../../outside.wasm", alloc.root.path().join("web/local/link.wasm")).unwrap();
        std::os::unix::fs::symlink("/etc", alloc.root.path().join("web/etc")).unwrap();
        alloc.put("web/local/a.wasm");
        for (config, part) in [
            (json!({"module": "/etc/passwd"}), "outside of the task's directories"),
            (json!({"module": "link.wasm"}), "leads out of the directory"),
            (json!({"module": "../outside.wasm"}), "leads out of the directory"),
            (json!({"module": "none.wasm"}), "was not found in"),
            (json!({"module": "a.wasm", "dirs": ["etc:/etc"]}), "leads out of the directory"),
            (json!({"module": "a.wasm", "dirs": ["/etc:/etc"]}), "outside of the task's directories"),
            (json!({"module": "a.wasm", "dirs": ["none:/none"]}), "cannot be given to the task"),
            (json!({"module": "a.wasm", "port": "web"}), "no port \"web\" to serve on; its ports: http"),
            (json!({"module": "a.wasm"}), ""),
        ] {
            let answer = alloc.prepare(config.clone());
            if part.is_empty() {
                answer.unwrap();
                continue;
            }
            let message = answer.unwrap_err().to_string();
            assert!(message.contains(part), "{part:?} in {message:?} for {config}");
        }
    }

    #[test]
    fn a_program_sees_its_own_directories_and_its_volumes() {
        let alloc = Alloc::new();
        alloc.put("web/local/a.wasm");
        std::fs::create_dir(alloc.root.path().join("web/extra")).unwrap();
        let config =
            json!({"module": "a.wasm", "args": ["x"], "port": "http", "dirs": ["extra:/e:ro", "/data:/again"]});
        let plan = alloc.prepare(config).unwrap().plan;
        let seen: Vec<(&str, bool)> = plan.dirs.iter().map(|dir| (dir.guest.as_str(), dir.read_only)).collect();
        let own = [("/alloc", false), ("/local", false), ("/secrets", false)];
        assert_eq!(seen, [&own[..], &[("/data", true), ("/e", true), ("/again", true)]].concat());
        assert_eq!(plan.args, ["a.wasm", "x"]);
        assert_eq!(plan.http.unwrap().listen, ["127.0.0.1:8080".parse().unwrap()]);
        assert!(plan.codegen.epochs && !plan.codegen.fuel);
    }
}
