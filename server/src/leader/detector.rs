//! The failure detector: which nodes are gone, and how fast that may be believed.
//!
//! A state machine without I/O, on the leader alone. Servers say each second which of their sessions are silent; a node
//! that nobody complains about is there. When a server's word stops, or the leader is new, nodes get time to appear
//! elsewhere. A token bucket keeps a fault of the servers from being taken for the death of the fleet.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use orch_model::node::NodeStatus;
use orch_model::{NodeId, RaftId};

use crate::config::DetectionConfig;
use crate::sessions::Silence;

/// A server whose word has not come for so long is not trusted to speak for its sessions.
const DIGEST_TIMEOUT: Duration = Duration::from_secs(3);

/// The brake lets so many nodes go at once, however few there are.
const LEAST: f64 = 5.0;

/// How long it takes for the brake's bucket to fill.
const REFILL: Duration = Duration::from_secs(60);

/// What the detector needs to know of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watched {
    /// The node.
    pub node_id: NodeId,
    /// The server that holds its session.
    pub server: RaftId,
    /// Which session.
    pub epoch: u64,
    /// Its status.
    pub status: NodeStatus,
}

/// A node that is to change its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The node.
    pub node_id: NodeId,
    /// The session that fell silent.
    pub epoch: u64,
    /// What becomes of it.
    pub status: NodeStatus,
    /// Why, in a sentence.
    pub reason: String,
}

/// Which nodes are gone.
#[derive(Debug)]
pub struct Detector {
    config: DetectionConfig,
    /// When each server's word last came, and who was silent by it.
    servers: BTreeMap<RaftId, Word>,
    /// When leadership was won: nobody is older than that to this leader.
    since: Instant,
    /// How many nodes may be given up now, and how many at once.
    tokens: f64,
    capacity: f64,
    filled: Instant,
    /// The newest session of each node, and since when it is known; those of the first look are as old as the leader.
    sessions: BTreeMap<NodeId, (u64, Instant)>,
    has_judged: bool,
    /// Nodes that the brake holds as disconnected.
    braked: BTreeMap<NodeId, Held>,
}

/// How long a node is held back.
#[derive(Debug, Clone, Copy)]
struct Held {
    since: Instant,
    /// Whether an operator said that it is to be held back no longer.
    released: bool,
}

/// How the brake stands.
#[derive(Debug, Clone, PartialEq)]
pub struct BrakeState {
    /// How many nodes may be given up now; a part of one is still filling.
    pub tokens: f64,
    /// How many may be given up at once.
    pub capacity: f64,
    /// How long an empty bucket takes to fill.
    pub refill: Duration,
    /// How long a node is held back at most.
    pub hold: Duration,
    /// The nodes that are held back and for how long they have been, longest first.
    pub held: Vec<(NodeId, Duration)>,
}

#[derive(Debug, Default)]
struct Word {
    at: Option<Instant>,
    silent: BTreeMap<NodeId, Silence>,
}

impl Detector {
    /// The detector of a leader that has just won, which has heard of nobody yet.
    pub fn new(config: DetectionConfig, now: Instant) -> Self {
        Self {
            config,
            servers: BTreeMap::new(),
            since: now,
            tokens: f64::MAX,
            capacity: LEAST,
            filled: now,
            sessions: BTreeMap::new(),
            has_judged: false,
            braked: BTreeMap::new(),
        }
    }

    /// Takes a server's word: these of its sessions are silent, all others are well.
    pub fn digest(&mut self, server: RaftId, silent: Vec<Silence>, now: Instant) {
        let word = self.servers.entry(server).or_default();
        word.at = Some(now);
        word.silent = silent.into_iter().map(|silence| (silence.node_id, silence)).collect();
    }

    /// Who is to be given up now.
    pub fn judge(&mut self, nodes: &[Watched], now: Instant) -> Vec<Verdict> {
        self.refill(nodes.len(), now);
        self.note_sessions(nodes, now);
        let present: BTreeSet<_> = nodes.iter().map(|node| node.node_id).collect();
        self.braked.retain(|node, _| present.contains(node));
        let mut verdicts = Vec::new();
        for node in nodes {
            match node.status {
                NodeStatus::Ready | NodeStatus::Initializing => {
                    self.braked.remove(&node.node_id);
                    if let Some(reason) = self.is_gone(node, now) {
                        verdicts.push(self.give_up(node, reason, now));
                    }
                }
                NodeStatus::Disconnected => verdicts.extend(self.judge_braked(node, now)),
                NodeStatus::Down => {
                    self.braked.remove(&node.node_id);
                }
            }
        }
        verdicts
    }

    /// How the brake stands.
    pub fn brake(&self, now: Instant) -> BrakeState {
        let mut held: Vec<_> =
            self.braked.iter().map(|(node, held)| (*node, now.saturating_duration_since(held.since))).collect();
        held.sort_by_key(|(node, waited)| (std::cmp::Reverse(*waited), *node));
        BrakeState {
            tokens: self.tokens.min(self.capacity),
            capacity: self.capacity,
            refill: REFILL,
            hold: self.config.braked,
            held,
        }
    }

    /// Holds no longer back whom the brake holds back now: they are given up when next judged, whatever the bucket has.
    pub fn release(&mut self) {
        self.braked.values_mut().for_each(|held| held.released = true);
    }

    /// Notes when sessions appeared: a node is well when it opens one, whatever was heard of its server before.
    fn note_sessions(&mut self, nodes: &[Watched], now: Instant) {
        let appeared = if self.has_judged { now } else { self.since };
        self.has_judged = true;
        let known = std::mem::take(&mut self.sessions);
        self.sessions = nodes
            .iter()
            .map(|node| {
                let session = known.get(&node.node_id).filter(|(epoch, _)| *epoch == node.epoch);
                (node.node_id, session.copied().unwrap_or((node.epoch, appeared)))
            })
            .collect();
    }

    fn is_gone(&self, node: &Watched, now: Instant) -> Option<String> {
        let word = self.servers.get(&node.server);
        let heard_at = word.and_then(|word| word.at);
        let trusted = heard_at.is_some_and(|at| now.saturating_duration_since(at) < DIGEST_TIMEOUT);
        if !trusted {
            // Nobody speaks for this session: the last that is known is that it was well when its server spoke last, or
            // when it was opened.
            let opened = self.sessions.get(&node.node_id).map_or(self.since, |(_, opened)| *opened);
            let known_well = heard_at.unwrap_or(opened).max(opened);
            let silent = now.saturating_duration_since(known_well);
            let limit = self.config.silence + self.config.takeover;
            return (silent >= limit)
                .then(|| format!("its server was lost and it did not appear elsewhere in {}s", silent.as_secs()));
        }
        let silence = word?.silent.get(&node.node_id).filter(|silence| silence.epoch == node.epoch)?;
        let limit = if silence.restarting { self.config.restart } else { self.config.silence };
        (silence.silent >= limit).then(|| format!("it was silent for {}s", silence.silent.as_secs()))
    }

    fn give_up(&mut self, node: &Watched, reason: String, now: Instant) -> Verdict {
        let status = if self.take_token() {
            NodeStatus::Down
        } else {
            self.braked.insert(node.node_id, Held { since: now, released: false });
            NodeStatus::Disconnected
        };
        Verdict { node_id: node.node_id, epoch: node.epoch, status, reason }
    }

    fn judge_braked(&mut self, node: &Watched, now: Instant) -> Option<Verdict> {
        let held = *self.braked.entry(node.node_id).or_insert(Held { since: now, released: false });
        let overdue = now.saturating_duration_since(held.since) >= self.config.braked;
        if !overdue && !held.released && !self.take_token() {
            return None;
        }
        self.braked.remove(&node.node_id);
        let reason = if held.released {
            "an operator released the brake while it was away".to_owned()
        } else {
            "it stayed away after many nodes had fallen silent together".to_owned()
        };
        Some(Verdict { node_id: node.node_id, epoch: node.epoch, status: NodeStatus::Down, reason })
    }

    fn take_token(&mut self) -> bool {
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            true
        } else {
            false
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of nodes stay far below 2^52")]
    fn refill(&mut self, nodes: usize, now: Instant) {
        self.capacity = (nodes as f64 * 0.02).max(LEAST);
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = now;
        self.tokens = (self.tokens + self.capacity * passed / REFILL.as_secs_f64()).min(self.capacity);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn node(number: u128, status: NodeStatus) -> Watched {
        Watched { node_id: NodeId::from_uuid(Uuid::from_u128(number)), server: RaftId(1), epoch: 1, status }
    }

    fn silence(node: &Watched, secs: u64) -> Silence {
        Silence {
            node_id: node.node_id,
            epoch: node.epoch,
            silent: Duration::from_secs(secs),
            restarting: false,
            dropped: false,
        }
    }

    fn statuses(verdicts: &[Verdict], status: NodeStatus) -> usize {
        verdicts.iter().filter(|verdict| verdict.status == status).count()
    }

    #[test]
    fn a_node_that_is_silent_for_ten_seconds_is_down() {
        let now = Instant::now();
        let mut detector = Detector::new(DetectionConfig::default(), now);
        let nodes = [node(1, NodeStatus::Ready), node(2, NodeStatus::Ready)];
        detector.digest(RaftId(1), vec![silence(&nodes[0], 9)], now);
        assert!(detector.judge(&nodes, now).is_empty());
        detector.digest(RaftId(1), vec![silence(&nodes[0], 10)], now);
        let verdicts = detector.judge(&nodes, now);
        assert_eq!(verdicts.len(), 1);
        assert_eq!((verdicts[0].node_id, verdicts[0].status), (nodes[0].node_id, NodeStatus::Down));
    }

    #[test]
    fn silence_of_an_older_session_counts_for_nothing() {
        let now = Instant::now();
        let mut detector = Detector::new(DetectionConfig::default(), now);
        let old = node(1, NodeStatus::Ready);
        let new = Watched { epoch: 2, ..old };
        detector.digest(RaftId(1), vec![silence(&old, 60)], now);
        assert!(detector.judge(&[new], now).is_empty());
    }

    #[test]
    fn an_agent_that_restarts_is_given_more_time() {
        let now = Instant::now();
        let mut detector = Detector::new(DetectionConfig::default(), now);
        let nodes = [node(1, NodeStatus::Ready)];
        let restarting = |secs| Silence { restarting: true, ..silence(&nodes[0], secs) };
        detector.digest(RaftId(1), vec![restarting(29)], now);
        assert!(detector.judge(&nodes, now).is_empty());
        detector.digest(RaftId(1), vec![restarting(30)], now);
        assert_eq!(detector.judge(&nodes, now).len(), 1);
    }

    #[test]
    fn nodes_of_a_lost_server_have_time_to_appear_elsewhere() {
        let start = Instant::now();
        let mut detector = Detector::new(DetectionConfig::default(), start);
        let nodes = [node(1, NodeStatus::Ready)];
        detector.digest(RaftId(1), vec![], start + Duration::from_secs(5));
        assert!(detector.judge(&nodes, start + Duration::from_secs(17)).is_empty());
        assert_eq!(detector.judge(&nodes, start + Duration::from_secs(18)).len(), 1);
    }

    #[test]
    fn a_session_at_a_server_that_has_not_spoken_yet_is_not_taken_for_an_old_silence() {
        let start = Instant::now();
        let mut detector = Detector::new(DetectionConfig::default(), start);
        assert!(detector.judge(&[], start).is_empty());
        let nodes = [node(1, NodeStatus::Ready)];
        let opened = start + Duration::from_secs(3600);
        assert!(detector.judge(&nodes, opened).is_empty());
        assert!(detector.judge(&nodes, opened + Duration::from_secs(12)).is_empty());
        assert_eq!(detector.judge(&nodes, opened + Duration::from_secs(13)).len(), 1);
    }

    #[test]
    fn a_new_leader_gives_everyone_time() {
        let start = Instant::now();
        let mut detector = Detector::new(DetectionConfig::default(), start);
        let nodes = [node(1, NodeStatus::Ready)];
        assert!(detector.judge(&nodes, start + Duration::from_secs(12)).is_empty());
        assert_eq!(detector.judge(&nodes, start + Duration::from_secs(13)).len(), 1);
    }

    #[test]
    fn when_many_fall_silent_together_most_are_held_back() {
        let start = Instant::now();
        let mut detector = Detector::new(DetectionConfig::default(), start);
        let mut nodes: Vec<_> = (1..=100).map(|number| node(number, NodeStatus::Ready)).collect();
        detector.digest(RaftId(1), nodes.iter().map(|node| silence(node, 11)).collect(), start);
        let verdicts = detector.judge(&nodes, start);
        assert_eq!(statuses(&verdicts, NodeStatus::Down), 5);
        assert_eq!(statuses(&verdicts, NodeStatus::Disconnected), 95);
        for (node, verdict) in nodes.iter_mut().zip(&verdicts) {
            node.status = verdict.status;
        }
        let later = start + Duration::from_secs(60);
        assert_eq!(statuses(&detector.judge(&nodes, later), NodeStatus::Down), 5, "the bucket fills in a minute");
        let much_later = start + Duration::from_secs(360);
        let down = statuses(&detector.judge(&nodes, much_later), NodeStatus::Down);
        assert!(down >= 90, "{down} of the rest are given up after five minutes");
    }

    #[test]
    fn an_operator_lets_go_of_all_that_are_held_back_but_not_of_those_who_follow() {
        let start = Instant::now();
        let mut detector = Detector::new(DetectionConfig::default(), start);
        let mut nodes: Vec<_> = (1..=20).map(|number| node(number, NodeStatus::Ready)).collect();
        detector.digest(RaftId(1), nodes[..10].iter().map(|node| silence(node, 11)).collect(), start);
        for verdict in detector.judge(&nodes, start) {
            let judged = nodes.iter_mut().find(|node| node.node_id == verdict.node_id).unwrap();
            judged.status = verdict.status;
        }
        let brake = detector.brake(start);
        assert_eq!((brake.held.len(), brake.capacity), (5, 5.0));
        assert!(brake.tokens < 1.0, "{}", brake.tokens);
        detector.release();
        let verdicts = detector.judge(&nodes, start);
        assert_eq!(statuses(&verdicts, NodeStatus::Down), 5);
        for verdict in verdicts {
            let judged = nodes.iter_mut().find(|node| node.node_id == verdict.node_id).unwrap();
            judged.status = verdict.status;
        }
        assert_eq!(detector.brake(start).held, []);
        detector.digest(RaftId(1), nodes[10..].iter().map(|node| silence(node, 11)).collect(), start);
        let verdicts = detector.judge(&nodes, start);
        assert_eq!(statuses(&verdicts, NodeStatus::Disconnected), 10, "the brake works on");
    }
}
