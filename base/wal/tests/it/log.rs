use std::sync::Arc;

use orch_wal::testing::FaultDisk;
use orch_wal::{Error, Log, Options, RealDisk};

use crate::{append, contents, done, open, payload, tiny, wait};

fn fill(log: &Log, from: u64, to: u64, attempt: u64) {
    for index in from..to {
        append(log, vec![(index, payload(index, attempt, 300))]).unwrap();
    }
}

#[test]
fn records_are_readable_before_they_are_durable_and_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(RealDisk::open(dir.path()).unwrap());
    let (log, recovery) = Log::open(disk.clone(), Options::small()).unwrap();
    assert_eq!(recovery.indexes, None);
    let (callback, outcome) = done();
    log.append(vec![(0, b"a".to_vec()), (1, b"b".to_vec())], callback).unwrap();
    let expected = vec![(0, b"a".to_vec()), (1, b"b".to_vec())];
    assert_eq!(contents(&log), expected);
    outcome.recv().unwrap().unwrap();
    wait(|done| log.set_vote(b"term 3".to_vec(), done)).unwrap();
    wait(|done| log.set_meta(b"purged nothing".to_vec(), done)).unwrap();
    log.close();

    let (log, recovery) = Log::open(disk, Options::small()).unwrap();
    assert_eq!((recovery.indexes, recovery.torn), (Some((0, 1)), None));
    assert_eq!(contents(&log), expected);
    assert_eq!(log.vote().as_deref(), Some(&b"term 3"[..]));
    assert_eq!(log.meta().as_deref(), Some(&b"purged nothing"[..]));
}

#[test]
fn a_directory_serves_one_process_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let first = RealDisk::open(dir.path()).unwrap();
    assert!(matches!(RealDisk::open(dir.path()), Err(Error::InUse { .. })));
    drop(first);
    RealDisk::open(dir.path()).unwrap();
}

#[test]
fn a_truncated_record_is_replaced_and_does_not_come_back() {
    let disk = FaultDisk::new(1);
    let (log, _) = open(&disk).unwrap();
    fill(&log, 1, 60, 1);
    wait(|done| log.truncate_after(Some(20), done)).unwrap();
    assert_eq!(log.last_index(), Some(20));
    fill(&log, 21, 30, 2);
    let expected: Vec<_> = (1..30).map(|index| (index, payload(index, if index < 21 { 1 } else { 2 }, 300))).collect();
    assert_eq!(contents(&log), expected);
    log.close();
    let (log, recovery) = open(&disk.crash()).unwrap();
    assert_eq!(recovery.indexes, Some((1, 29)));
    assert_eq!(contents(&log), expected);
    wait(|done| log.truncate_after(None, done)).unwrap();
    assert_eq!((log.first_index(), log.last_index(), log.bytes()), (None, None, 0));
}

#[test]
fn purging_frees_whole_segments_and_the_bounds_survive_a_crash() {
    let disk = FaultDisk::new(2);
    let (log, _) = open(&disk).unwrap();
    fill(&log, 1, 200, 1);
    let before = open_segments(&disk);
    wait(|done| log.purge_to(150, done)).unwrap();
    let after = open_segments(&disk);
    assert!(after + 5 < before, "{before} segments became {after}");
    let (log, _) = open(&disk.crash()).unwrap();
    assert_eq!((log.first_index(), log.last_index(), log.purged_to()), (Some(151), Some(199), Some(150)));
    assert_eq!(contents(&log).len(), 49);

    wait(|done| log.purge_to(500, done)).unwrap();
    assert_eq!((log.first_index(), log.last_index(), log.purged_to()), (None, None, Some(500)));
    let (callback, _) = done();
    assert!(matches!(
        log.append(vec![(500, Vec::new())], callback),
        Err(Error::NotConsecutive { expected: 501, found: 500 })
    ));
    fill(&log, 501, 520, 3);
    assert_eq!(contents(&log).len(), 19);
}

fn open_segments(disk: &FaultDisk) -> usize {
    orch_wal::LogDisk::list(disk).unwrap().iter().filter(|name| name.ends_with(".seg")).count()
}

#[test]
fn a_record_larger_than_a_segment_gets_a_larger_segment() {
    let disk = FaultDisk::new(3);
    let (log, _) = open(&disk).unwrap();
    let large = payload(1, 1, 100_000);
    append(&log, vec![(0, b"small".to_vec()), (1, large.clone()), (2, b"after".to_vec())]).unwrap();
    log.close();
    let (log, _) = open(&disk).unwrap();
    assert_eq!(log.read(1..2, None).unwrap()[0].1.to_vec(), large);
    append(&log, vec![(3, large)]).unwrap();
    assert_eq!(log.last_index(), Some(3));
}

#[test]
fn a_read_stops_at_its_byte_limit_but_gives_at_least_one_record() {
    let disk = FaultDisk::new(4);
    let (log, _) = open(&disk).unwrap();
    fill(&log, 0, 50, 1);
    let count = |range, limit| log.read(range, Some(limit)).unwrap().len();
    assert_eq!((count(0..50, 1), count(0..50, 900), count(45..50, 1_000_000), count(60..70, 10)), (1, 3, 5, 0));
    let record = log.bytes() / 50;
    assert_eq!(log.oldest_within(record * 10), 40);
    assert_eq!(log.oldest_within(0), 50);
}

#[test]
fn appends_that_do_not_continue_the_log_are_refused_whole() {
    let (log, _) = open(&FaultDisk::new(5)).unwrap();
    fill(&log, 7, 9, 1);
    for wrong in [vec![(10, Vec::new())], vec![(8, Vec::new())], vec![(9, Vec::new()), (11, Vec::new())]] {
        let (callback, outcome) = done();
        assert!(matches!(log.append(wrong, callback), Err(Error::NotConsecutive { .. })));
        assert!(outcome.recv().is_err(), "the callback of a refused append is never called");
    }
    assert_eq!(log.last_index(), Some(8));
}

#[test]
fn a_full_queue_lets_appenders_wait_and_loses_nothing() {
    let disk = FaultDisk::new(6);
    let options = Options { queue_bytes: 2_000, ..tiny() };
    let (log, _) = Log::open(Arc::new(disk.clone()), options).unwrap();
    let outcomes: Vec<_> = (0..100)
        .map(|index| {
            let (callback, outcome) = done();
            log.append(vec![(index, payload(index, 1, 700))], callback).unwrap();
            outcome
        })
        .collect();
    log.close();
    assert!(outcomes.into_iter().all(|outcome| outcome.recv().unwrap().is_ok()));
    let (log, _) = open(&disk.crash()).unwrap();
    assert_eq!(contents(&log).len(), 100);
}

#[test]
fn appends_that_wait_together_share_one_commit() {
    let disk = FaultDisk::new(7);
    let (log, _) = Log::open(Arc::new(disk.clone()), Options::small()).unwrap();
    let (hold, held) = std::sync::mpsc::channel::<()>();
    // The callback keeps the writer busy until all others are in the queue.
    log.append(vec![(0, Vec::new())], Box::new(move |_| held.recv().unwrap())).unwrap();
    let outcomes: Vec<_> = (1..200)
        .map(|index| {
            let (callback, outcome) = done();
            log.append(vec![(index, payload(index, 1, 50))], callback).unwrap();
            outcome
        })
        .collect();
    let before = disk.operations();
    hold.send(()).unwrap();
    assert!(outcomes.into_iter().all(|outcome| outcome.recv().unwrap().is_ok()));
    log.close();
    let spent = disk.operations() - before;
    assert!(spent <= 8, "{spent} writes and syncs for two commits and two flush marks");
}

#[test]
fn records_beyond_the_cache_are_read_from_memory_until_they_are_durable() {
    let disk = FaultDisk::new(8);
    let (log, _) = Log::open(Arc::new(disk), Options { tail_bytes: 0, ..Options::default() }).unwrap();
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let (hold_first, held_first) = std::sync::mpsc::channel::<()>();
    let (reached, first_durable) = std::sync::mpsc::channel::<()>();
    log.append(vec![(0, Vec::new())], Box::new(move |_| held.recv().unwrap())).unwrap();
    // Together they are more than one batch, so the callback of the first runs while the second is not yet written.
    let first = Box::new(move |_| {
        reached.send(()).unwrap();
        held_first.recv().unwrap();
    });
    log.append(vec![(1, payload(1, 1, 3 << 20))], first).unwrap();
    let (callback, outcome) = done();
    log.append(vec![(2, payload(2, 1, 3 << 20))], callback).unwrap();
    hold.send(()).unwrap();
    first_durable.recv().unwrap();
    assert!(contents(&log)[1..] == [(1, payload(1, 1, 3 << 20)), (2, payload(2, 1, 3 << 20))]);
    assert!(outcome.try_recv().is_err(), "the second is not durable yet");
    hold_first.send(()).unwrap();
    outcome.recv().unwrap().unwrap();
    assert!(contents(&log)[2..] == [(2, payload(2, 1, 3 << 20))]);
}
