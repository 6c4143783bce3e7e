//! What an agent may ask.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use orch_host::ProcessId;
use orch_host::cgroup::{Limits, TaskCgroup};
use orch_host::logs::Stream;

use super::spawn::{self, Plan, Report, Surroundings};
use super::supervisor::{Ending, Supervisor};
use super::tasks::{Phase, Source, Starting, Task, Waiter, now_ms};
use crate::frame;
use crate::protocol::{Answer, Ask, Hello, Intent, Message, Request, Stage, VERSION};
use crate::sandbox::Step;
use crate::spec::{CgroupSpec, ExitStatus, Place, SpawnSpec, TaskEntry, TaskKey, TaskStats};

impl Supervisor {
    /// Takes what a connection has to say; hangs up where that makes no sense.
    pub(super) fn converse(&mut self, id: u64) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let open = connection.receive().unwrap_or(false);
        loop {
            let Some(connection) = self.connections.get_mut(&id) else { return };
            let understood = match connection.next_frame() {
                Ok(None) => break,
                Ok(Some((body, _))) if !connection.greeted => self.greet(id, &body),
                Ok(Some((body, fds))) => {
                    frame::decode::<Request>(&body).map(|request| self.ask(id, request, fds)).is_ok()
                }
                Err(_) => false,
            };
            if !understood {
                self.hang_up(id);
                return;
            }
        }
        if !open {
            self.hang_up(id);
        }
    }

    fn greet(&mut self, id: u64, body: &[u8]) -> bool {
        let Some(connection) = self.connections.get_mut(&id) else { return false };
        match Hello::decode(body) {
            // The first process of a container stays what it is: its image is replaced as a whole.
            Some(Hello { intent: Intent::Upgrade { .. }, .. }) if self.init.is_some() => false,
            Some(Hello { intent: Intent::Upgrade { exe }, .. }) => {
                self.upgrade = Some(exe);
                true
            }
            Some(Hello { version, intent: Intent::Talk }) => {
                // One of another version learns ours, and will not say anything that we misunderstand.
                connection.greeted = version == VERSION;
                connection.greet().is_ok()
            }
            None => false,
        }
    }

    fn ask(&mut self, from: u64, request: Request, fds: Vec<OwnedFd>) {
        let Request { id, ask } = request;
        match ask {
            Ask::Attach => self.attach(from, id),
            Ask::Start(spec) => self.start(from, id, &spec),
            Ask::Adopt(entry) => {
                let key = entry.key.clone();
                let (answer, gone) = self.adopt(*entry, fds);
                self.answer(from, id, answer);
                if gone {
                    // After the answer: the agent hears of the end of tasks that it knows.
                    self.first_process_ended(&key, ExitStatus::UNKNOWN);
                }
            }
            Ask::Signal { key, signal } => {
                let answer = match self.tasks.get(&key).map(|task| task.signal(signal)) {
                    None => Answer::UnknownTask,
                    Some(Ok(true)) => Answer::Done,
                    Some(Ok(false)) => Answer::NotRunning,
                    Some(Err(error)) => failed(&error),
                };
                self.answer(from, id, answer);
            }
            Ask::Kill { key } => self.end(key, Waiter { connection: from, request: id, forget: false }),
            Ask::Forget { key } => self.end(key, Waiter { connection: from, request: id, forget: true }),
            Ask::Stats { key } => {
                let answer = self.tasks.get(&key).map_or(Answer::UnknownTask, stats);
                self.answer(from, id, answer);
            }
            Ask::List => {
                let told = self.tasks.values().filter(|task| task.is_told());
                let tasks = told.map(|task| task.entry.clone()).collect();
                self.answer(from, id, Answer::Tasks(tasks));
            }
            Ask::Sweep => {
                let names = self.sweep_groups();
                self.answer(from, id, Answer::Swept(names));
            }
            Ask::Shutdown { kill_tasks } => {
                self.ending = Some(Ending { kill: kill_tasks, answer: Some((from, id)) });
                if kill_tasks {
                    self.kill_all();
                }
            }
        }
    }

    fn attach(&mut self, from: u64, id: u64) {
        let Some(connection) = self.connections.get_mut(&from) else { return };
        connection.attached = true;
        for task in self.tasks.values().filter(|task| task.is_told()) {
            // Without its pipes a task can still be waited for; they are only needed should we be lost.
            let pipes = task.pipes().unwrap_or_default();
            let _queued = connection.send(&Message::Attached(Box::new(task.entry.clone())), pipes);
        }
        self.answer(from, id, Answer::Done);
    }

    fn start(&mut self, from: u64, id: u64, spec: &SpawnSpec) {
        match self.try_start(from, id, spec) {
            // The answer follows when the child is in its program.
            Ok(()) => {}
            Err(answer) => self.answer(from, id, answer),
        }
    }

    fn try_start(&mut self, from: u64, id: u64, spec: &SpawnSpec) -> Result<(), Answer> {
        match self.tasks.get(&spec.key).map(|task| &task.phase) {
            None => {}
            // Its control group is being removed: the same start succeeds a moment later.
            Some(Phase::Remains) => {
                return Err(Answer::NotStarted { stage: Stage::Cgroup, errno: libc::EBUSY, detail: None });
            }
            Some(Phase::Starting(_) | Phase::Running | Phase::Flushing(_) | Phase::Ended) => {
                return Err(Answer::Exists);
            }
        }
        let (cgroup, warnings) = match &spec.cgroup {
            Some(CgroupSpec::Own(limits)) => self.make_group(&spec.key, limits)?,
            Some(CgroupSpec::Existing(directories)) => (TaskCgroup::foreign(directories.clone()), Vec::new()),
            None => (TaskCgroup::empty(), Vec::new()),
        };
        match self.fork(spec, &cgroup) {
            Ok((child, process)) => {
                let entry = TaskEntry {
                    key: spec.key.clone(),
                    process,
                    started_at_ms: now_ms(),
                    exit: None,
                    command: spec.command.clone(),
                    logs: spec.logs.clone(),
                    cgroup,
                    place: Place::of(spec),
                };
                let spawn::Child { pid, report, pipes, status } = child;
                let token = self.watch(&report, Source::Report(spec.key.clone())).unwrap_or(0);
                let starting = Starting {
                    report,
                    token,
                    connection: from,
                    request: id,
                    work_dir: spec.work_dir.clone(),
                    steps: steps_of(spec),
                    warnings,
                    failure: None,
                    ended: None,
                };
                self.children.insert(pid, spec.key.clone());
                self.insert(entry, Phase::Starting(starting), pipes, status);
                Ok(())
            }
            Err(answer) => {
                // Nothing has run in it, so it goes at once; what stays is found by the sweep.
                let _removed = cgroup.remove();
                Err(answer)
            }
        }
    }

    fn make_group(&mut self, key: &TaskKey, limits: &Limits) -> Result<(TaskCgroup, Vec<orch_host::Warning>), Answer> {
        if self.layout.exists(key.as_str()) && !self.sweep(key) {
            let detail = self.layout.open(key.as_str()).directories().first().map(|path| path.to_path_buf());
            return Err(Answer::NotStarted { stage: Stage::Cgroup, errno: libc::EBUSY, detail });
        }
        Ok(self.layout.create(key.as_str(), limits))
    }

    fn fork(&mut self, spec: &SpawnSpec, cgroup: &TaskCgroup) -> Result<(spawn::Child, ProcessId), Answer> {
        use std::os::fd::AsFd;
        let plan = Plan::new(spec, cgroup.is_none()).map_err(|what| Answer::ZeroByte { what })?;
        let mut around = Surroundings {
            null: self.null.as_fd(),
            lock: self.lock.as_fd(),
            limits: &self.args.limits,
            slots: &mut self.slots,
        };
        let not_started = |stage: Stage, error: &io::Error| Answer::NotStarted {
            stage,
            errno: error.raw_os_error().unwrap_or(libc::EIO),
            detail: None,
        };
        let child = spawn::spawn(&plan, cgroup, !spec.logs.disabled, &mut around)
            .map_err(|(stage, error)| not_started(stage, &error))?;
        match ProcessId::of(child.pid) {
            Ok(process) => Ok((child, process)),
            Err(error) => {
                // SAFETY: kill takes two integers; the child is ours and not reaped.
                unsafe { libc::kill(child.pid, libc::SIGKILL) };
                Err(not_started(Stage::Fork, &error))
            }
        }
    }

    pub(super) fn insert(&mut self, entry: TaskEntry, phase: Phase, pipes: Vec<OwnedFd>, status: Option<OwnedFd>) {
        let outputs =
            pipes.into_iter().zip(Stream::BOTH).map(|(pipe, stream)| self.pump.add(pipe, &entry.logs, stream));
        let outputs = outputs.collect();
        let task = Task { phase, outputs, status, adopted: None, waiting: Vec::new(), killed_at: None, entry };
        self.tasks.insert(task.entry.key.clone(), task);
    }

    /// The child has closed its report: it is in its program, or gave up.
    pub(super) fn started(&mut self, key: &TaskKey) {
        let Some(task) = self.tasks.get_mut(key) else { return };
        let Phase::Starting(starting) = std::mem::replace(&mut task.phase, Phase::Running) else { return };
        let Starting { report, token, connection, request, work_dir, steps, warnings, failure, ended } = starting;
        let (entry, pipes) = (Box::new(task.entry.clone()), task.pipes());
        self.unwatch(token, &report);
        match failure {
            None => {
                let pipes = pipes.unwrap_or_default();
                self.answer_with(connection, request, Answer::Started { entry, warnings }, pipes);
                if let Some(status) = ended {
                    self.first_process_ended(key, status);
                }
            }
            Some(Report { stage, errno, step, fatal: _ }) => {
                let task = self.tasks.remove(key);
                let detail = match stage {
                    Stage::Exec => Some(entry.command.clone()),
                    Stage::WorkDir => Some(work_dir),
                    Stage::Mount => step.and_then(|step| steps.get(usize::from(step)).cloned()),
                    Stage::Root | Stage::Capabilities | Stage::Filter => None,
                    Stage::Pipe | Stage::Fork | Stage::Session | Stage::Cgroup | Stage::OomScore => None,
                    Stage::Limits | Stage::Descriptors | Stage::User => None,
                };
                self.answer(connection, request, Answer::NotStarted { stage, errno, detail });
                for waiter in task.iter().flat_map(|task| &task.waiting) {
                    self.answer(waiter.connection, waiter.request, Answer::UnknownTask);
                }
                self.killing.remove(key);
                for output in task.iter().flat_map(|task| &task.outputs) {
                    self.pump.remove(output);
                }
                self.discard_group(&entry.cgroup);
            }
        }
    }

    /// Takes over a task that another supervisor started; says too whether it has ended in the meantime.
    pub(super) fn adopt(&mut self, entry: TaskEntry, pipes: Vec<OwnedFd>) -> (Answer, bool) {
        if self.tasks.contains_key(&entry.key) {
            return (Answer::Exists, false);
        }
        let key = entry.key.clone();
        let phase = if entry.exit.is_some() { Phase::Ended } else { Phase::Running };
        let running = matches!(phase, Phase::Running);
        let pidfd = if running { entry.process.open() } else { Ok(None) };
        self.insert(entry, phase, pipes, None);
        let watched = pidfd.and_then(|pidfd| {
            let Some(pidfd) = pidfd else { return Ok(None) };
            self.watch(&pidfd, Source::Adopted(key.clone()))?;
            Ok(Some(pidfd))
        });
        match watched {
            Ok(pidfd) => {
                let gone = running && pidfd.is_none();
                if let Some(task) = self.tasks.get_mut(&key) {
                    task.adopted = pidfd;
                }
                (Answer::Done, gone)
            }
            Err(error) => {
                self.drop_task(&key);
                (failed(&error), false)
            }
        }
    }

    /// Kills everything of a task; the waiter is answered when nothing is left.
    fn end(&mut self, key: TaskKey, waiter: Waiter) {
        let Some(task) = self.tasks.get_mut(&key) else {
            // It may be the remains of a start of which nobody learnt the outcome.
            self.sweep(&key);
            self.answer(waiter.connection, waiter.request, Answer::UnknownTask);
            return;
        };
        task.waiting.push(waiter);
        self.begin_killing(&key);
    }

    /// Drops a task of which nothing is left.
    pub(super) fn drop_task(&mut self, key: &TaskKey) {
        let Some(task) = self.tasks.remove(key) else { return };
        self.killing.remove(key);
        for output in &task.outputs {
            self.pump.remove(output);
        }
    }

    /// Begins to kill every task, for the way out.
    pub(super) fn kill_all(&mut self) {
        if !self.ending.as_ref().is_some_and(|ending| ending.kill) {
            return;
        }
        let keys: Vec<TaskKey> = self.tasks.keys().cloned().collect();
        for key in keys {
            if self.killing.insert(key.clone()) {
                self.kill_round(&key);
            }
        }
        for key in self.killing.clone() {
            self.check_killed(&key);
        }
    }
}

/// What the steps of a sandbox are about, for the case that one fails.
fn steps_of(spec: &SpawnSpec) -> Vec<PathBuf> {
    let steps = spec.sandbox.iter().flat_map(|sandbox| &sandbox.steps);
    steps
        .map(|step| match step {
            // What is missing there is missing on the host.
            Step::Bind { source, .. } => source.clone(),
            step => step.target().to_owned(),
        })
        .collect()
}

fn stats(task: &Task) -> Answer {
    let cgroup = &task.entry.cgroup;
    let usage = if cgroup.is_none() {
        TaskCgroup::stats_of_tree(task.entry.process.pid).map_err(|error| failed(&error))
    } else {
        Ok(cgroup.stats())
    };
    let log_bytes_dropped = task.outputs.iter().map(|output| output.dropped()).sum();
    usage.map_or_else(|answer| answer, |usage| Answer::Stats(Box::new(TaskStats { usage, log_bytes_dropped })))
}

fn failed(error: &io::Error) -> Answer {
    Answer::Failed { errno: error.raw_os_error().unwrap_or(libc::EIO) }
}
