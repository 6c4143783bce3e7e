//! Why allocations could not be placed, in words.

use orch_api::AllocMetric;

use crate::output::{Style, Table};

/// One line for each reason, each begun with `prefix`, without a line end after the last.
pub(crate) fn placement(metric: &AllocMetric, prefix: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    if metric.nodes_evaluated == 0 {
        lines.push("No nodes were eligible for evaluation".to_owned());
    }
    for (datacenter, available) in &metric.nodes_available {
        if *available == 0 {
            lines.push(format!("No nodes are available in datacenter {datacenter:?}"));
        }
    }
    for (class, count) in &metric.class_filtered {
        lines.push(format!("Class {class:?}: {} excluded by filter", nodes(*count)));
    }
    for (constraint, count) in &metric.constraint_filtered {
        lines.push(format!("Constraint {constraint:?}: {} excluded by filter", nodes(*count)));
    }
    if metric.nodes_exhausted > 0 {
        lines.push(format!("Resources exhausted on {}", nodes(metric.nodes_exhausted)));
    }
    for (class, count) in &metric.class_exhausted {
        lines.push(format!("Class {class:?} exhausted on {}", nodes(*count)));
    }
    for (dimension, count) in &metric.dimension_exhausted {
        lines.push(format!("Dimension {dimension:?} exhausted on {}", nodes(*count)));
    }
    for quota in &metric.quota_exhausted {
        lines.push(format!("Quota limit hit {quota:?}"));
    }
    lines.iter().map(|line| format!("{prefix}* {line}")).collect::<Vec<_>>().join("\n")
}

fn nodes(count: u64) -> String {
    if count == 1 { "1 node".to_owned() } else { format!("{count} nodes") }
}

/// How many allocations `metric` speaks for: those of one group that failed for the same reason.
pub(crate) fn failures(metric: &AllocMetric) -> u64 {
    metric.coalesced_failures + 1
}

/// The scores of the nodes that were looked at; `None` if none were kept.
pub(crate) fn scores(metric: &AllocMetric, style: Style, id: impl Fn(&str) -> String) -> Option<String> {
    let names: std::collections::BTreeSet<&str> =
        metric.score_meta_data.iter().flat_map(|node| node.scores.keys().map(String::as_str)).collect();
    if metric.score_meta_data.is_empty() {
        return None;
    }
    let mut table = Table::new(["Node"].into_iter().chain(names.iter().copied()).chain(["final score"]));
    for node in &metric.score_meta_data {
        let mut row = vec![id(&node.node_id)];
        row.extend(names.iter().map(|name| number(node.scores.get(*name).copied().unwrap_or(0.0))));
        row.push(number(node.norm_score));
        table.row(row);
    }
    Some(table.render(style))
}

fn number(score: f64) -> String {
    let text = format!("{score:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_line() {
        let metric = AllocMetric {
            nodes_evaluated: 4,
            nodes_available: [("dc1".to_owned(), 4), ("dc9".to_owned(), 0)].into(),
            constraint_filtered: [("${attr.kernel.name} = plan9".to_owned(), 3)].into(),
            nodes_exhausted: 1,
            dimension_exhausted: [("memory".to_owned(), 1)].into(),
            ..AllocMetric::default()
        };
        assert_eq!(
            placement(&metric, "  "),
            "  * No nodes are available in datacenter \"dc9\"\n  \
             * Constraint \"${attr.kernel.name} = plan9\": 3 nodes excluded by filter\n  \
             * Resources exhausted on 1 node\n  \
             * Dimension \"memory\" exhausted on 1 node"
        );
        assert_eq!(placement(&AllocMetric::default(), ""), "* No nodes were eligible for evaluation");
    }
}
