//! The agent's one loop: what servers want comes in, what became of it goes out.
//!
//! It owns which allocations there are, their runners, and what is yet to be told. Nothing in it waits for a runner, so
//! that runners may wait for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use orch_driver::{Driver, TaskHandle, TaskId};
use orch_model::allocation::{AllocUpdate, ClientStatus};
use orch_model::job::JobType;
use orch_model::{AllocId, Allocation, Job, JobVersionKey};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

mod collection;
mod removal;
mod reporting;
mod restore;

use self::collection::Collection;
use crate::alloc_runner::{AllocRunner, Found, KillReason, Predecessor, RunnerHandle, Wanted};
use crate::alloc_set::AllocSet;
use crate::context::Context;
use crate::env::job_kind;
use crate::outbox::Outbox;
use crate::registry::{AllocView, Registry};
use crate::session::{Delta, Greeting, Outgoing, SessionEvent};
use crate::state::{Meta, Remembered, StoredAlloc, StoredTask};

/// What somebody asks of the agent.
#[derive(Debug)]
pub(crate) enum Request {
    /// Stop every task, start no more, and answer when nothing runs.
    StopAll { reply: oneshot::Sender<()> },
    /// Give up the directories of allocations that have ended: of one, or of all.
    Collect { alloc: Option<AllocId>, reply: oneshot::Sender<Collected> },
}

/// What came of giving up directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Collected {
    /// Done.
    Done,
    /// The one named still runs.
    Running,
    /// There is no such allocation.
    Unknown,
}

/// The ends of the channels that the loop serves.
#[derive(Debug)]
pub(crate) struct Channels {
    pub(crate) session: mpsc::Receiver<SessionEvent>,
    pub(crate) outgoing: mpsc::Sender<Outgoing>,
    pub(crate) requests: mpsc::Receiver<Request>,
    pub(crate) greeting: watch::Sender<Greeting>,
    pub(crate) servers: watch::Sender<Vec<String>>,
}

/// One allocation of this node.
#[derive(Debug)]
struct Entry {
    alloc: Arc<Allocation>,
    collected: bool,
    runner: Option<RunnerHandle>,
    /// What its runner last said.
    last: Option<AllocUpdate>,
    /// Whether it goes with everything it has, as soon as nothing of it runs.
    forgotten: bool,
    /// When it came, until it runs.
    came: Option<Instant>,
    /// When it was told to stop, until it has ended.
    told: Option<Instant>,
}

impl Entry {
    fn new(alloc: Arc<Allocation>, collected: bool) -> Self {
        Self { alloc, collected, runner: None, last: None, forgotten: false, came: None, told: None }
    }

    fn status(&self) -> ClientStatus {
        self.last.as_ref().map_or(self.alloc.client_status, |update| update.client_status)
    }
}

/// A task that a driver says is running.
#[derive(Debug, Clone)]
struct Listed {
    handle: TaskHandle,
    driver: Arc<dyn Driver>,
}

/// How far the agent is in agreeing with the servers.
#[derive(Debug, Default)]
struct Agreement {
    /// The inventory of this connection has come.
    inventory: bool,
    /// What was asked for and has not come yet.
    awaited: BTreeSet<AllocId>,
    /// Everything of this connection's inventory is here, so updates may be told.
    settled: bool,
    /// The same was so at least once since the agent started, so what belongs to nobody is known.
    ever_settled: bool,
}

/// The agent's loop.
#[derive(Debug)]
pub(crate) struct Agent {
    context: Arc<Context>,
    channels: Channels,
    registry: Registry,
    meta: Meta,
    set: AllocSet,
    outbox: Outbox,
    /// When the message of updates that is under way was sent.
    sent: Option<Instant>,
    entries: BTreeMap<AllocId, Entry>,
    /// Job versions by key: a server sends each only once per session, so they stay for as long as that.
    jobs: BTreeMap<JobVersionKey, Arc<Job>>,
    remembered_tasks: BTreeMap<(AllocId, String), StoredTask>,
    listed: BTreeMap<TaskId, Listed>,
    agreement: Agreement,
    /// After a reboot: allocations that wait for a server's word, or for this moment.
    held: Option<Instant>,
    held_allocs: BTreeSet<AllocId>,
    /// Those that start once the allocation that they replace has ended.
    waiting: BTreeSet<AllocId>,
    rebooted: bool,
    stopping: Option<oneshot::Sender<()>>,
    stopped: bool,
    runners: JoinSet<AllocId>,
    cleanups: JoinSet<Option<AllocId>>,
    collection: Collection,
    reports: (mpsc::Sender<AllocUpdate>, mpsc::Receiver<AllocUpdate>),
    detach: CancellationToken,
}

/// How many reports may wait before runners do.
const REPORTS: usize = 64;

impl Agent {
    pub(crate) fn new(
        context: Arc<Context>,
        channels: Channels,
        registry: Registry,
        remembered: Remembered,
        rebooted: bool,
    ) -> Self {
        let Remembered { meta, allocs, tasks, volumes: _ } = remembered;
        let known = allocs.iter().map(|(id, stored)| (*id, stored.alloc.alloc_modify_index)).collect();
        let mut agent = Self {
            set: AllocSet::new(known, meta.seen_index),
            collection: Collection::new(&context.config.gc),
            context,
            channels,
            registry,
            meta,
            outbox: Outbox::default(),
            sent: None,
            entries: BTreeMap::new(),
            jobs: BTreeMap::new(),
            remembered_tasks: tasks,
            listed: BTreeMap::new(),
            agreement: Agreement::default(),
            held: None,
            held_allocs: BTreeSet::new(),
            waiting: BTreeSet::new(),
            rebooted,
            stopping: None,
            stopped: false,
            runners: JoinSet::new(),
            cleanups: JoinSet::new(),
            reports: mpsc::channel(REPORTS),
            detach: CancellationToken::new(),
        };
        for (id, StoredAlloc { alloc, collected }) in allocs {
            let job = agent.shared_job(&alloc.job);
            agent.entries.insert(id, Entry::new(Arc::new(alloc.with_job(job)), collected));
            agent.show(id);
        }
        agent
    }

    /// Runs until `shutdown`; tasks then go on without the agent. Gives back where the session's events arrive.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) -> mpsc::Receiver<SessionEvent> {
        self.restore().await;
        loop {
            self.tell();
            self.answer_stop();
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(event) = self.channels.session.recv() => self.hear(event),
                Some(update) = self.reports.1.recv() => self.take_report(update),
                Some(ended) = self.runners.join_next() => self.runner_ended(ended),
                Some(cleaned) = self.cleanups.join_next() => self.cleaned(cleaned),
                Some(request) = self.channels.requests.recv() => self.obey(request),
                look = self.collection.next() => self.look(look),
                () = tokio::time::sleep_until(self.held.unwrap_or_else(Instant::now)), if self.held.is_some() => {
                    self.release_services();
                }
            }
        }
        self.detach().await;
        self.channels.session
    }

    /// Leaves running tasks to the agent's next start.
    async fn detach(&mut self) {
        self.detach.cancel();
        while !self.runners.is_empty() || !self.cleanups.is_empty() {
            tokio::select! {
                Some(_unsaid) = self.reports.1.recv() => {}
                Some(_ended) = self.runners.join_next() => {}
                Some(_cleaned) = self.cleanups.join_next() => {}
            }
        }
        self.save_meta();
    }

    fn hear(&mut self, event: SessionEvent) {
        match event {
            SessionEvent::Opened { cluster_id } => {
                // Nobody needs those of earlier sessions that no allocation uses.
                self.jobs.retain(|_, job| Arc::strong_count(job) > 1);
                self.agreement = Agreement { ever_settled: self.agreement.ever_settled, ..Agreement::default() };
                if self.meta.cluster_id != cluster_id {
                    info!(cluster_id, "joined a cluster");
                    self.meta.cluster_id = cluster_id;
                }
                self.save_meta();
            }
            SessionEvent::Servers(servers) => self.learn_servers(servers),
            SessionEvent::Inventory { index, items } => {
                let difference = self.set.inventory(index, &items);
                for id in difference.removed {
                    self.forget(id);
                }
                self.agreement.inventory = true;
                self.agreement.awaited = difference.needed.iter().copied().collect();
                if !difference.needed.is_empty() {
                    let jobs = self.jobs.keys().cloned().collect();
                    self.say(Outgoing::Need { allocs: difference.needed, jobs });
                }
                self.save_meta();
                self.settle_if_complete();
            }
            SessionEvent::Delta(delta) => self.take_delta(delta),
            SessionEvent::Acked(sequence) => {
                self.acked(sequence);
            }
            SessionEvent::Closed => {
                self.agreement.settled = false;
                self.agreement.inventory = false;
                self.outbox.disconnected();
            }
        }
    }

    fn take_delta(&mut self, delta: Delta) {
        let Delta { index, allocs, jobs, removed } = delta;
        for job in jobs {
            self.shared_job(&job);
        }
        // Those known already first: a new one may have to wait until one of them has ended.
        let (known, new): (Vec<_>, Vec<_>) = allocs.into_iter().partition(|alloc| self.entries.contains_key(&alloc.id));
        for alloc in known.into_iter().chain(new) {
            let id = alloc.id;
            self.agreement.awaited.remove(&id);
            let Some(job) = self.jobs.get(&alloc.job).map(Arc::clone) else {
                error!(alloc_id = %id, job_id = %alloc.job.job, "a server named an allocation without its job");
                continue;
            };
            if self.set.accept(id, alloc.alloc_modify_index) {
                self.take_alloc(Arc::new(alloc.with_job(job)));
            } else {
                debug!(alloc_id = %id, "an older word about an allocation is not obeyed");
            }
        }
        for id in &removed {
            self.agreement.awaited.remove(id);
        }
        for id in self.set.removed(index, removed) {
            self.forget(id);
        }
        self.set.advance(index);
        self.save_meta();
        self.settle_if_complete();
    }

    /// Obeys what the servers want of one allocation.
    fn take_alloc(&mut self, alloc: Arc<Allocation>) {
        let id = alloc.id;
        let over = alloc.is_terminal();
        match self.entries.get_mut(&id) {
            Some(entry) => {
                if entry.alloc.deployment_id != alloc.deployment_id {
                    self.outbox.forget_health(id);
                }
                entry.alloc = Arc::clone(&alloc);
                entry.forgotten = false;
                if let Some(runner) = &entry.runner {
                    entry.told = entry.told.or(over.then(Instant::now));
                    let stop = over.then_some(KillReason::Requested);
                    runner.wanted.send_modify(|wanted| {
                        wanted.alloc = alloc;
                        wanted.stop = stop.or(wanted.stop.take());
                    });
                } else if over && self.waiting.contains(&id) {
                    self.start(id);
                }
            }
            None => {
                let entry = Entry { came: Some(Instant::now()), ..Entry::new(Arc::clone(&alloc), false) };
                self.entries.insert(id, entry);
                self.collection.hurry();
                // Nobody waits for a word about it, and nothing of it is to run: what may be left of it is swept.
                if !alloc.is_client_terminal() {
                    self.start(id);
                }
            }
        }
        self.remember(id);
        self.show(id);
    }

    /// Everything of the inventory is here: only now is it known what belongs to nobody, and what may be told.
    fn settle_if_complete(&mut self) {
        if !self.agreement.inventory || !self.agreement.awaited.is_empty() || self.agreement.settled {
            return;
        }
        self.agreement.settled = true;
        self.held = None;
        for id in std::mem::take(&mut self.held_allocs) {
            self.start(id);
        }
        if !self.agreement.ever_settled {
            self.agreement.ever_settled = true;
            self.sweep();
        }
    }

    /// Starts a runner for an allocation, on what is left of its tasks.
    fn start(&mut self, id: AllocId) {
        let Some(entry) = self.entries.get(&id) else { return };
        if entry.runner.is_some() || entry.collected || self.stopped {
            return;
        }
        let (alloc, forgotten) = (Arc::clone(&entry.alloc), entry.forgotten);
        if !forgotten && self.waits_for_previous(&alloc) {
            self.waiting.insert(id);
            return;
        }
        self.waiting.remove(&id);
        let mut found = self.found(&alloc);
        if found.tasks.iter().all(Option::is_none) {
            found.predecessor = self.predecessor(&alloc);
        }
        if alloc.is_client_terminal() && found.tasks.iter().all(Option::is_none) {
            return;
        }
        let (runner, handle) =
            AllocRunner::new(Arc::clone(&self.context), Arc::clone(&alloc), found, self.reports.0.clone());
        if alloc.is_terminal() || forgotten {
            handle.wanted.send_modify(|wanted: &mut Wanted| wanted.stop = Some(KillReason::Requested));
        }
        let detach = self.detach.clone();
        self.runners.spawn(async move {
            runner.run(detach).await;
            id
        });
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.runner = Some(handle);
        }
        self.show(id);
    }

    /// Whether it takes over what an allocation holds that has not ended yet.
    fn waits_for_previous(&self, alloc: &Allocation) -> bool {
        let previous = alloc.previous.and_then(|previous| self.entries.get(&previous));
        let ending = |previous: &Entry| previous.alloc.desired.is_stop() || previous.alloc.handed_over;
        !alloc.is_terminal() && previous.is_some_and(|previous| previous.runner.is_some() && ending(previous))
    }

    /// Starts those that waited for `ended` and for nothing else.
    fn start_successors(&mut self, ended: AllocId) {
        let follows = |id: &&AllocId| self.entries.get(id).is_some_and(|entry| entry.alloc.previous == Some(ended));
        for id in self.waiting.iter().filter(follows).copied().collect::<Vec<_>>() {
            self.start(id);
        }
    }

    /// What was remembered of an allocation's tasks, or is listed by their drivers.
    fn found(&mut self, alloc: &Allocation) -> Found {
        let Some(group) = alloc.task_group() else { return Found::default() };
        let mut tasks = Vec::with_capacity(group.tasks.len());
        for task in &group.tasks {
            let mut stored = self.remembered_tasks.remove(&(alloc.id, task.name.clone()));
            let newest = self.listed.keys().filter(|listed| listed.alloc_id == alloc.id && listed.task == task.name);
            let newest = newest.max_by_key(|listed| listed.run).cloned();
            if let Some(listed) = newest.and_then(|newest| self.listed.remove(&newest)) {
                let known = stored.get_or_insert_with(StoredTask::default);
                if known.handle.is_none() && known.run <= listed.handle.id.run || known.run < listed.handle.id.run {
                    known.run = listed.handle.id.run;
                    known.state.state = orch_model::allocation::TaskRunState::Pending;
                    known.handle = Some(listed.handle);
                }
            }
            tasks.push(stored);
        }
        Found { tasks, rebooted: self.rebooted, predecessor: None }
    }

    /// The allocation whose data `alloc` takes over, if its group wants that and nothing still uses it.
    fn predecessor(&self, alloc: &Allocation) -> Option<Predecessor> {
        let disk = alloc.task_group()?.ephemeral_disk.as_ref().filter(|disk| disk.sticky || disk.migrate)?;
        let previous = alloc.previous.filter(|_| !alloc.is_terminal())?;
        match self.entries.get(&previous) {
            Some(entry) if entry.runner.is_none() && !entry.collected => Some(Predecessor::Here(previous)),
            Some(_) => None,
            None => disk.migrate.then_some(Predecessor::Elsewhere(previous)),
        }
    }

    fn runner_ended(&mut self, ended: Result<AllocId, tokio::task::JoinError>) {
        let id = match ended {
            Ok(id) => id,
            Err(error) => {
                error!(%error, "a runner of an allocation ended by a fault of the agent");
                return;
            }
        };
        // Its last report may still wait behind others.
        while let Ok(update) = self.reports.1.try_recv() {
            self.take_report(update);
        }
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.runner = None;
            let forgotten = entry.forgotten;
            self.show(id);
            if forgotten {
                self.clean_up(id);
            }
        }
        self.start_successors(id);
    }

    /// Whether the session took it. There is room for more than can be under way on one connection.
    fn say(&self, outgoing: Outgoing) -> bool {
        self.channels.outgoing.try_send(outgoing).is_ok()
    }

    fn obey(&mut self, request: Request) {
        match request {
            Request::StopAll { reply } => {
                self.stopped = true;
                self.stopping = Some(reply);
                for entry in self.entries.values() {
                    if let Some(runner) = &entry.runner {
                        runner.wanted.send_modify(|wanted| {
                            wanted.stop.get_or_insert(KillReason::Shutdown);
                        });
                    }
                }
            }
            Request::Collect { alloc, reply } => {
                let _asker_gone = reply.send(self.collect(alloc));
            }
        }
    }

    fn answer_stop(&mut self) {
        if self.stopped
            && self.runners.is_empty()
            && let Some(reply) = self.stopping.take()
        {
            let _asker_gone = reply.send(());
        }
    }

    /// No server came in time after a reboot: services start as they were last wanted.
    fn release_services(&mut self) {
        self.held = None;
        warn!("no server was reached after the machine was started, so services start as last known");
        for id in std::mem::take(&mut self.held_allocs) {
            let service = self.entries.get(&id).is_some_and(|entry| match job_kind(&entry.alloc) {
                JobType::Service | JobType::System => !entry.alloc.is_terminal(),
                JobType::Batch | JobType::Sysbatch => false,
            });
            if service {
                self.start(id);
            } else {
                self.held_allocs.insert(id);
            }
        }
    }

    /// The one copy of a job version that all of its allocations share.
    fn shared_job(&mut self, job: &Arc<Job>) -> Arc<Job> {
        Arc::clone(self.jobs.entry(job.version_key()).or_insert_with(|| Arc::clone(job)))
    }

    fn learn_servers(&mut self, learned: Vec<String>) {
        let mut servers = self.context.config.servers.clone();
        servers.extend(learned.iter().filter(|server| !self.context.config.servers.contains(server)).cloned());
        self.meta.servers = learned;
        self.save_meta();
        self.channels.servers.send_if_modified(|known| {
            let changed = *known != servers;
            *known = servers;
            changed
        });
    }

    fn save_meta(&mut self) {
        self.meta.seen_index = self.set.seen();
        self.context.state.put_meta(&self.meta);
        self.channels.greeting.send_modify(|greeting| {
            greeting.cluster_id.clone_from(&self.meta.cluster_id);
            greeting.seen_index = self.meta.seen_index.0;
        });
    }

    fn remember(&self, id: AllocId) {
        if let Some(entry) = self.entries.get(&id) {
            let alloc = Allocation::clone(&entry.alloc);
            self.context.state.put_alloc(&StoredAlloc { alloc, collected: entry.collected });
        }
    }

    fn show(&self, id: AllocId) {
        match self.entries.get(&id) {
            Some(entry) if !entry.forgotten => {
                let tasks =
                    entry.last.as_ref().map_or_else(|| Arc::clone(&entry.alloc.tasks), |last| Arc::clone(&last.tasks));
                self.registry.set(
                    id,
                    AllocView {
                        alloc: Arc::clone(&entry.alloc),
                        runner: entry.runner.clone(),
                        status: entry.status(),
                        tasks,
                        collected: entry.collected,
                    },
                );
            }
            Some(_) | None => self.registry.remove(id),
        }
    }
}
