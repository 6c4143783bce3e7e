use std::collections::BTreeMap;
use std::sync::Arc;

use orch_wal::testing::{Fault, FaultDisk};
use orch_wal::{Damage, Error, Journal, JournalOptions, LogDisk};
use proptest::prelude::*;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

fn options() -> JournalOptions {
    JournalOptions { garbage_bytes: 4 << 10, grow_bytes: 1 << 10, ..JournalOptions::new("state") }
}

fn open(disk: &FaultDisk) -> (Journal, Vec<Damage>) {
    Journal::open(Arc::new(disk.clone()), options()).unwrap()
}

fn map(journal: &Journal) -> Map {
    journal.iter().map(|(key, value)| (key, value.unwrap())).collect()
}

fn ten_keys(disk: &FaultDisk) -> Map {
    let (journal, _) = open(disk);
    for version in 0..2_u8 {
        for key in 0..10_u8 {
            journal.put(&[b'k', key], &vec![version; 40 + usize::from(key)]).unwrap();
        }
    }
    journal.sync().unwrap();
    map(&journal)
}

#[test]
fn the_latest_values_survive_restarts_and_rewrites() {
    let disk = FaultDisk::new(1);
    let (journal, damage) = open(&disk);
    assert!(damage.is_empty());
    let mut expected = Map::new();
    for round in 0..2_000_u32 {
        let key = (round % 17).to_le_bytes().to_vec();
        if round % 5 == 4 {
            journal.delete(&key).unwrap();
            expected.remove(&key);
        } else {
            let value = vec![u8::try_from(round % 251).unwrap(); 60];
            journal.put(&key, &value).unwrap();
            expected.insert(key, value);
        }
    }
    let (live, file) = journal.bytes();
    assert!(file < live + 3 * (4 << 10), "{file} bytes for {live} live ones");
    assert_eq!(map(&journal), expected);
    journal.sync().unwrap();
    let (journal, damage) = open(&disk.crash());
    assert!(damage.is_empty(), "{damage:?}");
    assert_eq!(map(&journal), expected);
}

#[test]
fn a_change_outlives_the_process_without_a_sync() {
    let disk = FaultDisk::new(1);
    open(&disk).0.put(b"a", b"1").unwrap();
    assert_eq!(open(&disk.restart()).0.get(b"a").unwrap().as_deref(), Some(&b"1"[..]));
}

#[test]
fn any_flipped_bit_costs_at_most_the_record_it_hits() {
    let disk = FaultDisk::new(1);
    let expected = ten_keys(&disk);
    let size = disk.content("state").unwrap().len() as u64;
    for byte in 0..size {
        let copy = disk.restart();
        copy.flip_bit("state", byte, u32::try_from(byte % 8).unwrap());
        let (journal, damage) = open(&copy);
        let found = map(&journal);
        let differing = expected.iter().filter(|(key, value)| found.get(*key) != Some(value)).count();
        assert!(differing <= 1 && found.len() <= expected.len(), "byte {byte}");
        assert!(differing == 0 || !damage.is_empty(), "byte {byte} was lost without a word");
        journal.put_durable(b"new", b"value").unwrap();
        let (journal, damage) = open(&copy.crash());
        assert!(damage.is_empty(), "damage is reported once: {damage:?}");
        assert_eq!(journal.get(b"new").unwrap().as_deref(), Some(&b"value"[..]));
    }
}

#[test]
fn a_damaged_value_names_its_key() {
    let disk = FaultDisk::new(1);
    let (journal, _) = open(&disk);
    journal.put(b"alloc/1", b"old").unwrap();
    journal.put(b"alloc/1", b"new").unwrap();
    journal.put(b"alloc/2", b"other").unwrap();
    disk.flip_bit("state", 16 + 40 + 24 + 7, 0);
    let (journal, damage) = open(&disk.restart());
    assert_eq!(damage.len(), 1);
    assert!(damage[0].detail.contains("alloc/1") && damage[0].offset == 56, "{damage:?}");
    assert_eq!(journal.get(b"alloc/1").unwrap().as_deref(), Some(&b"old"[..]));
    assert_eq!(journal.get(b"alloc/2").unwrap().as_deref(), Some(&b"other"[..]));
}

#[test]
fn a_file_of_garbage_is_set_aside_and_the_journal_starts() {
    let disk = FaultDisk::new(1);
    for number in 1..3 {
        disk.put("state", vec![0x5a; 5_000]);
        let (journal, damage) = open(&disk);
        assert!(journal.keys().is_empty());
        let aside = format!("state.damaged-{number}");
        assert!(damage.iter().any(|damage| damage.file.ends_with(&aside)), "{damage:?}");
        assert!(disk.list().unwrap().contains(&aside));
        journal.put_durable(b"a", b"1").unwrap();
        drop(journal);
        assert_eq!(open(&disk).0.keys().len(), 1);
        disk.remove("state").unwrap();
    }
}

#[test]
fn a_blank_file_left_by_a_crash_is_begun_anew_without_a_word() {
    let disk = FaultDisk::new(1);
    disk.put("state", vec![0; 1040]);
    let (journal, damage) = open(&disk);
    assert!(damage.is_empty(), "{damage:?}");
    journal.put_durable(b"a", b"1").unwrap();
    assert_eq!(map(&open(&disk.crash()).0).len(), 1);
}

#[test]
fn a_journal_of_a_newer_version_is_refused_by_name() {
    let disk = FaultDisk::new(1);
    ten_keys(&disk);
    let mut content = disk.content("state").unwrap();
    content[5..8].fill(9);
    disk.put("state", content);
    let error = Journal::open(Arc::new(disk), options()).unwrap_err();
    assert!(matches!(error, Error::Newer { found: 9, .. }), "{error}");
}

#[test]
fn a_full_or_failing_disk_is_reported_and_the_journal_goes_on_when_it_recovers() {
    for operation in 0..12 {
        for fault in [Fault::Enospc, Fault::Eio] {
            let disk = FaultDisk::new(operation);
            let mut expected = ten_keys(&disk);
            let (journal, _) = open(&disk);
            disk.fail_after(operation, fault);
            let mut failures = 0;
            for round in 0..20_u8 {
                let value = vec![round; 200];
                match journal.put_durable(b"k", &value) {
                    Ok(()) => drop(expected.insert(b"k".to_vec(), value)),
                    Err(_) => failures += 1,
                }
            }
            assert!(failures <= 1, "one fault fails at most one call");
            let (journal, _) = open(&disk.crash());
            assert_eq!(map(&journal), expected, "operation {operation} {fault:?}");
        }
    }
}

#[test]
fn a_sync_after_a_failed_one_covers_what_that_one_lost() {
    let disk = FaultDisk::new(1);
    let (journal, _) = open(&disk);
    journal.put(b"a", b"1").unwrap();
    disk.fail_after(0, Fault::Eio);
    assert!(journal.sync().is_err());
    journal.put_durable(b"b", b"2").unwrap();
    let expected = Map::from([(b"a".to_vec(), b"1".to_vec()), (b"b".to_vec(), b"2".to_vec())]);
    assert_eq!(map(&open(&disk.crash()).0), expected);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn durable_changes_survive_a_crash_at_any_write(
        seed: u64,
        power_off in 0_u64..150,
        changes in proptest::collection::vec((0_u8..12, 0_usize..400, any::<bool>()), 1..120),
    ) {
        let disk = FaultDisk::new(seed);
        let _ = open(&disk);
        disk.power_off_after(power_off);
        let mut durable = Map::new();
        let mut since: Vec<(Vec<u8>, Option<Vec<u8>>)> = Vec::new();
        if let Ok((journal, _)) = Journal::open(Arc::new(disk.clone()), options()) {
            for (round, (key, length, sync)) in changes.iter().enumerate() {
                let value = (length % 7 != 6).then(|| vec![u8::try_from(round % 256).unwrap(); *length]);
                since.push((vec![*key], value.clone()));
                let outcome = match &value {
                    Some(value) => journal.put(&[*key], value),
                    None => journal.delete(&[*key]),
                };
                if outcome.is_err() || (*sync && journal.sync().is_err()) {
                    break;
                }
                if *sync {
                    for (key, value) in since.drain(..) {
                        match value {
                            Some(value) => drop(durable.insert(key, value)),
                            None => drop(durable.remove(&key)),
                        }
                    }
                }
            }
        }
        let (journal, _) = open(&disk.crash());
        let found = map(&journal);
        for key in durable.keys().chain(found.keys()) {
            let value = found.get(key);
            let later = since.iter().any(|(changed, new)| changed == key && new.as_ref() == value);
            prop_assert!(value == durable.get(key) || later, "key {key:?}");
        }
    }
}
