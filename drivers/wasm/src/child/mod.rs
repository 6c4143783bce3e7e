//! The process's half: one mode compiles into the cache, one runs a task.
//!
//! Read in this order: `compile`; `run`, `confine`, `grants`, `memory`, `clock`; `program` or `server`; `sockets`, `egress`.

mod clock;
mod compile;
mod confine;
mod egress;
mod grants;
mod memory;
mod outcome;
mod program;
mod run;
mod server;
mod sockets;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

/// The first argument of the agent's program where it is a task's process, or compiles for one.
pub const CHILD: &str = "__wasm";
/// The second one where it runs a task; the directory of the run follows.
pub(crate) const RUN: &str = "run";
/// Where it compiles its standard input; an order follows.
pub(crate) const COMPILE: &str = "compile";
/// Where it tells which engine it has; the kind of code follows.
pub(crate) const IDENTIFY: &str = "identify";

/// Does what the arguments behind [`CHILD`] say, to the end of the process.
///
/// To be called before any thread exists, when the first argument is [`CHILD`].
pub fn child_main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(2).collect();
    let told = match args.as_slice() {
        [mode, dir] if mode == RUN => return run::run(Path::new(dir)),
        [mode, order] if mode == COMPILE => compile::compile(&order.to_string_lossy()),
        [mode, order] if mode == IDENTIFY => compile::identify(&order.to_string_lossy()),
        _ => Err(format!("{CHILD} is for the agent's own use")),
    };
    match told {
        Ok(text) => write(std::io::stdout(), &text),
        Err(text) => {
            write(std::io::stderr(), &text);
            ExitCode::FAILURE
        }
    }
}

/// Writes all of `text` and a line break, without a buffer.
fn write(to: impl std::os::fd::AsFd, text: &str) -> ExitCode {
    let line = format!("{text}\n");
    let mut rest = line.as_bytes();
    while !rest.is_empty() {
        match rustix::io::write(&to, rest) {
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return ExitCode::FAILURE,
        }
    }
    ExitCode::SUCCESS
}
