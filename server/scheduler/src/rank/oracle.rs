//! A scheduler's choices checked the slow way: for each placement every node is looked at anew, without view, heap, memo
//! or running totals.

use std::collections::BTreeMap;
use std::sync::Arc;

use orch_model::allocation::{AllocPort, ClientStatus, StopReason};
use orch_model::job::PortAsk;
use orch_model::node::NodeAddress;
use orch_model::plan::{Placement, Plan};
use orch_model::seed::Seed;
use orch_model::units::Usage;
use orch_model::{AllocId, Allocation, Job, Node, NodeId};
use orch_state::State;

use super::{Scores, fit};
use crate::feasible::{Distinct, GroupRules};
use crate::overlay::Overlay;

/// Something that holds resources of a node.
#[derive(Debug, Clone)]
struct Holder {
    id: AllocId,
    usage: Usage,
    ports: Vec<AllocPort>,
}

/// The cluster as the placements of a plan find it, one after the other.
#[derive(Debug)]
struct Cluster<'a> {
    state: &'a State,
    seed: Seed,
    holders: BTreeMap<NodeId, Vec<Holder>>,
    /// Allocations of the job that will be there: id, group, node.
    live: BTreeMap<AllocId, (String, NodeId)>,
}

/// Checks that each placement of `plan` went to the best node there was, with `seed` as it was handed to the scheduler;
/// names the first that did not.
pub fn check(state: &State, overlay: &Overlay, seed: Seed, plan: &Plan) -> Result<(), String> {
    let Some(job) = state.job(&plan.job.job) else { return Ok(()) };
    let mut cluster = Cluster::new(state, overlay, seed, job, plan);
    for placement in &plan.placements {
        let group = job.task_groups.get(usize::from(placement.group)).ok_or("there is no such group")?;
        let rules = GroupRules::compile(job, group).map_err(|error| error.to_string())?;
        let best = cluster.best(&rules, &group.name, plan, placement);
        if best.map(|(_, node)| node) != Some(placement.node_id) {
            return Err(format!(
                "{}[{}] went to {}, the best node is {best:?}",
                group.name, placement.index, placement.node_id
            ));
        }
        cluster.commit(&group.name, plan, placement);
    }
    cluster.check_rest(job, plan)
}

impl<'a> Cluster<'a> {
    fn new(state: &'a State, overlay: &Overlay, seed: Seed, job: &Job, plan: &Plan) -> Self {
        let mut cluster = Self { state, seed, holders: BTreeMap::new(), live: BTreeMap::new() };
        for alloc in state.allocs().filter(|alloc| alloc.holds_resources()) {
            let holder = Holder { id: alloc.id, usage: alloc.usage, ports: alloc.ports.to_vec() };
            cluster.holders.entry(alloc.node_id).or_default().push(holder);
        }
        for item in overlay.pending(state) {
            let port = |(address, value): &(std::net::IpAddr, u16)| AllocPort {
                ask: 0,
                value: *value,
                address: *address,
                ignore_collision: false,
            };
            let ports = item.ports.iter().map(port).collect();
            let holder = Holder { id: AllocId::default(), usage: item.usage, ports };
            cluster.holders.entry(item.node).or_default().push(holder);
        }
        let replaced = |id: &AllocId| plan.placements.iter().any(|placement| placement.previous == Some(*id));
        let stopped = |alloc: &Allocation| plan.stops.iter().any(|stop| stop.alloc_id == alloc.id);
        for alloc in state.allocs_of_job(&job.key()) {
            let stays = !alloc.is_terminal() && (!stopped(alloc) || replaced(&alloc.id));
            let is_lost = plan.stops.iter().any(|stop| stop.alloc_id == alloc.id && stop.client_status.is_some());
            if stays && !is_lost && alloc.job.create_index == job.create_index {
                cluster.live.insert(alloc.id, (alloc.group_name().to_owned(), alloc.node_id));
            }
        }
        cluster
    }

    fn best(&self, rules: &GroupRules, group: &str, plan: &Plan, placement: &Placement) -> Option<(u64, NodeId)> {
        let previous = placement.previous.and_then(|id| self.state.alloc(&id));
        let scored = self.state.nodes().filter(|node| node.is_ready() && rules.accepts(node)).filter_map(|node| {
            let score = self.score(rules, group, plan, previous, node)?;
            Some((score, self.seed.rank(node.id.as_uuid()), node.id))
        });
        let best = scored.max_by(|(a, x, _), (b, y, _)| a.total_cmp(b).then(x.cmp(y)));
        best.map(|(score, _, node)| (score.to_bits(), node))
    }

    /// The final score of a node; `None` if it has no room.
    fn score(
        &self,
        rules: &GroupRules,
        group: &str,
        plan: &Plan,
        previous: Option<&Arc<Allocation>>,
        node: &Node,
    ) -> Option<f64> {
        let stop = previous.and_then(|old| plan.stops.iter().find(|stop| stop.alloc_id == old.id));
        let here = previous.filter(|old| old.node_id == node.id);
        let leaving = here.filter(|_| stop.is_some()).map(|old| old.id);
        let handing_over =
            here.filter(|old| (stop.is_some() || old.desired.is_stop()) && old.holds_resources()).map(|old| old.id);
        let others = || self.live.iter().filter(|(id, (_, at))| *at == node.id && Some(**id) != leaving);
        let collisions = others().filter(|(_, (other, _))| other == group).count();
        match rules.distinct {
            Some(Distinct::Job) if others().count() > 0 => return None,
            Some(Distinct::Group) if collisions > 0 => return None,
            Some(Distinct::Job | Distinct::Group) | None => {}
        }
        let holders = self.holders.get(&node.id).map_or(&[][..], Vec::as_slice);
        let (theirs, taken_over): (Vec<_>, Vec<_>) = holders.iter().partition(|holder| Some(holder.id) != handing_over);
        let used = theirs.iter().fold(rules.ask.usage, |sum, holder| sum.saturating_add(holder.usage));
        let allocs = holders.len() + usize::from(taken_over.is_empty());
        let max = node.described.max_allocs as usize;
        if !used.fits_in(node.capacity()) || (max > 0 && allocs > max) || !ports_fit(rules, node, &theirs, &taken_over)
        {
            return None;
        }
        let is_updated = stop.is_some_and(|stop| stop.reason == StopReason::Updated);
        let is_penalised = !is_updated && self.failed_on(previous, node.id);
        let fit = fit(self.state.meta().scheduler.algorithm, used, node.capacity());
        let collisions = u32::try_from(collisions).unwrap_or(u32::MAX);
        Some(Scores::new(fit, collisions, rules.count, is_penalised).normalized())
    }

    /// Whether an allocation, or one in the row of failures before it, failed on a node.
    fn failed_on(&self, previous: Option<&Arc<Allocation>>, node: NodeId) -> bool {
        let mut nodes = Vec::new();
        let mut current = previous;
        while let Some(alloc) = current.filter(|alloc| alloc.client_status == ClientStatus::Failed) {
            if !nodes.contains(&alloc.node_id) {
                nodes.push(alloc.node_id);
            }
            current = alloc.previous.and_then(|id| self.state.alloc(&id));
        }
        nodes.iter().take(6).any(|failed| *failed == node)
    }

    fn commit(&mut self, group: &str, plan: &Plan, placement: &Placement) {
        let holders = self.holders.entry(placement.node_id).or_default();
        if let Some(previous) = placement.previous {
            let ends = plan.stops.iter().any(|stop| stop.alloc_id == previous)
                || self.state.alloc(&previous).is_some_and(|old| old.desired.is_stop());
            if ends {
                self.live.remove(&previous);
                holders.retain(|holder| holder.id != previous);
            }
        }
        let ports = placement.ports.to_vec();
        holders.push(Holder { id: placement.alloc_id, usage: placement.usage, ports });
        self.live.insert(placement.alloc_id, (group.to_owned(), placement.node_id));
    }

    /// Checks that what is queued found no room.
    fn check_rest(&self, job: &Job, plan: &Plan) -> Result<(), String> {
        let outcome = plan.when_whole.first().and_then(|eval| eval.outcome.as_ref());
        for (name, queued) in outcome.iter().flat_map(|outcome| &outcome.queued) {
            let Some(group) = job.group(name).filter(|_| *queued > 0 && !job.all_at_once) else { continue };
            let rules = GroupRules::compile(job, group).map_err(|error| error.to_string())?;
            let room = self.state.nodes().find(|node| {
                node.is_ready() && rules.accepts(node) && self.score(&rules, name, plan, None, node).is_some()
            });
            if let Some(node) = room.filter(|_| rules.distinct.is_none()) {
                return Err(format!("{queued} of {name} are queued, but node {} has room", node.id));
            }
        }
        Ok(())
    }
}

fn ports_fit(rules: &GroupRules, node: &Node, theirs: &[&Holder], taken_over: &[&Holder]) -> bool {
    let addresses = || node.described.resources.networks.iter().flat_map(|network| &network.addresses);
    let is_free = |address: &NodeAddress, value: u16| {
        let held_by = |holders: &[&Holder]| {
            let mut ports = holders.iter().flat_map(|holder| &holder.ports);
            ports.any(|port| port.value == value && port.address.to_string() == address.address)
        };
        let reserved = node.described.reserved.ports.contains(value) || address.reserved_ports.contains(value);
        !held_by(theirs) && (!reserved || held_by(taken_over))
    };
    let range = node.described.resources.dynamic_ports;
    rules.ask.ports.iter().all(|ask| {
        let mut there = addresses().filter(|address| address.alias == ask.host_network);
        let Some(value) = ask.value else {
            let alike = |other: &&PortAsk| other.value.is_none() && other.host_network == ask.host_network;
            let needed = rules.ask.ports.iter().filter(alike).count();
            let free = |address| (range.first..=range.last).filter(|value| is_free(address, *value)).count();
            return there.next().is_some_and(|address| free(address) >= needed);
        };
        ask.ignore_collision || there.any(|address| is_free(address, value))
    })
}
