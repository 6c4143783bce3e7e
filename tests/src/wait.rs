//! Waiting for a state, with a deadline and a dump of the state when it does not come.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// How often a state is looked at.
const INTERVAL: Duration = Duration::from_millis(20);

/// Looks until `state` returns `Ok`, and returns that; `Err` holds what was seen instead.
///
/// # Panics
///
/// Once `within` is over, with `what` and the last thing seen.
#[track_caller]
pub fn wait_for<T, E: Display>(what: &str, within: Duration, state: impl FnMut() -> Result<T, E>) -> T {
    match wait_within(within, state) {
        Ok(value) => value,
        Err(seen) => panic!("waited {} s in vain for this: {what}\nlast seen: {seen}", within.as_secs_f32()),
    }
}

/// The same for those who can say more about the failure: the last thing seen is the error.
pub fn wait_within<T, E>(within: Duration, mut state: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    let deadline = Instant::now() + within;
    loop {
        match state() {
            Ok(value) => return Ok(value),
            Err(seen) if Instant::now() >= deadline => return Err(seen),
            Err(_) => std::thread::sleep(INTERVAL),
        }
    }
}

/// `Ok` if `holds`, else what `seen` says.
pub fn that<T: Display>(holds: bool, seen: impl FnOnce() -> T) -> Result<(), T> {
    if holds { Ok(()) } else { Err(seen()) }
}
