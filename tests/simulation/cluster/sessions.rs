//! Servers and the sessions they hold; clients and what they say.

use super::*;

impl Cluster {
    /// A server notes which clients it hears, and tells the leader who is silent.
    pub(super) fn digest_of(&mut self, server: usize) {
        let now = self.now_ms;
        let held = &mut self.servers[server];
        for node in self.state.nodes().filter(|node| node.session.server == RaftId(server as u64)) {
            let known = held.sessions.entry(node.id).or_insert((node.session.epoch, now));
            if known.0 < node.session.epoch {
                *known = (node.session.epoch, now);
            }
        }
        for (node, (epoch, heard)) in &mut held.sessions {
            let client = self.clients.iter().find(|client| client.node_id == *node);
            if client.is_some_and(|client| client.is_reachable() && client.session == Some((server, *epoch))) {
                *heard = now;
            }
        }
        if !held.is_up {
            return;
        }
        let silent = held.sessions.iter().map(|(node, (epoch, heard))| Silence {
            node_id: *node,
            epoch: *epoch,
            silent: Duration::from_millis(now - heard),
            restarting: false,
            dropped: false,
        });
        let silent = silent.filter(|silence| silence.silent >= Duration::from_secs(3)).collect();
        let instant = self.now().instant;
        self.leader.detector.digest(RaftId(server as u64), silent, instant);
    }

    /// A client without a good session opens another, and says again what was not acknowledged.
    pub(super) fn client_tick(&mut self, client: usize) {
        let it = &self.clients[client];
        if !it.is_reachable() {
            return;
        }
        let node = self.state.node(&it.node_id);
        let is_good = it.session.is_some_and(|(server, epoch)| {
            self.servers[server].is_up
                && node.is_some_and(|node| node.session.epoch <= epoch && node.status == NodeStatus::Ready)
        });
        if is_good {
            self.report(client);
            self.after(0, Event::Obey(client));
        } else if !it.is_opening {
            self.open(client);
        }
    }

    pub(super) fn open(&mut self, client: usize) {
        let server = usize::try_from(self.seed.below(self.servers.len() as u64)).unwrap();
        if !self.servers[server].is_up {
            return;
        }
        let it = &mut self.clients[client];
        it.is_opening = true;
        let description = Arc::new(description(it.number));
        let (node_id, seed) = (it.node_id, self.seed.next_u64());
        let server_id = RaftId(server as u64);
        let command = RegisterNode { node_id, description, server: server_id, seed };
        self.propose(Command::RegisterNode(command), Origin::Session { client, server });
    }

    pub(super) fn welcome(&mut self, client: usize, server: usize, epoch: Option<u64>) {
        let now = self.now_ms;
        let it = &mut self.clients[client];
        it.is_opening = false;
        let Some(epoch) = epoch else { return };
        if self.servers[server].is_up {
            self.servers[server].sessions.insert(it.node_id, (epoch, now));
        }
        if it.is_reachable() && self.servers[server].is_up {
            it.session = Some((server, epoch));
            it.say_everything();
            self.after(0, Event::Obey(client));
        }
    }

    pub(super) fn join(&mut self) {
        let number = u32::try_from(self.clients.len()).unwrap() + 1;
        let client = self.clients.len();
        self.clients.push(Client::new(number, testing::node(number).build().id));
        let delay = self.between(0, 2000);
        self.after(delay, Event::ClientTick(client));
    }

    pub(super) fn obey(&mut self, client: usize) {
        if !self.clients[client].is_reachable() || self.clients[client].session.is_none() {
            return;
        }
        for (alloc, intent) in self.clients[client].obey(&self.state) {
            let delay = match intent {
                Intent::Started(_) => self.between(10, 800),
                Intent::Stopped(_) => self.between(10, 3000),
                Intent::Joined(run, _) => {
                    self.judge_later(client, alloc, run);
                    continue;
                }
            };
            self.after(delay, Event::Intended { client, alloc, intent });
        }
        self.report(client);
    }

    pub(super) fn intended(&mut self, client: usize, alloc: AllocId, intent: Intent) {
        if !self.clients[client].is_up {
            return;
        }
        let now = self.now().wall;
        let moved = match intent {
            Intent::Joined(..) => false,
            Intent::Stopped(run) => self.clients[client].moved(alloc, run, ClientStatus::Complete, now),
            Intent::Started(run) => {
                let started = self.clients[client].moved(alloc, run, ClientStatus::Running, now);
                let found = self.state.alloc(&alloc).cloned();
                let is_batch = found.as_ref().is_some_and(|alloc| alloc.job.r#type == "batch");
                // Left alone it crashes only as long as that keeps a deployment from ending well, or it would for ever.
                let crashes = found.is_some_and(|alloc| {
                    workload::temper(&alloc.job) == Temper::Crashes && (!self.is_calm || alloc.deployment_id.is_some())
                });
                let fails = !self.is_calm && self.happens(if is_batch { 20 } else { 10 });
                if started && (is_batch || fails || crashes) {
                    let status = if fails || crashes { ClientStatus::Failed } else { ClientStatus::Complete };
                    let lasts = if crashes { self.between(200, 1500) } else { self.between(500, 40_000) };
                    self.after(lasts, Event::Ends { client, alloc, run, status });
                }
                if started {
                    self.judge_later(client, alloc, run);
                }
                started
            }
        };
        if moved {
            self.report(client);
        }
    }

    /// Sends what was not acknowledged; it may be lost, and is sent again.
    pub(super) fn report(&mut self, client: usize) {
        let it = &self.clients[client];
        if !it.is_reachable() || it.session.is_none() || it.unacked.is_empty() {
            return;
        }
        let updates: Vec<_> = it.unacked.values().map(|update| (it.node_id, update.clone())).collect();
        if !self.is_calm && self.happens(10) {
            return;
        }
        let seed = self.seed.next_u64();
        self.propose(Command::UpdateAllocs(UpdateAllocs { updates, seed }), Origin::Report { client });
    }
}

fn description(number: u32) -> orch_model::node::NodeDescription {
    let class = if number.is_multiple_of(3) { "large" } else { "small" };
    let cpu = if number.is_multiple_of(3) { 6000 } else { 3000 };
    let mut description = testing::node(number).size(cpu, 4096).description();
    description.node_class = class.into();
    description
}
