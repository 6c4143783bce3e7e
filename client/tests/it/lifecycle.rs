//! Groups whose tasks come before, beside and after each other, and their health for a deployment.

use orch_http::LocalNode;
use orch_http::local::RestartTarget;
use orch_model::allocation::{AllocUpdate, ClientStatus, DesiredStatus, TaskRunState, TaskState};
use orch_model::job::{TaskLifecycleConfig, UpdateStrategy};
use orch_model::{DeploymentId, Job, Nanos, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::node::{Machine, alloc, alloc_id, job};
use crate::server::Server;

/// A job of one group whose tasks have these names, hooks and configurations; a hook that ends in `+` is a sidecar's.
fn group(r#type: &str, tasks: &[(&str, &str, Value)]) -> Job {
    let configs: Vec<_> = tasks.iter().map(|(_, _, config)| config.clone()).collect();
    let mut job = job("web", &configs);
    job.r#type = r#type.into();
    for (task, (name, hook, _)) in job.task_groups[0].tasks.iter_mut().zip(tasks) {
        task.name = (*name).to_owned();
        let (word, sidecar) = hook.strip_suffix('+').map_or((*hook, false), |word| (word, true));
        task.lifecycle = (!word.is_empty()).then(|| TaskLifecycleConfig { hook: word.to_owned(), sidecar });
    }
    job
}

/// Ends well, soon.
fn brief() -> Value {
    json!({"run_for": "30ms"})
}

/// Runs until it is ended.
fn lasting() -> Value {
    json!({})
}

fn last(server: &Server) -> AllocUpdate {
    server.known().last(alloc_id(1)).unwrap().clone()
}

fn has_event(task: &TaskState, wanted: &str) -> bool {
    task.events.iter().any(|event| event.kind.type_name() == wanted)
}

#[tokio::test]
async fn a_group_runs_through_its_stages() {
    let (server, machine) = (Server::start().await, Machine::new());
    let node = machine.start(&server).await;
    let tasks = [
        ("init", "prestart", brief()),
        ("proxy", "prestart+", lasting()),
        ("app", "", json!({"run_for": "80ms"})),
        ("notify", "poststart", brief()),
        ("bye", "poststop", brief()),
    ];
    server.put(alloc(1, &group("batch", &tasks))).await;
    server.wait_status(alloc_id(1), ClientStatus::Complete).await;
    let update = last(&server);
    let [init, proxy, app, notify, bye] = &update.tasks[..] else { panic!("{update:#?}") };
    assert!(update.tasks.iter().all(TaskState::succeeded), "{update:#?}");
    assert!(init.finished_at <= app.started_at && proxy.started_at <= app.started_at);
    assert!(app.started_at <= notify.started_at);
    assert!(app.finished_at <= proxy.finished_at && has_event(proxy, "Main Tasks Dead"));
    assert!(proxy.finished_at <= bye.started_at && notify.finished_at <= bye.started_at);
    node.stop().await;
}

#[tokio::test]
async fn main_tasks_never_start_after_a_prestart_task_that_fails() {
    let (server, machine) = (Server::start().await, Machine::new());
    let node = machine.start(&server).await;
    let failing = json!({"run_for": "1ms", "exit_code": 7});
    let tasks = [("init", "prestart", failing), ("app", "", lasting()), ("bye", "poststop", brief())];
    server.put(alloc(1, &group("service", &tasks))).await;
    server.wait_status(alloc_id(1), ClientStatus::Failed).await;
    let update = last(&server);
    let [init, app, bye] = &update.tasks[..] else { panic!("{update:#?}") };
    assert_eq!((init.failed, init.restarts), (true, 1));
    assert_eq!((app.started_at, app.failed), (Timestamp::NONE, false));
    assert!(has_event(app, "Sibling Task Failed") && bye.succeeded());
    node.stop().await;
}

#[tokio::test]
async fn the_end_of_the_leader_ends_the_others() {
    let (server, machine) = (Server::start().await, Machine::new());
    let node = machine.start(&server).await;
    let mut job = group("batch", &[("lead", "", brief()), ("other", "", lasting())]);
    job.task_groups[0].tasks[0].leader = true;
    server.put(alloc(1, &job)).await;
    server.wait_status(alloc_id(1), ClientStatus::Complete).await;
    assert!(has_event(&last(&server).tasks[1], "Leader Task Dead"));
    machine.wait("an empty driver", async || machine.tasks().await.is_empty()).await;
    node.stop().await;
}

#[tokio::test]
async fn a_stop_waits_ends_the_tasks_and_then_runs_poststop() {
    let (server, machine) = (Server::start().await, Machine::new());
    let node = machine.start(&server).await;
    let mut job = group("service", &[("app", "", lasting()), ("bye", "poststop", brief())]);
    job.task_groups[0].shutdown_delay = Some(Nanos::from_millis(200));
    server.put(alloc(1, &job)).await;
    server.wait_status(alloc_id(1), ClientStatus::Running).await;
    let asked = Timestamp(0).plus(std::time::UNIX_EPOCH.elapsed().unwrap().into());
    server.modify(alloc_id(1), |alloc| alloc.desired = DesiredStatus::Stop).await;
    server.wait_status(alloc_id(1), ClientStatus::Complete).await;
    let update = last(&server);
    let [app, bye] = &update.tasks[..] else { panic!("{update:#?}") };
    assert!(app.finished_at.since(asked) >= Nanos::from_millis(200));
    assert!(bye.started_at >= app.finished_at && bye.succeeded());
    node.stop().await;
}

#[tokio::test]
async fn an_allocation_is_started_again_as_a_whole() {
    let (server, machine) = (Server::start().await, Machine::new());
    let node = machine.start(&server).await;
    let tasks = [("init", "prestart", brief()), ("app", "", lasting())];
    server.put(alloc(1, &group("service", &tasks))).await;
    let app_runs = |run: u32| {
        move |known: &crate::server::Known| {
            known
                .last(alloc_id(1))
                .is_some_and(|update| update.tasks[1].state == TaskRunState::Running && update.tasks[1].restarts == run)
        }
    };
    server.wait("a running main task", app_runs(0)).await;
    node.handle.restart(alloc_id(1), RestartTarget::All).await.unwrap();
    server.wait("a main task that runs again", app_runs(1)).await;
    let update = last(&server);
    assert_eq!(update.tasks[0].restarts, 1);
    assert!(update.tasks[0].finished_at <= update.tasks[1].started_at);
    node.stop().await;
}

/// An agent is killed when `reached`, and comes back: the group still ends as it should, and nothing ran twice.
async fn killed_when(what: &str, reached: impl Fn(&AllocUpdate) -> bool) {
    let (server, machine) = (Server::start().await, Machine::new());
    let node = machine.start(&server).await;
    let long = json!({"run_for": "400ms"});
    let tasks = [
        ("init", "prestart", long.clone()),
        ("proxy", "prestart+", lasting()),
        ("app", "", json!({"run_for": "600ms"})),
        ("notify", "poststart", long.clone()),
        ("bye", "poststop", long),
    ];
    server.put(alloc(1, &group("batch", &tasks))).await;
    server.wait(what, |known| known.last(alloc_id(1)).is_some_and(&reached)).await;
    node.kill().await;
    let node = machine.start(&server).await;
    server.wait_status(alloc_id(1), ClientStatus::Complete).await;
    let update = last(&server);
    let [init, proxy, app, notify, bye] = &update.tasks[..] else { panic!("{update:#?}") };
    assert!(update.tasks.iter().all(|task| task.succeeded() && task.restarts == 0), "{what}: {update:#?}");
    assert!(init.finished_at <= app.started_at && app.started_at <= notify.started_at, "{what}: {update:#?}");
    assert!(proxy.finished_at <= bye.started_at, "{what}: {update:#?}");
    node.stop().await;
}

fn runs(place: usize) -> impl Fn(&AllocUpdate) -> bool {
    move |update| update.tasks[place].state == TaskRunState::Running
}

#[tokio::test]
async fn an_agent_that_is_killed_during_prestart_goes_on_there() {
    killed_when("prestart", runs(0)).await;
}

#[tokio::test]
async fn an_agent_that_is_killed_while_the_main_tasks_run_goes_on_there() {
    killed_when("poststart", runs(3)).await;
}

#[tokio::test]
async fn an_agent_that_is_killed_during_poststop_goes_on_there() {
    killed_when("poststop", runs(4)).await;
}

/// Part of a deployment that wants `min_healthy` within ten seconds.
fn deployed(mut job: Job, min_healthy: Nanos) -> orch_model::Allocation {
    job.task_groups[0].update = Some(UpdateStrategy {
        max_parallel: Some(1),
        health_check: "task_states".into(),
        min_healthy_time: Some(min_healthy),
        healthy_deadline: Some(Nanos::from_secs(10)),
        ..UpdateStrategy::default()
    });
    let mut alloc = alloc(1, &job);
    alloc.deployment_id = Some(DeploymentId::from_uuid(Uuid::from_u128(5)));
    alloc
}

#[tokio::test]
async fn the_servers_hear_whether_a_deployment_may_count_on_an_allocation() {
    let (server, machine) = (Server::start().await, Machine::new());
    let node = machine.start(&server).await;
    server.put(deployed(job("web", &[lasting()]), Nanos::from_millis(50))).await;
    server.wait("a verdict", |known| known.said.iter().any(|update| update.health == Some(true))).await;
    let started = last(&server).tasks[0].started_at;
    node.kill().await;
    let said = server.known().said.len();
    let node = machine.start(&server).await;
    server.wait("a word of the agent that returned", |known| known.said.len() > said).await;
    let update = server.known().said[said].clone();
    assert_eq!((update.health, update.tasks[0].started_at), (Some(true), started));
    node.stop().await;
}

#[tokio::test]
async fn the_servers_hear_of_an_allocation_that_fails_before_it_is_healthy() {
    let (server, machine) = (Server::start().await, Machine::new());
    let node = machine.start(&server).await;
    let failing = json!({"run_for": "1ms", "exit_code": 1});
    server.put(deployed(job("web", &[failing]), Nanos::from_secs(5))).await;
    server.wait_status(alloc_id(1), ClientStatus::Failed).await;
    let verdicts: Vec<bool> = server.known().said.iter().filter_map(|update| update.health).collect();
    assert_eq!(verdicts, [false], "it is told once");
    node.stop().await;
}
