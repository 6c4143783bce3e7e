//! The metrics of an agent as JSON.

use std::collections::BTreeMap;

use orch_model::Timestamp;
use serde::{Deserialize, Serialize};

/// All metrics of an agent. Counters and samples count from its start, and not by the interval.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct MetricsSummary {
    /// When they were read: `2030-01-01 00:00:00 +0000 UTC`.
    pub timestamp: String,
    /// Values that go up and down.
    pub gauges: Vec<GaugeValue>,
    /// Always empty.
    pub points: Vec<PointValue>,
    /// Values that only grow.
    pub counters: Vec<SampledValue>,
    /// Values that were measured many times.
    pub samples: Vec<SampledValue>,
}

/// A value that goes up and down.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct GaugeValue {
    /// What it is the value of.
    pub name: String,
    /// The value.
    pub value: f64,
    /// What tells it from others of its name.
    pub labels: BTreeMap<String, String>,
}

/// Values one by one.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PointValue {
    /// What they are the values of.
    pub name: String,
    /// The values.
    pub points: Vec<f64>,
}

/// Many values in short.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SampledValue {
    /// What they are the values of.
    pub name: String,
    /// How many there were.
    pub count: u64,
    /// Their sum by second, since the agent started.
    pub rate: f64,
    /// Their sum.
    pub sum: f64,
    /// The smallest of late.
    pub min: f64,
    /// The largest of late.
    pub max: f64,
    /// Their mean.
    pub mean: f64,
    /// Always 0: it is not kept.
    pub stddev: f64,
    /// What tells them from others of their name.
    pub labels: BTreeMap<String, String>,
}

impl MetricsSummary {
    /// How `timestamp` says `time`, which is to a second.
    pub fn timestamp_of(time: Timestamp) -> String {
        let time = jiff::Timestamp::from_nanosecond(i128::from(time.0)).unwrap_or_default();
        time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string()
    }
}
