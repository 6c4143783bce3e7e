//! The agent's half: a cheap handle, and the service that carries its requests and survives the loss of the supervisor.

mod connection;
mod init;
mod launch;
mod service;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use orch_driver::{ExecSession, ExecSpec};
use orch_host::limits::OriginalLimits;
use tokio::sync::{mpsc, oneshot};

use crate::enter;
use crate::error::{Error, StartError};
use crate::protocol::{Answer, Ask};
use crate::spec::{ExitStatus, Lifetime, SpawnSpec, Started, TaskEntry, TaskKey, TaskStats};
pub(crate) use connection::Connection;
pub use init::speak_with_init;
pub use service::Service;

/// Where the supervisor is, and how one is started.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its socket, in the agent's data directory. Where this is longer than a socket address may be, an abstract name made from it
    /// is used instead; the lock file beside it has the same path with `.lock` at the end in any case.
    pub socket: PathBuf,
    /// The program that becomes the supervisor.
    pub exe: PathBuf,
    /// What stands before the supervisor's own arguments, `["supervisor"]` for instance.
    pub args: Vec<OsString>,
    /// Marks the control groups of this node.
    pub node_mark: String,
    /// The control group in which the node's own stands, `orch` for instance.
    pub cgroup_parent: String,
    pub lifetime: Lifetime,
    /// The limits that tasks get: captured before the agent raised its own.
    pub limits: OriginalLimits,
}

/// The supervisor, as the agent sees it. Cheap to clone; ends its [`Service`] when the last one is dropped.
///
/// Every call waits while a lost supervisor is being replaced, and fails with [`Error::Lost`] if that takes more than 10 s.
#[derive(Debug, Clone)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
    program: Arc<enter::Program>,
}

#[derive(Debug)]
pub(crate) enum Command {
    Call { ask: Ask, reply: oneshot::Sender<Result<Answer, Error>> },
    Wait { key: TaskKey, reply: oneshot::Sender<Result<ExitStatus, Error>> },
    Find { key: TaskKey, reply: oneshot::Sender<Option<Box<TaskEntry>>> },
    Upgrade { reply: oneshot::Sender<Result<(), Error>> },
}

impl Handle {
    /// Connects to the running supervisor, or starts one, and learns of its tasks.
    ///
    /// The caller runs the returned [`Service`]; without it no call is answered.
    pub async fn connect(options: Options) -> Result<(Self, Service), Error> {
        // Callers wait for room; requests are small and answered within milliseconds.
        let (commands, queue) = mpsc::channel(64);
        let program = Arc::new(enter::Program { exe: options.exe.clone(), limits: options.limits.clone() });
        let service = Service::connect(options, queue).await?;
        Ok((Self { commands, program }, service))
    }

    /// Runs a command inside of the task `entry`, as its user, in its control groups and namespaces; dropping the session ends it.
    ///
    /// Where the task has a sandbox, every system call of the command passes `filter`. The program in [`Options::exe`] has to run
    /// [`enter::main`](crate::enter::main) when its first argument is [`enter::MODE`](crate::enter::MODE).
    ///
    /// # Errors
    /// Fails if the task has ended, or the command cannot be executed in it.
    pub async fn enter(
        &self,
        entry: &TaskEntry,
        spec: ExecSpec,
        filter: Vec<u64>,
    ) -> Result<ExecSession, orch_driver::Error> {
        enter::open(&self.program, entry, spec, filter).await
    }

    /// Starts a task and returns once it is in its program.
    ///
    /// Not to be repeated after a success: a key is used once. After [`StartError::Lost`] the same key may be started again.
    pub async fn start(&self, spec: SpawnSpec) -> Result<Started, StartError> {
        let key = spec.key.clone();
        let ask = Ask::Start(Box::new(spec));
        let answer = match self.call(ask).await {
            Err(Error::Lost { .. }) => return Err(StartError::Lost),
            answer => answer?,
        };
        match answer {
            Answer::Started { entry, warnings } => {
                Ok(Started { process: entry.process.clone(), warnings, entry: *entry })
            }
            Answer::NotStarted { stage, errno, detail } => {
                Err(StartError::Stage { stage, detail, source: io::Error::from_raw_os_error(errno) })
            }
            Answer::ZeroByte { what } => Err(StartError::ZeroByte { what }),
            Answer::Exists => Err(StartError::Exists(key)),
            other => Err(unexpected(&other).into()),
        }
    }

    /// Takes over a task from what was stored of it, for the case that agent and supervisor died together.
    ///
    /// Its pipes are broken then and its exit code will be unknown. False if the process is gone; the task is then known as ended.
    /// A task that is known already stays as it is. May be repeated.
    pub async fn adopt(&self, entry: TaskEntry) -> Result<bool, Error> {
        let running = entry.process.is_running();
        match self.call(Ask::Adopt(Box::new(entry))).await? {
            Answer::Done | Answer::Exists => Ok(running),
            other => Err(unexpected(&other)),
        }
    }

    /// Waits for the end of a task; answers at once if it has ended, as often as asked until it is forgotten.
    pub async fn wait(&self, task: &TaskKey) -> Result<ExitStatus, Error> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Wait { key: task.clone(), reply }).await.map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }

    /// Sends a signal to the process group of a task. Twice, possibly, if the supervisor is lost meanwhile.
    pub async fn signal(&self, task: &TaskKey, signal: i32) -> Result<(), Error> {
        self.done("signalling", task, Ask::Signal { key: task.clone(), signal }).await
    }

    /// Kills everything of a task with SIGKILL, daemons it left behind included; returns when nothing is left. May be repeated.
    pub async fn kill(&self, task: &TaskKey) -> Result<(), Error> {
        self.done("killing", task, Ask::Kill { key: task.clone() }).await
    }

    /// Every task that has not been forgotten, running or ended.
    pub async fn list(&self) -> Result<Vec<TaskEntry>, Error> {
        match self.call(Ask::List).await? {
            Answer::Tasks(tasks) => Ok(tasks),
            other => Err(unexpected(&other)),
        }
    }

    /// One task that has not been forgotten, as this agent knows it: it costs no question to the supervisor.
    pub async fn find(&self, task: &TaskKey) -> Result<Option<TaskEntry>, Error> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Find { key: task.clone(), reply }).await.map_err(|_| Error::Closed)?;
        Ok(answer.await.map_err(|_| Error::Closed)?.map(|entry| *entry))
    }

    /// Kills and removes every control group that carries this node's mark and belongs to no task that is known; returns their names.
    ///
    /// What is left of tasks whose agent and supervisor died together, and which nobody adopted. To be asked once everything that should
    /// be adopted has been. The groups go within seconds after it returns.
    pub async fn sweep(&self) -> Result<Vec<String>, Error> {
        match self.call(Ask::Sweep).await? {
            Answer::Swept(names) => Ok(names),
            other => Err(unexpected(&other)),
        }
    }

    /// Drops a task whose status has been fetched: kills what is left of it, writes out its last output, removes its control group.
    ///
    /// Whoever waits for it gets its status before. False if it was not known: then nothing of it is left either. May be repeated.
    pub async fn forget(&self, task: &TaskKey) -> Result<bool, Error> {
        match self.done("forgetting", task, Ask::Forget { key: task.clone() }).await {
            Ok(()) => Ok(true),
            Err(Error::UnknownTask(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What a task has used so far.
    pub async fn stats(&self, task: &TaskKey) -> Result<TaskStats, Error> {
        match self.call(Ask::Stats { key: task.clone() }).await? {
            Answer::Stats(stats) => Ok(*stats),
            Answer::UnknownTask => Err(Error::UnknownTask(task.clone())),
            other => Err(unexpected(&other)),
        }
    }

    /// Ends the supervisor, with all its tasks or without. Tasks that stay lose their pipes when this agent ends too.
    pub async fn shutdown(self, kill_tasks: bool) -> Result<(), Error> {
        match self.call(Ask::Shutdown { kill_tasks }).await? {
            Answer::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Has the supervisor replace itself by the program in [`Options::exe`]: the same process with the same children, new code.
    ///
    /// A supervisor of another protocol version is asked for that anyway when it is first connected to. If the new program cannot be
    /// executed the old one goes on.
    pub async fn upgrade(&self) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Upgrade { reply }).await.map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }

    async fn done(&self, action: &'static str, key: &TaskKey, ask: Ask) -> Result<(), Error> {
        match self.call(ask).await? {
            Answer::Done => Ok(()),
            Answer::UnknownTask => Err(Error::UnknownTask(key.clone())),
            Answer::NotRunning => Err(Error::NotRunning(key.clone())),
            Answer::Failed { errno } => {
                Err(Error::System { action, key: key.clone(), source: io::Error::from_raw_os_error(errno) })
            }
            other => Err(unexpected(&other)),
        }
    }

    async fn call(&self, ask: Ask) -> Result<Answer, Error> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Call { ask, reply }).await.map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?
    }
}

fn unexpected(answer: &Answer) -> Error {
    Error::Protocol(format!("{answer:?} does not answer what was asked"))
}
