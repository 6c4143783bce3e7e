//! What befalls a cluster, what people do to it, and how it is left alone again.

use super::*;

impl Cluster {
    pub(super) fn some_client(&mut self) -> Option<usize> {
        let here: Vec<_> = (0..self.clients.len()).filter(|client| self.clients[*client].is_reachable()).collect();
        let at = usize::try_from(self.seed.below(here.len() as u64)).unwrap();
        here.get(at).copied()
    }

    pub(super) fn befall(&mut self, fault: Fault) {
        self.trace.note(&self.clock(), &format!("{fault:?}"));
        match fault {
            Fault::Crash | Fault::Loss | Fault::Partition => {
                let Some(client) = self.some_client() else { return };
                self.trace.note(&self.clock(), &format!("  of node {}", self.clients[client].number));
                let lasts = self.between(1000, 60_000);
                match fault {
                    Fault::Partition => {
                        self.clients[client].is_cut_off = true;
                        self.after(lasts, Event::Restore(Damage::Partition(client)));
                    }
                    Fault::Loss if self.clients.iter().filter(|client| !client.is_gone).count() > 3 => {
                        self.clients[client].crash();
                        self.clients[client].is_gone = true;
                        if self.happens(30) {
                            let (node_id, seed) = (self.clients[client].node_id, self.seed.next_u64());
                            self.propose(Command::PurgeNode(PurgeNode { node_id, seed }), Origin::User);
                        }
                    }
                    _ => {
                        self.clients[client].crash();
                        self.after(lasts, Event::Restore(Damage::Crash(client)));
                    }
                }
            }
            Fault::PartitionAll => {
                let lasts = self.between(1000, 30_000);
                for client in 0..self.clients.len() {
                    self.clients[client].is_cut_off = true;
                    let lasts = lasts + self.between(0, 3000);
                    self.after(lasts, Event::Restore(Damage::Partition(client)));
                }
            }
            Fault::Join if self.clients.len() < 14 => self.join(),
            Fault::Join => {}
            Fault::LeaderChange => self.change_leader(),
            Fault::ServerDown => {
                let server = usize::try_from(self.seed.below(3)).unwrap();
                if self.servers.iter().any(|server| !server.is_up) {
                    return;
                }
                self.servers[server] = Server::default();
                if server == self.leading {
                    self.change_leader();
                }
                let lasts = self.between(500, 40_000);
                self.after(lasts, Event::Restore(Damage::Server(server)));
            }
            Fault::NoQuorum => {
                let lasts = self.between(1000, 60_000);
                self.stalled_until = self.now_ms + lasts;
            }
            Fault::Lag => {
                let now = self.now();
                self.leader.rebuild(&self.state, now);
            }
        }
    }

    pub(super) fn restore(&mut self, damage: Damage) {
        match damage {
            Damage::Crash(client) => self.clients[client].is_up = !self.clients[client].is_gone,
            Damage::Partition(client) => self.clients[client].is_cut_off = false,
            Damage::Server(server) => self.servers[server].is_up = true,
        }
    }

    pub(super) fn some_job(&mut self) -> Option<JobKey> {
        let keys: Vec<_> = self.state.jobs().map(|row| row.job.key()).collect();
        let at = usize::try_from(self.seed.below(keys.len() as u64)).unwrap();
        keys.get(at).cloned()
    }

    pub(super) fn some_node(&mut self) -> Option<NodeId> {
        let ids: Vec<_> = self.state.nodes().map(|node| node.id).collect();
        let at = usize::try_from(self.seed.below(ids.len() as u64)).unwrap();
        ids.get(at).copied()
    }

    pub(super) fn wish(&mut self, wish: Wish) {
        let eval_id = self.eval_id();
        let command = match wish {
            Wish::Register => {
                let job = workload::job(&mut self.seed);
                let command = RegisterJob { job, eval_id, eval_priority: None, enforce_index: None, submission: None };
                Some(Command::RegisterJob(Box::new(command)))
            }
            Wish::Stop | Wish::Purge => {
                let purge = wish == Wish::Purge;
                let no_shutdown_delay = self.happens(30);
                let stop = |job| DeregisterJob { job, purge, eval_id, eval_priority: None, no_shutdown_delay };
                self.some_job().map(|job| Command::DeregisterJob(stop(job)))
            }
            Wish::Evaluate => self.some_job().map(|job| Command::EvaluateJob(EvaluateJob { job, eval_id })),
            Wish::StopAlloc => {
                let ids: Vec<_> = self.state.allocs().map(|alloc| alloc.id).collect();
                let at = usize::try_from(self.seed.below(ids.len() as u64)).unwrap();
                let stop = |id: &AllocId| StopAlloc { alloc_id: *id, no_shutdown_delay: false, eval_id };
                ids.get(at).map(|id| Command::StopAlloc(stop(id)))
            }
            Wish::EvaluateNode => {
                let seed = self.seed.next_u64();
                self.some_node().map(|node_id| Command::EvaluateNode(EvaluateNode { node_id, seed }))
            }
            Wish::Eligibility => {
                let eligibility = if self.happens(60) { Eligibility::Eligible } else { Eligibility::Ineligible };
                self.some_node().map(|node_id| Command::SetEligibility(SetEligibility { node_id, eligibility }))
            }
            Wish::Rollout(wish) => self.rollout_wish(wish, eval_id),
            Wish::Configure => {
                let algorithm = if self.happens(50) { Algorithm::Spread } else { Algorithm::Binpack };
                let config = SchedulerConfig { algorithm, ..SchedulerConfig::default() };
                Some(Command::SetSchedulerConfig(SetSchedulerConfig { config, check_index: None }))
            }
        };
        if let Some(command) = command {
            self.propose(command, Origin::User);
        }
    }

    /// Nothing is disturbed any more, and what was broken is repaired, but for what is gone for good.
    pub(super) fn calm_down(&mut self) {
        self.trace.note(&self.clock(), "calm");
        self.is_calm = true;
        self.after(0, Event::Tidy);
        self.servers.iter_mut().for_each(|server| server.is_up = true);
        for client in &mut self.clients {
            client.is_cut_off = false;
            client.is_up = !client.is_gone;
        }
    }
}
