//! The files in `examples/` are what they claim to be.

use std::path::{Path, PathBuf};

use orch_hcl::{Diagnostics, Labels, Scope, UnknownRoots};
use orch_jobspec::{FileAccess, ParseOptions, Source, Variables, check};
use orch_model::Job;
use orch_model::admission::AdmissionContext;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

fn source(name: &str) -> Source {
    Source::new(name, std::fs::read_to_string(folder().join(name)).unwrap())
}

fn accepted(name: &str, files: Vec<Source>) -> (Job, Diagnostics) {
    let variables = Variables { files, ..Variables::default() };
    let options = ParseOptions { variables, file_access: FileAccess::Base(folder()) };
    let drivers = AdmissionContext::new(&["docker", "exec", "raw_exec", "wasm"]);
    let checked = check(source(name), &options, &drivers);
    assert!(!checked.diagnostics.has_errors(), "{}", checked.diagnostics);
    (checked.parsed.unwrap().job, checked.diagnostics)
}

#[test]
fn each_job_is_accepted() {
    let folder = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let jobs: Vec<_> = folder.filter(|name| name.ends_with(".hcl") && !name.ends_with(".vars.hcl")).collect();
    assert!(jobs.len() >= 4, "{jobs:?}");
    for name in jobs {
        accepted(&name, Vec::new());
    }
}

#[test]
fn the_web_server_listens_on_the_port_it_is_given() {
    let (job, warnings) = accepted("web.hcl", Vec::new());
    assert!(warnings.is_empty(), "{warnings}");
    let group = &job.task_groups[0];
    assert_eq!((group.count, group.networks[0].dynamic_ports[0].label.as_str()), (2, "http"));
    let config = serde_json::to_value(&group.tasks[0].config).unwrap();
    assert_eq!(config["command"], "python3");
    assert_eq!(config["args"].to_string(), r#"["-m","http.server","${NOMAD_PORT_http}","--bind","${NOMAD_IP_http}"]"#);
}

#[test]
fn the_variable_file_changes_the_job() {
    let (plain, _) = accepted("variables.hcl", Vec::new());
    assert_eq!((plain.name.as_str(), plain.task_groups[0].count), ("greet-dev", 1));
    let (given, _) = accepted("variables.hcl", vec![source("variables.vars.hcl")]);
    assert_eq!((given.name.as_str(), given.task_groups[0].count), ("greet-prod", 2));
    let greetings: Vec<_> = given.task_groups.iter().map(|group| group.tasks[0].env["GREETING"].as_str()).collect();
    assert_eq!(greetings, ["Hello", "Good Evening"]);
}

#[test]
fn agent_files_enable_what_their_names_say() {
    for (name, server, client) in [("server.hcl", true, false), ("client.hcl", false, true), ("dev.json", true, true)] {
        let document = orch_hcl::parse(source(&format!("agent/{name}"))).unwrap();
        let diagnostics = Diagnostics::new();
        let mut top = document.reader(&Scope::new(UnknownRoots::Error, FileAccess::Disabled), &diagnostics);
        assert!(top.opt_string("data_dir").is_some(), "{name}");
        for (role, expected) in [("server", server), ("client", client)] {
            let enabled = top.at_most_one(role).and_then(|block| block.reader().opt_bool("enabled"));
            assert_eq!(enabled.unwrap_or_default(), expected, "{name}: {role}");
        }
        let plugins = top.blocks_with("plugin", Labels::Exactly(&["name"]));
        assert_eq!(plugins.iter().any(|plugin| plugin.label(0) == "raw_exec"), client, "{name}");
        assert!(diagnostics.is_empty(), "{diagnostics}");
    }
}
