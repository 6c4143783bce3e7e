//! How the nodes looked to a group: counts per reason, as data.

use std::collections::BTreeMap;

use orch_model::evaluation::{Explanation, NodeScore};
use orch_model::plan::Misfit;
use orch_model::{Job, NodeId};

use crate::feasible::{NodeTable, Verdict};
use crate::rank::Scores;

/// How many of the best nodes are named.
const NAMED: usize = 5;

/// Why a feasible node cannot take one more allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Obstacle {
    /// Another allocation is there that must not be.
    Distinct,
    /// Something has run out.
    Full(Misfit),
    /// No port of the dynamic range is free.
    NoDynamicPort,
    /// It has no address on the wanted network.
    NoAddress,
}

impl Obstacle {
    fn dimension(self) -> String {
        match self {
            Self::Distinct => crate::feasible::DISTINCT_HOSTS.to_owned(),
            Self::Full(misfit) => misfit.dimension(),
            Self::NoDynamicPort => "network: dynamic port selection failed".to_owned(),
            Self::NoAddress => "network: no addresses available".to_owned(),
        }
    }
}

/// What a scan over the nodes counts; cheap to add to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    /// Ready nodes per class.
    pub(crate) ready: Vec<u32>,
    /// Nodes that something unique to them rules out, per class and reason.
    filtered: BTreeMap<u32, BTreeMap<String, u32>>,
    /// Feasible nodes that cannot take one more, per class and reason.
    obstacles: BTreeMap<(u32, Obstacle), u32>,
    /// The best nodes.
    best: Vec<(f64, u64, NodeId, Scores)>,
}

impl Tally {
    pub(crate) fn new(classes: usize) -> Self {
        Self { ready: vec![0; classes], ..Self::default() }
    }

    pub(crate) fn filter(&mut self, class: u32, reason: &str) {
        let reasons = self.filtered.entry(class).or_default();
        match reasons.get_mut(reason) {
            Some(count) => *count += 1,
            None => drop(reasons.insert(reason.to_owned(), 1)),
        }
    }

    pub(crate) fn obstruct(&mut self, class: u32, obstacle: Obstacle) {
        *self.obstacles.entry((class, obstacle)).or_default() += 1;
    }

    /// Forgets what stood in the way of feasible nodes, to be counted anew.
    pub(crate) fn forget_obstacles(&mut self) {
        self.obstacles.clear();
        self.best.clear();
    }

    /// Notes a node's score, if it is among the best.
    pub(crate) fn note_score(&mut self, score: f64, scores: Scores, tie: impl FnOnce() -> u64, node: NodeId) {
        if self.best.len() >= NAMED && self.best.last().is_some_and(|(worst, ..)| score < *worst) {
            return;
        }
        let tie = tie();
        let at = self.best.partition_point(|(other, other_tie, ..)| (*other, *other_tie) > (score, tie));
        if at < NAMED {
            self.best.insert(at, (score, tie, node, scores));
            self.best.truncate(NAMED);
        }
    }

    /// What was counted, in words.
    pub(crate) fn explain(&self, job: &Job, table: &NodeTable, verdicts: &[Verdict]) -> Explanation {
        let mut told = Explanation { node_pool: job.node_pool.clone(), ..Explanation::default() };
        for datacenter in job.datacenters.iter().filter(|name| !name.contains('*')) {
            told.nodes_available.insert(datacenter.clone(), 0);
        }
        for ((class, ready), verdict) in table.classes.iter().zip(&self.ready).zip(verdicts) {
            let described = &class.example.described;
            if *ready == 0 || *verdict == Verdict::OtherPool {
                continue;
            }
            told.nodes_in_pool += ready;
            if *verdict == Verdict::OtherDatacenter {
                continue;
            }
            told.nodes_evaluated += ready;
            *told.nodes_available.entry(described.datacenter.clone()).or_default() += ready;
            if let Verdict::Filtered(reason) = verdict {
                filtered(&mut told, &described.node_class, reason, *ready);
            }
        }
        let class_name = |class: u32| {
            table.classes.get(class as usize).map_or("", |class| class.example.described.node_class.as_str())
        };
        for (class, reasons) in &self.filtered {
            for (reason, count) in reasons {
                filtered(&mut told, class_name(*class), reason, *count);
            }
        }
        for ((class, obstacle), count) in &self.obstacles {
            let class = class_name(*class);
            if *obstacle == Obstacle::Distinct {
                filtered(&mut told, class, &obstacle.dimension(), *count);
                continue;
            }
            told.nodes_exhausted += count;
            *told.dimension_exhausted.entry(obstacle.dimension()).or_default() += count;
            if !class.is_empty() {
                *told.class_exhausted.entry(class.to_owned()).or_default() += count;
            }
        }
        let named = self.best.iter().map(|(_, _, node, scores)| (*node, scores.entries().to_vec()));
        told.scores = named.map(|(node_id, scores)| NodeScore { node_id, scores }).collect();
        told
    }
}

fn filtered(told: &mut Explanation, class: &str, reason: &str, count: u32) {
    told.nodes_filtered += count;
    *told.constraint_filtered.entry(reason.to_owned()).or_default() += count;
    if !class.is_empty() {
        *told.class_filtered.entry(class.to_owned()).or_default() += count;
    }
}
