//! What runs on the machines is what the servers want and say: nothing twice, nothing forgotten.

use std::collections::BTreeSet;

use orch_model::allocation::ClientStatus;
use orch_state::State;

use crate::client::Client;

pub(crate) fn check(state: &State, clients: &[Client]) {
    for client in clients.iter().filter(|client| !client.is_gone) {
        let runs: BTreeSet<_> =
            client.runs.iter().filter(|(_, run)| !run.status.is_terminal()).map(|(id, _)| *id).collect();
        let wanted: BTreeSet<_> =
            state.allocs_of_node(&client.node_id).filter(|alloc| !alloc.is_terminal()).map(|alloc| alloc.id).collect();
        assert_eq!(runs, wanted, "node {} runs the left and should run the right", client.number);
        for id in wanted {
            let status = state.alloc(&id).unwrap().client_status;
            assert_eq!(status, ClientStatus::Running, "allocation {id} on node {}", client.number);
        }
    }
}
