//! The metrics of the agent's own HTTP listener: names, units and meaning, in one place.

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

const CONNECTIONS: &str = "nomad.nomad.agent.http.connections";
const EXCEEDED: &str = "nomad.nomad.agent.http.exceeded";

/// Tells whoever records metrics what each of them means.
pub(super) fn describe() {
    describe_gauge!(CONNECTIONS, Unit::Count, "HTTP connections that are open");
    describe_counter!(EXCEEDED, Unit::Count, "HTTP connections that were refused because their address had too many");
}

/// A connection was accepted, or has ended.
pub(super) fn connection(opened: bool) {
    if opened {
        gauge!(CONNECTIONS).increment(1);
    } else {
        gauge!(CONNECTIONS).decrement(1);
    }
}

/// A connection was refused because its address had too many.
pub(super) fn exceeded() {
    counter!(EXCEEDED).increment(1);
}
