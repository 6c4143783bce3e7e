//! The runner with the mock driver, on paused time: what takes minutes there takes none here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use orch_driver::Driver;
use orch_driver_mock::MockDriver;
use orch_model::allocation::{AllocUpdate, ClientStatus, EventKind};
use orch_model::job::{Task, TaskLifecycleConfig, UpdateStrategy};
use orch_model::node::NodeDescription;
use orch_model::{Allocation, DeploymentId, Job, Nanos, NodeId, Timestamp};
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::alloc_runner::{AllocRunner, Found, KillReason, RunnerHandle};
use crate::clock::Clock;
use crate::config::Config;
use crate::context::Context;
use crate::state::LocalState;
use crate::volumes::Volumes;

/// Longer than anything that is waited for.
const FOR_EVER: Duration = Duration::from_secs(24 * 3600);

/// What stays when the agent goes.
struct Machine {
    dir: tempfile::TempDir,
    driver: MockDriver,
    clock: Clock,
}

/// A runner of one allocation.
struct Running {
    handle: RunnerHandle,
    reports: mpsc::Receiver<AllocUpdate>,
    task: JoinHandle<()>,
    last: Option<AllocUpdate>,
    context: Arc<Context>,
    _description: watch::Sender<Arc<NodeDescription>>,
}

impl Machine {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), driver: MockDriver::new(), clock: Clock::start() }
    }

    /// Runs `alloc` on what is left of it.
    fn run(&self, alloc: &Allocation) -> Running {
        let mut config = Config::new(self.dir.path().join("state"), self.dir.path().join("alloc"));
        config.dev = true;
        std::fs::create_dir_all(&config.state_dir).unwrap();
        std::fs::create_dir_all(&config.alloc_dir).unwrap();
        let (state, mut remembered) = LocalState::open(&config).unwrap();
        let driver: Arc<dyn Driver> = Arc::new(self.driver.clone());
        let (sender, description) = watch::channel(Arc::new(NodeDescription::default()));
        let context = Arc::new(Context {
            node_id: NodeId::default(),
            clock: self.clock,
            volumes: Volumes::new(&config, state.clone(), BTreeMap::new()),
            fetcher: orch_artifact::Fetcher::new(config.artifacts.clone()),
            connected: watch::channel(None).1,
            streams: TaskTracker::new(),
            state,
            drivers: ["mock_driver", "exec"].map(|name| (name.to_owned(), Arc::clone(&driver))).into(),
            description,
            config,
        });
        let names = alloc.task_group().unwrap().tasks.iter().map(|task| task.name.clone());
        let tasks = names.map(|name| remembered.tasks.remove(&(alloc.id, name))).collect();
        let (reports, receiver) = mpsc::channel(64);
        let found = Found { tasks, rebooted: false, predecessor: None };
        let (runner, handle) = AllocRunner::new(Arc::clone(&context), Arc::new(alloc.clone()), found, reports);
        let task = tokio::spawn(runner.run(CancellationToken::new()));
        Running { handle, reports: receiver, task, last: None, context, _description: sender }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        orch_host::mounts::unmount_below(self.dir.path()).unwrap();
    }
}

impl Running {
    /// Waits for a report that is `reached`.
    async fn until(&mut self, what: &str, reached: impl Fn(&AllocUpdate) -> bool) -> AllocUpdate {
        loop {
            if let Some(last) = self.last.as_ref().filter(|last| reached(last)) {
                return last.clone();
            }
            match tokio::time::timeout(FOR_EVER, self.reports.recv()).await {
                Ok(Some(update)) => self.last = Some(update),
                Ok(None) | Err(_) => panic!("{what} was not reached: {:#?}", self.last),
            }
        }
    }

    async fn until_status(&mut self, status: ClientStatus) -> AllocUpdate {
        self.until(status.as_str(), |update| update.client_status == status).await
    }

    /// The next verdict, and the report that it came with.
    async fn until_judged(&mut self) -> (AllocUpdate, bool) {
        self.last = self.last.take().filter(|last| last.health.is_none());
        let update = self.until("a verdict", |update| update.health.is_some()).await;
        let healthy = update.health.unwrap();
        (update, healthy)
    }

    fn now(&self) -> Timestamp {
        self.context.clock.now()
    }

    fn stop(&self) {
        self.handle.wanted.send_modify(|wanted| wanted.stop = Some(KillReason::Requested));
    }

    /// Ends without a word, as the agent does when it is killed.
    async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

fn job(configs: &[Value]) -> Job {
    let mut job = orch_model::testing::job("web", 1);
    let group = &mut job.task_groups[0];
    let template = group.tasks[0].clone();
    let named = configs.iter().enumerate().map(|(number, config)| Task {
        name: format!("task{number}"),
        config: serde_json::from_value(config.clone()).unwrap(),
        ..template.clone()
    });
    group.tasks = named.collect();
    job
}

fn alloc(job: Job) -> Allocation {
    crate::testing::alloc(1, &Arc::new(job))
}

/// When an event of the first task was.
fn time_of(update: &AllocUpdate, wanted: impl Fn(&EventKind) -> bool) -> Timestamp {
    update.tasks[0].events.iter().find(|event| wanted(&event.kind)).unwrap().time
}

/// How long there is between, to the second.
fn secs(later: Timestamp, earlier: Timestamp) -> i64 {
    (later.since(earlier).0 + 500_000_000) / 1_000_000_000
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_group_and_task_and_then_gives_the_task_its_time() {
    let machine = Machine::new();
    let mut job = job(&[json!({"kill_after": "7s"})]);
    job.task_groups[0].shutdown_delay = Some(Nanos::from_secs(30));
    job.task_groups[0].tasks[0].shutdown_delay = Nanos::from_secs(10);
    job.task_groups[0].tasks[0].kill_timeout = Nanos::from_secs(20);
    let mut running = machine.run(&alloc(job));
    running.until_status(ClientStatus::Running).await;
    let asked = running.now();
    running.stop();
    let end = running.until_status(ClientStatus::Complete).await;
    let killing = time_of(&end, |kind| *kind == EventKind::Killing { timeout: Nanos::from_secs(20) });
    assert_eq!(secs(killing, asked), 30);
    time_of(&end, |kind| *kind == EventKind::WaitingForShutdownDelay { delay: Nanos::from_secs(10) });
    assert_eq!(secs(end.tasks[0].finished_at, killing), 17);
}

#[tokio::test(start_paused = true)]
async fn a_delay_that_is_under_way_is_cut_short_when_the_servers_say_so() {
    let machine = Machine::new();
    let mut job = job(&[json!({})]);
    job.task_groups[0].shutdown_delay = Some(Nanos::from_secs(3000));
    job.task_groups[0].tasks[0].shutdown_delay = Nanos::from_secs(50);
    let mut alloc = alloc(job);
    let mut running = machine.run(&alloc);
    running.until_status(ClientStatus::Running).await;
    let asked = running.now();
    running.stop();
    tokio::time::advance(Duration::from_secs(60)).await;
    alloc.transition.no_shutdown_delay = true;
    running.handle.wanted.send_modify(|wanted| wanted.alloc = Arc::new(alloc.clone()));
    let end = running.until_status(ClientStatus::Complete).await;
    assert_eq!(secs(end.tasks[0].finished_at, asked), 60);
    time_of(&end, |kind| *kind == EventKind::SkippingShutdownDelay { delay: Nanos::from_secs(50) });
}

#[tokio::test(start_paused = true)]
async fn a_task_that_does_not_end_is_killed_after_the_longest_time_the_node_allows() {
    let machine = Machine::new();
    let mut job = job(&[json!({"kill_after": "1h"})]);
    job.task_groups[0].tasks[0].kill_timeout = Nanos::from_secs(600);
    let mut running = machine.run(&alloc(job));
    running.until_status(ClientStatus::Running).await;
    let asked = running.now();
    running.stop();
    let end = running.until_status(ClientStatus::Complete).await;
    assert_eq!(secs(end.tasks[0].finished_at, asked), 30);
    time_of(&end, |kind| matches!(kind, EventKind::Terminated(end) if end.signal == Some(9)));
}

/// Part of a deployment, with ten seconds to be healthy in and a minute to get there.
fn deployed(mut job: Job) -> Allocation {
    job.task_groups[0].update = Some(UpdateStrategy {
        health_check: "task_states".into(),
        min_healthy_time: Some(Nanos::from_secs(10)),
        healthy_deadline: Some(Nanos::from_secs(60)),
        ..UpdateStrategy::default()
    });
    let mut alloc = alloc(job);
    alloc.deployment_id = Some(deployment(1));
    alloc
}

fn deployment(number: u128) -> DeploymentId {
    DeploymentId::from_uuid(Uuid::from_u128(number))
}

#[tokio::test(start_paused = true)]
async fn an_allocation_is_healthy_once_all_of_its_tasks_have_run_long_enough() {
    let machine = Machine::new();
    let mut job = job(&[json!({"run_for": "5s"}), json!({}), json!({"start_block_for": "3s"})]);
    let group = &mut job.task_groups[0];
    group.tasks[0].lifecycle = Some(TaskLifecycleConfig { hook: "prestart".into(), sidecar: false });
    let mut running = machine.run(&deployed(job));
    let began = running.now();
    let (update, healthy) = running.until_judged().await;
    assert!(healthy);
    assert_eq!(secs(running.now(), began), 5 + 3 + 10);
    assert_eq!(update.client_status, ClientStatus::Running);
}

#[tokio::test(start_paused = true)]
async fn an_allocation_that_does_not_get_there_in_time_or_fails_is_unhealthy() {
    for (config, after) in [(json!({"start_block_for": "10m"}), 60), (json!({"run_for": "5s", "exit_code": 1}), 5)] {
        let machine = Machine::new();
        let mut running = machine.run(&deployed(job(std::slice::from_ref(&config))));
        let began = running.now();
        let (update, healthy) = running.until_judged().await;
        assert!(!healthy, "{config}");
        assert_eq!(secs(running.now(), began), after, "{config}");
        time_of(&update, |kind| matches!(kind, EventKind::AllocUnhealthy(_)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_restarted_agent_goes_on_with_the_verdict_where_it_was() {
    let machine = Machine::new();
    let alloc = deployed(job(&[json!({})]));
    let mut first = machine.run(&alloc);
    first.until_status(ClientStatus::Running).await;
    let began = first.now();
    tokio::time::advance(Duration::from_secs(4)).await;
    first.kill().await;
    let mut second = machine.run(&alloc);
    assert!(second.until_judged().await.1);
    assert_eq!(secs(second.now(), began), 10);
    second.kill().await;

    let mut third = machine.run(&alloc);
    let first_word = third.until("a word", |update| update.client_status == ClientStatus::Running).await;
    assert_eq!(first_word.health, Some(true), "what may not have been told is told again");
    assert_eq!(secs(third.now(), began), 10);
}

#[tokio::test(start_paused = true)]
async fn an_allocation_that_joins_another_deployment_is_judged_afresh() {
    let machine = Machine::new();
    let mut alloc = deployed(job(&[json!({})]));
    let mut running = machine.run(&alloc);
    assert!(running.until_judged().await.1);
    tokio::time::advance(Duration::from_secs(100)).await;
    let joined = running.now();
    alloc.deployment_id = Some(deployment(2));
    running.handle.wanted.send_modify(|wanted| wanted.alloc = Arc::new(alloc.clone()));
    assert!(running.until_judged().await.1);
    assert_eq!(secs(running.now(), joined), 10);
}

#[tokio::test(start_paused = true)]
async fn an_end_that_was_asked_for_says_nothing_about_health() {
    let machine = Machine::new();
    let mut running = machine.run(&deployed(job(&[json!({})])));
    running.until_status(ClientStatus::Running).await;
    running.stop();
    assert_eq!(running.until_status(ClientStatus::Complete).await.health, None);
}

#[tokio::test(start_paused = true)]
async fn a_user_that_the_node_denies_is_refused_for_drivers_that_keep_tasks_apart() {
    for (driver, ends_as) in [("exec", ClientStatus::Failed), ("mock_driver", ClientStatus::Running)] {
        let machine = Machine::new();
        let mut job = job(&[json!({})]);
        let task = &mut job.task_groups[0].tasks[0];
        task.driver = driver.into();
        task.env = BTreeMap::from([("WHO".to_owned(), "root".to_owned())]);
        task.user = "${WHO}".into();
        let mut running = machine.run(&alloc(job));
        let update = running.until_status(ends_as).await;
        let refusals = update.tasks[0].events.iter().filter(|event| event.kind.type_name() == "Failed Validation");
        assert_eq!(refusals.count(), usize::from(ends_as == ClientStatus::Failed), "{driver}");
    }
}
