//! Rollouts move on and end, whoever leads.

use std::sync::Arc;

use orch_http::ControlPlane;
use orch_http::control::{ChangeDeployment, DeploymentAction};
use orch_model::deployment::{DeploymentReason, DeploymentStatus};
use orch_model::job::{ReschedulePolicy, UpdateStrategy};
use orch_model::{Deployment, EvalId, Job, Nanos};
use uuid::Uuid;

use crate::cluster::{Member, key, leader_of, register_job, servers, stale, wait_for, wait_for_leader};
use crate::node::{Says, TestNode};

/// A version of a job of three that is replaced one by one, and must move on within `deadline` seconds.
fn job(version: &str, deadline: i64) -> Job {
    let mut job = orch_model::testing::job("web", 3);
    let group = &mut job.task_groups[0];
    group.tasks[0].env.insert("VERSION".into(), version.into());
    group.update = Some(UpdateStrategy {
        max_parallel: Some(1),
        min_healthy_time: Some(Nanos::ZERO),
        healthy_deadline: Some(Nanos::from_secs(1)),
        progress_deadline: Some(Nanos::from_secs(deadline)),
        ..UpdateStrategy::default()
    });
    // What fails is not replaced, so that a failure is the deployment's.
    group.reschedule_policy =
        Some(ReschedulePolicy { attempts: Some(0), unlimited: Some(false), ..ReschedulePolicy::default() });
    job
}

async fn latest(plane: &Arc<dyn ControlPlane>) -> Option<Arc<Deployment>> {
    stale(plane).await.deployments_of_job(&key("web")).pop()
}

/// Waits until the newest deployment is of version `version` and fits.
async fn wait_for_deployment(
    plane: &Arc<dyn ControlPlane>,
    what: &str,
    version: u64,
    check: impl Fn(&Deployment) -> bool,
) -> Arc<Deployment> {
    let mut found = None;
    let check = &check;
    wait_for(what, || {
        let plane = Arc::clone(plane);
        async move { latest(&plane).await.is_some_and(|deployment| deployment.job.version == version && check(&deployment)) }
    })
    .await;
    found.get_or_insert(latest(plane).await.unwrap()).clone()
}

/// Three servers, and a node with a session at one of them that does not lead; `web` runs there in its first version.
async fn rolled_out(deadline: i64) -> (Vec<Member>, usize, usize, TestNode) {
    let members = servers(3).await;
    let leader = leader_of(&members).await;
    let other = (leader + 1) % 3;
    let plane = members[other].plane();
    wait_for_leader(&plane).await;
    let node = TestNode::start(1, &members[other].config.rpc_advertise, |_| Says::Healthy).await;
    register_job(&plane, job("one", deadline)).await.unwrap();
    wait_for_deployment(&plane, "the first version is out", 0, |deployment| {
        deployment.status == DeploymentStatus::Successful
    })
    .await;
    (members, leader, other, node)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollout_goes_on_under_a_new_leader() {
    let (mut members, leader, other, node) = rolled_out(600).await;
    let plane = members[other].plane();
    node.says(|alloc| if alloc.job.version == 0 { Says::Healthy } else { Says::Running });
    register_job(&plane, job("two", 600)).await.unwrap();
    wait_for_deployment(&plane, "the first of the new version runs", 1, |deployment| {
        deployment.groups["web"].placed == 1
    })
    .await;
    members[leader].stop().await;
    node.says(|_| Says::Healthy);
    wait_for_deployment(&plane, "the new version is out", 1, |deployment| {
        deployment.status == DeploymentStatus::Successful
    })
    .await;
    let view = stale(&plane).await;
    let running = view.allocs_of_job(&key("web"));
    let running: Vec<_> = running.iter().filter(|alloc| !alloc.is_terminal()).collect();
    assert_eq!(running.len(), 3);
    assert!(running.iter().all(|alloc| alloc.job.version == 1));
    assert!(view.job(&key("web")).unwrap().stable);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollout_that_does_not_move_fails_at_its_deadline_under_a_new_leader() {
    let (mut members, leader, other, node) = rolled_out(3).await;
    let plane = members[other].plane();
    node.says(|alloc| if alloc.job.version == 0 { Says::Healthy } else { Says::Running });
    register_job(&plane, job("two", 3)).await.unwrap();
    wait_for_deployment(&plane, "the first of the new version runs", 1, |deployment| {
        deployment.groups["web"].placed == 1
    })
    .await;
    members[leader].stop().await;
    let failed =
        wait_for_deployment(&plane, "the deployment has failed", 1, |deployment| !deployment.is_active()).await;
    assert_eq!(failed.status, DeploymentStatus::Failed);
    assert!(matches!(failed.reason, DeploymentReason::ProgressDeadline(_)), "{:?}", failed.reason);
    let view = stale(&plane).await;
    let old = view.allocs_of_job(&key("web"));
    let old = old.iter().filter(|alloc| !alloc.is_terminal() && alloc.job.version == 0).count();
    assert_eq!(old, 2, "the other old allocations stay");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_crashes_fails_its_deployment_and_one_may_be_paused_and_given_up() {
    let (members, _, other, node) = rolled_out(600).await;
    let plane = members[other].plane();
    node.says(|alloc| if alloc.job.version == 1 { Says::Failed } else { Says::Running });
    register_job(&plane, job("two", 600)).await.unwrap();
    let failed =
        wait_for_deployment(&plane, "the deployment has failed", 1, |deployment| !deployment.is_active()).await;
    assert!(matches!(failed.reason, DeploymentReason::UnhealthyAllocs(_)), "{:?}", failed.reason);

    register_job(&plane, job("three", 600)).await.unwrap();
    let running =
        wait_for_deployment(&plane, "the next one runs", 2, |deployment| deployment.groups["web"].placed > 0).await;
    for (action, status) in [
        (DeploymentAction::Pause, DeploymentStatus::Paused),
        (DeploymentAction::Resume, DeploymentStatus::Running),
        (DeploymentAction::Fail, DeploymentStatus::Failed),
    ] {
        let request = ChangeDeployment { deployment: running.id, action, eval_id: EvalId::from_uuid(Uuid::new_v4()) };
        let written = plane.change_deployment(request).await.unwrap();
        assert_eq!(written.eval_id.is_none(), action == DeploymentAction::Pause);
        assert_eq!(latest(&plane).await.unwrap().status, status);
    }
    drop(members);
}
