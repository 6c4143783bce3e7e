use std::time::Duration;

use tokio::time::Instant;

use super::{alloc, get, job, router, small_cluster};

#[tokio::test(start_paused = true)]
async fn a_query_waits_for_its_scope_and_for_no_other() {
    let control = small_cluster();
    let router = router(Some(control.clone()), None);
    let index = get(&router, "/v1/job/web").await.header("x-nomad-index").to_owned();
    let uri = format!("/v1/job/web?index={index}&wait=60s");
    let waiting = tokio::spawn({
        let router = router.clone();
        async move { get(&router, &uri).await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let stored = control.change(|state| state.put_job(job("other")));
    control.change(|state| state.put_alloc(alloc(77, &stored)));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(*control.woken.lock().unwrap(), 0, "another job is not this query's business");
    let changed = control.change(|state| state.put_job(job("web")));
    let answer = waiting.await.unwrap();
    assert_eq!(answer.header("x-nomad-index"), changed.modify_index.to_string());
    assert_eq!(answer.json()["ModifyIndex"], changed.modify_index.0);
}

#[tokio::test(start_paused = true)]
async fn a_query_whose_time_is_up_answers_with_the_same_index() {
    let router = router(Some(small_cluster()), None);
    let before = get(&router, "/v1/jobs").await;
    let started = Instant::now();
    let uri = format!("/v1/jobs?index={}&wait=16s", before.header("x-nomad-index"));
    let after = get(&router, &uri).await;
    assert_eq!(after.header("x-nomad-index"), before.header("x-nomad-index"));
    assert_eq!(after.body, before.body);
    let waited = started.elapsed();
    assert!(waited >= Duration::from_secs(16) && waited <= Duration::from_secs(17), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_query_waits_at_most_five_minutes_and_its_jitter() {
    let router = router(Some(small_cluster()), None);
    let started = Instant::now();
    let answer = get(&router, "/v1/nodes?index=1000000&wait=10h").await;
    assert_eq!(answer.status, 200);
    let waited = started.elapsed().as_secs_f64();
    assert!((300.0..=319.0).contains(&waited), "{waited}");
}

#[tokio::test(start_paused = true)]
async fn a_query_behind_the_state_answers_at_once() {
    let router = router(Some(small_cluster()), None);
    let started = Instant::now();
    assert_eq!(get(&router, "/v1/jobs?index=1").await.status, 200);
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_query_for_what_does_not_exist_yet_answers_when_it_does() {
    let control = small_cluster();
    let router = router(Some(control.clone()), None);
    let waiting = tokio::spawn(async move { get(&router, "/v1/job/new?index=1&wait=60s").await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    control.change(|state| state.put_job(job("new")));
    assert_eq!(waiting.await.unwrap().json()["ID"], "new");
}
