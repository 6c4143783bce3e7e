//! What must hold: one file per invariant. Some after every entry of the log, all when the cluster has come to rest.

use crate::cluster::Cluster;

mod deployments_end;
mod desired_count;
mod evaluations_end;
mod nothing_left_over;
mod registrations;
pub(crate) mod rolling_limits;
mod running_as_wanted;
mod sound_state;
mod superseded;
mod unique_names;

pub(crate) use registrations::Registrations;
pub(crate) use superseded::Superseded;

/// Checks what holds after every entry.
pub(crate) fn after_entry(cluster: &mut Cluster) {
    sound_state::check(&cluster.state);
    cluster.superseded.check(&cluster.state);
    cluster.registrations.check(&cluster.state);
}

/// Checks what holds at rest.
pub(crate) fn at_rest(cluster: &mut Cluster) {
    evaluations_end::check(&cluster.state, &cluster.leader);
    deployments_end::check(&cluster.state);
    unique_names::check(&cluster.state);
    desired_count::check(&cluster.state, cluster.now().wall);
    nothing_left_over::check(&cluster.state);
    running_as_wanted::check(&cluster.state, &cluster.clients);
}
