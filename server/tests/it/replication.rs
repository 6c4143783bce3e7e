//! What was acknowledged outlives any one server, and all of them restarting.

use orch_http::Consistency;

use crate::cluster::{key, leader_of, register, servers, stale, wait_for, wait_for_leader};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_leader_has_everything_that_was_acknowledged() {
    let mut members = servers(3).await;
    let first = leader_of(&members).await;
    let other = (first + 1) % 3;
    wait_for_leader(&members[other].plane()).await;
    for number in 0..20 {
        register(&members[other].plane(), &format!("job-{number}"), 1).await.unwrap();
    }
    members[first].stop().await;
    register(&members[other].plane(), "after", 1).await.unwrap();
    let view = members[other].plane().view(Consistency::Linearizable).await.unwrap();
    assert_eq!(view.jobs(None, "").len(), 21);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_servers_restarted_have_the_same_state() {
    let mut members = servers(3).await;
    leader_of(&members).await;
    for number in 0..100 {
        register(&members[0].plane(), &format!("job-{number:03}"), 1).await.unwrap();
    }
    let before = members[0].plane().view(Consistency::Linearizable).await.unwrap();
    for member in &mut members {
        member.stop().await;
    }
    for member in &mut members {
        member.restart().await;
    }
    leader_of(&members).await;
    for member in &members {
        let after = member.plane().view(Consistency::Linearizable).await.unwrap();
        let jobs = |view: &dyn orch_http::View| {
            view.jobs(None, "").iter().map(|job| (job.id.clone(), job.job_modify_index)).collect::<Vec<_>>()
        };
        assert_eq!(jobs(&*before), jobs(&*after));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_away_long_gets_a_snapshot() {
    let mut members = servers(3).await;
    let leader = leader_of(&members).await;
    let away = (leader + 1) % 3;
    members[away].stop().await;
    for number in 0..300 {
        register(&members[leader].plane(), &format!("job-{number:03}"), 1).await.unwrap();
    }
    members[away].restart().await;
    wait_for("the server has caught up", || {
        let plane = members[away].plane();
        async move { stale(&plane).await.jobs(None, "").len() == 300 }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_nobody_can_run_is_evaluated_and_blocked() {
    let members = servers(1).await;
    wait_for_leader(&members[0].plane()).await;
    let written = register(&members[0].plane(), "a", 3).await.unwrap();
    let plane = members[0].plane();
    wait_for("the evaluation is complete", || {
        let plane = plane.clone();
        async move {
            let view = stale(&plane).await;
            view.eval(written.eval_id.unwrap()).is_some_and(|eval| eval.status.is_terminal())
        }
    })
    .await;
    let view = stale(&plane).await;
    let eval = view.eval(written.eval_id.unwrap()).unwrap();
    assert!(eval.blocked.is_some());
    assert_eq!(view.job_summary(&key("a")).unwrap().summary["web"].queued, 3);
}
