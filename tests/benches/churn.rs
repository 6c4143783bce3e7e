//! 10,000 allocations on 100 simulated nodes, changed, failed and lost for a minute: exact at rest, in memory that does not grow.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use orch_tests::fleet::{Churn, Fleet, SHORT_MEMORY};
use orch_tests::{Cluster, report};

const NODES: usize = 100;
const CHURN: Churn = Churn { jobs: 10, count: 1000, time: Duration::from_secs(90), failing: 50, losing: 2 };

fn main() -> Result<()> {
    let cluster = Cluster::new().servers(1).server_hcl(SHORT_MEMORY).start();
    let mut fleet = Fleet::start(Path::new(env!("CARGO_BIN_EXE_orch-fleet")), &cluster, NODES)?;
    let memory = CHURN.run(&cluster, &mut fleet)?;
    let mib = |kib: u64| kib / 1024;
    let quarter = memory.len() / 4;
    let most = |part: &[u64]| part.iter().max().copied().unwrap_or_default();
    let early = memory.get(quarter..2 * quarter).map(most).context("too short to tell")?;
    let late = memory.get(memory.len() - quarter..).map(most).context("too short to tell")?;
    report::figure(
        &format!("churn of {} allocations on {NODES} nodes", CHURN.jobs * CHURN.count),
        &format!("exact at rest; server at most {} MiB early, {} MiB late", mib(early), mib(late)),
        "exact; flat",
    );
    Ok(())
}
