//! How a program ended.

use wasmtime::{Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use super::clock::TimedOut;
use super::memory::OutOfMemory;
use crate::run_dir::End;

/// As of a program that aborts.
const TRAPPED: u8 = 134;
/// As of one that the kernel kills.
const KILLED: u8 = 137;
/// As `timeout` tells it.
const TIMED_OUT: u8 = 124;
/// How much of a backtrace is told, in bytes.
const MAX_MESSAGE: usize = 4096;

/// How the process ends, and what it has to say about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) code: u8,
    pub(super) end: Option<End>,
}

impl Outcome {
    /// An end with an exit code and nothing else to say.
    pub(super) fn exited(code: u8) -> Self {
        Self { code, end: None }
    }

    /// The end of a program that did not return by itself.
    pub(super) fn of(error: &wasmtime::Error) -> Self {
        if let Some(I32Exit(code)) = error.downcast_ref::<I32Exit>() {
            // The kernel, too, keeps the lowest byte only.
            return Self::exited(code.to_le_bytes()[0]);
        }
        let (code, out_of_memory) = if error.downcast_ref::<OutOfMemory>().is_some() {
            (KILLED, true)
        } else if error.downcast_ref::<TimedOut>().is_some() {
            (TIMED_OUT, false)
        } else if error.downcast_ref::<Trap>().is_some() {
            (TRAPPED, false)
        } else {
            (1, false)
        };
        Self { code, end: Some(End { message: describe(error), out_of_memory }) }
    }
}

/// What happened, and where in the program.
pub(super) fn describe(error: &wasmtime::Error) -> String {
    let cause =
        match (error.downcast_ref::<OutOfMemory>(), error.downcast_ref::<TimedOut>(), error.downcast_ref::<Trap>()) {
            (Some(cause), _, _) => cause.to_string(),
            (_, Some(cause), _) => cause.to_string(),
            (_, _, Some(Trap::OutOfFuel)) => "trap: the program used up its fuel".to_owned(),
            (_, _, Some(trap)) => format!("trap: {trap}"),
            (None, None, None) => error.root_cause().to_string(),
        };
    let mut text = match error.downcast_ref::<WasmBacktrace>() {
        Some(backtrace) if !backtrace.frames().is_empty() => format!("{cause}\n{backtrace}"),
        Some(_) | None => cause,
    };
    let end = (0..=MAX_MESSAGE).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.truncate(end);
    text.trim_end().to_owned()
}
