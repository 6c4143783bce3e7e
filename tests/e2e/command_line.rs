//! What the command line says to those who do not know it, or whose cluster is not there.

use std::collections::BTreeSet;

use orch_tests::{Cli, Cluster, address};

/// The commands that must exist.
const EXPECTED: [&str; 25] = [
    "agent",
    "job run",
    "job status",
    "job plan",
    "job stop",
    "job validate",
    "job inspect",
    "node status",
    "node eligibility",
    "alloc status",
    "alloc logs",
    "alloc fs",
    "alloc stop",
    "alloc restart",
    "alloc signal",
    "eval list",
    "eval status",
    "server members",
    "operator raft list-peers",
    "system gc",
    "status",
    "run",
    "plan",
    "stop",
    "version",
];

/// Commands for an agent that is not there.
fn nobody() -> Cli {
    Cli::new(&format!("http://{}:4646", address::claim()))
}

#[test]
fn without_arguments_the_commands_are_listed() {
    let output = nobody().run::<&str>([]);
    assert_eq!(output.status, Some(127), "{output:?}");
    for word in ["agent", "job", "node", "alloc", "eval", "server", "operator", "Usage"] {
        assert!(output.stderr.contains(word), "{word} is missing: {output:?}");
    }
}

#[test]
fn every_command_explains_itself() {
    let cli = nobody();
    let mut seen = BTreeSet::new();
    let mut open = vec![Vec::<String>::new()];
    while let Some(command) = open.pop() {
        for flag in ["-help", "--help", "-h"] {
            let output = cli.run(command.iter().map(String::as_str).chain([flag]));
            assert_eq!(output.status, Some(0), "orch {command:?} {flag}: {output:?}");
            assert!(output.stdout.contains("Usage: orch"), "orch {command:?} {flag}: {output:?}");
            assert!(
                !output.stdout.contains(" --"),
                "flags have one dash in orch {command:?} {flag}: {}",
                output.stdout
            );
        }
        let help = cli.ok(command.iter().map(String::as_str).chain(["-help"]));
        for child in children(&help) {
            let mut path = command.clone();
            path.push(child);
            seen.insert(path.join(" "));
            open.push(path);
        }
    }
    let missing: Vec<&&str> = EXPECTED.iter().filter(|command| !seen.contains(**command)).collect();
    assert!(missing.is_empty(), "missing: {missing:?}\nthere are: {seen:?}");
}

/// The commands that a help text lists.
fn children(help: &str) -> Vec<String> {
    let listed = help.lines().skip_while(|line| !line.starts_with("Commands:")).skip(1);
    let rows = listed.take_while(|line| !line.trim().is_empty());
    // A description that needs two lines is indented further than a name.
    let names = rows.filter_map(|row| row.strip_prefix("  ")).filter(|row| !row.starts_with(' '));
    names.filter_map(|row| row.split_whitespace().next()).map(str::to_owned).collect()
}

#[test]
fn a_wrong_command_or_flag_is_named_with_the_way_to_help() {
    let cli = nobody();
    for (args, status, said) in [
        (vec!["jobb"], 127, vec!["jobb", "job", "-help"]),
        (vec!["job", "stats"], 127, vec!["stats", "job status", "-help"]),
        (vec!["job", "run", "-detahc", "x.hcl"], 1, vec!["-detahc", "-help"]),
        (vec!["agent", "-bootstrap-expect=three", "-server"], 1, vec!["-bootstrap-expect", "three"]),
        (vec!["job", "run"], 1, vec!["This command needs", "Usage: orch job run"]),
        (vec!["agent"], 1, vec!["-server", "-client", "-dev"]),
    ] {
        let output = cli.run(&args);
        assert_eq!(output.status, Some(status), "{args:?}: {output:?}");
        for part in said {
            assert!(output.stderr.contains(part), "{args:?} does not say {part}: {output:?}");
        }
    }
}

#[test]
fn an_agent_that_cannot_be_reached_is_named() {
    let ip = address::claim();
    let cli = Cli::new(&format!("http://{ip}:4646"));
    for args in [vec!["status"], vec!["node", "status"], vec!["job", "stop", "web"], vec!["server", "members"]] {
        let output = cli.run(&args);
        assert_eq!(output.status, Some(1), "{args:?}: {output:?}");
        assert!(output.stderr.contains(&format!("{ip}:4646")), "{args:?}: {output:?}");
        assert!(output.stderr.to_lowercase().contains("refused"), "{args:?}: {output:?}");
    }
}

const FIVE_ERRORS: &str = r#"job "broken" {
  type     = "sevrice"
  prioriti = 50

  group "one" {
    count = "many"

    task "t" {
      driver = "raw_exec"
      config {
        command = var.nothing
      }
      kill_timeout = "5 parsecs"
    }
  }
}
"#;

#[test]
fn a_job_file_with_five_errors_shows_each_with_its_place() {
    let cluster = Cluster::empty();
    let path = cluster.write_job(FIVE_ERRORS);
    for command in [["job", "validate"], ["job", "run"], ["job", "plan"]] {
        let output = nobody().run(command.iter().map(std::ffi::OsStr::new).chain([path.as_os_str()]));
        assert_eq!(output.status, Some(if command[1] == "plan" { 255 } else { 1 }), "{command:?}: {output:?}");
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        for (line, word) in [(3, "prioriti"), (6, "many"), (11, "nothing"), (13, "5 parsecs"), (2, "sevrice")] {
            let place = format!("{file}:{line}:");
            let told = output.stderr.lines().any(|text| text.contains(&place));
            assert!(
                told && output.stderr.contains(word),
                "{command:?} does not tell of {place} {word}:\n{}",
                output.stderr
            );
        }
        assert!(output.stderr.contains('^'), "{}", output.stderr);
    }
}

#[test]
fn commands_show_the_cluster_and_its_jobs() {
    let cluster = Cluster::new().servers(1).clients(1).start();
    let cli = cluster.cli();
    let path = cluster.write_job(&orch_tests::jobs::shell("shown", 1, "echo hello; exec sleep 100000", ""));
    let path = path.to_string_lossy().into_owned();
    let plan = cli.run(["job", "plan", &path]);
    assert_eq!(plan.status, Some(1), "a plan that places something ends with 1: {plan:?}");
    assert!(plan.stdout.contains("+ Job: \"shown\"") && plan.stdout.contains("Job Modify Index: 0"), "{}", plan.stdout);
    let run = cli.ok(["job", "run", &path]);
    assert!(run.contains("complete"), "{run}");
    let alloc = cluster.api().wait_running("shown", 1, super::SOON)[0].clone();
    let short = &alloc.id[..8];
    let again = cli.run(["job", "plan", &path]);
    assert_eq!(again.status, Some(0), "a plan that changes nothing ends with 0: {again:?}");

    for (args, said) in [
        (vec!["status"], vec!["shown", "running"]),
        (vec!["job", "status", "shown"], vec!["ID            = shown", "Allocations", short]),
        (vec!["alloc", "status", short], vec!["Task \"main\" is \"running\"", "Started", "Recent Events:"]),
        (vec!["alloc", "logs", short], vec!["hello"]),
        (vec!["alloc", "fs", short, "alloc/logs"], vec!["main.stdout.0"]),
        (vec!["node", "status"], vec!["c1", "ready", "eligible"]),
        (vec!["server", "members"], vec!["s1", "alive", "true"]),
        (vec!["operator", "raft", "list-peers"], vec!["leader", "4647"]),
        (vec!["eval", "list"], vec!["shown", "job-register", "complete"]),
        (vec!["job", "inspect", "shown"], vec!["\"ID\": \"shown\""]),
        (vec!["version"], vec!["0.1.0"]),
    ] {
        let told = cli.ok(&args);
        for part in said {
            assert!(told.contains(part), "{args:?} does not say {part:?}:\n{told}");
        }
    }
    let missing = cli.run(["job", "status", "nothing-like-it"]);
    assert_eq!(missing.status, Some(1), "{missing:?}");
    assert!(missing.stderr.contains("nothing-like-it"), "{missing:?}");

    cli.ok(["alloc", "restart", short]);
    orch_tests::wait_for("the task was restarted", super::SOON, || {
        let now = cluster.api().allocs("shown").unwrap()[0].clone();
        let twice = cluster.api().stdout(&alloc.id, "main").is_ok_and(|text| text == "hello\nhello\n");
        orch_tests::wait::that(now.runs() && twice, || now.to_string())
    });
    cli.ok(["alloc", "signal", "-s", "SIGTERM", short]);
    orch_tests::wait_for("the signal ended the task, and it runs again", super::SOON, || {
        let text = cluster.api().stdout(&alloc.id, "main").unwrap_or_default();
        orch_tests::wait::that(text.lines().count() == 3, || text)
    });
    let stop = cli.ok(["job", "stop", "shown"]);
    assert!(stop.contains("complete"), "{stop}");
    super::wait_no_processes(&[alloc]);
}
