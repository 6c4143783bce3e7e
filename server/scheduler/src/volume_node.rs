//! Choosing the node on which a dynamic host volume is made.

use std::collections::BTreeMap;
use std::fmt;

use orch_model::job::Constraint;
use orch_model::seed::Seed;
use orch_model::{Node, NodeId};
use orch_state::State;

use crate::feasible::Compiled;

/// A volume that is to be made.
#[derive(Debug, Clone, Copy)]
pub struct VolumeWish<'a> {
    /// Its name, which no other volume of the node may have.
    pub name: &'a str,
    /// The pool of its node; empty or `all` is any.
    pub pool: &'a str,
    /// What its node must satisfy.
    pub constraints: &'a [Constraint],
    /// The one node that it is to be on.
    pub node: Option<NodeId>,
}

/// Why no node can hold a volume: how many there are, and how many of them each reason rules out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct NoNode {
    nodes: u32,
    reasons: BTreeMap<String, u32>,
}

impl fmt::Display for NoNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no node can hold the volume: {} looked at", self.nodes)?;
        self.reasons.iter().try_for_each(|(reason, count)| write!(f, ", {count} filtered by {reason:?}"))
    }
}

/// The node for a volume: of those that can hold it, one that has the fewest dynamic volumes; `seed` breaks ties.
pub fn volume_node(state: &State, wish: &VolumeWish<'_>, seed: Seed) -> Result<NodeId, NoNode> {
    let constraints: Vec<_> = wish.constraints.iter().map(Compiled::new).collect();
    let mut refusal = NoNode { nodes: 0, reasons: BTreeMap::new() };
    let mut best = None;
    for node in state.nodes().filter(|node| wish.node.is_none_or(|wanted| wanted == node.id)) {
        refusal.nodes += 1;
        if let Some(reason) = objection(state, wish, &constraints, node) {
            *refusal.reasons.entry(reason).or_default() += 1;
            continue;
        }
        let rank = (state.host_volumes_of_node(&node.id).count(), seed.rank(node.id.as_uuid()), node.id);
        best = best.min(Some(rank)).or(Some(rank));
    }
    best.map(|(.., node)| node).ok_or(refusal)
}

fn objection(state: &State, wish: &VolumeWish<'_>, constraints: &[Compiled], node: &Node) -> Option<String> {
    if !node.is_ready() {
        return Some("node is not ready".into());
    }
    if !matches!(wish.pool, "" | "all") && wish.pool != node.described.node_pool {
        return Some("node pool".into());
    }
    let is_taken = node.described.host_volumes.contains_key(wish.name)
        || state.host_volumes_of_node(&node.id).any(|volume| volume.name == wish.name);
    if is_taken {
        return Some("a volume of that name".into());
    }
    constraints.iter().find(|constraint| !constraint.holds(node)).map(|constraint| constraint.text().to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use orch_model::ids::RaftId;
    use orch_model::job::Operator;
    use orch_model::volume::VolumeState;
    use orch_model::{HostVolume, Timestamp, testing};
    use orch_state::commands::{PutHostVolume, RegisterNode};
    use orch_state::{Command, Entry, RULES, apply};

    use super::*;

    fn state() -> State {
        let mut state = State::default();
        let mut commands = Vec::new();
        for number in 1..=3 {
            let builder = testing::node(number).meta("rack", if number == 3 { "b" } else { "a" });
            let builder = if number == 2 { builder.host_volume("logs", false) } else { builder };
            commands.push(Command::RegisterNode(RegisterNode {
                node_id: testing::node(number).build().id,
                description: Arc::new(builder.description()),
                server: RaftId(1),
                seed: 1,
            }));
        }
        let volume = HostVolume { state: VolumeState::Pending, ..testing::host_volume(1, "data") };
        commands.push(Command::PutHostVolume(Box::new(PutHostVolume { volume })));
        for (index, command) in (1..).zip(commands) {
            apply(&mut state, index, &Entry { rules: RULES, stamp: Timestamp(1), command });
        }
        state
    }

    #[test]
    fn a_volume_goes_to_a_node_that_satisfies_it_and_has_few() {
        let state = state();
        let wish = VolumeWish { name: "logs", pool: "default", constraints: &[], node: None };
        let id = |number| testing::node(number).build().id;
        for seed in 0..20 {
            let chosen = volume_node(&state, &wish, Seed::new(seed));
            assert_eq!(chosen, Ok(id(3)), "node 1 has a volume, and node 2 one of that name");
        }
        let rack = [Constraint::new("${meta.rack}", Operator::Equal, "a")];
        assert_eq!(volume_node(&state, &VolumeWish { constraints: &rack, ..wish }, Seed::new(1)), Ok(id(1)));
        let named = VolumeWish { node: Some(id(3)), constraints: &rack, ..wish };
        let refusal = volume_node(&state, &named, Seed::new(1)).unwrap_err();
        assert_eq!(refusal.to_string(), "no node can hold the volume: 1 looked at, 1 filtered by \"${meta.rack} = a\"");
        let taken = VolumeWish { name: "data", node: Some(id(1)), ..wish };
        assert!(volume_node(&state, &taken, Seed::new(1)).unwrap_err().to_string().contains("of that name"));
        assert!(volume_node(&state, &VolumeWish { pool: "gpu", ..wish }, Seed::new(1)).is_err());
    }
}
