//! How the nodes looked to a group: counts per reason, as data.

use std::collections::BTreeMap;

use orch_model::evaluation::{Explanation, NodeScore};
use orch_model::plan::Misfit;
use orch_model::{Job, NodeId};

use crate::feasible::{NO_VALUE, NodeTable, Verdict};
use crate::memo::Feasibility;
use crate::rank::{Scores, Total};

/// How many of the best nodes are named.
pub(crate) const NAMED: usize = 5;

/// Why a feasible node cannot take one more allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Obstacle {
    /// Another allocation is there that must not be.
    Distinct,
    /// As many allocations as may share the value of a distinct property do: the property's number, the value's, and
    /// how many.
    Property { property: u16, value: u32, used: u32 },
    /// A host volume is not there, or somebody uses it who must be alone.
    Volumes,
    /// Something has run out.
    Full(Misfit),
    /// No port of the dynamic range is free.
    NoDynamicPort,
    /// It has no address on the wanted network.
    NoAddress,
}

impl Obstacle {
    /// Whether it rules the node out, rather than saying that the node is full.
    const fn is_filter(self) -> bool {
        match self {
            Self::Distinct | Self::Property { .. } | Self::Volumes => true,
            Self::Full(_) | Self::NoDynamicPort | Self::NoAddress => false,
        }
    }

    /// The obstacle as the API names it.
    fn text(self, known: &Feasibility) -> String {
        match self {
            Self::Distinct => crate::feasible::DISTINCT_HOSTS.to_owned(),
            Self::Property { property, value, used } => {
                let property = usize::from(property);
                let name = known.rules.properties.get(property).map_or("", |rule| rule.text.as_str());
                let values = known.traits.property_values.get(property);
                match values.and_then(|values| values.get(value as usize)).filter(|_| value != NO_VALUE) {
                    Some(value) => format!("distinct_property: {name}={value} used by {used} allocs"),
                    None => format!("missing property {name:?}"),
                }
            }
            Self::Volumes => crate::feasible::MISSING_VOLUMES.to_owned(),
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
    best: Vec<(Total, u64, NodeId, Scores)>,
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

    /// The same nodes, with nothing counted of what stands in the way of feasible ones.
    pub(crate) fn without_obstacles(&self) -> Self {
        Self { ready: self.ready.clone(), filtered: self.filtered.clone(), ..Self::default() }
    }

    /// Notes a node's score, if it is among the best.
    #[inline]
    pub(crate) fn note_score(&mut self, scores: &Scores, total: Total, node: impl FnOnce() -> (u64, NodeId)) {
        if self.worst_named().is_none_or(|worst| total >= worst) {
            let (tie, node) = node();
            self.insert(total, tie, node, *scores);
        }
    }

    /// The score that a node must have to be among the best, once there are enough of them.
    #[inline]
    pub(crate) fn worst_named(&self) -> Option<Total> {
        if self.best.len() < NAMED { None } else { self.best.last().map(|(worst, ..)| *worst) }
    }

    fn insert(&mut self, total: Total, tie: u64, node: NodeId, scores: Scores) {
        let at = self.best.partition_point(|(other, other_tie, ..)| (*other, *other_tie) > (total, tie));
        if at < NAMED {
            self.best.insert(at, (total, tie, node, scores));
            self.best.truncate(NAMED);
        }
    }

    /// What was counted, in words.
    pub(crate) fn explain(&self, job: &Job, table: &NodeTable, known: &Feasibility) -> Explanation {
        let mut told = Explanation { node_pool: job.node_pool.clone(), ..Explanation::default() };
        for datacenter in job.datacenters.iter().filter(|name| !name.contains('*')) {
            told.nodes_available.insert(datacenter.clone(), 0);
        }
        for ((class, ready), verdict) in table.classes.iter().zip(&self.ready).zip(known.verdicts.iter()) {
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
            if obstacle.is_filter() {
                filtered(&mut told, class, &obstacle.text(known), *count);
                continue;
            }
            told.nodes_exhausted += count;
            *told.dimension_exhausted.entry(obstacle.text(known)).or_default() += count;
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
