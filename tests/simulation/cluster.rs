//! A cluster in one thread: one log, three servers of which one leads, clients, and an unreliable network.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use orch_model::allocation::{AllocUpdate, ClientStatus};
use orch_model::deployment::DeploymentStatus;
use orch_model::ids::RaftId;
use orch_model::node::{Eligibility, NodeStatus};
use orch_model::operator::{Algorithm, SchedulerConfig};
use orch_model::plan::{Plan, PlanResult};
use orch_model::seed::Seed;
use orch_model::{AllocId, DeploymentId, EvalId, JobKey, NodeId, Timestamp, testing};
use orch_server::config::{DetectionConfig, GcConfig};
use orch_server::leader::detector::Detector;
use orch_server::leader::gc;
use orch_server::sessions::Silence;
use orch_state::commands::*;
use orch_state::{Command, Entry, RULES, Reply, State, apply, snapshot};

use crate::client::{Client, Intent};
use crate::invariants::{self, Registrations, Superseded};
use crate::leader::{Leader, Now, Step};
use crate::seen::Seen;
use crate::trace::{Trace, told};
use crate::workload::{self, Fault, RolloutWish, Temper, Wish};

mod disturbances;
mod leading;
mod rollouts;
mod sessions;

/// How long the cluster is disturbed before it is left alone.
const DISTURBED_MS: u64 = 180_000;

/// By when it must have come to rest.
const REST_MS: u64 = 3_600_000;

/// How long it is watched after that: longer than it takes until what has ended is collected.
const COLLECTED_MS: u64 = 300_000;

/// How often it is disturbed and left alone.
const ROUNDS: u32 = 2;

/// The wall clock at the beginning.
const EPOCH: i64 = 1_700_000_000_000_000_000;

/// A cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) state: State,
    pub(crate) leader: Leader,
    pub(crate) clients: Vec<Client>,
    pub(crate) superseded: Superseded,
    pub(crate) registrations: Registrations,
    pub(crate) trace: Trace,
    pub(crate) seen: Seen,
    seed: Seed,
    began: Instant,
    now_ms: u64,
    log: u64,
    servers: Vec<Server>,
    leading: usize,
    events: BTreeMap<(u64, u64), Event>,
    event_number: u64,
    /// Plans on their way to the log, to be packed into one entry.
    plans: Vec<(u64, u64, Plan)>,
    is_calm: bool,
    /// Until then hardly anything that is proposed is logged.
    stalled_until: u64,
    /// When the deployment watcher is called next.
    watches_at: Option<u64>,
    /// How often in a row it was called for nothing.
    in_vain: u32,
}

/// One of the servers.
#[derive(Debug, Default)]
struct Server {
    is_up: bool,
    /// The sessions it holds: epoch and when the client was last heard. Sessions that the state says are here, but that
    /// were lost when the server went down, are here from when they were first missed.
    sessions: BTreeMap<NodeId, (u64, u64)>,
}

/// What happens at some time.
#[derive(Debug)]
enum Event {
    /// A proposal reaches the log.
    Commit {
        command: Command,
        from: Origin,
    },
    /// The applier packs the plans that wait.
    CommitPlans,
    /// A worker of the leader's gets the answer to its plan.
    Planned {
        term: u64,
        token: u64,
        answer: Option<(PlanResult, usize)>,
    },
    Work {
        term: u64,
        token: u64,
    },
    /// The leader takes what changed and hands out what is ready.
    Wake,
    Tick,
    /// The deployment watcher wanted to be called then.
    Watch {
        at: u64,
    },
    /// The deployment watcher learns what came of something that it asked for.
    Answered {
        term: u64,
        id: DeploymentId,
        done: bool,
    },
    /// Paused deployments go on, and stuck ones are given up.
    Tidy,
    RetryConflicts,
    Digest(usize),
    Collect,
    ClientTick(usize),
    /// A client hears what its servers want.
    Obey(usize),
    Intended {
        client: usize,
        alloc: AllocId,
        intent: Intent,
    },
    /// What runs on a client ends by itself.
    Ends {
        client: usize,
        alloc: AllocId,
        run: u64,
        status: ClientStatus,
    },
    /// A client has found out whether an allocation is well.
    Judged {
        client: usize,
        alloc: AllocId,
        run: u64,
        of: DeploymentId,
        healthy: bool,
    },
    Acked {
        client: usize,
        updates: Vec<AllocUpdate>,
    },
    Welcome {
        client: usize,
        server: usize,
        epoch: Option<u64>,
    },
    Befall,
    Wish,
    Restore(Damage),
}

/// What is repaired later.
#[derive(Debug, Clone, Copy)]
enum Damage {
    Crash(usize),
    Partition(usize),
    Server(usize),
}

/// Who proposed something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    User,
    Worker {
        term: u64,
        token: u64,
    },
    Detector {
        term: u64,
    },
    /// The deployment watcher, about that deployment.
    Watcher {
        term: u64,
        id: DeploymentId,
    },
    /// The leader has evaluations written, until they are.
    Leader {
        term: u64,
    },
    Report {
        client: usize,
    },
    Session {
        client: usize,
        server: usize,
    },
    /// A copy that nobody waits for.
    Nobody,
}

impl Cluster {
    pub(crate) fn new(number: u64) -> Self {
        let mut seed = Seed::of(orch_model::EvalId::default().as_uuid(), number);
        let began = Instant::now();
        let state = State::default();
        let now = Now { instant: began, wall: Timestamp(EPOCH) };
        let leader = Leader::new(1, Detector::new(DetectionConfig::default(), began), &state, now);
        let servers = (0..3).map(|_| Server { is_up: true, ..Server::default() }).collect();
        let nodes = 3 + u32::try_from(seed.below(5)).unwrap();
        let mut cluster = Self {
            state,
            leader,
            clients: Vec::new(),
            superseded: Superseded::default(),
            registrations: Registrations::default(),
            trace: Trace::default(),
            seen: Seen::default(),
            seed,
            began,
            now_ms: 0,
            log: 0,
            servers,
            leading: 0,
            events: BTreeMap::new(),
            event_number: 0,
            plans: Vec::new(),
            is_calm: true,
            stalled_until: 0,
            watches_at: None,
            in_vain: 0,
        };
        for _ in 0..nodes {
            cluster.join();
        }
        for server in 0..3 {
            cluster.after(0, Event::Digest(server));
        }
        cluster.after(0, Event::Tick);
        cluster.after(60_000, Event::RetryConflicts);
        cluster.after(20_000, Event::Collect);
        cluster
    }

    /// Lives through disturbances and rest.
    pub(crate) fn live(&mut self) {
        for _ in 0..ROUNDS {
            self.is_calm = false;
            self.after(500, Event::Wish);
            self.after(2000, Event::Befall);
            let end = self.now_ms + DISTURBED_MS;
            while self.now_ms < end {
                self.step();
            }
            self.calm_down();
            self.come_to_rest();
            // Nothing begins anew once what has ended was collected.
            let collected = self.now_ms + COLLECTED_MS;
            while self.now_ms < collected {
                self.step();
            }
            self.come_to_rest();
        }
    }

    fn come_to_rest(&mut self) {
        let deadline = self.now_ms + REST_MS;
        while !self.is_at_rest() {
            self.step();
            assert!(self.now_ms < deadline, "the cluster does not come to rest: {}", self.unrest());
        }
        self.trace.note(&self.clock(), "at rest");
        invariants::at_rest(self);
    }

    /// A number that two lives share only if they went alike.
    pub(crate) fn digest(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        snapshot::write(&self.state, &mut bytes).unwrap();
        bytes
    }

    pub(crate) fn clock(&self) -> String {
        format!("{:>9.3}s entry {:>5}", Duration::from_millis(self.now_ms).as_secs_f64(), self.log)
    }

    pub(crate) fn now(&self) -> Now {
        let wall = Timestamp(EPOCH + i64::try_from(self.now_ms).unwrap() * 1_000_000);
        Now { instant: self.began + Duration::from_millis(self.now_ms), wall }
    }

    fn after(&mut self, ms: u64, event: Event) {
        self.event_number += 1;
        self.events.insert((self.now_ms + ms, self.event_number), event);
    }

    fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.seed.below(most - least + 1)
    }

    /// Whether something of `percent` percent happens.
    fn happens(&mut self, percent: u64) -> bool {
        self.seed.below(100) < percent
    }

    /// How long a message takes.
    fn latency(&mut self) -> u64 {
        if self.is_calm || !self.happens(5) { self.between(1, 30) } else { self.between(100, 4000) }
    }

    fn eval_id(&mut self) -> EvalId {
        EvalId::from_uuid(self.seed.uuid())
    }

    fn step(&mut self) {
        let Some(((at, _), event)) = self.events.pop_first() else { panic!("nothing will ever happen again") };
        self.now_ms = self.now_ms.max(at);
        self.handle(event);
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Commit { command, from } => self.commit(command, from),
            Event::CommitPlans => self.commit_plans(),
            Event::Planned { term, token, answer } if term == self.leader.term => match answer {
                Some((result, placements)) if self.leader.planned(token, &result, placements) => self.work(token),
                Some(_) => self.finished(token, false),
                None => self.finished(token, true),
            },
            Event::Work { term, token } if term == self.leader.term => self.work(token),
            Event::Planned { .. } | Event::Work { .. } => {}
            Event::Wake => self.wake(),
            Event::Tick => {
                self.tick();
                self.after(500, Event::Tick);
            }
            Event::Watch { at } if self.watches_at == Some(at) => self.watch_in_time(),
            Event::Answered { term, id, done } if term == self.leader.term => self.watcher_answered(id, done),
            Event::Watch { .. } | Event::Answered { .. } => {}
            Event::Tidy if self.is_calm => {
                self.tidy_rollouts();
                self.after(5000, Event::Tidy);
            }
            Event::RetryConflicts => {
                self.leader.retry_conflicts(self.now());
                self.after(60_000, Event::RetryConflicts);
            }
            Event::Digest(server) => {
                self.digest_of(server);
                self.after(1000, Event::Digest(server));
            }
            Event::Collect => {
                self.collect();
                self.after(20_000, Event::Collect);
            }
            Event::ClientTick(client) => {
                self.client_tick(client);
                self.after(1000, Event::ClientTick(client));
            }
            Event::Obey(client) => self.obey(client),
            Event::Intended { client, alloc, intent } => self.intended(client, alloc, intent),
            Event::Ends { client, alloc, run, status } => {
                let now = self.now().wall;
                if self.clients[client].is_up && self.clients[client].moved(alloc, run, status, now) {
                    self.report(client);
                }
            }
            Event::Judged { client, alloc, run, of, healthy } => {
                if self.clients[client].is_up && self.clients[client].judged(alloc, run, of, healthy) {
                    self.report(client);
                }
            }
            Event::Acked { client, updates } => {
                if self.clients[client].is_reachable() {
                    self.clients[client].acked(&updates);
                }
            }
            Event::Welcome { client, server, epoch } => self.welcome(client, server, epoch),
            Event::Befall if !self.is_calm => {
                let fault = Fault::draw(&mut self.seed);
                self.befall(fault);
                let pause = self.between(500, 12_000);
                self.after(pause, Event::Befall);
            }
            Event::Wish if !self.is_calm => {
                let wish = Wish::draw(&mut self.seed);
                self.wish(wish);
                let pause = self.between(50, 4000);
                self.after(pause, Event::Wish);
            }
            Event::Befall | Event::Wish | Event::Tidy => {}
            Event::Restore(damage) => self.restore(damage),
        }
    }

    // The log

    /// Something is proposed: it takes a while, and now and then it is logged a second time, much later.
    fn propose(&mut self, command: Command, from: Origin) {
        let delay = self.latency() + 2;
        if !self.is_calm && self.happens(4) {
            let later = delay + self.between(1, 20_000);
            self.after(later, Event::Commit { command: command.clone(), from: Origin::Nobody });
        }
        self.after(delay, Event::Commit { command, from });
    }

    fn commit(&mut self, command: Command, origin: Origin) {
        if origin == Origin::Nobody {
            self.seen.repeated += 1;
        }
        // What is on its way when leadership changes is lost, or logged by the next leader.
        let of_term = match origin {
            Origin::Worker { term, .. } | Origin::Detector { term } | Origin::Watcher { term, .. } => Some(term),
            Origin::User | Origin::Leader { .. } | Origin::Report { .. } | Origin::Session { .. } | Origin::Nobody => {
                None
            }
        };
        if of_term.is_some_and(|term| term < self.leader.term) && self.happens(40) {
            return;
        }
        if self.is_stalled() && self.happens(80) {
            return self.unanswered(command, origin);
        }
        let job = match &command {
            Command::RegisterJob(command) => Some(command.job.key()),
            Command::RevertJob(command) => Some(command.key.clone()),
            Command::ScaleJob(command) => Some(command.key.clone()),
            _ => None,
        };
        let updates = if let Command::UpdateAllocs(command) = &command { command.updates.clone() } else { Vec::new() };
        let reply = self.apply(command);
        match origin {
            Origin::Nobody | Origin::Leader { .. } => {}
            Origin::User => {
                if let (Some(job), Reply::Job { job_modify_index, .. }) = (job, &reply) {
                    self.registrations.acknowledged(job, *job_modify_index);
                }
            }
            Origin::Worker { term, token } if term == self.leader.term => self.finished(token, false),
            Origin::Detector { term } if term == self.leader.term => self.leader.is_judging = false,
            Origin::Worker { .. } | Origin::Detector { .. } => {}
            Origin::Watcher { term, id } => {
                let done = !matches!(reply, Reply::Rejected(_)) && (self.is_calm || !self.happens(5));
                let delay = self.latency();
                self.after(delay, Event::Answered { term, id, done });
            }
            Origin::Report { client } => {
                let updates = updates.into_iter().map(|(_, update)| update).collect();
                if self.is_calm || !self.happens(10) {
                    let delay = self.latency();
                    self.after(delay, Event::Acked { client, updates });
                }
            }
            Origin::Session { client, server } => {
                let epoch = if let Reply::Session { epoch } = reply { Some(epoch) } else { None };
                let delay = self.latency();
                self.after(delay, Event::Welcome { client, server, epoch });
            }
        }
    }

    fn is_stalled(&self) -> bool {
        !self.is_calm && self.now_ms < self.stalled_until
    }

    /// A proposal was not logged: who proposed it learns that it is unknown what became of it.
    fn unanswered(&mut self, command: Command, origin: Origin) {
        match origin {
            Origin::Worker { term, token } if term == self.leader.term => self.finished(token, true),
            Origin::Detector { term } if term == self.leader.term => self.leader.is_judging = false,
            Origin::Session { client, server } => self.welcome(client, server, None),
            Origin::Leader { term } if term == self.leader.term => {
                self.after(1000, Event::Commit { command, from: origin });
            }
            Origin::Watcher { term, id } => self.after(1000, Event::Answered { term, id, done: false }),
            Origin::Worker { .. } | Origin::Detector { .. } | Origin::Leader { .. } | Origin::User => {}
            Origin::Report { .. } | Origin::Nobody => {}
        }
    }

    /// Applies an entry, tells those who listen, and checks what always holds.
    fn apply(&mut self, command: Command) -> Reply {
        self.log += 1;
        self.seen.entries += 1;
        self.trace.note(&self.clock(), &told(&command));
        self.registrations.before(&command, &self.state);
        let before = self.state.clone();
        let entry = Entry { rules: RULES, stamp: self.now().wall, command };
        let applied = apply(&mut self.state, self.log, &entry);
        self.seen.note(&before, &self.state, &applied.reply);
        for node in &applied.changes.nodes_to_tell {
            if let Some(client) = self.clients.iter().position(|client| client.node_id == *node) {
                let delay = self.latency();
                self.after(delay, Event::Obey(client));
            }
        }
        self.leader.changes.push_back(applied.changes);
        let delay = self.between(0, 20);
        self.after(delay, Event::Wake);
        invariants::after_entry(self);
        applied.reply
    }

    // Rest

    fn is_at_rest(&self) -> bool {
        self.unrest().is_empty()
    }

    /// What still goes on, in words.
    fn unrest(&self) -> String {
        let is_periodic = |event: &Event| {
            matches!(
                event,
                Event::Tick
                    | Event::RetryConflicts
                    | Event::Digest(_)
                    | Event::Collect
                    | Event::ClientTick(_)
                    | Event::Watch { .. }
                    | Event::Tidy
                    | Event::Restore(_)
                    | Event::Befall
                    | Event::Wish
            )
        };
        if let Some(event) = self.events.values().find(|event| !is_periodic(event)) {
            return format!("{event:?}");
        }
        if let Some(active) = self.state.deployments().find(|deployment| deployment.is_active()) {
            return format!("deployment {} of {} has not ended: {active:#?}", active.id, active.job_key());
        }
        if !self.leader.is_idle() {
            let (broker, watcher) = (self.leader.broker.counts(), self.leader.watcher.counts());
            return format!("the broker counts {broker:?}, the deployment watcher {watcher:?}");
        }
        for client in &self.clients {
            let node = self.state.node(&client.node_id);
            let is_settled = match node {
                None => client.is_gone,
                Some(node) if client.is_gone => node.status == NodeStatus::Down,
                Some(node) => node.status == NodeStatus::Ready && client.session.is_some(),
            };
            if !is_settled || (!client.is_gone && !client.unacked.is_empty()) {
                return format!("node {} is {:?}: {client:?}", client.number, node.map(|node| node.status));
            }
        }
        let conflict = orch_model::evaluation::Trigger::MaxPlanAttempts;
        let live = self.state.evals().filter(|eval| !eval.status.is_terminal());
        live.filter(|eval| eval.trigger == conflict).map(|eval| format!("{} is tried again later", eval.id)).collect()
    }
}
