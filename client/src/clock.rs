//! The agent's clock: wall time when it started, moved on by a clock that never jumps.

use std::time::{SystemTime, UNIX_EPOCH};

use orch_model::Timestamp;
use tokio::time::Instant;

/// Tells the time; a change of the machine's clock does not move deadlines.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    wall: Timestamp,
    start: Instant,
}

impl Clock {
    /// A clock that begins at the machine's time.
    pub(crate) fn start() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { wall: Timestamp(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)), start: Instant::now() }
    }

    /// The time now.
    pub(crate) fn now(&self) -> Timestamp {
        self.wall.plus(self.start.elapsed().into())
    }

    /// When `at` comes, for a sleep.
    pub(crate) fn instant(&self, at: Timestamp) -> Instant {
        self.start + at.since(self.wall).to_std()
    }
}
