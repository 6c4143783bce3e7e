//! What the leader's parts ask for, and how its plans get to the log.

use super::*;

impl Cluster {
    pub(super) fn wake(&mut self) {
        let now = self.now();
        self.leader.take_changes(now);
        for token in self.leader.hand_out(&self.state, now) {
            let delay = self.between(0, 10);
            self.after(delay, Event::Work { term: self.leader.term, token });
        }
        self.watch();
    }

    pub(super) fn work(&mut self, token: u64) {
        let term = self.leader.term;
        match self.leader.work(token, &self.state, self.now()) {
            Step::Submit(plan) => {
                self.plans.push((term, token, *plan));
                let delay = self.latency();
                self.after(delay, Event::CommitPlans);
            }
            Step::Store(command) => self.propose(command, Origin::Worker { term, token }),
            Step::Done => self.finished(token, false),
        }
    }

    pub(super) fn finished(&mut self, token: u64, failed: bool) {
        if let Some(command) = self.leader.finished(token, failed, self.now()) {
            self.propose(command, Origin::Leader { term: self.leader.term });
        }
        self.after(0, Event::Wake);
    }

    /// Logs the plans that wait; those of an earlier leader come late or not at all, and an answer may be lost.
    pub(super) fn commit_plans(&mut self) {
        let waiting = std::mem::take(&mut self.plans);
        let (mut batch, mut askers) = (Vec::new(), Vec::new());
        for (term, token, plan) in waiting {
            if term < self.leader.term && self.happens(40) {
                continue;
            }
            askers.push((term, token, plan.placements.len()));
            batch.push(plan);
        }
        if batch.is_empty() {
            return;
        }
        if self.is_stalled() && self.happens(80) {
            for (term, token, _) in askers {
                self.after(1000, Event::Planned { term, token, answer: None });
            }
            return;
        }
        let command = Command::ApplyPlans(ApplyPlans { plans: batch });
        if !self.is_calm && self.happens(8) {
            let later = self.between(1, 10_000);
            self.after(later, Event::Commit { command: command.clone(), from: Origin::Nobody });
        }
        let Reply::Plans(results) = self.apply(command) else { panic!("plans are answered with results") };
        for ((term, token, placements), result) in askers.into_iter().zip(results) {
            let is_lost = !self.is_calm && (self.is_stalled() || self.happens(3));
            let answer = (!is_lost).then_some((result, placements));
            let delay = self.latency();
            self.after(delay, Event::Planned { term, token, answer });
        }
    }

    pub(super) fn tick(&mut self) {
        for command in self.leader.tick(self.now()) {
            self.propose(command, Origin::Leader { term: self.leader.term });
        }
        self.wake();
        if self.leader.is_judging {
            return;
        }
        let seed = self.seed.next_u64();
        if let Some(command) = self.leader.judge(&self.state, self.now(), seed) {
            self.leader.is_judging = true;
            self.propose(command, Origin::Detector { term: self.leader.term });
        }
    }

    pub(super) fn collect(&mut self) {
        let secs = Duration::from_secs;
        let config = GcConfig {
            interval: secs(20),
            evals: secs(60),
            batch_evals: secs(90),
            deployments: secs(60),
            jobs: secs(120),
            nodes: secs(240),
        };
        let reap = gc::collect(&self.state, &config, false);
        if !gc::is_empty(&reap) {
            self.propose(Command::Reap(reap), Origin::User);
        }
    }

    pub(super) fn change_leader(&mut self) {
        let up: Vec<_> = (0..self.servers.len()).filter(|server| self.servers[*server].is_up).collect();
        self.leading = up[usize::try_from(self.seed.below(up.len() as u64)).unwrap()];
        self.seen.leaders += 1;
        if self.happens(50) {
            // It had its state from a snapshot.
            let written = self.digest();
            self.state = snapshot::read(&written[..]).unwrap();
            assert!(self.digest() == written, "a snapshot that was read writes another");
        }
        let now = self.now();
        let detector = Detector::new(DetectionConfig::default(), now.instant);
        self.leader = Leader::new(self.leader.term + 1, detector, &self.state, now);
        self.after(0, Event::Wake);
    }
}
