//! The user's terminal: handing over every key as it is pressed, and its size.

use std::io;

use anyhow::Context as _;
use orch_api::TtySize;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// A terminal that hands over every key as it is pressed. Dropping it, also while panicking, makes it as it was.
#[derive(Debug)]
pub(super) struct RawMode {
    before: Termios,
}

impl RawMode {
    /// Changes the terminal that the standard input is.
    pub(super) fn enter() -> anyhow::Result<Self> {
        let before = tcgetattr(io::stdin()).context("cannot read the terminal's settings")?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw).context("cannot change the terminal's settings")?;
        Ok(Self { before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // A terminal that has gone needs nothing.
        let _gone = tcsetattr(io::stdin(), OptionalActions::Drain, &self.before);
    }
}

/// The size of the terminal, if there is one.
pub(super) fn size() -> Option<TtySize> {
    let size = tcgetwinsize(io::stdout()).or_else(|_| tcgetwinsize(io::stdin())).ok()?;
    let (height, width) = (i64::from(size.ws_row), i64::from(size.ws_col));
    (height > 0 && width > 0).then_some(TtySize { height, width })
}
