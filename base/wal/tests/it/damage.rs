use orch_wal::testing::FaultDisk;
use orch_wal::{Error, LogDisk};

use crate::{append, contents, open, payload};

/// A log of several segments, each record in a batch of its own.
fn log_on_disk() -> (FaultDisk, Vec<String>) {
    let disk = FaultDisk::new(9);
    let (log, _) = open(&disk).unwrap();
    for index in 0..60 {
        append(&log, vec![(index, payload(index, 1, 400))]).unwrap();
    }
    log.close();
    let mut segments: Vec<_> = disk.list().unwrap().into_iter().filter(|name| name.ends_with(".seg")).collect();
    segments.sort();
    assert!(segments.len() >= 3);
    (disk, segments)
}

fn end_of_batches(disk: &FaultDisk, name: &str) -> u64 {
    let bytes = disk.content(name).unwrap();
    let mark = 40;
    (bytes.iter().rposition(|byte| *byte != 0).unwrap() as u64 + 1).next_multiple_of(8) - mark
}

#[test]
fn a_flipped_bit_in_any_segment_is_an_error_that_names_it() {
    let (disk, segments) = log_on_disk();
    for name in [&segments[0], &segments[segments.len() / 2], &segments[segments.len() - 1]] {
        let end = end_of_batches(&disk, name);
        for byte in (0..end).step_by(37).chain([end - 60]) {
            let copy = disk.restart();
            copy.flip_bit(name, byte, u32::try_from(byte % 8).unwrap());
            match open(&copy) {
                Err(error @ Error::Damaged { .. }) => {
                    let text = error.to_string();
                    assert!(text.contains(name.as_str()), "flip in {name} at {byte}: {text}");
                }
                Err(other) => panic!("flip in {name} at {byte}: {other}"),
                // The header block is padded, and so are records: those bytes carry nothing.
                Ok((log, _)) => assert_eq!(contents(&log).len(), 60, "flip in {name} at {byte} went unnoticed"),
            }
        }
    }
}

#[test]
fn damage_found_while_running_is_an_error_of_that_read() {
    let (disk, segments) = log_on_disk();
    let (log, _) = open(&disk).unwrap();
    disk.flip_bit(&segments[0], 512 + 40 + 100, 1);
    let error = log.read(0..1, None).unwrap_err();
    assert!(matches!(&error, Error::Damaged { offset: 552, .. }), "{error}");
    assert_eq!(log.read(5..6, None).unwrap().len(), 1);
}

#[test]
fn a_missing_segment_or_cell_is_an_error_that_names_it() {
    let (disk, segments) = log_on_disk();
    for name in [&segments[1], "vote", "meta"] {
        let copy = disk.restart();
        copy.remove(name).unwrap();
        let error = open(&copy).unwrap_err();
        assert!(matches!(&error, Error::Missing { path } if path.ends_with(name)), "{error}");
    }
    let copy = disk.restart();
    copy.remove(&segments[0]).unwrap();
    let error = open(&copy).unwrap_err().to_string();
    assert!(error.contains("records 0 to"), "{error}");
}

#[test]
fn files_of_a_newer_version_are_refused_by_name() {
    for name in ["log-000000000001.seg", "vote"] {
        let (disk, _) = log_on_disk();
        let (log, _) = open(&disk).unwrap();
        crate::wait(|done| log.set_vote(b"x".to_vec(), done)).unwrap();
        log.close();
        let mut content = disk.content(name).unwrap();
        content[5..8].fill(2);
        disk.put(name, content);
        let error = open(&disk).unwrap_err();
        assert!(matches!(&error, Error::Newer { found: 2, .. }), "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn a_segment_of_another_log_is_refused() {
    let (disk, segments) = log_on_disk();
    let (other, _) = log_on_disk();
    disk.put(&segments[1], other.content(&segments[1]).unwrap());
    let error = open(&disk).unwrap_err().to_string();
    assert!(error.contains("belongs to another log"), "{error}");
}
