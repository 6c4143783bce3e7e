//! Host volumes, the claims on them, and what a server asks of a node about them.

use std::sync::Arc;

use http::Method;
use orch_model::ids::VolumeClaimId;
use orch_model::testing::host_volume;
use orch_model::volume::VolumeClaim;
use orch_model::{AllocId, HostVolumeId, JobKey, StateIndex};
use serde_json::json;
use uuid::Uuid;

use super::{get, put, router, send, small_cluster};

const WANTED: &str = r#"{"Volume":{"Name":"data","RequestedCapacityMinBytes":5,
    "RequestedCapabilities":[{"AccessMode":"single-node-writer","AttachmentMode":"file-system"}]}}"#;

#[tokio::test]
async fn a_volume_is_made_shown_listed_and_removed() {
    let router = router(Some(small_cluster()), None);
    let made = put(&router, "/v1/volume/host/create", WANTED).await;
    assert_eq!(made.status, 200, "{}", made.body);
    let answer = made.json();
    assert_eq!((&answer["Volume"]["State"], &answer["Volume"]["PluginID"]), (&json!("ready"), &json!("mkdir")));
    assert!(answer["Warnings"].as_str().unwrap().contains("without a size"), "{answer}");
    let id = answer["Volume"]["ID"].as_str().unwrap().to_owned();
    let shown = get(&router, &format!("/v1/volume/host/{id}")).await.json();
    assert_eq!(shown["RequestedCapabilities"][0]["AccessMode"], "single-node-writer");
    let names = |path: &str| {
        let (router, path) = (router.clone(), path.to_owned());
        async move {
            let listed = get(&router, &path).await.json();
            listed.as_array().unwrap().iter().map(|row| row["Name"].clone()).collect::<Vec<_>>()
        }
    };
    assert_eq!(names("/v1/volumes?type=host").await, ["data"]);
    assert_eq!(names(&format!("/v1/volumes?type=host&prefix={}", &id[..5])).await, ["data"]);
    assert_eq!(names("/v1/volumes?type=host&prefix=dat&plugin_id=mkdir").await, ["data"]);
    for none in ["", "?type=csi", "?type=host&namespace=other", "?type=host&prefix=zz", "?type=host&node_pool=gpu"] {
        assert!(names(&format!("/v1/volumes{none}")).await.is_empty(), "{none}");
    }
    assert_eq!(get(&router, "/v1/volumes?type=tape").await.status, 404);
    assert_eq!(get(&router, &format!("/v1/volume/host/{id}?namespace=other")).await.status, 404);
    let removed = send(&router, Method::DELETE, &format!("/v1/volume/host/{id}?force=true"), "").await;
    assert_eq!(removed.status, 200, "{}", removed.body);
    assert_eq!(get(&router, &format!("/v1/volume/host/{id}")).await.status, 404);
}

#[tokio::test]
async fn a_volume_that_cannot_be_is_refused_with_the_reason() {
    let router = router(Some(small_cluster()), None);
    for (path, body, told) in [
        ("create", r#"{"Volume":null}"#, "missing volume definition"),
        ("create", r#"{"Volume":{"Name":"../x"}}"#, "volume \"../x\" > name"),
        ("create", r#"{"Volume":{"Name":"x","RequestedCapabilities":[{"AccessMode":"all"}]}}"#, "AccessMode"),
        ("create", r#"{"Volume":{"Name":"x","NodeID":"7"}}"#, "NodeID"),
        ("register", r#"{"Volume":{"Name":"x","HostPath":"/srv"}}"#, "needs a NodeID"),
    ] {
        let answer = put(&router, &format!("/v1/volume/host/{path}"), body).await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.body);
        assert!(answer.body.contains(told), "{body}: {}", answer.body);
    }
    let csi = put(&router, "/v1/volume/csi/x/create", "{}").await;
    assert_eq!((csi.status.as_u16(), csi.body.contains("CSI volumes")), (501, true));
}

#[tokio::test]
async fn claims_are_listed_by_job_and_forgotten() {
    let control = small_cluster();
    control.change(|state| {
        state.put_volume(host_volume(7, "data"));
        state.claims.push(Arc::new(VolumeClaim {
            id: VolumeClaimId::from_uuid(Uuid::from_u128(9)),
            job: JobKey::new(&"default".into(), &"web".into()),
            group: "web".into(),
            index: 0,
            alloc_id: AllocId::default(),
            volume_id: HostVolumeId::from_uuid(Uuid::from_u128(7)),
            volume_name: "data".into(),
            create_index: StateIndex(1),
            modify_index: StateIndex(1),
        }));
    });
    let router = router(Some(control), None);
    let claims = get(&router, "/v1/volumes/claims?job_id=web&volume_name=data").await.json();
    assert_eq!((&claims[0]["TaskGroupName"], &claims[0]["JobID"]), (&json!("web"), &json!("web")));
    assert_eq!(get(&router, "/v1/volumes/claims?job_id=other").await.json(), json!([]));
    let path = format!("/v1/volumes/claim/{}", claims[0]["ID"].as_str().unwrap());
    assert_eq!(send(&router, Method::DELETE, &path, "").await.status, 200);
    assert_eq!(send(&router, Method::DELETE, &path, "").await.status, 404);
}

#[tokio::test]
async fn what_servers_ask_of_a_node_about_volumes_nobody_else_may() {
    let router = router(Some(small_cluster()), None);
    let path = format!("/v1/client/host-volume/{}", Uuid::from_u128(7));
    assert_eq!(put(&router, &path, "{}").await.status, 404);
    assert_eq!(send(&router, Method::DELETE, &path, "").await.status, 404);
}
