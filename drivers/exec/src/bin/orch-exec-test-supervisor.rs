//! The bare supervisor, and what runs commands inside of its tasks, for the integration tests of this crate.

use std::process::ExitCode;

use orch_supervisor::{SupervisorArgs, enter, run_supervisor};

#[expect(clippy::print_stderr, reason = "a program tells its errors there")]
fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|mode| mode == enter::MODE) {
        return enter::main();
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
