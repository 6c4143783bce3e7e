//! The bare child, for the integration tests of this crate.

use std::process::ExitCode;

fn main() -> ExitCode {
    orch_artifact::child_main()
}
