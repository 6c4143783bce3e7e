//! Which nodes could run a group at all, full or not.
//!
//! What a group demands is compiled once per version of its job. Most of it looks only at what nodes of one computed
//! class share, so it is answered once per class; what looks at a node alone (`${node.unique.name}`) is asked again for
//! each. What depends on other allocations (`distinct_hosts`, `distinct_property`) is seen when a node is chosen; what
//! makes one feasible node better than another (affinities, spreads) is compiled here, too, and used in `rank`.

use std::collections::BTreeMap;

use orch_model::job::{AskError, Constraint, GroupAsk, NetworkMode, Operator, TaskGroup};
use orch_model::node::{ComputedClass, NodeDescription};
use orch_model::{Job, Node};

mod constraint;
mod table;
mod traits;

pub(crate) use constraint::{Compiled, Target};
pub(crate) use table::{NO_CLASS, NodeTable};
#[cfg(any(test, feature = "testing"))]
pub(crate) use traits::affinity_of;
pub(crate) use traits::{NO_VALUE, Traits};

use crate::rank::SpreadRule;

/// The reason that is counted for nodes ruled out because another allocation is there.
pub(crate) const DISTINCT_HOSTS: &str = "distinct_hosts";

/// The reason that is counted for nodes that do not have the host volumes which a group asks for.
pub(crate) const MISSING_VOLUMES: &str = "missing compatible host volumes";

/// What a group demands of a node.
#[derive(Debug)]
pub(crate) struct GroupRules {
    /// What one allocation takes.
    pub(crate) ask: GroupAsk,
    /// How many are wanted; at least 1, for scores divide by it.
    pub(crate) count: f64,
    /// Whether no other allocation of the job, or of the group, may be on the node.
    pub(crate) distinct: Option<Distinct>,
    /// How many allocations may share the value of a property.
    pub(crate) properties: Vec<PropertyRule>,
    /// What nodes should rather fulfil, with the weight of each.
    pub(crate) affinities: Vec<(Compiled, i64)>,
    /// How allocations should spread.
    pub(crate) spreads: Vec<SpreadRule>,
    /// Whether a replacement goes where its predecessor was, if there is room.
    pub(crate) is_sticky: bool,
    /// Whether a task may use more memory than it reserves, where the cluster allows that.
    pub(crate) has_memory_max: bool,
    /// Whether each instance asks for host volumes of its own.
    pub(crate) has_own_volumes: bool,
    pool: String,
    datacenters: Vec<String>,
    checks: Vec<Check>,
    /// Constraints that look at what is unique to a node.
    unique: Vec<Compiled>,
}

/// Among which allocations each must have a host for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Distinct {
    /// Those of the group.
    Group,
    /// Those of the job.
    Job,
}

/// A limit on how many allocations may be on nodes that share the value of a property.
#[derive(Debug)]
pub(crate) struct PropertyRule {
    /// The property as it is written.
    pub(crate) text: String,
    pub(crate) target: Target,
    /// How many.
    pub(crate) allowed: u32,
    /// Which allocations count.
    pub(crate) among: Distinct,
}

/// Something that nodes of one class answer alike.
#[derive(Debug)]
enum Check {
    Constraint(Compiled),
    Drivers(Vec<String>),
    Network { mode: String, ports: Vec<(String, String)> },
}

/// What a class of nodes is to a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Its nodes could run the group.
    Feasible,
    /// They belong to another pool.
    OtherPool,
    /// They are in a datacenter that the job does not name.
    OtherDatacenter,
    /// Something rules them out.
    Filtered(String),
}

impl GroupRules {
    /// Compiles what `group` of `job` demands.
    pub(crate) fn compile(job: &Job, group: &TaskGroup) -> Result<Self, AskError> {
        let mut rules = Self {
            ask: group.ask()?,
            count: group.count.max(1) as f64,
            distinct: None,
            properties: Vec::new(),
            affinities: Vec::new(),
            spreads: SpreadRule::compile(job.spreads.iter().chain(&group.spreads), group.count.max(1) as f64),
            is_sticky: group.ephemeral_disk.as_ref().is_some_and(|disk| disk.sticky),
            has_memory_max: group
                .tasks
                .iter()
                .filter_map(|task| task.resources.as_ref())
                .any(|resources| resources.memory_max_mb != 0),
            has_own_volumes: group.has_own_volumes(),
            pool: job.node_pool.clone(),
            datacenters: job.datacenters.clone(),
            checks: Vec::new(),
            unique: Vec::new(),
        };
        for constraint in &job.constraints {
            rules.add(constraint, Distinct::Job);
        }
        let mut drivers: Vec<_> = group.tasks.iter().map(|task| task.driver.clone()).collect();
        drivers.sort();
        drivers.dedup();
        rules.checks.push(Check::Drivers(drivers));
        for constraint in group.constraints.iter().chain(group.tasks.iter().flat_map(|task| &task.constraints)) {
            rules.add(constraint, Distinct::Group);
        }
        let of_tasks = group.tasks.iter().flat_map(|task| &task.affinities);
        for affinity in job.affinities.iter().chain(&group.affinities).chain(of_tasks) {
            rules.affinities.push((Compiled::of_affinity(affinity), affinity.weight));
        }
        if let Some(network) = group.networks.first()
            && network.mode() != Some(NetworkMode::None)
        {
            let mode = if network.mode.is_empty() { "host".to_owned() } else { network.mode.clone() };
            let ports = rules.ask.ports.iter().map(|port| (port.label.clone(), port.host_network.clone())).collect();
            rules.checks.push(Check::Network { mode, ports });
        }
        Ok(rules)
    }

    fn add(&mut self, constraint: &Constraint, level: Distinct) {
        if constraint.operator() == Some(Operator::DistinctProperty) {
            self.properties.push(PropertyRule {
                text: constraint.l_target.clone(),
                target: Target::parse(&constraint.l_target),
                allowed: constraint.r_target.parse().unwrap_or(1),
                among: level,
            });
            return;
        }
        if constraint.operator() == Some(Operator::DistinctHosts) {
            if !matches!(constraint.r_target.as_str(), "false" | "0" | "f" | "F" | "FALSE" | "False") {
                self.distinct = self.distinct.max(Some(level));
            }
            return;
        }
        let compiled = Compiled::new(constraint);
        if compiled.is_unique() { self.unique.push(compiled) } else { self.checks.push(Check::Constraint(compiled)) }
    }

    /// Whether classes say nothing final, because a constraint looks at what is unique to a node.
    pub(crate) fn escapes_classes(&self) -> bool {
        !self.unique.is_empty()
    }

    /// What the class of `node` is to the group.
    pub(crate) fn judge_class(&self, node: &Node) -> Verdict {
        let described = &*node.described;
        if !matches!(self.pool.as_str(), "" | "all") && self.pool != described.node_pool {
            return Verdict::OtherPool;
        }
        if !self.datacenters.iter().any(|glob| matches_glob(glob, &described.datacenter)) {
            return Verdict::OtherDatacenter;
        }
        self.checks.iter().find_map(|check| check.objection(node)).map_or(Verdict::Feasible, Verdict::Filtered)
    }

    /// What about `node` alone rules it out, though its class is feasible.
    pub(crate) fn objection_to(&self, node: &Node) -> Option<&str> {
        self.unique.iter().find(|constraint| !constraint.holds(node)).map(Compiled::text)
    }

    /// Whether `node` could run the group, other allocations and space apart.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn accepts(&self, node: &Node) -> bool {
        self.judge_class(node) == Verdict::Feasible && self.objection_to(node).is_none()
    }
}

impl Check {
    fn objection(&self, node: &Node) -> Option<String> {
        match self {
            Self::Constraint(constraint) => (!constraint.holds(node)).then(|| constraint.text().to_owned()),
            Self::Drivers(drivers) => {
                let missing = drivers.iter().any(|driver| !node.described.has_driver(driver));
                missing.then(|| "missing drivers".to_owned())
            }
            Self::Network { mode, ports } => network_objection(&node.described, mode, ports),
        }
    }
}

fn network_objection(node: &NodeDescription, mode: &str, ports: &[(String, String)]) -> Option<String> {
    let networks = &node.resources.networks;
    if !networks.iter().any(|network| network.mode == mode) {
        return Some("missing network".into());
    }
    let has_alias = |alias: &str| networks.iter().flat_map(|network| &network.addresses).any(|a| a.alias == alias);
    ports
        .iter()
        .find(|(_, alias)| !has_alias(alias))
        .map(|(label, alias)| format!("missing host network {alias:?} for port {label:?}"))
}

/// Whether `text` matches `glob`, in which `*` stands for any characters.
pub(crate) fn matches_glob(glob: &str, text: &str) -> bool {
    let Some((head, mut rest)) = glob.split_once('*') else { return glob == text };
    let Some(mut text) = text.strip_prefix(head) else { return false };
    while let Some((part, after)) = rest.split_once('*') {
        let Some(at) = text.find(part) else { return false };
        text = text.get(at + part.len()..).unwrap_or_default();
        rest = after;
    }
    text.ends_with(rest)
}

/// What each class of a table is to a group, in the table's order.
pub(crate) fn judge(
    rules: &GroupRules,
    table: &NodeTable,
    known: &mut BTreeMap<ComputedClass, Verdict>,
) -> Vec<Verdict> {
    let judged = |known: &mut BTreeMap<_, _>, class: &table::Class| {
        known.entry(class.id).or_insert_with(|| rules.judge_class(&class.example)).clone()
    };
    table.classes.iter().map(|class| judged(known, class)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_with_stars_anywhere() {
        for (glob, text, expected) in [
            ("*", "dc1", true),
            ("*", "", true),
            ("dc1", "dc1", true),
            ("dc1", "dc12", false),
            ("dc*", "dc12", true),
            ("*-eu", "a-eu", true),
            ("*-eu", "a-eu-b", false),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxc", false),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(matches_glob(glob, text), expected, "{glob} {text}");
        }
    }
}
