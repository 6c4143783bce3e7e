//! What may happen next, drawn.

use orch_model::allocation::ClientStatus;
use orch_model::job::{NetworkResource, Port, ReschedulePolicy, UpdateStrategy, VolumeRequest};
use orch_model::node::{Eligibility, NodeStatus};
use orch_model::volume::AccessMode;
use orch_model::{Job, Nanos, testing};
use orch_state::Command;
use orch_state::commands::{DeleteStep, DeploymentChange};
use proptest::prelude::*;

use crate::arbitrary;

/// What happens next.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Node {
        number: u32,
        grows: bool,
    },
    Silence {
        at: usize,
        status: NodeStatus,
        old: bool,
    },
    PurgeNode {
        at: usize,
    },
    EvaluateNode {
        at: usize,
    },
    Eligibility {
        at: usize,
        eligibility: Eligibility,
    },
    Register(Spec),
    Deregister {
        at: usize,
        purge: bool,
    },
    StopAlloc {
        at: usize,
    },
    Report {
        at: usize,
        status: ClientStatus,
        /// What the client says of its health.
        health: Option<bool>,
    },
    /// The active deployment of a job is changed.
    Deployment {
        at: usize,
        change: DeploymentChange,
    },
    /// A job's group is scaled, or the job goes back to an earlier version.
    Scale {
        at: usize,
        count: u32,
    },
    Revert {
        at: usize,
        back: u64,
    },
    /// Failed allocations are to be placed again.
    Reschedule,
    /// A worker looks at an evaluation, with a state of so many entries ago.
    Plan {
        at: usize,
        age: usize,
    },
    /// Plans arrive at the log; those that are kept arrive again.
    Deliver {
        at: usize,
        count: usize,
        keep: bool,
    },
    /// An entry's command is proposed once more.
    Repeat {
        at: usize,
    },
    /// A host volume is asked for, and made by its node when it is asked for again.
    Volume {
        node: u32,
        name: u8,
        single_writer: bool,
    },
    /// A host volume is to be removed.
    DeleteVolume {
        at: usize,
        step: DeleteStep,
    },
    /// A claim is given up.
    DeleteClaim {
        at: usize,
    },
    /// Someone asks for everything to be forgotten.
    Reap,
    /// Something that nobody should send.
    Arbitrary(Box<Command>),
}

/// A job, drawn.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    number: u8,
    other_namespace: bool,
    batch: bool,
    count: i64,
    cpu: i64,
    static_port: bool,
    all_at_once: bool,
    env: u8,
    second_group: bool,
    /// The name of a host volume, and how it is asked for.
    volume: Option<(u8, VolumeUse)>,
}

/// How a group asks for a host volume.
#[derive(Debug, Clone, Copy)]
pub(crate) enum VolumeUse {
    Read,
    Write,
    WriteAlone,
    Sticky,
    PerAlloc,
}

/// The name of a host volume.
pub(crate) fn volume_name(number: u8) -> String {
    ["data", "data[0]", "srv"][usize::from(number % 3)].to_owned()
}

impl Spec {
    pub(crate) fn job(&self) -> Job {
        let mut job = testing::job(&format!("job-{}", self.number), self.count);
        job.all_at_once = self.all_at_once;
        if self.other_namespace {
            job.namespace = "other".into();
        }
        if self.batch {
            job.r#type = "batch".into();
        }
        let group = &mut job.task_groups[0];
        group.tasks[0].resources.as_mut().unwrap().cpu = self.cpu;
        group.tasks[0].env.insert("VERSION".into(), self.env.to_string());
        group.update = Some(UpdateStrategy {
            max_parallel: Some(i64::from(self.env)),
            progress_deadline: Some(Nanos::from_secs(600)),
            auto_revert: Some(self.second_group),
            ..UpdateStrategy::default()
        });
        group.reschedule_policy = Some(ReschedulePolicy {
            delay: Some(Nanos::from_secs(5)),
            delay_function: "constant".into(),
            unlimited: Some(true),
            ..ReschedulePolicy::default()
        });
        if self.static_port {
            let port = Port { label: "http".into(), value: 8080, host_network: "default".into(), ..Port::default() };
            group.networks.push(NetworkResource { reserved_ports: vec![port], ..NetworkResource::default() });
        }
        if let Some((name, kind)) = self.volume {
            let name = volume_name(name);
            let access = match kind {
                VolumeUse::Read => AccessMode::SingleNodeReaderOnly,
                VolumeUse::Write | VolumeUse::Sticky => AccessMode::SingleNodeWriter,
                VolumeUse::WriteAlone | VolumeUse::PerAlloc => AccessMode::SingleNodeSingleWriter,
            };
            let request = VolumeRequest {
                name: "v".into(),
                r#type: "host".into(),
                source: name,
                read_only: access.is_read_only(),
                sticky: matches!(kind, VolumeUse::Sticky),
                per_alloc: matches!(kind, VolumeUse::PerAlloc),
                access_mode: access.as_str().into(),
                attachment_mode: "file-system".into(),
                ..VolumeRequest::default()
            };
            group.volumes.insert("v".into(), request);
        }
        if self.second_group {
            let mut second = job.task_groups[0].clone();
            second.name = "other".into();
            job.task_groups.push(second);
        }
        job
    }
}

fn spec() -> impl Strategy<Value = Spec> {
    let flags = prop::array::uniform5(prop::bool::weighted(0.3));
    let kind = prop_oneof![
        Just(VolumeUse::Read),
        Just(VolumeUse::Write),
        Just(VolumeUse::WriteAlone),
        Just(VolumeUse::Sticky),
        Just(VolumeUse::PerAlloc),
    ];
    let volume = prop::option::weighted(0.4, (0..3_u8, kind));
    (0..3_u8, 0..5_i64, 1..8_i64, 0..3_u8, flags, volume).prop_map(|(number, count, cpu, env, flags, volume)| {
        let [other_namespace, batch, static_port, all_at_once, second_group] = flags;
        let cpu = cpu * 250;
        Spec { number, other_namespace, batch, count, cpu, static_port, all_at_once, env, second_group, volume }
    })
}

pub(crate) fn client_status() -> impl Strategy<Value = ClientStatus> {
    prop::sample::select(ClientStatus::ALL.to_vec())
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let at = any::<usize>;
    let likely_status = prop_oneof![
        4 => Just(ClientStatus::Running),
        2 => Just(ClientStatus::Complete),
        2 => Just(ClientStatus::Failed),
        1 => client_status(),
    ];
    let silent =
        prop_oneof![2 => Just(NodeStatus::Down), 1 => Just(NodeStatus::Disconnected), 1 => Just(NodeStatus::Ready)];
    let eligibility = prop_oneof![Just(Eligibility::Eligible), Just(Eligibility::Ineligible)];
    prop_oneof![
        6 => (0..5_u32, any::<bool>()).prop_map(|(number, grows)| Step::Node { number, grows }),
        3 => (at(), silent, prop::bool::weighted(0.2)).prop_map(|(at, status, old)| Step::Silence { at, status, old }),
        1 => at().prop_map(|at| Step::PurgeNode { at }),
        1 => at().prop_map(|at| Step::EvaluateNode { at }),
        1 => (at(), eligibility).prop_map(|(at, eligibility)| Step::Eligibility { at, eligibility }),
        8 => spec().prop_map(Step::Register),
        2 => (at(), any::<bool>()).prop_map(|(at, purge)| Step::Deregister { at, purge }),
        2 => at().prop_map(|at| Step::StopAlloc { at }),
        10 => (at(), likely_status, prop::option::of(prop::bool::weighted(0.8)))
            .prop_map(|(at, status, health)| Step::Report { at, status, health }),
        3 => (at(), arbitrary::deployment_change()).prop_map(|(at, change)| Step::Deployment { at, change }),
        1 => (at(), 0..5_u32).prop_map(|(at, count)| Step::Scale { at, count }),
        1 => (at(), 1..4_u64).prop_map(|(at, back)| Step::Revert { at, back }),
        1 => Just(Step::Reschedule),
        12 => (at(), 0..6_usize).prop_map(|(at, age)| Step::Plan { at, age }),
        12 => (at(), 1..4_usize, prop::bool::weighted(0.3)).prop_map(|(at, count, keep)| Step::Deliver { at, count, keep }),
        1 => at().prop_map(|at| Step::Repeat { at }),
        1 => Just(Step::Reap),
        6 => (1..4_u32, 0..3_u8, any::<bool>())
            .prop_map(|(node, name, single_writer)| Step::Volume { node, name, single_writer }),
        2 => (at(), arbitrary::delete_step()).prop_map(|(at, step)| Step::DeleteVolume { at, step }),
        1 => at().prop_map(|at| Step::DeleteClaim { at }),
        4 => arbitrary::command().prop_map(|command| Step::Arbitrary(Box::new(command))),
    ]
}
