//! What concerns the cluster as a whole: its id, its version, its clock.

use orch_model::ids::ClusterId;

use super::*;

#[test]
fn a_cluster_is_formed_once() {
    let mut log = Log::default();
    let form =
        |id| Command::FormCluster(FormCluster { cluster_id: ClusterId::from_uuid(Uuid::from_u128(id)), version: 3 });
    assert_eq!(log.apply(form(1)).reply, Reply::Done);
    assert_eq!(log.apply(form(1)).reply, Reply::Done);
    assert_eq!(rejected(&log.apply(form(2))), Some(RejectionKind::Conflict));
    assert_eq!(log.state.meta().cluster_id.unwrap().as_uuid().as_u128(), 1);
    assert_eq!(log.state.meta().version, 3);
}

#[test]
fn the_cluster_version_never_falls() {
    let mut log = Log::default();
    for (raised, version) in [(2, 2), (1, 2), (5, 5)] {
        log.apply(Command::RaiseVersion(RaiseVersion { version: raised }));
        assert_eq!(log.state.meta().version, version);
    }
}

#[test]
fn time_never_goes_back_whatever_leaders_stamp() {
    let mut state = State::default();
    for (index, stamp, now) in [(1, 10, 10), (2, 5, 10), (3, 11, 11)] {
        let command = Command::RaiseVersion(RaiseVersion { version: 1 });
        let entry = Entry { rules: RULES, stamp: Timestamp(stamp), command };
        assert_eq!(apply(&mut state, index, &entry).index, StateIndex(index));
        assert_eq!(state.now(), Timestamp(now));
    }
}
