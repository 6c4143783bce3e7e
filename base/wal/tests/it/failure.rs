use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use orch_wal::testing::{Fault, FaultDisk};
use orch_wal::{Error, Log, Options};

use crate::{append, contents, done, open, payload, tiny, wait};

#[test]
fn the_first_failure_ends_the_log_for_every_caller() {
    for (fault, kind) in [(Fault::Eio, io::ErrorKind::Other), (Fault::Enospc, io::ErrorKind::StorageFull)] {
        for operation in 0..6 {
            let disk = FaultDisk::new(operation);
            let fatal = Arc::new(AtomicUsize::new(0));
            let counter = fatal.clone();
            let on_fatal = Arc::new(move |_: &Error| {
                counter.fetch_add(1, Ordering::SeqCst);
            });
            let options = Options { on_fatal: Some(on_fatal), ..tiny() };
            let (log, _) = Log::open(Arc::new(disk.clone()), options).unwrap();
            append(&log, vec![(0, payload(0, 1, 100))]).unwrap();
            disk.fail_after(operation, fault);
            let failed = (1..100).find_map(|index| append(&log, vec![(index, payload(index, 1, 100))]).err());
            let failed = failed.unwrap();
            assert_eq!(failed.kind(), kind);
            assert!(failed.to_string().starts_with("storage failed: cannot "), "{failed}");
            assert!(matches!(log.read(0..1, None), Err(Error::Failed { .. })));
            assert!(wait(|done| log.sync(done)).unwrap_err().to_string().starts_with("storage failed"));
            assert!(wait(|done| log.set_vote(Vec::new(), done)).is_err());
            let (callback, _) = done();
            assert!(matches!(log.append(vec![(100, Vec::new())], callback), Err(Error::Failed { .. })));
            log.close();
            assert_eq!(fatal.load(Ordering::SeqCst), 1);
        }
    }
}

#[test]
fn what_was_acknowledged_before_a_failure_is_there_after_it() {
    for operation in 0..40 {
        let disk = FaultDisk::new(operation);
        let (log, _) = open(&disk).unwrap();
        disk.fail_after(operation, if operation % 2 == 0 { Fault::Eio } else { Fault::Enospc });
        let acknowledged =
            (0..100).take_while(|index| append(&log, vec![(*index, payload(*index, 1, 500))]).is_ok()).count();
        log.close();
        let (log, _) = open(&disk.crash()).unwrap();
        let found = contents(&log);
        assert!(found.len() >= acknowledged && found.len() <= acknowledged + 1, "operation {operation}");
        assert!(found.iter().all(|(index, bytes)| *bytes == payload(*index, 1, 500)));
    }
}

#[test]
fn calls_after_close_are_refused() {
    let (log, _) = open(&FaultDisk::new(1)).unwrap();
    let other = log.clone();
    log.close();
    let (callback, _) = done();
    assert!(matches!(other.append(vec![(0, Vec::new())], callback), Err(Error::Closed)));
    assert!(wait(|done| other.sync(done)).is_err());
}
