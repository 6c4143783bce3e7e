//! Host volumes: made, used, claimed, removed.

use orch_model::job::VolumeRequest;
use orch_model::node::NodeVolume;
use orch_model::plan::Misfit;
use orch_model::volume::{AccessMode, VolumeCapability, VolumeState};
use orch_model::{HostVolume, HostVolumeId};

use super::*;

fn volume(number: u128, name: &str, node: u32, access: AccessMode) -> HostVolume {
    let capabilities = vec![VolumeCapability { access, ..VolumeCapability::default() }];
    HostVolume { node_id: node_id(node), capabilities, ..testing::host_volume(number, name) }
}

fn put(log: &mut Log, volume: &HostVolume, state: VolumeState) -> Reply {
    let volume = HostVolume { state, ..volume.clone() };
    log.apply(Command::PutHostVolume(Box::new(PutHostVolume { volume }))).reply
}

fn make(log: &mut Log, volume: &HostVolume) {
    for state in [VolumeState::Pending, VolumeState::Ready] {
        assert_eq!(put(log, volume, state), Reply::Done);
    }
}

fn step(log: &mut Log, id: HostVolumeId, step: DeleteStep) -> Reply {
    log.apply(Command::DeleteHostVolume(DeleteHostVolume { id, step })).reply
}

fn kind(reply: &Reply) -> Option<RejectionKind> {
    if let Reply::Rejected(rejection) = reply { Some(rejection.kind) } else { None }
}

fn using(id: &str, source: &str, access: AccessMode, sticky: bool) -> Job {
    let mut job = testing::job(id, 4);
    let request = VolumeRequest {
        name: "v".into(),
        r#type: "host".into(),
        source: source.into(),
        read_only: access.is_read_only(),
        sticky,
        access_mode: access.as_str().into(),
        attachment_mode: "file-system".into(),
        ..VolumeRequest::default()
    };
    job.task_groups[0].volumes.insert("v".into(), request);
    job
}

fn misfits(result: &PlanResult) -> Vec<Misfit> {
    refused(result).into_iter().map(|(_, reason)| reason).collect()
}

#[test]
fn a_volume_has_one_writer_where_it_says_so_whatever_interleaves() {
    let mut log = Log::with_nodes(1);
    make(&mut log, &volume(1, "data", 1, AccessMode::SingleNodeSingleWriter));
    for (job, eval) in [("one", 1), ("two", 2)] {
        log.register(using(job, "data", AccessMode::SingleNodeSingleWriter, false), eval);
    }
    let plans = [("one", 1, 11), ("two", 2, 12)].map(|(job, plan, alloc)| {
        let mut made = log.plan(job, plan);
        made.placements = vec![placement(alloc, 0, 1)];
        made
    });
    let results = log.commit_all(plans.into());
    assert_eq!(results.iter().map(misfits).collect::<Vec<_>>(), [vec![], vec![Misfit::Volume]]);
    log.report(11, ClientStatus::Complete);
    assert_eq!(misfits(&log.place("two", 3, &[(13, 1)])), [], "its writer has ended");
}

#[test]
fn volumes_of_the_configuration_are_for_all_who_heed_that_they_are_read_only() {
    let mut log = Log::default();
    let description = testing::node(1).host_volume("data", false).host_volume("certs", true).description();
    log.apply(register_node(1, description));
    log.register(using("writer", "data", AccessMode::SingleNodeSingleWriter, false), 1);
    log.register(using("vandal", "certs", AccessMode::SingleNodeWriter, false), 2);
    log.register(using("reader", "certs", AccessMode::SingleNodeReaderOnly, false), 3);
    assert_eq!(misfits(&log.place("writer", 1, &[(11, 1), (12, 1)])), []);
    assert_eq!(misfits(&log.place("vandal", 2, &[(13, 1)])), [Misfit::Volume]);
    assert_eq!(misfits(&log.place("reader", 3, &[(14, 1)])), []);
}

#[test]
fn the_name_of_a_volume_is_its_own_on_its_node() {
    let mut log = Log::default();
    log.apply(register_node(1, testing::node(1).host_volume("logs", false).description()));
    log.register_node(2);
    let first = volume(1, "data", 1, AccessMode::SingleNodeWriter);
    make(&mut log, &first);
    let taken = put(&mut log, &volume(2, "data", 1, AccessMode::SingleNodeWriter), VolumeState::Pending);
    assert_eq!(kind(&taken), Some(RejectionKind::Conflict));
    let configured = put(&mut log, &volume(2, "logs", 1, AccessMode::SingleNodeWriter), VolumeState::Pending);
    assert_eq!(kind(&configured), Some(RejectionKind::Conflict));
    make(&mut log, &volume(2, "data", 2, AccessMode::SingleNodeWriter));
    let moved = put(&mut log, &HostVolume { node_id: node_id(2), ..first.clone() }, VolumeState::Ready);
    assert_eq!(kind(&moved), Some(RejectionKind::Conflict));
    let nowhere = put(&mut log, &volume(3, "data", 9, AccessMode::SingleNodeWriter), VolumeState::Pending);
    assert_eq!(kind(&nowhere), Some(RejectionKind::NotFound));
    assert_eq!(put(&mut log, &first, VolumeState::Pending), Reply::Done, "delivered again");
    assert_eq!(log.state.host_volume(&first.id).unwrap().state, VolumeState::Ready);
}

#[test]
fn a_volume_follows_its_node() {
    let mut log = Log::with_nodes(1);
    let data = volume(1, "data", 1, AccessMode::SingleNodeWriter);
    make(&mut log, &data);
    let state = |log: &Log| log.state.host_volume(&data.id).unwrap().state;
    let epoch = log.state.node(&node_id(1)).unwrap().session.epoch;
    let describe = |log: &mut Log, id: Option<HostVolumeId>| {
        let mut description = testing::node(1).description();
        if let Some(id) = id {
            let listed = NodeVolume { path: "/v".into(), read_only: false, id: Some(id) };
            description.host_volumes.insert("data".into(), listed);
        }
        let description = Arc::new(description);
        log.apply(Command::DescribeNode(DescribeNode { node_id: node_id(1), epoch, description }))
    };
    describe(&mut log, None);
    assert_eq!(state(&log), VolumeState::Unavailable);
    let other = describe(&mut log, Some(HostVolumeId::default()));
    assert_eq!(state(&log), VolumeState::Unavailable, "another volume of that name");
    assert!(other.changes.freed.contains_key(&node_id(1)), "the node has other volumes than before");
    let back = describe(&mut log, Some(data.id));
    assert_eq!(state(&log), VolumeState::Ready);
    assert!(back.changes.scopes.contains(&crate::Scope::HostVolume(data.id)));
    log.silence(1, epoch, NodeStatus::Down);
    assert_eq!(state(&log), VolumeState::Unavailable);
    log.apply(Command::PurgeNode(PurgeNode { node_id: node_id(1), seed: 1 }));
    log.register_node(1);
    assert_eq!(state(&log), VolumeState::Unavailable);
    let row = log.state.usage().row(&node_id(1)).unwrap();
    assert_eq!(row.dynamic_volume("data").map(|volume| volume.id), Some(data.id));
}

#[test]
fn a_volume_in_use_is_not_removed_and_one_that_is_being_removed_is_not_used() {
    let mut log = Log::with_nodes(1);
    let data = volume(1, "data", 1, AccessMode::SingleNodeWriter);
    make(&mut log, &data);
    log.register(using("db", "data", AccessMode::SingleNodeWriter, true), 1);
    assert_eq!(misfits(&log.place("db", 1, &[(11, 1)])), []);
    let force = DeleteStep::Begin { force: true };
    assert_eq!(kind(&step(&mut log, data.id, force)), Some(RejectionKind::Conflict), "it is in use");
    log.report(11, ClientStatus::Complete);
    let begin = DeleteStep::Begin { force: false };
    assert_eq!(kind(&step(&mut log, data.id, begin)), Some(RejectionKind::Conflict), "it is claimed");
    assert_eq!(kind(&step(&mut log, data.id, DeleteStep::Finish)), Some(RejectionKind::Conflict));
    assert_eq!(step(&mut log, data.id, force), Reply::Done);
    assert_eq!(misfits(&log.place("db", 2, &[(12, 1)])), [Misfit::Volume]);
    assert_eq!(kind(&put(&mut log, &data, VolumeState::Ready)), Some(RejectionKind::Conflict));
    assert_eq!(step(&mut log, data.id, DeleteStep::Abort), Reply::Done);
    assert!(!log.state.host_volume(&data.id).unwrap().deleting);
    assert_eq!(step(&mut log, data.id, force), Reply::Done);
    assert_eq!(step(&mut log, data.id, DeleteStep::Finish), Reply::Done);
    assert_eq!((log.state.host_volumes().count(), log.state.volume_claims().count()), (0, 0));
    assert_eq!(kind(&step(&mut log, data.id, DeleteStep::Finish)), Some(RejectionKind::NotFound));
}

#[test]
fn an_instance_keeps_the_volume_that_it_claims_until_the_claim_or_the_job_is_gone() {
    let mut log = Log::with_nodes(2);
    for node in [1, 2] {
        make(&mut log, &volume(u128::from(node), "data", node, AccessMode::SingleNodeWriter));
    }
    log.register(using("db", "data", AccessMode::SingleNodeWriter, true), 1);
    assert_eq!(misfits(&log.place("db", 1, &[(11, 1)])), []);
    log.report(11, ClientStatus::Failed);
    assert_eq!(misfits(&log.place("db", 2, &[(12, 2)])), [Misfit::Volume], "not on the other node");
    assert_eq!(misfits(&log.place("db", 3, &[(13, 1)])), []);
    let claim = |log: &Log| log.state.volume_claims().next().cloned();
    let known = claim(&log).unwrap();
    assert_eq!(known.alloc_id, alloc_id(13), "the claim goes over to the replacement");
    log.report(13, ClientStatus::Failed);
    assert_eq!(log.apply(Command::DeleteVolumeClaim(DeleteVolumeClaim { id: known.id })).reply, Reply::Done);
    assert_eq!(misfits(&log.place("db", 4, &[(14, 2)])), []);
    assert_eq!(claim(&log).unwrap().volume_id, HostVolumeId::from_uuid(Uuid::from_u128(2)));
    log.apply(deregister("db", true, 5));
    assert_eq!(claim(&log), None);
}
