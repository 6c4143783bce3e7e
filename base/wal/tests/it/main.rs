//! The log and the journal on a disk that loses power, lies, fills up and decays.

#![allow(clippy::unwrap_used, reason = "tests")]

mod crash;
mod damage;
mod failure;
mod journal;
mod log;

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use orch_wal::testing::FaultDisk;
use orch_wal::{Done, Error, Log, Options, Recovery};

fn tiny() -> Options {
    Options { segment_bytes: 8 << 10, grow_bytes: 2 << 10, tail_bytes: 1 << 10, queue_bytes: 64 << 10, on_fatal: None }
}

fn open(disk: &FaultDisk) -> Result<(Log, Recovery), Error> {
    Log::open(Arc::new(disk.clone()), tiny())
}

fn done() -> (Done, Receiver<io::Result<()>>) {
    let (sender, receiver) = channel();
    (Box::new(move |outcome| drop(sender.send(outcome))), receiver)
}

/// What a call with a callback came to.
fn wait(call: impl FnOnce(Done)) -> io::Result<()> {
    let (done, outcome) = done();
    call(done);
    outcome.recv().unwrap()
}

fn append(log: &Log, records: Vec<(u64, Vec<u8>)>) -> io::Result<()> {
    let (done, outcome) = done();
    log.append(records, done)?;
    outcome.recv().unwrap()
}

fn contents(log: &Log) -> Vec<(u64, Vec<u8>)> {
    log.read(0..u64::MAX, None).unwrap().into_iter().map(|(index, bytes)| (index, bytes.to_vec())).collect()
}

/// A payload that tells which record and which attempt wrote it.
fn payload(index: u64, attempt: u64, length: usize) -> Vec<u8> {
    let mut bytes = format!("{index}/{attempt}/").into_bytes();
    let filler = u8::try_from(attempt % 251).unwrap();
    bytes.resize(bytes.len().max(length), filler);
    bytes
}
