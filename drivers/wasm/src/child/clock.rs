//! Interrupting programs: those whose time is over, and those that keep others from their turn.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use wasmtime::{Engine, Store, UpdateDeadline};

/// How long a program may keep its thread while others wait for it, and how late the end of its time is noticed.
pub(super) const TICK: Duration = Duration::from_millis(10);

/// Lets an engine's programs look up now and then, as long as any runs: a process that waits is not woken.
#[derive(Debug, Clone)]
pub(super) struct Ticker {
    running: Arc<(Mutex<usize>, Condvar)>,
}

impl Ticker {
    /// Starts the thread that ticks. It ends with the process.
    pub(super) fn start(engine: &Engine) -> std::io::Result<Self> {
        let running: Arc<(Mutex<usize>, Condvar)> = Arc::default();
        let (shared, engine) = (Arc::clone(&running), engine.clone());
        std::thread::Builder::new().name("ticker".to_owned()).stack_size(64 << 10).spawn(move || {
            let (count, begins) = &*shared;
            loop {
                let count = count.lock().unwrap_or_else(PoisonError::into_inner);
                drop(begins.wait_while(count, |count| *count == 0).unwrap_or_else(PoisonError::into_inner));
                std::thread::sleep(TICK);
                engine.increment_epoch();
            }
        })?;
        Ok(Self { running })
    }

    /// Ends the program of `store` at `deadline`; lets others have their turn before. For as long as what is returned lives.
    pub(super) fn watch<T: 'static>(&self, store: &mut Store<T>, limit: Duration) -> Watch {
        let deadline = Instant::now().checked_add(limit);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(move |_| {
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(TimedOut { limit }.into());
            }
            Ok(UpdateDeadline::Yield(1))
        });
        let (count, begins) = &*self.running;
        let mut count = count.lock().unwrap_or_else(PoisonError::into_inner);
        *count += 1;
        if *count == 1 {
            begins.notify_one();
        }
        drop(count);
        Watch { running: Arc::clone(&self.running) }
    }
}

/// Keeps the clock ticking.
#[derive(Debug)]
pub(super) struct Watch {
    running: Arc<(Mutex<usize>, Condvar)>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        *self.running.0.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
    }
}

/// The program took longer than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TimedOut {
    pub(super) limit: Duration,
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "timed out: it took longer than its timeout of {:?}", self.limit)
    }
}

impl std::error::Error for TimedOut {}
