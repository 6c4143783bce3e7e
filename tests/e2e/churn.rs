//! A fleet of simulated nodes whose jobs change and fail, and some of whose nodes go and come.

use std::path::Path;
use std::time::Duration;

use orch_tests::fleet::{Churn, Fleet, SHORT_MEMORY};
use orch_tests::{Cluster, report};

#[test]
fn a_churned_fleet_comes_to_rest_with_exactly_what_is_wanted() {
    let cluster = Cluster::new().servers(1).server_hcl(SHORT_MEMORY).start();
    let mut fleet = Fleet::start(Path::new(env!("CARGO_BIN_EXE_orch-fleet")), &cluster, 20).unwrap();
    let churn = Churn { jobs: 4, count: 200, time: Duration::from_secs(25), failing: 10, losing: 2 };
    let memory = churn.run(&cluster, &mut fleet).unwrap();
    report::line(format!("the server held {:?} KiB at the end", memory.last()));
    assert!(memory.len() > 3, "the churn ended at once");
}
