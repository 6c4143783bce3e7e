//! Placements in flight: what workers have planned but not yet seen committed.

use std::net::IpAddr;
use std::sync::Arc;

use imbl::OrdMap;
use orch_model::plan::Plan;
use orch_model::units::Usage;
use orch_model::{JobKey, NodeId, ids::PlanId};
use orch_state::State;
use smallvec::SmallVec;

/// What names an item of the overlay: minted by whoever adds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lease(pub u64);

/// Placements of plans that are on their way to the log, so that workers do not all choose the same node.
///
/// A worker adds its plan before it hands it in and removes it once the plan's reply has come (or its lease has run
/// out). Cloning is O(1): workers share one behind a lock and schedule with a clone. An overlay that is wrong costs
/// refused or delayed placements, never an over-committed node. Stops are left out, because what stops holds its
/// resources until its client says it has ended; so are host volumes, for which few allocations contend.
#[derive(Debug, Clone, Default)]
pub struct Overlay {
    in_flight: OrdMap<Lease, Arc<InFlight>>,
}

/// The placements of one plan.
#[derive(Debug)]
struct InFlight {
    plan: PlanId,
    job: JobKey,
    items: Vec<Item>,
}

/// A placement in flight.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) node: NodeId,
    pub(crate) usage: Usage,
    pub(crate) ports: SmallVec<[(IpAddr, u16); 1]>,
    pub(crate) cores: SmallVec<[u16; 4]>,
}

impl Overlay {
    /// Adds what `plan` places, under `lease`; an earlier plan of the same lease is forgotten.
    pub fn add(&mut self, lease: Lease, plan: &Plan) {
        if plan.placements.is_empty() {
            self.remove(lease);
            return;
        }
        let items = plan
            .placements
            .iter()
            .map(|placement| Item {
                node: placement.node_id,
                usage: placement.usage,
                ports: placement.ports.iter().map(|port| (port.address, port.value)).collect(),
                cores: placement.cores.clone(),
            })
            .collect();
        self.in_flight.insert(lease, Arc::new(InFlight { plan: plan.id, job: plan.job.job.clone(), items }));
    }

    /// Forgets what was added under `lease`.
    pub fn remove(&mut self, lease: Lease) {
        self.in_flight.remove(&lease);
    }

    /// Whether nothing is in flight.
    pub fn is_empty(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// How many plans are in flight.
    pub fn len(&self) -> usize {
        self.in_flight.len()
    }

    /// The placements that `state` does not hold yet.
    pub(crate) fn pending<'a>(&'a self, state: &'a State) -> impl Iterator<Item = &'a Item> {
        self.in_flight
            .values()
            .filter(|in_flight| !in_flight.is_committed(state))
            .flat_map(|in_flight| &in_flight.items)
    }
}

impl InFlight {
    fn is_committed(&self, state: &State) -> bool {
        let last = state.job_row(&self.job).and_then(|row| row.last_plan.as_ref());
        last.is_some_and(|(id, _)| *id == self.plan)
    }
}
