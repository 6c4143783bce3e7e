use std::io;
use std::sync::mpsc::Receiver;

use orch_wal::Log;
use orch_wal::testing::FaultDisk;
use proptest::prelude::*;

use crate::{append, contents, done, open, payload, wait};

#[derive(Debug, Clone)]
enum Step {
    Append { records: u64, length: usize },
    Truncate { back: u64 },
    Purge { forward: u64 },
    Vote,
    Meta,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (1_u64..8, 0_usize..1500).prop_map(|(records, length)| Step::Append { records, length }),
        1 => (0_u64..10).prop_map(|back| Step::Truncate { back }),
        1 => (0_u64..10).prop_map(|forward| Step::Purge { forward }),
        1 => Just(Step::Vote),
        1 => Just(Step::Meta),
    ];
    proptest::collection::vec(step, 1..40)
}

/// All that a log holds.
#[derive(Debug, Clone, Default, PartialEq)]
struct Model {
    start: u64,
    records: Vec<Vec<u8>>,
    vote: Option<Vec<u8>>,
    meta: Option<Vec<u8>>,
}

impl Model {
    fn next(&self) -> u64 {
        self.start + self.records.len() as u64
    }

    fn of(log: &Log) -> Model {
        let start = log.purged_to().map_or(0, |purged| purged + 1);
        let contents = contents(log);
        for (offset, (index, _)) in contents.iter().enumerate() {
            assert_eq!(*index, start + offset as u64, "indexes are consecutive");
        }
        Model {
            start,
            records: contents.into_iter().map(|(_, bytes)| bytes).collect(),
            vote: log.vote().map(|vote| vote.to_vec()),
            meta: log.meta().map(|meta| meta.to_vec()),
        }
    }

    /// Does one step here and on the log.
    fn step(&mut self, step: &Step, attempt: u64, log: &Log) -> Option<Receiver<io::Result<()>>> {
        let (callback, outcome) = done();
        match *step {
            Step::Append { records, length } => {
                let next = self.next();
                let batch: Vec<_> =
                    (next..next + records).map(|index| (index, payload(index, attempt, length))).collect();
                self.records.extend(batch.iter().map(|(_, bytes)| bytes.clone()));
                log.append(batch, callback).ok()?;
            }
            Step::Truncate { back } => {
                let next = self.next().saturating_sub(back).max(self.start);
                self.records.truncate(usize::try_from(next - self.start).unwrap());
                log.truncate_after(next.checked_sub(1), callback);
            }
            Step::Purge { forward } => {
                let start = self.start + forward;
                let gone = usize::try_from(forward).unwrap().min(self.records.len());
                self.records.drain(..gone);
                self.start = start;
                if start > 0 {
                    log.purge_to(start - 1, callback);
                } else {
                    log.sync(callback);
                }
            }
            Step::Vote => {
                self.vote = Some(attempt.to_string().into_bytes());
                log.set_vote(attempt.to_string().into_bytes(), callback);
            }
            Step::Meta => {
                self.meta = Some(attempt.to_string().into_bytes());
                log.set_meta(attempt.to_string().into_bytes(), callback);
            }
        }
        Some(outcome)
    }
}

/// Runs the steps until the power fails; gives the states after each, and how many of them were acknowledged.
fn run(disk: &FaultDisk, before: Model, steps: &[Step], pipelined: bool, first_attempt: u64) -> (Vec<Model>, usize) {
    let mut states = vec![before.clone()];
    let Ok((log, _)) = open(disk) else { return (states, 0) };
    let mut model = before;
    let mut outcomes = Vec::new();
    for (attempt, step) in (first_attempt..).zip(steps) {
        let Some(outcome) = model.step(step, attempt, &log) else {
            states.push(model.clone());
            break;
        };
        states.push(model.clone());
        if pipelined {
            outcomes.push(outcome);
        } else if outcome.recv().unwrap().is_ok() {
            outcomes.push(ok());
        } else {
            break;
        }
    }
    log.close();
    let acknowledged = outcomes.into_iter().take_while(|outcome| matches!(outcome.recv(), Ok(Ok(())))).count();
    (states, acknowledged)
}

fn ok() -> Receiver<io::Result<()>> {
    let (callback, outcome) = done();
    callback(Ok(()));
    outcome
}

/// What was recovered is one of the states that the steps went through, not before the last acknowledged one.
fn check(found: &Model, states: &[Model], acknowledged: usize) -> Result<(), TestCaseError> {
    let reachable = &states[acknowledged..];
    prop_assert!(reachable.contains(found), "found {found:?}\nacknowledged {acknowledged}\nstates {reachable:?}");
    Ok(())
}

/// What a disk holds; the same again after a crash right then, and after an orderly end.
fn recovered(disk: &FaultDisk) -> Result<Model, TestCaseError> {
    let reopen = |disk: &FaultDisk| open(disk).map_err(|e| TestCaseError::fail(e.to_string()));
    let (log, _) = reopen(disk)?;
    let found = Model::of(&log);
    prop_assert_eq!(&Model::of(&reopen(&disk.crash())?.0), &found, "what was read is durable");
    log.close();
    let (log, recovery) = reopen(&disk.restart())?;
    prop_assert_eq!(&recovery.torn, &None, "a torn end is cut once");
    prop_assert_eq!(&Model::of(&log), &found);
    log.close();
    Ok(found)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, ..ProptestConfig::default() })]

    #[test]
    fn a_crash_at_any_write_loses_nothing_acknowledged_and_invents_nothing(
        seed: u64,
        rounds in proptest::collection::vec((steps(), 0_u64..120, any::<bool>(), any::<bool>()), 1..4),
    ) {
        let mut disk = FaultDisk::new(seed);
        let mut before = Model::default();
        for (round, (steps, power_off, pipelined, killed)) in rounds.iter().enumerate() {
            disk.power_off_after(*power_off);
            let (states, acknowledged) = run(&disk, before, steps, *pipelined, round as u64 * 1000);
            // A kill of the process loses nothing, but leaves it unsynced.
            disk = if *killed { disk.restart() } else { disk.crash() };
            let found = recovered(&disk)?;
            check(&found, &states, acknowledged)?;
            before = found;
        }
    }
}

#[test]
fn every_write_boundary_of_a_fixed_workload_recovers() {
    let steps: Vec<Step> = (0..30_u64)
        .map(|step| match step % 10 {
            3 => Step::Truncate { back: 3 },
            6 => Step::Vote,
            7 => Step::Meta,
            8 => Step::Purge { forward: 5 },
            _ => Step::Append { records: 1 + step % 4, length: 700 },
        })
        .collect();
    for boundary in 0..140 {
        for seed in 0..4 {
            let disk = FaultDisk::new(seed * 1000 + boundary);
            disk.power_off_after(boundary);
            let (states, acknowledged) = run(&disk, Model::default(), &steps, false, 0);
            let (log, _) = open(&disk.crash()).unwrap_or_else(|e| panic!("boundary {boundary} seed {seed}: {e}"));
            check(&Model::of(&log), &states, acknowledged).unwrap();
        }
    }
}

#[test]
fn lost_syncs_are_an_error_where_later_writes_prove_them_and_never_wrong_records() {
    let mut detected = 0;
    for seed in 0..100 {
        let disk = FaultDisk::new(seed);
        let (log, _) = open(&disk).unwrap();
        append(&log, vec![(0, payload(0, 1, 600))]).unwrap();
        disk.lose_syncs(true);
        for index in 1..20 {
            append(&log, vec![(index, payload(index, 1, 600))]).unwrap();
        }
        wait(|done| log.sync(done)).unwrap();
        match open(&disk.crash()) {
            Err(error) => {
                assert!(error.to_string().contains("log-0000"), "{error}");
                detected += 1;
            }
            Ok((log, _)) => {
                let found = contents(&log);
                assert!(!found.is_empty(), "what was synced before is there");
                for (index, bytes) in found {
                    assert_eq!(bytes, payload(index, 1, 600));
                }
            }
        }
    }
    assert!(detected > 20, "only {detected} of 100 were detected");
}
