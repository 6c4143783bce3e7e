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
use orch_model::volume::VolumeAsk;
use orch_model::{AllocId, Allocation, Job, Node, NodeId};
use orch_state::State;

use super::{Points, Scores, Total, fit};
use crate::feasible::{Distinct, GroupRules, Target, affinity_of};
use crate::overlay::Overlay;

/// Something that holds resources of a node.
#[derive(Debug, Clone)]
struct Holder {
    id: AllocId,
    usage: Usage,
    ports: Vec<AllocPort>,
    cores: Vec<u16>,
    volumes: Vec<VolumeAsk>,
}

/// One placement being checked.
#[derive(Debug, Clone, Copy)]
struct Question<'q> {
    rules: &'q GroupRules,
    group: &'q str,
    plan: &'q Plan,
    previous: Option<&'q Arc<Allocation>>,
    volumes: &'q [VolumeAsk],
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
        let previous = placement.previous.and_then(|id| state.alloc(&id));
        let volumes = state.volume_asks(&job.key(), group, placement.index);
        let question = Question { rules: &rules, group: &group.name, plan, previous, volumes: &volumes };
        let best = cluster.best(&question);
        let name = format!("{}[{}]", group.name, placement.index);
        if best.map(|(_, node)| node) != Some(placement.node_id) {
            return Err(format!("{name} went to {}, the best node is {best:?}", placement.node_id));
        }
        let cores = state.node(&placement.node_id).map(|node| cluster.free_cores(&question, node)).unwrap_or_default();
        if !cores.starts_with(&placement.cores) || placement.cores.len() != rules.ask.cores as usize {
            return Err(format!("{name} got the cores {:?} of {cores:?}", placement.cores));
        }
        cluster.commit(&group.name, plan, placement, volumes);
    }
    cluster.check_rest(job, plan)
}

impl<'a> Cluster<'a> {
    fn new(state: &'a State, overlay: &Overlay, seed: Seed, job: &Job, plan: &Plan) -> Self {
        let mut cluster = Self { state, seed, holders: BTreeMap::new(), live: BTreeMap::new() };
        for alloc in state.allocs().filter(|alloc| alloc.holds_resources()) {
            let holder = Holder {
                id: alloc.id,
                usage: alloc.usage,
                ports: alloc.ports.to_vec(),
                cores: alloc.cores.to_vec(),
                volumes: alloc.host_volumes().collect(),
            };
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
            let (cores, volumes) = (item.cores.to_vec(), Vec::new());
            let holder = Holder { id: AllocId::default(), usage: item.usage, ports, cores, volumes };
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

    /// The best node, with its score.
    fn best(&self, question: &Question<'_>) -> Option<(f64, NodeId)> {
        let scored: Vec<(Total, u64, NodeId)> = self
            .state
            .nodes()
            .filter(|node| node.is_ready() && question.rules.accepts(node))
            .filter_map(|node| Some((self.score(question, node)?, self.seed.rank(node.id.as_uuid()), node.id)))
            .collect();
        let sticks =
            |id: &NodeId| question.rules.is_sticky && question.previous.is_some_and(|previous| previous.node_id == *id);
        let stuck = scored.iter().find(|(.., node)| sticks(node));
        let (total, _, node) = stuck.or_else(|| scored.iter().max())?;
        Some((total.to_f64(), *node))
    }

    /// The allocation that stops for the placement.
    fn leaving(&self, question: &Question<'_>) -> Option<AllocId> {
        let old = question.previous?;
        question.plan.stops.iter().any(|stop| stop.alloc_id == old.id).then_some(old.id)
    }

    /// The allocation on `node` whose resources the placement takes over.
    fn handing_over(&self, question: &Question<'_>, node: &Node) -> Option<AllocId> {
        let old = question.previous.filter(|old| old.node_id == node.id && old.holds_resources())?;
        (old.desired.is_stop() || self.leaving(question).is_some()).then_some(old.id)
    }

    /// How many live allocations are on nodes with each value of `target`, and the value of each node.
    fn shared_out(
        &self,
        question: &Question<'_>,
        target: &Target,
        counts: impl Fn(&str) -> bool,
    ) -> BTreeMap<String, u32> {
        let leaving = self.leaving(question);
        let mut used = BTreeMap::new();
        for node in self.state.nodes() {
            let Some(value) = target.of(node) else { continue };
            let here =
                self.live.iter().filter(|(id, (group, at))| *at == node.id && Some(**id) != leaving && counts(group));
            *used.entry(value.into_owned()).or_default() += u32::try_from(here.count()).unwrap_or(u32::MAX);
        }
        used
    }

    /// Whether a distinct property keeps the placement from a node.
    fn is_closed(&self, question: &Question<'_>, node: &Node) -> bool {
        question.rules.properties.iter().any(|rule| {
            let Some(value) = rule.target.of(node) else { return true };
            let used = self.shared_out(question, &rule.target, |group| match rule.among {
                Distinct::Job => true,
                Distinct::Group => group == question.group,
            });
            used.get(&*value).is_some_and(|used| *used >= rule.allowed)
        })
    }

    /// What the spreads say of a node.
    fn spread(&self, question: &Question<'_>, node: &Node) -> Option<Points> {
        let rules = &question.rules.spreads;
        let of_rule = |rule: &super::SpreadRule| {
            let used = self.shared_out(question, &rule.target, |group| group == question.group);
            let Some(value) = rule.target.of(node) else { return Points::MINUS_ONE };
            let (values, used): (Vec<String>, Vec<u32>) = used.into_iter().unzip();
            let at = values.iter().position(|known| *known == *value);
            at.and_then(|at| rule.boosts(&values, &used).get(at).copied()).unwrap_or(Points::MINUS_ONE)
        };
        let sum = rules.iter().map(of_rule).fold(Points::ZERO, Points::plus);
        (!rules.is_empty()).then_some(sum)
    }

    /// The cores that the placement could have on a node, ascending.
    fn free_cores(&self, question: &Question<'_>, node: &Node) -> Vec<u16> {
        let handing_over = self.handing_over(question, node);
        let holders = self.holders.get(&node.id).map_or(&[][..], Vec::as_slice);
        let others = || holders.iter().filter(|holder| Some(holder.id) != handing_over);
        let mut free = node.described.resources.reservable_cores.clone();
        free.retain(|core| !others().any(|holder| holder.cores.contains(core)));
        free.sort_unstable();
        free
    }

    /// The final score of a node; `None` if it has no room.
    fn score(&self, question: &Question<'_>, node: &Node) -> Option<Total> {
        let Question { rules, group, plan, previous, volumes } = *question;
        let leaving = self.leaving(question);
        let others = || self.live.iter().filter(|(id, (_, at))| *at == node.id && Some(**id) != leaving);
        let collisions = others().filter(|(_, (other, _))| other == group).count();
        match rules.distinct {
            Some(Distinct::Job) if others().count() > 0 => return None,
            Some(Distinct::Group) if collisions > 0 => return None,
            Some(Distinct::Job | Distinct::Group) | None => {}
        }
        if self.is_closed(question, node) || self.free_cores(question, node).len() < rules.ask.cores as usize {
            return None;
        }
        let handing_over = self.handing_over(question, node);
        let holders = self.holders.get(&node.id).map_or(&[][..], Vec::as_slice);
        let (theirs, taken_over): (Vec<_>, Vec<_>) = holders.iter().partition(|holder| Some(holder.id) != handing_over);
        if !volumes.iter().all(|ask| self.has_volume(node, ask, &theirs)) {
            return None;
        }
        let resources = &node.described.resources;
        let mut asked = rules.ask.usage;
        asked.cpu.0 += rules.ask.cores * (resources.cpu.0 / resources.total_cores.max(1));
        let used = theirs.iter().fold(asked, |sum, holder| sum.saturating_add(holder.usage));
        let allocs = holders.len() + usize::from(taken_over.is_empty());
        let max = node.described.max_allocs as usize;
        if !used.fits_in(node.capacity()) || (max > 0 && allocs > max) || !ports_fit(rules, node, &theirs, &taken_over)
        {
            return None;
        }
        let stop = previous.and_then(|old| plan.stops.iter().find(|stop| stop.alloc_id == old.id));
        let is_updated = stop.is_some_and(|stop| stop.reason == StopReason::Updated);
        let is_penalised = !is_updated && previous.is_some_and(|previous| failed_on(previous, node.id));
        let fit = fit(self.state.meta().scheduler.algorithm, used, node.capacity());
        let collisions = u32::try_from(collisions).unwrap_or(u32::MAX);
        let affinity = (!rules.affinities.is_empty()).then(|| affinity_of(rules.affinities.iter(), node));
        let spread = self.spread(question, node);
        Some(Scores { affinity, spread, ..Scores::new(fit, collisions, rules.count, is_penalised) }.total())
    }

    /// Whether a host volume is on a node, in the way that is asked for, and not in the way of `theirs`.
    fn has_volume(&self, node: &Node, ask: &VolumeAsk, theirs: &[&Holder]) -> bool {
        let configured = node.described.host_volumes.get(&ask.source).filter(|volume| volume.id.is_none());
        if let Some(configured) = configured {
            return ask.read_only >= configured.read_only && ask.claimed.is_none();
        }
        let mut dynamic = self.state.host_volumes_of_node(&node.id);
        let is_there = dynamic.any(|volume| volume.name == ask.source && volume.allows(ask));
        let mut writers = theirs.iter().flat_map(|holder| &holder.volumes).filter(|other| other.source == ask.source);
        let in_the_way = |other: &VolumeAsk| !other.read_only && (ask.is_single_writer() || other.is_single_writer());
        is_there && (ask.read_only || !writers.any(in_the_way))
    }

    fn commit(&mut self, group: &str, plan: &Plan, placement: &Placement, volumes: Vec<VolumeAsk>) {
        let holders = self.holders.entry(placement.node_id).or_default();
        if let Some(previous) = placement.previous {
            let ends = plan.stops.iter().any(|stop| stop.alloc_id == previous)
                || self.state.alloc(&previous).is_some_and(|old| old.desired.is_stop());
            if ends {
                self.live.remove(&previous);
                holders.retain(|holder| holder.id != previous);
            }
        }
        let (ports, cores) = (placement.ports.to_vec(), placement.cores.to_vec());
        holders.push(Holder { id: placement.alloc_id, usage: placement.usage, ports, cores, volumes });
        self.live.insert(placement.alloc_id, (group.to_owned(), placement.node_id));
    }

    /// Checks that what is queued found no room.
    fn check_rest(&self, job: &Job, plan: &Plan) -> Result<(), String> {
        let outcome = plan.when_whole.first().and_then(|eval| eval.outcome.as_ref());
        for (name, queued) in outcome.iter().flat_map(|outcome| &outcome.queued) {
            let Some(group) = job.group(name).filter(|_| *queued > 0 && !job.all_at_once) else { continue };
            let rules = GroupRules::compile(job, group).map_err(|error| error.to_string())?;
            // Where each instance has volumes of its own, it is not known here which of them are queued.
            if rules.has_own_volumes {
                continue;
            }
            let volumes = self.state.volume_asks(&job.key(), group, 0);
            let room = self.state.nodes().find(|node| {
                let question = Question { rules: &rules, group: name, plan, previous: None, volumes: &volumes };
                node.is_ready() && rules.accepts(node) && self.score(&question, node).is_some()
            });
            if let Some(node) = room.filter(|_| rules.distinct.is_none() && rules.properties.is_empty()) {
                return Err(format!("{queued} of {name} are queued, but node {} has room", node.id));
            }
        }
        Ok(())
    }
}

/// Whether a failed allocation, or one of those that it remembers, failed on a node.
fn failed_on(previous: &Allocation, node: NodeId) -> bool {
    let remembered = previous.reschedules.iter().rev().take(5).any(|event| event.node == node);
    previous.client_status == ClientStatus::Failed && (previous.node_id == node || remembered)
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
