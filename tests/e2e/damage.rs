//! Data directories that are damaged, newer, or in use.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use orch_tests::api::text;
use orch_tests::{Agent, Cluster, Role, address, cli, jobs, processes, wait, wait_for};

use super::SOON;

const JOBS: usize = 12;

/// Where in a file a few bytes are changed.
#[derive(Debug, Clone, Copy)]
enum Place {
    Head,
    Middle,
    Tail,
}

const PLACES: [Place; 3] = [Place::Head, Place::Middle, Place::Tail];

#[test]
fn a_server_with_damaged_state_loses_nothing_or_names_the_file() {
    let cluster = Cluster::empty();
    let mut server = single_server(&cluster);
    server.start();
    let ids: Vec<String> = (0..JOBS).map(|n| format!("kept-{n}")).collect();
    wait_for("a job is registered", SOON, || server.api().register(&jobs::unplaceable(&ids[0])));
    for id in &ids[1..] {
        server.api().register(&jobs::unplaceable(id)).unwrap();
    }
    server.terminate();
    let sound = Saved::of(&server.data_dir());
    assert!(sound.files().len() >= 3, "{:?}", sound.files());
    for file in sound.files() {
        for place in PLACES {
            damage(&server.data_dir().join(&file), place);
            keeps_or_refuses(&mut server, &file, place, &ids);
            sound.restore();
        }
    }
    server.start();
    wait_for("the undamaged directory still works", SOON, || all_known(&server, &ids));
}

fn keeps_or_refuses(server: &mut Agent, file: &Path, place: Place, ids: &[String]) {
    server.spawn();
    let outcome = wait::wait_within(SOON, || {
        if !processes::alive(server.pid()) {
            return Ok(());
        }
        all_known(server, ids)
    });
    if let Err(seen) = outcome {
        panic!("after damage at the {place:?} of {}: {seen}\n{}", file.display(), server.log());
    }
    if processes::alive(server.pid()) {
        server.kill();
        return;
    }
    let status = server.wait_exit();
    let log = server.log();
    let last = log.lines().rev().take(20).collect::<Vec<_>>().join("\n");
    assert!(!status.success(), "damage at the {place:?} of {} ended the server without an error", file.display());
    let name = file.file_name().unwrap().to_string_lossy();
    assert!(last.contains(name.as_ref()), "damage at the {place:?} of {name} is not told by name: {last}");
    assert!(!last.contains("panicked"), "damage at the {place:?} of {name} is a panic: {last}");
}

fn all_known(server: &Agent, ids: &[String]) -> Result<(), String> {
    let jobs = server.api().get("/v1/jobs").map_err(|error| format!("{error:#}"))?;
    let known: Vec<String> = jobs.as_array().into_iter().flatten().map(|job| text(&job["ID"])).collect();
    let lost: Vec<&String> = ids.iter().filter(|id| !known.contains(id)).collect();
    wait::that(lost.is_empty(), || format!("lost {lost:?}"))
}

#[test]
fn a_client_with_damaged_state_starts() {
    let mut cluster = Cluster::new().servers(1).clients(1).start();
    cluster.run_job(&jobs::shell("stay", 2, "exec sleep 100000", ""));
    cluster.api().wait_running("stay", 2, SOON);
    cluster.clients[0].terminate();
    let state = cluster.clients[0].data_dir().join("client");
    let files = Saved::of(&state).files();
    assert!(!files.is_empty());
    for file in files {
        for place in PLACES {
            damage(&state.join(&file), place);
            starts(&mut cluster, &file, place);
        }
    }
}

/// The client starts, is ready, and after a while runs what it should and nothing else.
fn starts(cluster: &mut Cluster, file: &Path, place: Place) {
    let damaged = format!("damage at the {place:?} of {}", file.display());
    cluster.clients[0].start();
    let api = cluster.api();
    wait_for(&format!("after {damaged} the client is ready"), SOON, || {
        let nodes = api.nodes().map_err(|error| format!("{error:#}"))?;
        wait::that(nodes.iter().any(|(_, _, status)| status == "ready"), || format!("{nodes:?}"))
    });
    let running = wait_for(&format!("after {damaged} the job runs on a node that is ready"), SOON, || {
        let nodes = api.nodes().map_err(|error| format!("{error:#}"))?;
        let allocs = api.allocs("stay").map_err(|error| format!("{error:#}"))?;
        let ready = |id: &str| nodes.iter().any(|(_, node, status)| node == id && status == "ready");
        let running: Vec<_> = allocs.iter().filter(|alloc| alloc.runs() && ready(&alloc.node_id)).cloned().collect();
        if running.len() == 2 { Ok(running) } else { Err(orch_tests::api::list(&allocs)) }
    });
    for alloc in running {
        wait_for(&format!("after {damaged} {} runs once", alloc.name), SOON, || {
            let twins = processes::of_alloc(&alloc.id);
            wait::that(twins.len() == 1, || format!("{twins:?}"))
        });
    }
    cluster.clients[0].terminate();
}

#[test]
fn a_data_directory_of_a_newer_version_is_refused_by_name() {
    let cluster = Cluster::empty();
    let mut server = single_server(&cluster);
    server.start();
    server.terminate();
    let layout = server.data_dir().join("server/layout");
    assert_eq!(fs::read_to_string(&layout).unwrap().trim(), "1");
    fs::write(&layout, "7\n").unwrap();
    let output = cli::output(&mut server.command());
    assert_eq!(output.status, Some(1), "{output:?}");
    assert!(output.stderr.contains("has layout 7") && output.stderr.contains("run a newer orch"), "{output:?}");
}

#[test]
fn a_port_or_directory_in_use_is_named() {
    let cluster = Cluster::empty();
    let mut server = single_server(&cluster);
    let taken = std::net::TcpListener::bind((server.ip, orch_tests::api::HTTP_PORT)).unwrap();
    let output = cli::output(&mut server.command());
    assert_eq!(output.status, Some(1), "{output:?}");
    let address = format!("{}:{}", server.ip, orch_tests::api::HTTP_PORT);
    assert!(output.stderr.contains(&address), "{output:?}");
    assert!(output.stderr.to_lowercase().contains("in use"), "{output:?}");
    drop(taken);

    server.start();
    let other = cluster.agent("other", address::claim(), Role::Server { expect: 1, join: Vec::new() }, "");
    let mut command = other.command();
    command.arg(format!("-data-dir={}", server.data_dir().display()));
    let output = cli::output(&mut command);
    assert_eq!(output.status, Some(1), "{output:?}");
    assert!(output.stderr.contains(&*server.data_dir().to_string_lossy()), "{output:?}");
    server.api().leader().unwrap();
}

fn single_server(cluster: &Cluster) -> Agent {
    cluster.agent("s1", address::claim(), Role::Server { expect: 1, join: Vec::new() }, "")
}

/// Flips every bit of sixteen bytes; zeros that only fill a file up to its size do not count as its tail.
fn damage(path: &Path, place: Place) {
    let bytes = fs::read(path).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(bytes.len(), |last| last + 1);
    let start = match place {
        Place::Head => 0,
        Place::Middle => used / 2,
        Place::Tail => used.saturating_sub(16),
    };
    let end = (start + 16).min(used);
    let flipped: Vec<u8> = bytes[start..end].iter().map(|byte| !byte).collect();
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&flipped, start as u64).unwrap();
}

/// A copy of a directory, to put back.
struct Saved {
    original: PathBuf,
    copy: tempfile::TempDir,
}

impl Saved {
    fn of(directory: &Path) -> Self {
        let copy = tempfile::tempdir_in(directory.parent().unwrap()).unwrap();
        copy_all(directory, copy.path());
        Self { original: directory.to_owned(), copy }
    }

    /// Every file that is not empty, by its path below the directory.
    fn files(&self) -> Vec<PathBuf> {
        let mut all = Vec::new();
        list_files(self.copy.path(), &mut all);
        let mut all: Vec<PathBuf> =
            all.iter().map(|file| file.strip_prefix(self.copy.path()).unwrap().to_owned()).collect();
        all.sort();
        all
    }

    fn restore(&self) {
        fs::remove_dir_all(&self.original).unwrap();
        copy_all(self.copy.path(), &self.original);
    }
}

fn copy_all(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        let target = to.join(entry.file_name());
        if kind.is_dir() {
            copy_all(&entry.path(), &target);
        } else if kind.is_file() {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn list_files(directory: &Path, all: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            list_files(&entry.path(), all);
        } else if entry.metadata().unwrap().len() > 0 {
            all.push(entry.path());
        }
    }
}
