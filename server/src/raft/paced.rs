//! A writer that takes its time.

use std::io::{self, Write};
use std::thread;
use std::time::{Duration, Instant};

/// After so much work it rests.
const SLICE: Duration = Duration::from_millis(1);

/// How many times as long as it worked.
const REST: u32 = 3;

/// Passes bytes on, and lets whoever makes them have a quarter of a processor at most.
///
/// A lower priority would not do: a thread that hardly gets to run may hold the file system's journal, or a lock of the allocator, for
/// which the log then waits. One that rests holds nothing.
#[derive(Debug)]
pub(super) struct Paced<W> {
    inner: W,
    woke: Instant,
}

impl<W: Write> Paced<W> {
    pub(super) fn new(inner: W) -> Self {
        Self { inner, woke: Instant::now() }
    }

    pub(super) fn into_inner(self) -> W {
        self.inner
    }
}

impl<W: Write> Write for Paced<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        let worked = self.woke.elapsed();
        if worked >= SLICE {
            thread::sleep(worked * REST);
            self.woke = Instant::now();
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_in_goes_out_and_the_thread_rests_most_of_the_time() {
        let mut paced = Paced::new(Vec::new());
        let (began, mut worked) = (Instant::now(), Duration::ZERO);
        for n in 0..5u8 {
            let slice = Instant::now();
            while slice.elapsed() < SLICE {
                std::hint::spin_loop();
            }
            worked += slice.elapsed();
            paced.write_all(&[n]).unwrap();
        }
        assert!(began.elapsed() >= worked * (REST + 1), "it hardly rested");
        assert_eq!(paced.into_inner(), [0, 1, 2, 3, 4]);
    }
}
