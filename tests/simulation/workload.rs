//! What people do to the cluster and what befalls it, drawn from the seed.

use orch_model::job::{NetworkResource, Port, ReschedulePolicy, UpdateStrategy};
use orch_model::seed::Seed;
use orch_model::{Job, Nanos, testing};

/// How many jobs there are at most.
pub(crate) const JOBS: u64 = 6;

/// Something that befalls the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A machine goes off and comes back.
    Crash,
    /// A machine goes off for good.
    Loss,
    /// A machine joins.
    Join,
    /// A client's messages do not get through for a while.
    Partition,
    /// So do those of all clients, as when the servers' network fails.
    PartitionAll,
    /// Another server leads.
    LeaderChange,
    /// A server is down for a while.
    ServerDown,
    /// The servers cannot agree for a while: nothing is logged, or it is and nobody is told.
    NoQuorum,
    /// The leader falls behind the changes of its state.
    Lag,
}

impl Fault {
    pub(crate) fn draw(seed: &mut Seed) -> Self {
        match seed.below(22) {
            0..4 => Self::Crash,
            4 => Self::Loss,
            5..7 => Self::Join,
            7..12 => Self::Partition,
            12 => Self::PartitionAll,
            13..17 => Self::LeaderChange,
            17..19 => Self::ServerDown,
            19..21 => Self::NoQuorum,
            _ => Self::Lag,
        }
    }
}

/// Something that a person does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    Register,
    Stop,
    Purge,
    Evaluate,
    StopAlloc,
    EvaluateNode,
    Eligibility,
    Configure,
    Rollout(RolloutWish),
}

/// Something that a person does about versions of jobs and how they are rolled out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RolloutWish {
    Pause,
    Resume,
    Fail,
    SetHealth,
    Revert,
    Stable,
    Scale,
    Reschedule,
}

impl RolloutWish {
    fn draw(seed: &mut Seed) -> Self {
        match seed.below(16) {
            0..2 => Self::Pause,
            2..5 => Self::Resume,
            5 => Self::Fail,
            6..8 => Self::SetHealth,
            8..10 => Self::Revert,
            10 => Self::Stable,
            11..14 => Self::Scale,
            _ => Self::Reschedule,
        }
    }
}

impl Wish {
    pub(crate) fn draw(seed: &mut Seed) -> Self {
        match seed.below(36) {
            0..12 => Self::Register,
            12..14 => Self::Stop,
            14 => Self::Purge,
            15..17 => Self::Evaluate,
            17..20 => Self::StopAlloc,
            20 => Self::EvaluateNode,
            21..23 => Self::Eligibility,
            23 => Self::Configure,
            _ => Self::Rollout(RolloutWish::draw(seed)),
        }
    }
}

/// How what a version runs behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Temper {
    /// It is well soon after it was started.
    Good,
    /// It fails soon after it was started.
    Crashes,
    /// It runs, and never is well.
    NeverWell,
}

impl Temper {
    fn draw(seed: &mut Seed) -> Self {
        match seed.below(12) {
            0 => Self::Crashes,
            1 => Self::NeverWell,
            _ => Self::Good,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Crashes => "crashes",
            Self::NeverWell => "never well",
        }
    }
}

/// How what `job` runs behaves.
pub(crate) fn temper(job: &Job) -> Temper {
    let told = job.task_groups[0].tasks[0].env.get("TEMPER");
    let all = [Temper::Crashes, Temper::NeverWell];
    all.into_iter().find(|temper| told.is_some_and(|told| told == temper.as_str())).unwrap_or(Temper::Good)
}

/// How a service is rolled out.
fn update(seed: &mut Seed) -> UpdateStrategy {
    let mut secs = |least: u64, most: u64| {
        let secs = least + seed.below(most - least + 1);
        Some(Nanos::from_secs(i64::try_from(secs).unwrap()))
    };
    let (min_healthy_time, healthy_deadline) = (secs(2, 5), secs(10, 20));
    UpdateStrategy {
        min_healthy_time,
        healthy_deadline,
        progress_deadline: if secs(1, 8) == Some(Nanos::from_secs(1)) { Some(Nanos::ZERO) } else { secs(30, 90) },
        health_check: "task_states".into(),
        max_parallel: Some(i64::try_from(1 + seed.below(3)).unwrap()),
        auto_revert: Some(seed.below(2) == 0),
        ..UpdateStrategy::default()
    }
}

/// A version of one of the jobs.
pub(crate) fn job(seed: &mut Seed) -> Job {
    let number = seed.below(JOBS);
    let count = i64::try_from(seed.below(9)).unwrap();
    let mut job = testing::job(&format!("job-{number}"), count);
    if number % 3 == 1 {
        job.r#type = "batch".into();
    }
    job.all_at_once = seed.below(8) == 0;
    job.priority = 40 + 10 * i64::try_from(number).unwrap();
    let group = &mut job.task_groups[0];
    let resources = group.tasks[0].resources.as_mut().unwrap();
    resources.cpu = 300 * (1 + i64::try_from(seed.below(5)).unwrap());
    resources.memory_mb = 200 * (1 + i64::try_from(seed.below(4)).unwrap());
    // A change of it replaces what runs; a change of the count alone does not.
    group.tasks[0].env.insert("VERSION".into(), seed.below(3).to_string());
    if number % 3 != 1 {
        group.tasks[0].env.insert("TEMPER".into(), Temper::draw(seed).as_str().into());
        // Some services are changed all at once now and then.
        group.update = (number == 0 || seed.below(6) > 0).then(|| update(seed));
    }
    group.reschedule_policy = Some(ReschedulePolicy {
        delay: Some(Nanos::from_secs(5 + i64::try_from(seed.below(3) * 10).unwrap())),
        delay_function: "exponential".into(),
        max_delay: Some(Nanos::from_secs(60)),
        unlimited: Some(true),
        ..ReschedulePolicy::default()
    });
    if number == 0 {
        let port = Port { label: "http".into(), value: 8080, host_network: "default".into(), ..Port::default() };
        group.networks.push(NetworkResource { reserved_ports: vec![port], ..NetworkResource::default() });
    }
    if number == 2 {
        let mut second = job.task_groups[0].clone();
        second.name = "side".into();
        second.count = i64::try_from(seed.below(4)).unwrap();
        job.task_groups.push(second);
    }
    job
}
