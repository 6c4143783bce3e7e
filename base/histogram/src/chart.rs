//! Several histograms as lines of text.

use std::fmt;

use crate::Histogram;

/// Several histograms, each one line of text with its percentiles.
#[derive(Debug, Clone)]
pub struct AsciiChart<T = ()> {
    series: Vec<(String, Histogram<T>)>,
}

impl<T> Default for AsciiChart<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> AsciiChart<T> {
    /// A chart of nothing.
    pub const fn new() -> Self {
        Self { series: Vec::new() }
    }

    /// The same chart with one histogram more.
    #[must_use]
    pub fn add(mut self, name: &str, histogram: Histogram<T>) -> Self {
        self.series.push((name.to_owned(), histogram));
        self
    }
}

impl<T> fmt::Display for AsciiChart<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, histogram) in &self.series {
            writeln!(f, "{name}: {}", histogram.percentile_stats())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_histogram_is_a_line() {
        let mut histogram = Histogram::<()>::new();
        histogram.record_n(3, 2);
        let chart = AsciiChart::new().add("batch", histogram).add("none", Histogram::new()).to_string();
        assert!(chart.starts_with("batch: [samples: 2, ") && chart.contains("\nnone: [samples: 0, "), "{chart}");
    }
}
