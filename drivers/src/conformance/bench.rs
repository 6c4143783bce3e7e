use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use orch_model::{AllocId, MebiBytes, Mhz};
use uuid::Uuid;

use super::{Config, Fixture, Program};
use crate::driver::Driver;
use crate::error::Error;
use crate::handle::{ExitStatus, TaskHandle};
use crate::spec::{LogSpec, TaskDirs, TaskId, TaskLimits, TaskSpec};

/// How long something may take that should take no time.
pub(super) const SOON: Duration = Duration::from_secs(20);
/// How often the suite looks whether something has come true.
const GLANCE: Duration = Duration::from_millis(5);

/// What came of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The driver does as it should.
    Holds,
    /// The fixture has no program for it.
    Skipped,
    /// It does not, for this reason.
    Broken(String),
}

/// Why a check ended early.
#[derive(Debug)]
pub(super) enum Stop {
    NoProgram,
    /// The driver does not claim to do what is checked.
    NotClaimed,
    Broken(String),
}

/// What a check returns.
pub(super) type Checked = Result<(), Stop>;

impl From<Checked> for Outcome {
    fn from(checked: Checked) -> Self {
        match checked {
            Ok(()) | Err(Stop::NotClaimed) => Self::Holds,
            Err(Stop::NoProgram) => Self::Skipped,
            Err(Stop::Broken(why)) => Self::Broken(why),
        }
    }
}

/// Ends the check as broken unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err($crate::conformance::bench::Stop::Broken(format!($($message)+)));
        }
    };
}
pub(super) use ensure;

/// One check's driver and the tasks that it started.
pub struct Bench<'f> {
    fixture: &'f dyn Fixture,
    driver: Arc<dyn Driver>,
    /// Whatever was started or tried to, so that nothing outlives the check.
    touched: Vec<TaskId>,
}

impl fmt::Debug for Bench<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bench").field("driver", &self.driver).field("touched", &self.touched).finish_non_exhaustive()
    }
}

impl<'f> Bench<'f> {
    pub(super) async fn open(fixture: &'f dyn Fixture) -> Self {
        Self { fixture, driver: fixture.open().await, touched: Vec::new() }
    }

    pub(super) fn driver(&self) -> &dyn Driver {
        &*self.driver
    }

    pub(super) fn fixture(&self) -> &dyn Fixture {
        self.fixture
    }

    /// Puts a driver value in place of this one that knows nothing of it.
    pub(super) async fn reopen(&mut self) {
        self.driver = self.fixture.open().await;
    }

    pub(super) fn config(&self, program: &Program) -> Result<Config, Stop> {
        self.fixture.config(program).ok_or(Stop::NoProgram)
    }

    /// A new task that does `program`, with its directories made.
    pub(super) fn spec(&mut self, program: &Program) -> Result<TaskSpec, Stop> {
        let config = self.config(program)?;
        let id = TaskId { alloc_id: AllocId::from_uuid(Uuid::new_v4()), task: "checked".to_owned(), run: 0 };
        let alloc = self.fixture.root().join(id.alloc_id.to_string());
        let task = alloc.join(&id.task);
        let (local, secrets) = (task.join("local"), task.join("secrets"));
        let (shared, logs) = (alloc.join("alloc"), alloc.join("alloc/logs"));
        for directory in [&local, &secrets, &logs] {
            std::fs::create_dir_all(directory)
                .map_err(|error| Stop::Broken(format!("cannot make {}: {error}", directory.display())))?;
        }
        self.touched.push(id.clone());
        Ok(TaskSpec {
            id,
            job_id: "conformance".to_owned(),
            group: "checks".to_owned(),
            config,
            env: self.fixture.env(),
            limits: TaskLimits { cpu: Mhz(100), node_cpu: Mhz(4000), memory: MebiBytes(64), ..TaskLimits::default() },
            dirs: TaskDirs { task, local, secrets, shared },
            logs: LogSpec { dir: logs, max_files: 2, max_file_bytes: 1 << 20, disabled: false },
            ..TaskSpec::default()
        })
    }

    /// The same task as `spec`, one run later.
    pub(super) fn next_run(&mut self, spec: &TaskSpec, program: &Program) -> Result<TaskSpec, Stop> {
        let mut next = spec.clone();
        next.id.run += 1;
        next.config = self.config(program)?;
        self.touched.push(next.id.clone());
        Ok(next)
    }

    pub(super) async fn start(&mut self, spec: &TaskSpec) -> Result<TaskHandle, Stop> {
        within("start", self.driver.start(spec.clone())).await
    }

    /// Starts a new task that does `program`.
    pub(super) async fn run(&mut self, program: &Program) -> Result<(TaskSpec, TaskHandle), Stop> {
        let spec = self.spec(program)?;
        let handle = self.start(&spec).await?;
        Ok((spec, handle))
    }

    /// Starts a new task and waits until it has written `ready`.
    pub(super) async fn run_until_ready(&mut self, program: &Program) -> Result<TaskSpec, Stop> {
        let (spec, _) = self.run(program).await?;
        let file = log_file(&spec, "stdout");
        eventually("the task writes \"ready\"", || std::fs::read_to_string(&file).is_ok_and(|text| text == "ready\n"))
            .await?;
        Ok(spec)
    }

    pub(super) async fn wait(&self, task: &TaskId) -> Result<ExitStatus, Stop> {
        within("wait", self.driver.wait(task)).await
    }

    pub(super) async fn stop(&self, task: &TaskId, timeout: Duration) -> Checked {
        within("stop", self.driver.stop(task, Some("SIGTERM"), timeout)).await
    }

    pub(super) async fn destroy(&self, task: &TaskId) -> Checked {
        within("destroy", self.driver.destroy(task)).await
    }

    /// Whether the driver holds anything of `task`.
    pub(super) async fn is_listed(&self, task: &TaskId) -> Result<bool, Stop> {
        Ok(within("list", self.driver.list()).await?.iter().any(|handle| handle.id == *task))
    }

    /// Ensures that the task runs at this moment.
    pub(super) async fn ensure_runs(&self, task: &TaskId) -> Checked {
        let early = tokio::time::timeout(Duration::from_millis(50), self.driver.wait(task)).await;
        ensure!(early.is_err(), "{task} should run, but wait answered {early:?}");
        Ok(())
    }

    /// Destroys whatever a check left; says so if it is still there after that.
    pub(super) async fn clear(self) -> Option<String> {
        for task in &self.touched {
            match tokio::time::timeout(SOON, self.driver.destroy(task)).await {
                Ok(Ok(()) | Err(Error::UnknownTask(_))) => {}
                Ok(Err(error)) => return Some(format!("destroying {task} afterwards failed: {error}")),
                Err(_) => return Some(format!("destroying {task} afterwards was not done within {SOON:?}")),
            }
        }
        let left: Vec<String> = match self.driver.list().await {
            Ok(handles) => {
                let own = handles.iter().filter(|handle| self.touched.contains(&handle.id));
                own.map(|handle| handle.id.to_string()).collect()
            }
            Err(error) => return Some(format!("list failed: {error}")),
        };
        (!left.is_empty()).then(|| format!("list still gives {} after it was destroyed", left.join(", ")))
    }
}

/// Awaits what the driver does; that it fails or takes too long breaks the contract.
pub(super) async fn within<T>(what: &str, doing: impl Future<Output = Result<T, Error>>) -> Result<T, Stop> {
    match tokio::time::timeout(SOON, doing).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Stop::Broken(format!("{what} failed: {}", chain(&error)))),
        Err(_) => Err(Stop::Broken(format!("{what} did not return within {SOON:?}"))),
    }
}

/// Waits until `condition` holds.
pub(super) async fn eventually(what: &str, condition: impl Fn() -> bool) -> Checked {
    let poll = async {
        while !condition() {
            tokio::time::sleep(GLANCE).await;
        }
    };
    let done = tokio::time::timeout(SOON, poll).await;
    ensure!(done.is_ok(), "waited in vain for {SOON:?} until {what}");
    Ok(())
}

/// Where the first part of an output goes.
pub(super) fn log_file(spec: &TaskSpec, stream: &str) -> PathBuf {
    spec.logs.dir.join(format!("{}.{stream}.0", spec.id.task))
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
