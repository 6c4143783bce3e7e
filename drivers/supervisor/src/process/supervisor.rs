//! The loop of the main thread.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::Signal;
use nix::sys::signalfd::SignalFd;
use orch_host::Warning;
use orch_host::cgroup::CgroupLayout;

use super::SupervisorArgs;
use super::connection::Connection;
use super::init::{Init, Next, is_passed_on};
use super::pump::Pump;
use super::slots::Slots;
use super::spawn::Report;
use super::tasks::{Phase, Source, Task, exit_status};
use crate::protocol::{Answer, Message};
use crate::socket;
use crate::spec::{ExitStatus, Lifetime, TaskKey};

/// How long the end of a task is kept back for its last output to be written.
const FLUSH: Duration = Duration::from_millis(250);
/// How often those being killed are looked at, besides when they end.
pub(super) const KILL_TICK: Duration = Duration::from_millis(20);
/// How often the pump is looked at while it has pipes.
const PUMP_TICK: Duration = Duration::from_secs(1);
/// How often pipes are drained while the pump hangs.
const DRAIN_TICK: Duration = Duration::from_millis(50);
/// How long a supervisor without agent and tasks stays.
const IDLE: Duration = Duration::from_secs(60);

const LISTENER: u64 = 0;
const SIGNALS: u64 = 1;
const PUMP: u64 = 2;
const FIRST_FREE: u64 = 3;

/// Everything the main thread has.
pub(super) struct Supervisor {
    pub(super) args: SupervisorArgs,
    /// The agent, where it is our child because we are the first process of a container.
    pub(super) init: Option<Init>,
    pub(super) layout: CgroupLayout,
    pub(super) pump: Pump,
    pub(super) tasks: BTreeMap<TaskKey, Task>,
    /// Our children among the tasks.
    pub(super) children: BTreeMap<i32, TaskKey>,
    /// The tasks of which somebody waits until nothing is left.
    pub(super) killing: BTreeSet<TaskKey>,
    /// The tasks in [`Phase::Flushing`], each with its deadline.
    flushing: BTreeMap<TaskKey, Instant>,
    pub(super) null: File,
    pub(super) slots: Slots,
    pub(super) lock: File,
    pub(super) listener: UnixListener,
    pub(super) connections: BTreeMap<u64, Connection>,
    pub(super) ending: Option<Ending>,
    /// The program to become, when somebody asked for it.
    pub(super) upgrade: Option<PathBuf>,
    sources: BTreeMap<u64, Source>,
    epoll: Epoll,
    signals: SignalFd,
    next_token: u64,
    alone_since: Instant,
    stalled: bool,
    /// When those being killed were last looked at.
    pub(super) killing_checked: Instant,
}

/// The way out.
#[derive(Debug)]
pub(super) struct Ending {
    /// Whether tasks are killed first.
    pub(super) kill: bool,
    /// Who is told when that is done.
    pub(super) answer: Option<(u64, u64)>,
}

/// What a supervisor begins with.
pub(super) struct Parts {
    pub(super) args: SupervisorArgs,
    pub(super) init: Option<Init>,
    pub(super) layout: CgroupLayout,
    pub(super) pump: Pump,
    pub(super) null: File,
    pub(super) slots: Slots,
    pub(super) lock: File,
    pub(super) listener: UnixListener,
    pub(super) signals: SignalFd,
}

impl Supervisor {
    pub(super) fn new(parts: Parts) -> io::Result<Self> {
        let Parts { args, init, layout, pump, null, slots, lock, listener, signals } = parts;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
        epoll.add(&signals, EpollEvent::new(EpollFlags::EPOLLIN, SIGNALS))?;
        epoll.add(pump.notices(), EpollEvent::new(EpollFlags::EPOLLIN, PUMP))?;
        Ok(Self {
            args,
            init,
            layout,
            pump,
            tasks: BTreeMap::new(),
            children: BTreeMap::new(),
            killing: BTreeSet::new(),
            flushing: BTreeMap::new(),
            null,
            slots,
            lock,
            listener,
            connections: BTreeMap::new(),
            ending: None,
            upgrade: None,
            sources: BTreeMap::new(),
            epoll,
            signals,
            next_token: FIRST_FREE,
            alone_since: Instant::now(),
            stalled: false,
            killing_checked: Instant::now(),
        })
    }

    /// Runs until there is nothing left to do here.
    pub(super) fn run(&mut self) -> io::Result<()> {
        let mut events = [EpollEvent::empty(); 128];
        self.reap();
        loop {
            let count = match self.epoll.wait(&mut events, self.timeout()) {
                Ok(count) => count,
                Err(Errno::EINTR) => 0,
                Err(errno) => return Err(errno.into()),
            };
            for event in events.iter().take(count) {
                self.dispatch(event.data());
            }
            self.tick();
            self.flush_connections();
            self.upgrade_if_asked();
            if self.is_over() {
                return Ok(());
            }
        }
    }

    fn dispatch(&mut self, token: u64) {
        match token {
            LISTENER => self.accept(),
            SIGNALS => self.take_signals(),
            PUMP => {
                for key in self.pump.flushed() {
                    self.flushed(&key);
                }
            }
            token => match self.sources.get(&token).cloned() {
                Some(Source::Connection(id)) => self.converse(id),
                Some(Source::Report(key)) => self.read_report(&key),
                Some(Source::Adopted(key)) => {
                    self.unwatch_adopted(token, &key);
                    self.first_process_ended(&key, ExitStatus::UNKNOWN);
                }
                // It was dropped earlier in the same round.
                None => {}
            },
        }
    }

    fn timeout(&self) -> EpollTimeout {
        let now = Instant::now();
        let mut next: Option<Duration> = None;
        let mut at_most = |limit: Duration| next = Some(next.map_or(limit, |next| next.min(limit)));
        if !self.killing.is_empty() || self.ending.is_some() {
            at_most(KILL_TICK);
        }
        if self.pump.is_in_use() {
            at_most(if self.stalled { DRAIN_TICK } else { PUMP_TICK });
        }
        if let Some(deadline) = self.flushing.values().min() {
            at_most(deadline.saturating_duration_since(now));
        }
        if let Some(due) = self.init.as_ref().and_then(|init| init.due_in(now)) {
            at_most(due);
        }
        if let Some(limit) = self.time_alone() {
            at_most((self.alone_since + limit).saturating_duration_since(now));
        }
        // Rounded up, so as not to wake just before the time.
        let timeout = next.map(|next| next + Duration::from_millis(1));
        timeout.map_or(EpollTimeout::NONE, |timeout| EpollTimeout::try_from(timeout).unwrap_or(EpollTimeout::MAX))
    }

    fn tick(&mut self) {
        self.stalled = self.pump.drain_while_stalled();
        let now = Instant::now();
        let late = self.flushing.iter().filter(|(_, deadline)| **deadline <= now);
        let late: Vec<TaskKey> = late.map(|(key, _)| key.clone()).collect();
        for key in late {
            self.flushed(&key);
        }
        self.check_killing();
        self.tend_agent(now);
        if self.ending.is_none() && self.time_alone().is_some_and(|limit| self.alone_since + limit <= now) {
            self.ending =
                Some(Ending { kill: matches!(self.args.lifetime, Lifetime::StopsWithAgent { .. }), answer: None });
            self.kill_all();
        }
    }

    /// How long we stay if nothing changes; `None` for good.
    fn time_alone(&self) -> Option<Duration> {
        // With an agent of our own we stay as long as it does.
        let with_agent = self.init.is_some() || self.connections.values().any(|connection| connection.greeted);
        if with_agent || self.ending.is_some() {
            return None;
        }
        match &self.args.lifetime {
            Lifetime::StopsWithAgent { grace, .. } => Some(*grace),
            Lifetime::Outlives => self.tasks.is_empty().then_some(IDLE),
        }
    }

    /// Whether we may go: everything killed that was to be, everybody told.
    fn is_over(&mut self) -> bool {
        let Some(ending) = &mut self.ending else { return false };
        if ending.kill && !self.killing.is_empty() {
            return false;
        }
        if let Some((connection, request)) = ending.answer.take() {
            self.answer(connection, request, Answer::Done);
            self.flush_connections();
        }
        self.connections.values().all(Connection::is_flushed)
    }

    pub(super) fn watch(&mut self, fd: &impl AsFd, source: Source) -> io::Result<u64> {
        let token = self.next_token;
        self.epoll.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, token))?;
        self.next_token += 1;
        self.sources.insert(token, source);
        Ok(token)
    }

    pub(super) fn unwatch(&mut self, token: u64, fd: &impl AsFd) {
        self.sources.remove(&token);
        // The descriptor is open and was added; were it not, there would be nothing to end.
        let _ended = self.epoll.delete(fd);
    }

    fn unwatch_adopted(&mut self, token: u64, key: &TaskKey) {
        match self.tasks.get(key).and_then(|task| task.adopted.as_ref()?.as_fd().try_clone_to_owned().ok()) {
            Some(pidfd) => self.unwatch(token, &pidfd),
            None => drop(self.sources.remove(&token)),
        }
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            let ours = socket::peer_uid(&stream).is_ok_and(|uid| uid == socket::own_uid());
            if !ours || stream.set_nonblocking(true).is_err() {
                continue;
            }
            let id = self.next_token;
            if let Ok(token) = self.watch(&stream, Source::Connection(id)) {
                self.connections.insert(id, Connection::new(stream, token));
            }
        }
    }

    pub(super) fn hang_up(&mut self, id: u64) {
        let Some(connection) = self.connections.remove(&id) else { return };
        let socket: io::Result<OwnedFd> = connection.socket().try_clone_to_owned();
        if let Ok(socket) = socket {
            self.unwatch(connection.token, &socket);
        }
        if !self.connections.values().any(|connection| connection.greeted) {
            self.alone_since = Instant::now();
        }
    }

    /// Ends the connections that only came to ask for another program, so that they learn that it is decided.
    pub(super) fn hang_up_ungreeted(&mut self) {
        let ungreeted = self.connections.iter().filter(|(_, connection)| !connection.greeted);
        let ungreeted: Vec<u64> = ungreeted.map(|(id, _)| *id).collect();
        for id in ungreeted {
            self.hang_up(id);
        }
    }

    fn flush_connections(&mut self) {
        let mut broken = Vec::new();
        for (id, connection) in &mut self.connections {
            let Ok(done) = connection.flush() else {
                broken.push(*id);
                continue;
            };
            if connection.waits_to_write == done {
                let flags = if done { EpollFlags::EPOLLIN } else { EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT };
                let mut event = EpollEvent::new(flags, connection.token);
                if self.epoll.modify(connection.socket(), &mut event).is_ok() {
                    connection.waits_to_write = !done;
                }
            }
        }
        for id in broken {
            self.hang_up(id);
        }
    }

    fn take_signals(&mut self) {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            let number = i32::try_from(signal.ssi_signo).unwrap_or(0);
            if let Some(init) = &mut self.init {
                if is_passed_on(number) {
                    init.tell(number);
                }
            } else if number == Signal::SIGTERM as i32 && self.ending.is_none() {
                let kill = matches!(self.args.lifetime, Lifetime::StopsWithAgent { .. });
                self.ending = Some(Ending { kill, answer: None });
                self.kill_all();
            }
        }
        // Signals of one kind that come together are told once, so every child is asked for each time.
        self.reap();
    }

    /// Takes the statuses of all children that have ended, tasks and strays alike.
    pub(super) fn reap(&mut self) {
        loop {
            let mut raw = 0;
            // SAFETY: the status is written to an integer that lives through the call.
            let pid = unsafe { libc::waitpid(-1, &raw mut raw, libc::WNOHANG) };
            if pid <= 0 {
                return;
            }
            if let Some(key) = self.children.remove(&pid) {
                let status = self.tasks.get(&key).map_or(exit_status(raw), |task| task.status_of(raw));
                self.first_process_ended(&key, status);
            } else if self.init.as_ref().is_some_and(|init| init.is_agent(pid)) {
                self.agent_ended(raw);
            }
        }
    }

    fn agent_ended(&mut self, raw: i32) {
        let tasks_run = self.tasks.values().any(|task| !task.has_ended());
        let Some(init) = &mut self.init else { return };
        match init.ended(raw, tasks_run) {
            Next::Again => {}
            Next::Leave => self.leave(),
        }
    }

    /// The container ends, and with it every task: they are asked to end, and killed when they have had their time.
    fn leave(&mut self) {
        let Some(init) = &mut self.init else { return };
        init.leave(Instant::now());
        for task in self.tasks.values() {
            // One that cannot be told is killed.
            let _killed_later = task.signal(libc::SIGTERM);
        }
    }

    /// Starts an agent that died again, and goes when the container's time has come.
    fn tend_agent(&mut self, now: Instant) {
        let tasks_run = self.tasks.values().any(|task| !task.has_ended());
        let Some(init) = &mut self.init else { return };
        init.start_if_due(now);
        match init.leave_at {
            None if init.is_done() => self.leave(),
            Some(at) if self.ending.is_none() && (at <= now || !tasks_run) => {
                self.ending = Some(Ending { kill: true, answer: None });
                self.kill_all();
            }
            None | Some(_) => {}
        }
    }

    pub(super) fn first_process_ended(&mut self, key: &TaskKey, mut status: ExitStatus) {
        let Some(task) = self.tasks.get_mut(key) else { return };
        status.oom_killed = !status.success() && task.entry.cgroup.oom_kills() > 0;
        match &mut task.phase {
            Phase::Starting(starting) => {
                starting.ended = Some(status);
                self.read_report(key);
            }
            Phase::Running => {
                task.phase = Phase::Flushing(status);
                self.flushing.insert(key.clone(), Instant::now() + FLUSH);
                if task.outputs.is_empty() {
                    self.flushed(key);
                } else {
                    self.pump.flush(key.clone(), &task.outputs);
                }
            }
            Phase::Flushing(_) | Phase::Ended | Phase::Remains => {}
        }
    }

    /// The last output of an ended task is in its log, or took too long: everybody is told.
    fn flushed(&mut self, key: &TaskKey) {
        self.flushing.remove(key);
        let Some(task) = self.tasks.get_mut(key) else { return };
        let Phase::Flushing(status) = task.phase else { return };
        task.phase = Phase::Ended;
        task.entry.exit = Some(status);
        let message = Message::Exited { key: key.clone(), status };
        for connection in self.connections.values_mut().filter(|connection| connection.attached) {
            // A message this small always fits; a broken connection shows when it is flushed.
            let _queued = connection.send(&message, Vec::new());
        }
        self.check_killed(key);
    }

    fn read_report(&mut self, key: &TaskKey) {
        let Some(Task { phase: Phase::Starting(starting), .. }) = self.tasks.get_mut(key) else { return };
        loop {
            let mut bytes = [0; Report::SIZE];
            match nix::unistd::read(&starting.report, &mut bytes) {
                Ok(0) => break,
                Ok(_) => match Report::decode(&bytes) {
                    Some(report @ Report { fatal: true, .. }) => starting.failure = Some(report),
                    Some(Report { stage, errno, fatal: false, step: _ }) => {
                        starting.warnings.push(Warning::without_path(stage.to_string(), errno));
                    }
                    None => {}
                },
                Err(Errno::EINTR) => {}
                // Open still: the child is on its way.
                Err(Errno::EAGAIN) => return,
                Err(_) => break,
            }
        }
        self.started(key);
    }

    pub(super) fn answer(&mut self, connection: u64, id: u64, answer: Answer) {
        self.answer_with(connection, id, answer, Vec::new());
    }

    pub(super) fn answer_with(&mut self, connection: u64, id: u64, answer: Answer, fds: Vec<OwnedFd>) {
        // Whoever asked may have gone; the next agent is told by its attaching.
        let Some(connection) = self.connections.get_mut(&connection) else { return };
        if let Err(error) = connection.send(&Message::Answer { id, answer }, fds) {
            let errno = error.raw_os_error().unwrap_or(libc::EMSGSIZE);
            // This one is a few bytes long.
            let _queued = connection.send(&Message::Answer { id, answer: Answer::Failed { errno } }, Vec::new());
        }
    }
}
