//! The metrics of the agent, as Prometheus reads them and as JSON.
//!
//! They are kept in the form that Prometheus reads; the JSON is made from its text.

use std::collections::BTreeMap;

use axum::response::IntoResponse as _;
use http::{HeaderValue, header};
use metrics_exporter_prometheus::PrometheusHandle;
use orch_api::MetricsSummary;
use orch_api::metrics::{GaugeValue, SampledValue};
use orch_model::Timestamp;
use tokio::time::Instant;

use crate::call::Call;
use crate::error::{Error, Kind};
use crate::gzip::Whole;
use crate::{Body, Response};

/// `/v1/metrics` of an agent that answers since `started`.
pub(crate) fn all(call: &Call, started: Instant) -> Result<Response, Error> {
    call.must_get()?;
    match (call.params.get("format"), &call.agent.metrics) {
        ("prometheus", Some(handle)) => {
            let content_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            let mut response =
                ([(header::CONTENT_TYPE, content_type)], Body::from(rendered(call, handle))).into_response();
            response.extensions_mut().insert(Whole);
            Ok(response)
        }
        ("prometheus", None) => Err(Error::metrics_format()),
        ("" | "json", Some(handle)) => {
            let since_epoch = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
            let now = Timestamp(i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX));
            call.answer(&summary(&rendered(call, handle), now, started.elapsed().as_secs_f64()))
        }
        ("" | "json", None) => Err(Error::new(
            Kind::NotImplemented,
            "this agent keeps no metrics: set prometheus_metrics = true in its telemetry block",
        )),
        (other, _) => Err(Error::invalid(format!("metrics have no format {other:?}: use \"prometheus\" or none"))),
    }
}

/// All of it as Prometheus reads it: what the recorder holds, then what each task uses, which comes and goes with the tasks.
fn rendered(call: &Call, handle: &PrometheusHandle) -> String {
    let mut text = handle.render();
    if let Some(local) = &call.agent.local {
        text.push_str(&local.task_metrics());
    }
    text
}

/// What `text`, which Prometheus would read, says as JSON, after so many seconds of life.
fn summary(text: &str, now: Timestamp, seconds: f64) -> MetricsSummary {
    let mut kinds: BTreeMap<&str, &str> = BTreeMap::new();
    let mut gauges = Vec::new();
    let mut counters = Vec::new();
    let mut samples: BTreeMap<(&str, BTreeMap<String, String>), Sample> = BTreeMap::new();
    for line in text.lines() {
        if let Some(declared) = line.strip_prefix("# TYPE ") {
            kinds.extend(declared.split_once(' '));
            continue;
        }
        let Some(Line { name, mut labels, value }) = Line::parse(line) else { continue };
        let (family, part) = family(name, &kinds);
        match kinds.get(family).copied() {
            Some("counter") => counters.push(counter(name, labels, value, seconds)),
            Some("summary" | "histogram") => {
                let quantile = labels.remove("quantile");
                labels.remove("le");
                samples.entry((family, labels)).or_default().note(part, quantile.as_deref(), value);
            }
            Some(_) | None => gauges.push(GaugeValue { name: name.to_owned(), value, labels }),
        }
    }
    let samples = samples.into_iter().map(|((name, labels), sample)| sample.shown(name, labels, seconds)).collect();
    MetricsSummary { timestamp: MetricsSummary::timestamp_of(now), gauges, points: Vec::new(), counters, samples }
}

/// The metric that a line belongs to, and what its name adds to that: a summary's sum and count have lines of their own.
fn family<'a>(name: &'a str, kinds: &BTreeMap<&str, &str>) -> (&'a str, &'a str) {
    for part in ["_sum", "_count", "_bucket"] {
        if let Some(family) = name.strip_suffix(part).filter(|family| kinds.contains_key(family)) {
            return (family, part);
        }
    }
    (name, "")
}

fn counter(name: &str, labels: BTreeMap<String, String>, value: f64, seconds: f64) -> SampledValue {
    let rate = rate(value, seconds);
    SampledValue { name: name.to_owned(), count: whole(value), rate, sum: value, labels, ..SampledValue::default() }
}

fn rate(sum: f64, seconds: f64) -> f64 {
    if seconds > 0.0 { sum / seconds } else { 0.0 }
}

/// A count that is written as a fraction.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast keeps to the bounds of the type")]
fn whole(value: f64) -> u64 {
    value as u64
}

/// What the lines of one summary said.
#[derive(Debug, Default)]
struct Sample {
    count: f64,
    sum: f64,
    min: f64,
    max: f64,
}

impl Sample {
    fn note(&mut self, part: &str, quantile: Option<&str>, value: f64) {
        match (part, quantile) {
            ("_count", _) => self.count = value,
            ("_sum", _) => self.sum = value,
            (_, Some("0")) => self.min = value,
            (_, Some("1")) => self.max = value,
            _ => {}
        }
    }

    fn shown(self, name: &str, labels: BTreeMap<String, String>, seconds: f64) -> SampledValue {
        let Self { count, sum, min, max } = self;
        let mean = if count > 0.0 { sum / count } else { 0.0 };
        let rate = rate(sum, seconds);
        SampledValue { name: name.to_owned(), count: whole(count), rate, sum, min, max, mean, stddev: 0.0, labels }
    }
}

/// One value.
#[derive(Debug)]
struct Line<'a> {
    name: &'a str,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl<'a> Line<'a> {
    /// Reads a line such as `name{label="text"} 1.5`; `None` for comments, and for what is no number.
    fn parse(line: &'a str) -> Option<Self> {
        if line.starts_with('#') {
            return None;
        }
        let (head, value) = line.rsplit_once(' ')?;
        let value: f64 = value.parse().ok().filter(|value: &f64| value.is_finite())?;
        let (name, labels) = match head.split_once('{') {
            Some((name, labels)) => (name, read_labels(labels.strip_suffix('}')?)?),
            None => (head, BTreeMap::new()),
        };
        Some(Self { name, labels, value })
    }
}

/// Reads `a="x",b="y"`, in which a backslash stands before a quote, a backslash or the `n` of a line end.
fn read_labels(mut text: &str) -> Option<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    while !text.is_empty() {
        let (name, rest) = text.split_once("=\"")?;
        let mut value = String::new();
        let mut chars = rest.char_indices();
        let end = loop {
            match chars.next()? {
                (at, '"') => break at,
                (_, '\\') => match chars.next()?.1 {
                    'n' => value.push('\n'),
                    escaped => value.push(escaped),
                },
                (_, plain) => value.push(plain),
            }
        };
        labels.insert(name.to_owned(), value);
        let rest = rest.get(end + 1..)?;
        text = rest.strip_prefix(',').unwrap_or(rest);
    }
    Some(labels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_prometheus_reads_is_told_as_json() {
        let text = "# HELP queue how many wait\n# TYPE queue gauge\nqueue 3\n\n\
                    # TYPE hits counter\nhits{path=\"a \\\"b\\\" c\\\\\",kind=\"x\"} 20\n\n\
                    # TYPE took_seconds summary\ntook_seconds{op=\"w\",quantile=\"0\"} 0.5\n\
                    took_seconds{op=\"w\",quantile=\"0.5\"} 0.6\ntook_seconds{op=\"w\",quantile=\"1\"} 1.5\n\
                    took_seconds_sum{op=\"w\"} 4\ntook_seconds_count{op=\"w\"} 4\n\
                    # TYPE odd gauge\nodd NaN\n";
        let shown = summary(text, Timestamp(1_893_456_000_000_000_000), 10.0);
        assert_eq!(
            serde_json::to_value(&shown).unwrap(),
            json!({
                "Timestamp": "2030-01-01 00:00:00 +0000 UTC",
                "Gauges": [{ "Name": "queue", "Value": 3.0, "Labels": {} }],
                "Points": [],
                "Counters": [{
                    "Name": "hits", "Count": 20, "Rate": 2.0, "Sum": 20.0, "Min": 0.0, "Max": 0.0, "Mean": 0.0,
                    "Stddev": 0.0, "Labels": { "kind": "x", "path": "a \"b\" c\\" },
                }],
                "Samples": [{
                    "Name": "took_seconds", "Count": 4, "Rate": 0.4, "Sum": 4.0, "Min": 0.5, "Max": 1.5, "Mean": 1.0,
                    "Stddev": 0.0, "Labels": { "op": "w" },
                }],
            })
        );
    }
}
