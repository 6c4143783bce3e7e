use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::connection::Connection;
use super::launch::{ask_for_upgrade, establish};
use super::{Command, Options};
use crate::error::Error;
use crate::frame;
use crate::protocol::{Answer, Ask, Message, Request};
use crate::spec::{ExitStatus, TaskEntry, TaskKey};

/// How long a supervisor may take to tell its tasks.
const ATTACH: Duration = Duration::from_secs(10);
/// Between attempts to replace a lost supervisor, while nobody asks for anything.
const RETRY: Duration = Duration::from_secs(1);

/// Carries the requests of all [`Handle`](super::Handle)s, and replaces a lost supervisor.
///
/// Owns the agent's copy of every task: entry, exit status, and duplicates of the read ends of its pipes.
#[derive(Debug)]
pub struct Service {
    options: Options,
    commands: mpsc::Receiver<Command>,
    connection: Option<Connection>,
    tasks: BTreeMap<TaskKey, Task>,
    pending: BTreeMap<u64, Pending>,
    next_id: u64,
    /// Tasks whose start was under way when the supervisor was lost.
    doubtful: Vec<TaskKey>,
    closing: bool,
}

#[derive(Debug)]
struct Task {
    entry: TaskEntry,
    pipes: Vec<OwnedFd>,
    waiters: Vec<oneshot::Sender<Result<ExitStatus, Error>>>,
}

#[derive(Debug)]
struct Pending {
    ask: Ask,
    /// `None` for what the service asks on its own account.
    reply: Option<oneshot::Sender<Result<Answer, Error>>>,
}

impl Service {
    pub(super) async fn connect(options: Options, commands: mpsc::Receiver<Command>) -> Result<Self, Error> {
        let mut service = Self {
            options,
            commands,
            connection: None,
            tasks: BTreeMap::new(),
            pending: BTreeMap::new(),
            next_id: 0,
            doubtful: Vec::new(),
            closing: false,
        };
        service.reconnect().await?;
        Ok(service)
    }

    /// Runs until every handle is dropped or one of them has shut the supervisor down.
    pub async fn run(mut self) {
        loop {
            let Some(connection) = &mut self.connection else {
                if self.closing {
                    return;
                }
                if let Err(error) = self.reconnect().await
                    && !self.wait_for_retry(&error).await
                {
                    return;
                }
                continue;
            };
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(Command::Upgrade { reply }) => drop(reply.send(ask_for_upgrade(&self.options).await)),
                    Some(Command::Call { ask, reply }) => self.ask(ask, Vec::new(), Some(reply)),
                    Some(Command::Wait { key, reply }) => self.wait(key, reply),
                    Some(Command::Find { key, reply }) => drop(reply.send(self.find(&key))),
                    None => return,
                },
                frame = connection.next() => match frame.and_then(|(body, fds)| Ok((frame::decode(&body)?, fds))) {
                    Ok((message, fds)) => self.receive(message, fds),
                    Err(error) => self.lose(&error),
                },
            }
        }
    }

    fn wait(&mut self, key: TaskKey, reply: oneshot::Sender<Result<ExitStatus, Error>>) {
        // A caller that has gone in the meantime wants no answer, here and wherever a reply is sent.
        match self.tasks.get_mut(&key) {
            None => drop(reply.send(Err(Error::UnknownTask(key)))),
            Some(Task { entry: TaskEntry { exit: Some(status), .. }, .. }) => drop(reply.send(Ok(*status))),
            Some(task) => {
                task.waiters.retain(|waiter| !waiter.is_closed());
                task.waiters.push(reply);
            }
        }
    }

    fn find(&self, key: &TaskKey) -> Option<Box<TaskEntry>> {
        self.tasks.get(key).map(|task| Box::new(task.entry.clone()))
    }

    fn ask(&mut self, ask: Ask, fds: Vec<OwnedFd>, reply: Option<oneshot::Sender<Result<Answer, Error>>>) {
        self.closing |= matches!(ask, Ask::Shutdown { .. });
        let id = self.next_id;
        self.next_id += 1;
        let body = match frame::encode(&Request { id, ask: ask.clone() }) {
            Ok(body) => body,
            Err(error) => {
                if let Some(reply) = reply {
                    drop(reply.send(Err(Error::Protocol(error.to_string()))));
                }
                return;
            }
        };
        let Some(connection) = &mut self.connection else {
            self.pending.insert(id, Pending { ask, reply });
            return;
        };
        match connection.push(&body, fds) {
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                if let Some(reply) = reply {
                    drop(reply.send(Err(Error::Protocol(error.to_string()))));
                }
            }
            // Any other failure shows as the end of the connection when it is next read.
            Ok(()) | Err(_) => drop(self.pending.insert(id, Pending { ask, reply })),
        }
    }

    fn receive(&mut self, message: Message, fds: Vec<OwnedFd>) {
        match message {
            Message::Answer { id, answer } => self.answer(id, answer, fds),
            Message::Attached(entry) => self.attach(*entry, fds),
            Message::Exited { key, status } => self.exited(&key, status),
        }
    }

    fn answer(&mut self, id: u64, answer: Answer, fds: Vec<OwnedFd>) {
        let Some(pending) = self.pending.remove(&id) else { return };
        match (&pending.ask, &answer) {
            (Ask::Start(_), Answer::Started { entry, .. }) => self.attach((**entry).clone(), fds),
            (Ask::Adopt(entry), Answer::Done) => self.attach((**entry).clone(), Vec::new()),
            (Ask::Adopt(entry), Answer::Failed { errno }) => {
                let error = io::Error::from_raw_os_error(*errno);
                warn!(task = %entry.key, %error, "the new supervisor cannot take over a task");
                self.exited(&entry.key, ExitStatus::UNKNOWN);
            }
            (Ask::Forget { key }, Answer::Done | Answer::UnknownTask) => drop(self.tasks.remove(key)),
            (Ask::Shutdown { .. }, Answer::Done) => {
                // It tidies up before it hangs up, and the caller wants to hear when that is done.
                self.pending.insert(id, pending);
                return;
            }
            _ => {}
        }
        if let Some(reply) = pending.reply {
            drop(reply.send(Ok(answer)));
        }
    }

    fn attach(&mut self, entry: TaskEntry, pipes: Vec<OwnedFd>) {
        let (key, exit) = (entry.key.clone(), entry.exit);
        match self.tasks.get_mut(&key) {
            Some(task) => {
                if !pipes.is_empty() {
                    task.pipes = pipes;
                }
            }
            None => drop(self.tasks.insert(key.clone(), Task { entry, pipes, waiters: Vec::new() })),
        }
        if let Some(status) = exit {
            self.exited(&key, status);
        }
    }

    fn exited(&mut self, key: &TaskKey, status: ExitStatus) {
        let Some(task) = self.tasks.get_mut(key) else { return };
        // What was seen first counts: a new supervisor knows less, never more.
        let status = *task.entry.exit.get_or_insert(status);
        for waiter in task.waiters.drain(..) {
            drop(waiter.send(Ok(status)));
        }
    }

    /// The connection broke: starts are of unknown outcome, everything else will be asked again.
    fn lose(&mut self, error: &io::Error) {
        self.connection = None;
        if !self.closing {
            warn!(%error, "supervisor lost");
        }
        let (started, rest) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(|(_, pending)| matches!(pending.ask, Ask::Start(_) | Ask::Shutdown { .. }));
        self.pending = rest;
        // Whatever came of a start is killed by the next supervisor before anything else is asked of it.
        for pending in started.values() {
            if let Ask::Start(spec) = &pending.ask {
                self.doubtful.push(spec.key.clone());
            }
        }
        self.refuse(started, "it died before it answered");
    }

    fn refuse(&self, pending: BTreeMap<u64, Pending>, reason: &str) {
        for (_, Pending { ask, reply }) in pending {
            let Some(reply) = reply else { continue };
            let gone = self.closing && matches!(ask, Ask::Shutdown { .. });
            drop(reply.send(if gone { Ok(Answer::Done) } else { Err(Error::Lost { reason: reason.to_owned() }) }));
        }
    }

    /// Gets a supervisor, hands it the tasks that it does not know, and asks again what is unanswered.
    async fn reconnect(&mut self) -> Result<(), Error> {
        let mut connection = establish(&self.options).await?;
        let id = self.next_id;
        self.next_id += 1;
        let told = timeout(ATTACH, attach_all(&mut connection, id))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let told = told.map_err(|source| Error::Connect { socket: self.options.socket.clone(), source })?;
        self.connection = Some(connection);
        let known: Vec<TaskKey> = told.iter().map(|(entry, _)| entry.key.clone()).collect();
        for (entry, pipes) in told {
            self.attach(entry, pipes);
        }
        self.hand_over(&known);
        for key in std::mem::take(&mut self.doubtful) {
            self.ask(Ask::Kill { key }, Vec::new(), None);
        }
        for (_, Pending { ask, reply }) in std::mem::take(&mut self.pending) {
            // What the service asks by itself has just been asked afresh.
            if reply.is_some() {
                self.ask(ask, Vec::new(), reply);
            }
        }
        Ok(())
    }

    fn hand_over(&mut self, known: &[TaskKey]) {
        let mut handed = Vec::new();
        for task in self.tasks.values().filter(|task| !known.contains(&task.entry.key)) {
            let pipes: io::Result<Vec<OwnedFd>> = task.pipes.iter().map(OwnedFd::try_clone).collect();
            match pipes {
                Ok(pipes) => handed.push((task.entry.clone(), pipes)),
                Err(error) => {
                    warn!(task = %task.entry.key, %error, "the pipes of a task cannot be handed over, its output will be lost");
                    handed.push((task.entry.clone(), Vec::new()));
                }
            }
        }
        if !handed.is_empty() {
            info!(count = handed.len(), "handing tasks over to a new supervisor");
        }
        for (entry, pipes) in handed {
            self.ask(Ask::Adopt(Box::new(entry)), pipes, None);
        }
    }

    /// Refuses what is asked until the next attempt is due; false if nobody is left to ask.
    async fn wait_for_retry(&mut self, error: &Error) -> bool {
        let reason = describe(error);
        warn!(error = reason, "no supervisor could be had");
        let pending = std::mem::take(&mut self.pending);
        self.refuse(pending, &reason);
        let pause = sleep(RETRY);
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => return true,
                command = self.commands.recv() => match command {
                    None => return false,
                    Some(Command::Wait { key, reply }) => self.wait(key, reply),
                    Some(Command::Find { key, reply }) => drop(reply.send(self.find(&key))),
                    Some(Command::Upgrade { reply }) => drop(reply.send(Err(Error::Lost { reason: reason.clone() }))),
                    Some(Command::Call { reply, .. }) => drop(reply.send(Err(Error::Lost { reason: reason.clone() }))),
                },
            }
        }
    }
}

/// Everything the supervisor has.
async fn attach_all(connection: &mut Connection, id: u64) -> io::Result<Vec<(TaskEntry, Vec<OwnedFd>)>> {
    connection.push(&frame::encode(&Request { id, ask: Ask::Attach })?, Vec::new())?;
    let mut told = Vec::new();
    loop {
        let (body, fds) = connection.next().await?;
        match frame::decode(&body)? {
            Message::Attached(entry) => told.push((*entry, fds)),
            Message::Answer { .. } => return Ok(told),
            // Told only after the answer, by which time the entry says it already.
            Message::Exited { .. } => {}
        }
    }
}

/// The whole chain in one line.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
