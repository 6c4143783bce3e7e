//! The rules of the tree that no compiler knows: who may use whom, lints inherited, `unsafe` where it belongs, short files.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

/// Each crate with those of ours that it may use. A new edge is a design change, made here with its reason.
const MAY_USE: &[(&str, &[&str])] = &[
    ("orch-model", &[]),
    ("orch-hcl", &[]),
    ("orch-wal", &[]),
    ("base2histogram", &[]),
    ("orch-jobspec", &["orch-model", "orch-hcl"]),
    ("orch-proto", &[]),
    ("orch-state", &["orch-model"]),
    ("orch-scheduler", &["orch-model", "orch-state"]),
    ("orch-api", &["orch-model"]),
    ("orch-http", &["orch-model", "orch-api", "orch-jobspec"]),
    (
        "orch-server",
        &[
            "orch-model",
            "orch-proto",
            "orch-wal",
            "orch-state",
            "orch-scheduler",
            "orch-api",
            "orch-jobspec",
            "orch-http",
        ],
    ),
    // Fetching and rendering bring heavy libraries of their own, and know nothing of jobs.
    ("orch-artifact", &["orch-host"]),
    ("orch-template", &[]),
    (
        "orch-client",
        &[
            "orch-model",
            "orch-proto",
            "orch-wal",
            "orch-driver",
            "orch-host",
            "orch-http",
            "orch-api",
            "orch-artifact",
            "orch-template",
        ],
    ),
    ("orch-driver", &["orch-model"]),
    ("orch-host", &[]),
    ("orch-supervisor", &["orch-driver", "orch-model", "orch-host"]),
    ("orch-driver-raw-exec", &["orch-driver", "orch-model", "orch-host", "orch-supervisor"]),
    ("orch-driver-mock", &["orch-driver", "orch-model", "orch-host", "orch-supervisor"]),
    ("orch-driver-exec", &["orch-driver", "orch-model", "orch-host", "orch-supervisor"]),
    ("orch-driver-docker", &["orch-driver", "orch-model", "orch-host"]),
    ("orch-driver-wasm", &["orch-driver", "orch-model", "orch-host", "orch-supervisor"]),
    ("orch-config", &["orch-hcl", "orch-model", "orch-server", "orch-client", "orch-template", "orch-http"]),
];

/// What a crate's tests may use beyond that: who gives it what it works on.
const TESTS_MAY_USE: &[(&str, &str)] = &[
    ("orch-client", "orch-driver-mock"),
    // A real engine, which end-to-end tests start as well.
    ("orch-driver-docker", "orch-tests"),
    // `apply` must refuse nothing that the scheduler made from the same snapshot.
    ("orch-state", "orch-scheduler"),
];

/// The two that stand above all others.
const MAY_USE_ALL: [&str; 2] = ["orch", "orch-tests"];

/// Crates that must stay ignorant of these, of whomever they are.
const STAYS_OUT: &[(&str, &[&str])] = &[
    ("orch-model", &["tokio", "rand", "jiff"]),
    ("orch-wal", &["tokio", "openraft"]),
    ("orch-state", &["tokio", "openraft", "rand"]),
    ("orch-scheduler", &["tokio", "openraft", "rand"]),
    ("orch-api", &["axum"]),
    ("orch-host", &["tokio"]),
];

/// Where `unsafe` may stand, by the folder of the crate.
const UNSAFE: [&str; 4] = ["drivers/host", "drivers/supervisor", "drivers/exec", "drivers/wasm"];

/// The most lines that a file may have.
const MOST_LINES: usize = 600;

/// Files that are longer, with their length. They may only shrink, and none may come.
const LONGER: &[(&str, usize)] = &[];

fn metadata() -> Metadata {
    MetadataCommand::new().manifest_path(root().join("Cargo.toml")).no_deps().exec().unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The members that `package` names as dependencies of a kind.
fn ours<'a>(package: &'a Package, members: &BTreeSet<&str>, kind: DependencyKind) -> Vec<&'a str> {
    let all = package.dependencies.iter().filter(|dependency| dependency.kind == kind);
    let names = all.map(|dependency| dependency.name.as_str());
    names.filter(|name| members.contains(name) && *name != package.name.as_str()).collect()
}

#[test]
fn crates_use_only_what_the_table_allows() {
    let metadata = metadata();
    let members: BTreeSet<&str> = metadata.packages.iter().map(|package| package.name.as_str()).collect();
    let table: BTreeMap<&str, &[&str]> = MAY_USE.iter().copied().collect();
    let mut wrong = Vec::new();
    for package in &metadata.packages {
        let name = package.name.as_str();
        if MAY_USE_ALL.contains(&name) {
            continue;
        }
        let Some(allowed) = table.get(name) else {
            wrong.push(format!("{name} is not in the table"));
            continue;
        };
        for kind in [DependencyKind::Normal, DependencyKind::Build, DependencyKind::Development] {
            let stands_in = |used: &str| kind == DependencyKind::Development && TESTS_MAY_USE.contains(&(name, used));
            let used = ours(package, &members, kind).into_iter();
            let unlisted = used.filter(|used| !allowed.contains(used) && !stands_in(used));
            wrong.extend(unlisted.map(|used| format!("{name} uses {used} ({kind:?})")));
        }
    }
    wrong.extend(table.keys().filter(|name| !members.contains(*name)).map(|name| format!("there is no crate {name}")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_pure_crates_do_not_know_what_would_make_them_impure() {
    let metadata = metadata();
    let mut wrong = Vec::new();
    for (name, banned) in STAYS_OUT {
        let package = metadata.packages.iter().find(|package| package.name.as_str() == *name).unwrap();
        let normal = package.dependencies.iter().filter(|dependency| dependency.kind == DependencyKind::Normal);
        let used = normal.filter(|dependency| banned.contains(&dependency.name.as_str()));
        wrong.extend(used.map(|dependency| format!("{name} uses {}", dependency.name)));
    }
    for name in ["orch-state", "orch-scheduler"] {
        let package = metadata.packages.iter().find(|package| package.name.as_str() == name).unwrap();
        let rules = fs::read_to_string(package.manifest_path.with_file_name("clippy.toml")).unwrap_or_default();
        for call in ["SystemTime::now", "Instant::now", "Uuid::new_v4", "HashMap", "std::env::var"] {
            if !rules.contains(call) {
                wrong.push(format!("the clippy.toml of {name} does not ban {call}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_crate_inherits_the_lints() {
    for package in metadata().packages {
        let manifest = fs::read_to_string(&package.manifest_path).unwrap();
        assert!(manifest.contains("[lints]\nworkspace = true"), "{} does not inherit the lints", package.manifest_path);
    }
}

/// Every Rust file of ours, by its path below the root.
fn sources() -> Vec<(String, String)> {
    let root = root();
    let mut all = Vec::new();
    for package in metadata().packages {
        collect(package.manifest_path.parent().unwrap().as_std_path(), &mut all);
    }
    all.sort();
    all.dedup();
    let named = all.into_iter().map(|path| {
        let text = fs::read_to_string(&path).unwrap();
        (path.strip_prefix(&root).unwrap().to_string_lossy().into_owned(), text)
    });
    named.collect()
}

fn collect(directory: &Path, all: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            if entry.file_name() != "target" {
                collect(&path, all);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push(path);
        }
    }
}

#[test]
fn unsafe_stands_only_where_linux_is_called() {
    let wrong: Vec<String> = sources()
        .into_iter()
        .filter(|(path, _)| path != "tests/architecture.rs" && !UNSAFE.iter().any(|folder| path.starts_with(folder)))
        .filter(|(_, text)| text.lines().any(|line| line.contains("unsafe ") && !line.trim_start().starts_with("//")))
        .map(|(path, _)| path)
        .collect();
    assert!(wrong.is_empty(), "unsafe in {wrong:?}");
}

#[test]
fn every_unsafe_block_says_why_it_is_sound() {
    let mut wrong = Vec::new();
    for (path, text) in sources().into_iter().filter(|(path, _)| path != "tests/architecture.rs") {
        let lines: Vec<&str> = text.lines().collect();
        for (n, line) in lines.iter().enumerate() {
            let opens = line.contains("unsafe {") && !line.trim_start().starts_with("//");
            // The reason may be of several lines, and stand above the statement that holds the block.
            let above = &lines[n.saturating_sub(8)..n];
            if opens && !above.iter().any(|line| line.contains("SAFETY:")) {
                wrong.push(format!("{path}:{}", n + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "no // SAFETY: above {wrong:#?}");
}

#[test]
fn files_are_short_and_long_ones_only_shrink() {
    let listed: BTreeMap<&str, usize> = LONGER.iter().copied().collect();
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let lines = text.lines().count();
        match listed.get(path.as_str()) {
            None if lines > MOST_LINES => {
                wrong.push(format!("{path} has {lines} lines, at most {MOST_LINES} are allowed"))
            }
            Some(known) if lines > *known => wrong.push(format!("{path} grew from {known} to {lines} lines")),
            Some(known) if lines < *known => wrong.push(format!("{path} shrank to {lines} lines: say so in the list")),
            Some(_) | None => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
