//! What the scheduler costs by itself: CPU time of one thread, ids, explanations and the fit function included.
//!
//! `cargo bench --bench scheduler -- single` measures only what is named so.

#![allow(clippy::unwrap_used, reason = "the state is made here, and every command to it is accepted")]

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use orch_model::allocation::{AllocUpdate, ClientStatus, TaskState};
use orch_model::evaluation::{EvalStatus, Evaluation};
use orch_model::ids::RaftId;
use orch_model::job::{Affinity, Constraint, NetworkResource, Operator, Port, Spread};
use orch_model::plan::PlanResult;
use orch_model::seed::Seed;
use orch_model::testing::{job, node};
use orch_model::{EvalId, Job, NodeId, Timestamp};
use orch_scheduler::{Decision, Memo, Overlay, Request, schedule};
use orch_state::commands::{ApplyPlans, RegisterJob, RegisterNode, UpdateAllocs};
use orch_state::{Command, Entry, RULES, Reply, State, apply};
use orch_tests::report;

/// What a figure is repeated for, at least.
const ENOUGH: Duration = Duration::from_millis(400);

fn main() -> Result<()> {
    let named: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let is_wanted = |what: &str| named.is_empty() || named.iter().any(|name| what.contains(name.as_str()));
    for nodes in [1000, 5000, 10_000] {
        for (what, target, make) in KINDS.iter().filter(|(what, ..)| is_wanted(what)) {
            placements(nodes, what, *target, *make)?;
        }
        if is_wanted("first") {
            first(nodes)?;
        }
        if is_wanted("single") {
            single(nodes)?;
        }
    }
    if is_wanted("changes") {
        changes()?;
    }
    Ok(())
}

/// A kind of job that is placed in full.
type Kind = (&'static str, u32, fn(i64) -> Job);

/// The kinds, each with its target in placements per CPU-second.
const KINDS: &[Kind] = &[
    ("bin-pack", 500_000, |count| sized(count)),
    ("spread over 25 racks", 200_000, |count| {
        let mut job = sized(count);
        job.spreads.push(Spread { attribute: "${meta.rack}".into(), weight: 50, spread_target: Vec::new() });
        job
    }),
    ("an affinity", 200_000, |count| {
        let mut job = sized(count);
        job.affinities.push(Affinity {
            l_target: "${meta.rack}".into(),
            r_target: "r7".into(),
            operand: "=".into(),
            weight: 50,
        });
        job
    }),
    ("four constraints", 200_000, |count| {
        let mut job = sized(count);
        let constraints = &mut job.task_groups[0].constraints;
        constraints.push(Constraint::new("${attr.kernel.name}", Operator::Equal, "linux"));
        constraints.push(Constraint::new("${attr.os.version}", Operator::Version, ">= 20.04, < 24"));
        constraints.push(Constraint::new("${meta.rack}", Operator::Regexp, "^r[0-9]+$"));
        constraints.push(Constraint::new("${node.unique.name}", Operator::NotEqual, "node-3"));
        job
    }),
    ("two dynamic ports", 200_000, |count| {
        let mut job = sized(count);
        let port = |label: &str| Port { label: label.into(), ..Port::default() };
        let dynamic_ports = vec![port("http"), port("admin")];
        job.task_groups[0].networks.push(NetworkResource { dynamic_ports, ..NetworkResource::default() });
        job
    }),
    ("at most 500 per rack", 200_000, |count| {
        let mut job = sized(count);
        job.constraints.push(Constraint::new("${meta.rack}", Operator::DistinctProperty, "500"));
        job
    }),
];

/// Places one group of as many allocations as there are nodes.
fn placements(nodes: u32, what: &str, target: u32, make: fn(i64) -> Job) -> Result<()> {
    let mut cluster = Cluster::of(nodes);
    let eval = cluster.register(make(i64::from(nodes)));
    let mut placed = 0;
    let took = repeat(|| {
        let decision = cluster.decide(&eval, &mut Memo::new());
        placed = decision.plan.placements.len();
    })?;
    anyhow::ensure!(placed == nodes as usize, "{what}: {placed} of {nodes} were placed");
    report::figure(
        &format!("{nodes} nodes, group of {nodes}, {what}"),
        &format!("{:.0} placements/s, {} in all", f64::from(nodes) / took.as_secs_f64(), report::ms(took)),
        &format!("≥ {target} /s"),
    );
    let decision = cluster.decide(&eval, &mut Memo::new());
    let begun = cpu()?;
    cluster.commit(decision);
    report::line(format!("  its commit took {}", report::ms(cpu()?.saturating_sub(begun))));
    Ok(())
}

/// Places the first allocation with nothing remembered.
fn first(nodes: u32) -> Result<()> {
    let mut cluster = Cluster::of(nodes);
    let eval = cluster.register(sized(1));
    let took = repeat(|| drop(cluster.decide(&eval, &mut Memo::new())))?;
    report::figure(&format!("{nodes} nodes, the first placement"), &report::ms(took), "≤ 20 ms");
    Ok(())
}

/// Processes evaluations of distinct jobs of one allocation, each committed before the next.
fn single(nodes: u32) -> Result<()> {
    const JOBS: u32 = 2000;
    let mut cluster = Cluster::of(nodes);
    let mut memo = Memo::new();
    let (mut scheduling, mut committing) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..JOBS {
        let eval = cluster.register(sized(1));
        let begun = cpu()?;
        let decision = cluster.decide(&eval, &mut memo);
        let decided = cpu()?;
        cluster.commit(decision);
        scheduling += decided.saturating_sub(begun);
        committing += cpu()?.saturating_sub(decided);
    }
    report::figure(
        &format!("{nodes} nodes, evaluations of count-1 jobs"),
        &format!("{:.0} /s", f64::from(JOBS) / scheduling.as_secs_f64()),
        "≥ 3000 /s",
    );
    report::line(format!("  the commit of each took {}", report::ms(committing / JOBS)));
    Ok(())
}

/// Looks at a job of which nothing is to be done, and at what a change of one would do.
fn changes() -> Result<()> {
    let mut cluster = Cluster::of(10_000);
    let mut big = sized(10_000);
    cluster.run(big.clone());
    rename(&mut big, &cluster.newest());
    let eval = cluster.register(big);
    let mut memo = Memo::new();
    let mut is_empty = false;
    let took = repeat(|| is_empty = cluster.decide(&eval, &mut memo).plan.is_empty())?;
    anyhow::ensure!(is_empty, "an unchanged job is left alone");
    report::figure("no-op evaluation of a job of 10000", &report::ms(took), "≤ 5 ms");

    let mut cluster = Cluster::of(10_000);
    let planned = sized(1000);
    cluster.run(planned.clone());
    let mut changed = planned;
    changed.task_groups[0].tasks[0].env.insert("VERSION".into(), "2".into());
    let mut replaced = 0;
    let took = repeat(|| replaced = cluster.plan(&changed))?;
    anyhow::ensure!(replaced == 1000, "{replaced} of 1000 would be replaced");
    report::figure("plan of a change to a job of 1000", &report::ms(took), "≤ 10 ms");
    Ok(())
}

/// A service job with a name of its own.
fn sized(count: i64) -> Job {
    let mut job = job("bench", count);
    job.task_groups[0].ephemeral_disk = Some(orch_model::job::EphemeralDisk { size_mb: 100, ..Default::default() });
    job.task_groups[0].update = None;
    job
}

fn rename(job: &mut Job, name: &str) {
    job.id = name.into();
    name.clone_into(&mut job.name);
}

/// How much CPU time one call takes, the first apart.
fn repeat(mut call: impl FnMut()) -> Result<Duration> {
    call();
    let begun = cpu()?;
    for calls in 1.. {
        call();
        let took = cpu()?.saturating_sub(begun);
        if took >= ENOUGH {
            return Ok(took / calls);
        }
    }
    unreachable!("the loop has no end")
}

/// The CPU time of this thread.
fn cpu() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_THREAD)?;
    let of = |time: TimeVal| {
        Duration::new(u64::try_from(time.tv_sec()).unwrap_or(0), 0)
            + Duration::from_micros(u64::try_from(time.tv_usec()).unwrap_or(0))
    };
    Ok(of(usage.user_time()) + of(usage.system_time()))
}

/// A cluster in memory.
struct Cluster {
    state: State,
    ids: Seed,
    log: u64,
    jobs: u32,
}

impl Cluster {
    /// Nodes of three sizes in 25 racks, every tenth of them with something on it.
    fn of(nodes: u32) -> Self {
        let mut cluster = Self { state: State::default(), ids: Seed::new(1), log: 0, jobs: 0 };
        for number in 0..nodes {
            let size = 1 + number % 3;
            let mut described = node(number)
                .size(4000 * size, 8192 * u64::from(size))
                .attribute("os.version", "22.04")
                .meta("rack", &format!("r{}", number % 25))
                .description();
            described.resources.disk.0 *= 10;
            let id = NodeId::from_uuid(cluster.ids.uuid());
            let seed = cluster.ids.next_u64();
            cluster.apply(Command::RegisterNode(RegisterNode {
                node_id: id,
                description: Arc::new(described),
                server: RaftId(1),
                seed,
            }));
        }
        cluster.run(sized(i64::from(nodes / 10)));
        cluster
    }

    fn apply(&mut self, command: Command) -> Reply {
        self.log += 1;
        apply(&mut self.state, self.log, &Entry { rules: RULES, stamp: Timestamp(1_000_000_000), command }).reply
    }

    /// Registers a job, under a new name if it still has the one it was made with; its evaluation.
    fn register(&mut self, mut job: Job) -> Arc<Evaluation> {
        if job.name == "bench" {
            self.jobs += 1;
            rename(&mut job, &self.newest());
        }
        let eval_id = EvalId::from_uuid(self.ids.uuid());
        self.apply(Command::RegisterJob(Box::new(RegisterJob {
            job,
            eval_id,
            eval_priority: None,
            enforce_index: None,
            submission: None,
        })));
        Arc::clone(self.state.eval(&eval_id).unwrap())
    }

    /// The name of the newest job.
    fn newest(&self) -> String {
        format!("bench-{}", self.jobs)
    }

    fn decide(&self, eval: &Evaluation, memo: &mut Memo) -> Decision {
        let overlay = Overlay::default();
        let (now, seed) = (self.state.now(), Seed::of(eval.id.as_uuid(), 0));
        schedule(Request { state: &self.state, overlay: &overlay, eval, now, seed, memo })
    }

    fn commit(&mut self, decision: Decision) {
        let reply = self.apply(Command::ApplyPlans(ApplyPlans { plans: vec![decision.plan] }));
        let Reply::Plans(results) = reply else { panic!("{reply:?}") };
        let whole = results.iter().all(|result| match result {
            PlanResult::Committed { refused, .. } => refused.is_empty(),
            PlanResult::Stale { .. } => false,
        });
        assert!(whole, "{results:?}");
    }

    /// Registers a job and has it run.
    fn run(&mut self, job: Job) {
        let eval = self.register(job);
        let decision = self.decide(&eval, &mut Memo::new());
        assert_eq!(decision.eval.status, EvalStatus::Complete);
        self.commit(decision);
        let task = TaskState { started_at: self.state.now(), ..TaskState::default() };
        let running = |alloc: &Arc<orch_model::Allocation>| {
            let update = AllocUpdate {
                id: alloc.id,
                client_status: ClientStatus::Running,
                tasks: Arc::from([task.clone()]),
                health: None,
            };
            (alloc.node_id, update)
        };
        let updates = self.state.allocs_of_job(&eval.job_key()).map(running).collect();
        let seed = self.ids.next_u64();
        self.apply(Command::UpdateAllocs(UpdateAllocs { updates, seed }));
    }

    /// What a change of a job would do: how many it would replace.
    fn plan(&self, changed: &Job) -> u32 {
        let mut copy = Self { state: self.state.clone(), ids: Seed::new(7), log: self.log, jobs: self.jobs };
        let mut changed = changed.clone();
        rename(&mut changed, &self.newest());
        let diff = orch_model::diff::diff(self.state.job(&changed.key()).map(|job| &**job), &changed);
        std::hint::black_box(diff);
        let eval = copy.register(changed);
        let outcome = copy.decide(&eval, &mut Memo::new()).eval.outcome.unwrap();
        outcome.updates.values().map(|updates| updates.destructive).sum()
    }
}
