//! The process that fetches: it gives up its rights, then does as it is told, then says how that went.

mod confine;
mod digest;
mod git;
mod http;
mod local;
mod s3;
mod work;

use std::io::{self, BufRead, Read, Write};
use std::process::ExitCode;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::getpgrp;

use crate::order::{Failure, FailureKind, Order, Report};

/// No order is longer.
const LONGEST: u64 = 16 * 1024 * 1024;

/// The whole life of the child. The program calls it for the argument [`crate::CHILD`], before it has any thread.
///
/// It reads one order from its standard input and writes one report to its standard output. When its input ends
/// before that, whoever started it is gone, and it ends with all that it started.
pub fn child_main() -> ExitCode {
    let report = match read() {
        Ok(order) => carry_out(&order),
        Err(failure) => Report { notes: Vec::new(), result: Err(failure) },
    };
    let written = serde_json::to_vec(&report).map_err(io::Error::from).and_then(|mut line| {
        line.push(b'\n');
        io::stdout().write_all(&line)
    });
    if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn read() -> Result<Order, Failure> {
    let mut line = String::new();
    io::stdin().lock().take(LONGEST).read_line(&mut line).map_err(Failure::local("cannot read its order"))?;
    serde_json::from_str(&line).map_err(|error| Failure::new(FailureKind::Local, format!("it has no order ({error})")))
}

fn carry_out(order: &Order) -> Report {
    let mut notes = Vec::new();
    let result = confine::confine(order, &mut notes).and_then(|()| {
        end_with_the_agent()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(Failure::local("cannot start its runtime"))?.block_on(work::carry_out(order))
    });
    Report { notes, result }
}

/// Watches the input from a thread of its own, which no work can keep from noticing.
fn end_with_the_agent() -> Result<(), Failure> {
    let watch = || {
        let mut rest = [0; 64];
        while io::stdin().lock().read(&mut rest).is_ok_and(|count| count > 0) {}
        // This process too.
        if killpg(getpgrp(), Signal::SIGKILL).is_err() {
            std::process::abort();
        }
    };
    std::thread::Builder::new()
        .name("watch".into())
        .spawn(watch)
        .map(drop)
        .map_err(Failure::local("cannot start a thread"))
}
