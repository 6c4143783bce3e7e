//! Commands that nobody should send: ids of a small space, so that they name what is there, and any value beside them.

use std::collections::BTreeMap;
use std::sync::Arc;

use orch_model::allocation::{AllocPort, AllocUpdate, StopReason};
use orch_model::deployment::{DeploymentReason, DeploymentStatus, GroupRollout, Rollback};
use orch_model::evaluation::{EvalOutcome, EvalStatus, Evaluation, Trigger};
use orch_model::ids::{ClusterId, PlanId, RaftId, VolumeClaimId};
use orch_model::job::JobType;
use orch_model::operator::SchedulerConfig;
use orch_model::plan::{DeploymentUpdate, FollowUp, InPlaceUpdate, Placement, Plan, Stop};
use orch_model::units::Usage;
use orch_model::volume::{AccessMode, VolumeCapability, VolumeState};
use orch_model::{
    AllocId, Deployment, DeploymentId, EvalId, HostVolume, HostVolumeId, Job, JobKey, JobVersionKey, MebiBytes, Mhz,
    Nanos, StateIndex, Timestamp, testing,
};
use orch_state::Command;
use orch_state::commands::*;
use proptest::prelude::*;
use uuid::Uuid;

use crate::steps::{client_status, volume_name};
use crate::world::node_id;

fn small_uuid() -> impl Strategy<Value = Uuid> {
    (0..6_u128).prop_map(Uuid::from_u128)
}

fn alloc_id() -> impl Strategy<Value = AllocId> {
    small_uuid().prop_map(AllocId::from_uuid)
}

fn eval_id() -> impl Strategy<Value = EvalId> {
    small_uuid().prop_map(EvalId::from_uuid)
}

fn key() -> impl Strategy<Value = JobKey> {
    (prop::bool::weighted(0.3), 0..4_u8).prop_map(|(other, number)| {
        let namespace = if other { "other" } else { "default" };
        JobKey::new(&namespace.into(), &format!("job-{number}").as_str().into())
    })
}

fn index() -> impl Strategy<Value = StateIndex> {
    prop_oneof![6 => 0..12_u64, 1 => any::<u64>()].prop_map(StateIndex)
}

fn job() -> impl Strategy<Value = Job> {
    (key(), prop_oneof![-1..4_i64, Just(i64::MIN)], any::<i64>(), 0..3_usize, "[a-z]{0,3}").prop_map(
        |(key, count, priority, groups, kind)| {
            let mut job = testing::job(key.job_id.as_str(), count);
            job.namespace = key.namespace;
            job.priority = priority;
            let group = job.task_groups[0].clone();
            job.task_groups = vec![group; groups];
            if !kind.is_empty() {
                job.r#type = kind;
            }
            job.version = u64::MAX;
            job.create_index = StateIndex(u64::MAX);
            job
        },
    )
}

fn eval() -> impl Strategy<Value = Evaluation> {
    let status = prop::sample::select(EvalStatus::ALL.to_vec());
    (eval_id(), key(), any::<u16>(), status, any::<i64>(), prop::option::of(any::<u32>())).prop_map(
        |(id, key, priority, status, wait, queued)| {
            let mut eval = Evaluation::new(id, &key, priority, JobType::Batch, Trigger::QueuedAllocs);
            eval.status = status;
            eval.wait_until = Timestamp(wait);
            eval.create_index = StateIndex(u64::MAX);
            eval.outcome = queued.map(|queued| {
                let mut outcome = EvalOutcome::default();
                outcome.queued.insert("web".into(), queued);
                Arc::new(outcome)
            });
            eval
        },
    )
}

fn usage() -> impl Strategy<Value = Usage> {
    let cpu = prop_oneof![4 => 0..2000_u32, 1 => any::<u32>()];
    let size = || prop_oneof![4 => 0..2000_u64, 1 => any::<u64>()];
    (cpu, size(), size()).prop_map(|(cpu, memory, disk)| Usage {
        cpu: Mhz(cpu),
        memory: MebiBytes(memory),
        disk: MebiBytes(disk),
    })
}

fn port() -> impl Strategy<Value = AllocPort> {
    (any::<u16>(), 8080..8083_u16, 0..5_u8, prop::bool::weighted(0.3)).prop_map(|(ask, value, node, ignored)| {
        AllocPort { ask, value, address: std::net::IpAddr::from([10, 0, 0, node]), ignore_collision: ignored }
    })
}

fn placement() -> impl Strategy<Value = Placement> {
    let ports = prop::collection::vec(port(), 0..3);
    (alloc_id(), 0..3_u16, any::<u32>(), 0..6_u32, usage(), ports, prop::option::of(alloc_id())).prop_map(
        |(alloc_id, group, index, node, usage, ports, previous)| Placement {
            alloc_id,
            group,
            index,
            node_id: node_id(node),
            usage,
            ports: ports.into_iter().collect(),
            cores: smallvec::SmallVec::new(),
            previous,
            deployment: Some(DeploymentId::from_uuid(Uuid::from_u128(u128::from(index % 4)))),
            reschedules: Arc::default(),
            oversubscribed: index % 2 == 0,
            scores: Arc::default(),
        },
    )
}

fn deployment_id() -> impl Strategy<Value = DeploymentId> {
    (0..4_u128).prop_map(|id| DeploymentId::from_uuid(Uuid::from_u128(id)))
}

fn rollout() -> impl Strategy<Value = GroupRollout> {
    (any::<[bool; 3]>(), any::<i64>(), 0..3_u32, prop_oneof![0..4_u32, any::<u32>()]).prop_map(
        |([auto_revert, auto_promote, promoted], deadline, desired_canaries, counts)| GroupRollout {
            auto_revert,
            auto_promote,
            promoted,
            progress_deadline: Nanos(deadline),
            require_progress_by: Timestamp(deadline),
            desired_canaries,
            desired_total: counts,
            placed: counts,
            healthy: counts,
            unhealthy: counts,
            placed_canaries: vec![AllocId::default()],
        },
    )
}

/// A deployment of a version that the plan names, most of the time.
fn deployment() -> impl Strategy<Value = Deployment> {
    let groups =
        prop::collection::btree_map(prop_oneof![Just("web".to_owned()), Just("none".to_owned())], rollout(), 0..3);
    (deployment_id(), key(), groups, deployment_status(), deployment_reason()).prop_map(
        |(id, job, groups, status, reason)| {
            let job = JobVersionKey { job, created: StateIndex(1), version: 0 };
            Deployment { status, reason, ..Deployment::new(id, job, StateIndex(u64::MAX), u16::MAX, groups) }
        },
    )
}

fn deployment_status() -> impl Strategy<Value = DeploymentStatus> {
    prop::sample::select(DeploymentStatus::ALL.to_vec())
}

fn deployment_reason() -> impl Strategy<Value = DeploymentReason> {
    prop_oneof![
        Just(DeploymentReason::Running),
        Just(DeploymentReason::FailedByUser(Rollback::To(7))),
        Just(DeploymentReason::NewerJob),
    ]
}

pub(crate) fn deployment_change() -> impl Strategy<Value = DeploymentChange> {
    prop_oneof![
        Just(DeploymentChange::Pause),
        Just(DeploymentChange::Resume),
        Just(DeploymentChange::Promote { groups: Vec::new() }),
        Just(DeploymentChange::Fail(DeploymentFailure::UnhealthyAllocs)),
        Just(DeploymentChange::Fail(DeploymentFailure::ByUser)),
        Just(DeploymentChange::Succeed),
    ]
}

fn stop() -> impl Strategy<Value = Stop> {
    (alloc_id(), prop::option::of(client_status())).prop_map(|(alloc_id, client_status)| Stop {
        alloc_id,
        reason: StopReason::Updated,
        client_status,
    })
}

fn plan() -> impl Strategy<Value = Plan> {
    let job = (key(), index(), 0..4_u64).prop_map(|(job, created, version)| JobVersionKey { job, created, version });
    let in_place = (alloc_id(), 0..3_u16, prop::option::of(deployment_id()))
        .prop_map(|(alloc_id, group, deployment)| InPlaceUpdate { alloc_id, group, deployment });
    let updated = (deployment_id(), deployment_status(), deployment_reason())
        .prop_map(|(id, status, reason)| DeploymentUpdate { id, status, reason });
    let follow_up = (alloc_id(), eval_id()).prop_map(|(alloc_id, eval_id)| FollowUp { alloc_id, eval_id });
    let changes = (
        prop::collection::vec(placement(), 0..4),
        prop::collection::vec(stop(), 0..3),
        prop::collection::vec(in_place, 0..3),
        prop::collection::vec(eval(), 0..3),
        prop::option::of(deployment()),
        prop::collection::vec(updated, 0..2),
        prop::collection::vec(follow_up, 0..2),
    );
    (small_uuid(), eval_id(), job, index(), any::<bool>(), changes).prop_map(
        |(id, eval_id, job, placed_index, all_at_once, changes)| {
            let (placements, stops, in_place, when_whole, deployment, deployment_updates, follow_ups) = changes;
            Plan {
                id: PlanId::from_uuid(id),
                eval_id,
                job,
                placed_index,
                all_at_once,
                placements,
                stops,
                in_place,
                deployment,
                deployment_updates,
                follow_ups,
                when_whole,
            }
        },
    )
}

fn update() -> impl Strategy<Value = (orch_model::NodeId, AllocUpdate)> {
    (0..6_u32, alloc_id(), client_status(), prop::option::of(any::<bool>())).prop_map(
        |(node, id, client_status, health)| {
            (node_id(node), AllocUpdate { id, client_status, tasks: Arc::default(), health })
        },
    )
}

fn of_deployments_and_versions() -> impl Strategy<Value = Command> {
    let change = (deployment_id(), deployment_change(), eval_id())
        .prop_map(|(id, change, eval_id)| Command::ChangeDeployment(ChangeDeployment { id, change, eval_id }));
    let allocs = || prop::collection::vec(alloc_id(), 0..3);
    let health =
        (deployment_id(), allocs(), allocs(), eval_id()).prop_map(|(deployment, healthy, unhealthy, eval_id)| {
            Command::SetAllocHealth(SetAllocHealth { deployment, healthy, unhealthy, eval_id })
        });
    let again = (allocs(), any::<u64>()).prop_map(|(allocs, evals_seed)| {
        Command::RescheduleAllocs(RescheduleAllocs { allocs, evals_seed, trigger: Trigger::AllocReschedule })
    });
    let stability = (key(), 0..4_u64, any::<bool>())
        .prop_map(|(key, version, stable)| Command::SetJobStability(SetJobStability { key, version, stable }));
    let revert = (key(), 0..4_u64, prop::option::of(0..4_u64), eval_id()).prop_map(
        |(key, to_version, enforce_prior, eval_id)| {
            Command::RevertJob(RevertJob { key, to_version, enforce_prior, eval_id })
        },
    );
    let count = prop::option::of(prop_oneof![4 => 0..4_u32, 1 => any::<u32>()]);
    let scale = (key(), count, any::<bool>(), eval_id()).prop_map(|(key, count, error, eval_id)| {
        let (group, message, meta) = ("web".into(), String::new(), BTreeMap::default());
        Command::ScaleJob(ScaleJob { key, group, count, message, error, meta, eval_id, enforce_index: None })
    });
    let digest = (index(), any::<u64>()).prop_map(|(at, digest)| Command::CheckDigest(CheckDigest { at, digest }));
    prop_oneof![3 => change, 2 => health, 2 => again, 1 => stability, 1 => revert, 2 => scale, 1 => digest]
}

pub(crate) fn delete_step() -> impl Strategy<Value = DeleteStep> {
    prop_oneof![
        3 => any::<bool>().prop_map(|force| DeleteStep::Begin { force }),
        2 => Just(DeleteStep::Finish),
        1 => Just(DeleteStep::Abort),
    ]
}

fn of_volumes() -> impl Strategy<Value = Command> {
    let state = prop::sample::select(VolumeState::ALL.to_vec());
    let access = prop::sample::select(AccessMode::ALL.to_vec());
    let put = (0..6_u128, 0..6_u32, 0..3_u8, state, access, any::<bool>()).prop_map(
        |(id, node, name, state, access, deleting)| {
            let capability = VolumeCapability { access, ..VolumeCapability::default() };
            let volume = HostVolume {
                node_id: node_id(node),
                state,
                deleting,
                capabilities: vec![capability],
                ..testing::host_volume(id, &volume_name(name))
            };
            Command::PutHostVolume(Box::new(PutHostVolume { volume }))
        },
    );
    let delete = (small_uuid(), delete_step())
        .prop_map(|(id, step)| Command::DeleteHostVolume(DeleteHostVolume { id: HostVolumeId::from_uuid(id), step }));
    let claim =
        small_uuid().prop_map(|id| Command::DeleteVolumeClaim(DeleteVolumeClaim { id: VolumeClaimId::from_uuid(id) }));
    prop_oneof![3 => put, 2 => delete, 1 => claim]
}

pub(crate) fn command() -> impl Strategy<Value = Command> {
    let register = (job(), eval_id(), prop::option::of(any::<u16>()), prop::option::of(index())).prop_map(
        |(job, eval_id, eval_priority, enforce_index)| {
            let submission = None;
            Command::RegisterJob(Box::new(RegisterJob { job, eval_id, eval_priority, enforce_index, submission }))
        },
    );
    let deregister = (key(), any::<bool>(), eval_id()).prop_map(|(job, purge, eval_id)| {
        let eval_priority = Some(u16::MAX);
        Command::DeregisterJob(DeregisterJob { job, purge, eval_id, eval_priority, no_shutdown_delay: true })
    });
    let node = (0..6_u32, any::<u32>(), any::<u64>(), any::<u64>()).prop_map(|(number, cpu, memory, seed)| {
        let description = Arc::new(testing::node(number).size(cpu, memory).description());
        Command::RegisterNode(RegisterNode { node_id: node_id(number), description, server: RaftId(2), seed })
    });
    let describe = (0..6_u32, 0..3_u64, 0..3_u32).prop_map(|(number, epoch, max_allocs)| {
        let mut description = testing::node(number).meta("kind", "other").description();
        description.max_allocs = max_allocs;
        Command::DescribeNode(DescribeNode { node_id: node_id(number), epoch, description: Arc::new(description) })
    });
    let reap = (
        prop::collection::vec(eval_id(), 0..4),
        prop::collection::vec(alloc_id(), 0..4),
        prop::collection::vec(key(), 0..3),
        prop::collection::vec(deployment_id(), 0..3),
    )
        .prop_map(|(evals, allocs, jobs, deployments)| {
            let nodes = (0..6).map(node_id).collect();
            Command::Reap(Reap { evals, allocs, jobs, nodes, deployments })
        });
    let config = (any::<bool>(), prop::option::of(index())).prop_map(|(paused, check_index)| {
        let config = SchedulerConfig { pause_eval_broker: paused, ..SchedulerConfig::default() };
        Command::SetSchedulerConfig(SetSchedulerConfig { config, check_index })
    });
    let form = (small_uuid(), any::<u16>())
        .prop_map(|(id, version)| Command::FormCluster(FormCluster { cluster_id: ClusterId::from_uuid(id), version }));
    prop_oneof![
        2 => register,
        1 => deregister,
        1 => (key(), eval_id()).prop_map(|(job, eval_id)| Command::EvaluateJob(EvaluateJob { job, eval_id })),
        2 => node,
        1 => describe,
        6 => prop::collection::vec(plan(), 0..3).prop_map(|plans| Command::ApplyPlans(ApplyPlans { plans })),
        2 => (prop::collection::vec(update(), 0..4), any::<u64>())
            .prop_map(|(updates, seed)| Command::UpdateAllocs(UpdateAllocs { updates, seed })),
        1 => (alloc_id(), eval_id(), any::<bool>()).prop_map(|(alloc_id, eval_id, no_shutdown_delay)| {
            Command::StopAlloc(StopAlloc { alloc_id, no_shutdown_delay, eval_id })
        }),
        2 => prop::collection::vec(eval(), 0..4).prop_map(|evals| Command::PutEvals(PutEvals { evals })),
        1 => reap,
        1 => config,
        1 => form,
        6 => of_deployments_and_versions(),
        3 => of_volumes(),
        1 => any::<u16>().prop_map(|version| Command::RaiseVersion(RaiseVersion { version })),
    ]
}
