//! Files that are rendered for tasks, and what their changes bring about.

use std::path::PathBuf;

use orch_model::allocation::{AllocUpdate, ClientStatus, DesiredStatus, TaskRunState};
use orch_model::job::{ChangeScript, Job, Template};
use orch_model::{Allocation, Nanos};
use serde_json::{Value, json};

use crate::node::{Machine, alloc, alloc_id, job};
use crate::server::Server;

/// Renders what is in the file `alloc/data/input` to `local/out`.
fn template(change_mode: &str) -> Template {
    Template {
        embedded_tmpl: "it says {{ file \"/alloc/data/input\" }}".into(),
        dest_path: "local/out".into(),
        change_mode: change_mode.into(),
        splay: Nanos::ZERO,
        ..Template::default()
    }
}

fn with(template: Template, config: Value) -> Allocation {
    let mut job: Job = job("web", &[config]);
    job.task_groups[0].tasks[0].templates = vec![template];
    alloc(1, &job)
}

struct Files(PathBuf);

impl Files {
    /// The allocation's directory with this input, which is there before the allocation is.
    fn new(machine: &Machine, input: &str) -> Self {
        let files = Self(machine.alloc_dir(alloc_id(1)));
        std::fs::create_dir_all(files.0.join("alloc/data")).unwrap();
        files.write(input);
        files
    }

    fn write(&self, input: &str) {
        std::fs::write(self.0.join("alloc/data/input"), input).unwrap();
    }

    fn out(&self) -> String {
        std::fs::read_to_string(self.0.join("app/local/out")).unwrap()
    }
}

fn has_event(update: &AllocUpdate, kind: &str, text: &str) -> bool {
    let mut events = update.tasks[0].events.iter();
    events.any(|event| event.kind.type_name() == kind && event.kind.message().contains(text))
}

async fn wait_for(server: &Server, what: &str, reached: impl Fn(&AllocUpdate) -> bool) {
    server.wait(what, |known| known.last(alloc_id(1)).is_some_and(&reached)).await;
}

fn runs_as(run: u32) -> impl Fn(&AllocUpdate) -> bool {
    move |update| update.tasks[0].state == TaskRunState::Running && update.tasks[0].restarts == run
}

#[tokio::test]
async fn a_task_starts_once_its_templates_are_rendered_and_with_what_they_set() {
    let (server, machine) = (Server::start().await, Machine::new());
    let node = machine.start(&server).await;
    let env = Template {
        embedded_tmpl: "GREETING=\"hello {{ env \"NOMAD_TASK_NAME\" }} {{ file \"/alloc/data/input\" }}\"".into(),
        envvars: true,
        perms: "0600".into(),
        ..template("restart")
    };
    server.put(with(env, json!({"stdout_string": "${GREETING}"}))).await;
    wait_for(&server, "a word of what is missing", |update| has_event(update, "Template", "Missing: ")).await;
    assert!(machine.tasks().await.is_empty());
    let files = Files::new(&machine, "you");
    server.wait_status(alloc_id(1), ClientStatus::Running).await;
    assert_eq!(std::fs::read_to_string(files.0.join("alloc/logs/app.stdout.0")).unwrap(), "hello app you");
    node.stop().await;
}

#[tokio::test]
async fn a_task_that_waits_for_its_templates_ends_when_it_is_told_to() {
    let (server, machine) = (Server::start().await, Machine::new());
    let node = machine.start(&server).await;
    server.put(with(template("restart"), json!({}))).await;
    server.wait_status(alloc_id(1), ClientStatus::Pending).await;
    server.modify(alloc_id(1), |alloc| alloc.desired = DesiredStatus::Stop).await;
    server.wait_status(alloc_id(1), ClientStatus::Complete).await;
    assert!(machine.tasks().await.is_empty());
    node.stop().await;
}

#[tokio::test]
async fn a_change_starts_the_task_again_or_sends_it_a_signal_or_does_nothing() {
    for (mode, event, run) in [("restart", "Restart Signaled", 1), ("signal", "Signaling", 0), ("noop", "Started", 0)] {
        let (server, machine) = (Server::start().await, Machine::new());
        let files = Files::new(&machine, "one");
        let node = machine.start(&server).await;
        let template = Template { change_signal: "SIGHUP".into(), ..template(mode) };
        server.put(with(template, json!({}))).await;
        server.wait_status(alloc_id(1), ClientStatus::Running).await;
        assert_eq!(files.out(), "it says one");
        files.write("another");
        machine.wait("the new text", async || files.out() == "it says another").await;
        wait_for(&server, mode, |update| runs_as(run)(update) && has_event(update, event, "")).await;
        node.stop().await;
    }
}

#[tokio::test]
async fn a_script_that_fails_fails_its_task_where_the_job_says_so() {
    for fail_on_error in [true, false] {
        let (server, machine) = (Server::start().await, Machine::new());
        let files = Files::new(&machine, "one");
        let node = machine.start(&server).await;
        let script = ChangeScript { command: "reload".into(), fail_on_error, ..ChangeScript::default() };
        let template = Template { change_script: Some(script), ..template("script") };
        server.put(with(template, json!({"exec_command": {"exit_code": 3}}))).await;
        server.wait_status(alloc_id(1), ClientStatus::Running).await;
        files.write("another");
        let told = |update: &AllocUpdate| has_event(update, "Template", "ended with exit code 3");
        wait_for(&server, "a word of the script", told).await;
        if fail_on_error {
            server.wait_status(alloc_id(1), ClientStatus::Failed).await;
        } else {
            assert_eq!(machine.tasks().await.len(), 1);
        }
        node.stop().await;
    }
}

#[tokio::test]
async fn a_template_that_cannot_be_rendered_fails_its_task_with_place_and_cause() {
    let (server, machine) = (Server::start().await, Machine::new());
    let node = machine.start(&server).await;
    let broken = Template { embedded_tmpl: "line one\n{{ nosuchfunction }}".into(), ..template("restart") };
    server.put(with(broken, json!({}))).await;
    server.wait_status(alloc_id(1), ClientStatus::Failed).await;
    let update = server.known().last(alloc_id(1)).unwrap().clone();
    assert!(has_event(&update, "Template", "Template failed: template local/out line 2"), "{update:#?}");
    assert_eq!(update.tasks[0].restarts, 0);
    node.stop().await;
}

#[tokio::test]
async fn what_changed_while_the_agent_was_away_takes_effect_when_it_returns() {
    let (server, machine) = (Server::start().await, Machine::new());
    let files = Files::new(&machine, "one");
    let node = machine.start(&server).await;
    server.put(with(template("restart"), json!({}))).await;
    server.wait_status(alloc_id(1), ClientStatus::Running).await;
    node.kill().await;
    let unchanged = machine.start(&server).await;
    server.wait("a second session", |known| known.hellos.len() == 2).await;
    unchanged.stop().await;
    files.write("another");
    let node = machine.start(&server).await;
    wait_for(&server, "a second run", runs_as(1)).await;
    assert_eq!(files.out(), "it says another");
    node.stop().await;
}
