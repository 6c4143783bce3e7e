//! What a test's agent starts to fetch artifacts, in place of the whole program.

use std::process::ExitCode;

fn main() -> ExitCode {
    orch_artifact::child_main()
}
