//! `orch version`.

use super::DONE;
use crate::terminal;

/// The version of this build.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(super) fn run() -> u8 {
    terminal::line(format!("orch v{VERSION}"));
    DONE
}
