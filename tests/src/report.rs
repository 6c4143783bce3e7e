//! What benchmarks print: a figure, its target, and the floor that the disk set in the same run.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// Measured times, sorted.
#[derive(Debug, Clone)]
pub struct Times(Vec<Duration>);

impl Times {
    /// Of at least one measurement.
    pub fn new(mut times: Vec<Duration>) -> Self {
        assert!(!times.is_empty(), "nothing was measured");
        times.sort();
        Self(times)
    }

    /// The time that `percent` of all do not exceed.
    pub fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0[rank - 1]
    }

    /// The median.
    pub fn median(&self) -> Duration {
        self.percentile(50)
    }

    /// The longest.
    pub fn longest(&self) -> Duration {
        self.percentile(100)
    }
}

/// Milliseconds with two decimals.
pub fn ms(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}

/// Prints a line.
pub fn line(text: impl AsRef<str>) {
    // A benchmark whose output nobody reads has nothing else to say.
    let _unwritten = writeln!(std::io::stdout().lock(), "{}", text.as_ref());
}

/// Prints one figure beside its target.
pub fn figure(what: &str, measured: &str, target: &str) {
    line(format!("{what:<52} {measured:<34} target {target}"));
}

/// Measures 200 times how long it takes to overwrite 4 KiB in `directory` and `fdatasync` them; prints it.
pub fn disk_floor(directory: &Path) -> Result<Times> {
    let path = directory.join("fdatasync-floor");
    let file = OpenOptions::new().create(true).truncate(true).write(true).open(&path);
    let file = file.with_context(|| path.display().to_string())?;
    file.write_all_at(&[0; 65536], 0)?;
    file.sync_all()?;
    let mut times = Vec::with_capacity(200);
    for n in 0_u64..200 {
        let begun = Instant::now();
        file.write_all_at(&[1; 4096], (n % 16) * 4096)?;
        file.sync_data()?;
        times.push(begun.elapsed());
    }
    std::fs::remove_file(&path)?;
    let times = Times::new(times);
    line(format!(
        "floor: fdatasync of a 4 KiB overwrite in {}: p50 {}, p99 {}",
        directory.display(),
        ms(times.median()),
        ms(times.percentile(99))
    ));
    Ok(times)
}
