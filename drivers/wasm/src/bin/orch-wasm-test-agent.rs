//! The bare supervisor, and the process of a Wasm task, for the integration tests and the benchmark of this crate.

use std::process::ExitCode;

use orch_supervisor::{SupervisorArgs, run_supervisor};

#[expect(clippy::print_stderr, reason = "a program tells its errors there")]
fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|first| first == orch_driver_wasm::CHILD) {
        return orch_driver_wasm::child_main();
    }
    let args = SupervisorArgs::parse(std::env::args_os().skip(1)).map_err(Box::<dyn std::error::Error>::from);
    match args.and_then(|args| run_supervisor(args).map_err(Into::into)) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
