//! Rules about constraints, affinities and spreads.

use regex::Regex;

use super::Checks;
use crate::job::{Affinity, Constraint, JobType, Operator, Spread, VersionConstraints, VersionRule};

/// Where a constraint stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Job,
    Group,
    Task,
    Device,
}

pub(super) fn constraints(checks: &mut Checks<'_>, constraints: &[Constraint], level: Level) {
    checks.each("constraint", constraints, |checks, constraint| {
        let Some(operator) = constraint.operator() else {
            checks.refuse("operator", format!("{:?} is not one of {}", constraint.operand, Operator::choices()));
            return;
        };
        comparison(checks, operator, &constraint.l_target, &constraint.r_target);
        match operator {
            Operator::DistinctHosts => distinct_hosts(checks, constraint, level),
            Operator::DistinctProperty => distinct_property(checks, constraint, level),
            Operator::Equal
            | Operator::NotEqual
            | Operator::Less
            | Operator::LessOrEqual
            | Operator::Greater
            | Operator::GreaterOrEqual
            | Operator::Regexp
            | Operator::Version
            | Operator::Semver
            | Operator::SetContainsAll
            | Operator::SetContainsAny
            | Operator::IsSet
            | Operator::IsNotSet => {}
        }
    });
}

/// Rules that depend on the operator and on what it compares.
fn comparison(checks: &mut Checks<'_>, operator: Operator, left: &str, right: &str) {
    let missing_left = left.is_empty();
    match operator {
        Operator::DistinctHosts => return,
        Operator::Regexp => {
            if let Err(error) = Regex::new(right) {
                checks.refuse("value", format!("{right:?} is not a regular expression: {error}"));
            }
        }
        Operator::Version => versions(checks, right, VersionRule::Version),
        Operator::Semver => versions(checks, right, VersionRule::Semver),
        Operator::SetContainsAll | Operator::SetContainsAny => {
            checks.refuse_if(right.is_empty(), "value", "a set needs at least one item");
        }
        Operator::IsSet | Operator::IsNotSet => {
            checks.refuse_if(!right.is_empty(), "value", "this operator only asks whether the attribute exists");
        }
        Operator::Equal
        | Operator::NotEqual
        | Operator::Less
        | Operator::LessOrEqual
        | Operator::Greater
        | Operator::GreaterOrEqual => checks.refuse_if(right.is_empty(), "value", "a comparison needs a value"),
        Operator::DistinctProperty => {}
    }
    checks.refuse_if(missing_left, "attribute", "a comparison needs an attribute");
    target(checks, "attribute", left);
}

fn versions(checks: &mut Checks<'_>, text: &str, rule: VersionRule) {
    if let Err(error) = VersionConstraints::parse(text, rule) {
        checks.refuse("value", error.to_string());
    }
}

/// Refuses interpolation of what is not known about a node.
fn target(checks: &mut Checks<'_>, attribute: &'static str, text: &str) {
    const NODE: [&str; 5] =
        ["${node.unique.id}", "${node.datacenter}", "${node.unique.name}", "${node.class}", "${node.pool}"];
    const PREFIXES: [&str; 3] = ["${attr.", "${meta.", "${device."];
    let known = !text.contains('$') || NODE.contains(&text) || PREFIXES.iter().any(|prefix| text.starts_with(prefix));
    if !known {
        checks.refuse(
            attribute,
            format!("unsupported attribute {text:?}: use ${{attr...}}, ${{meta...}} or ${{node...}}"),
        );
    }
}

fn distinct_hosts(checks: &mut Checks<'_>, constraint: &Constraint, level: Level) {
    not_on_task(checks, level);
    let is_bool = ["true", "false", "1", "0", "t", "f", "T", "F", "TRUE", "FALSE", "True", "False"];
    checks.refuse_if(!is_bool.contains(&constraint.r_target.as_str()), "value", "must be true or false");
}

fn distinct_property(checks: &mut Checks<'_>, constraint: &Constraint, level: Level) {
    not_on_task(checks, level);
    let allowed = constraint.r_target.is_empty() || constraint.r_target.parse::<u64>().is_ok_and(|count| count > 0);
    checks.refuse_if(!allowed, "value", "must be a number of at least 1");
}

fn not_on_task(checks: &mut Checks<'_>, level: Level) {
    match level {
        Level::Job | Level::Group => {}
        Level::Task | Level::Device => {
            checks.refuse("operator", "allocations are kept apart by their job or group, not by a task");
        }
    }
}

pub(super) fn affinities(checks: &mut Checks<'_>, affinities: &[Affinity]) {
    if not_for_system(checks, "affinity", affinities.len()) {
        return;
    }
    checks.each("affinity", affinities, |checks, affinity| {
        let distinct = [Operator::DistinctHosts, Operator::DistinctProperty, Operator::IsSet, Operator::IsNotSet];
        match affinity.operator() {
            Some(operator) if !distinct.contains(&operator) => {
                comparison(checks, operator, &affinity.l_target, &affinity.r_target);
            }
            Some(_) | None => {
                checks.refuse("operator", format!("{:?} is no operator of an affinity", affinity.operand))
            }
        }
        let weight = affinity.weight;
        let usable = (-100..=100).contains(&weight) && weight != 0;
        checks.refuse_if(!usable, "weight", "must be between -100 and 100 and not 0");
    });
}

pub(super) fn spreads(checks: &mut Checks<'_>, spreads: &[Spread]) {
    if not_for_system(checks, "spread", spreads.len()) {
        return;
    }
    checks.each("spread", spreads, |checks, spread| {
        checks.refuse_if(spread.attribute.is_empty(), "attribute", "a spread needs an attribute");
        target(checks, "attribute", &spread.attribute);
        checks.refuse_if(!(1..=100).contains(&spread.weight), "weight", "must be between 1 and 100");
        checks.unique("target", spread.spread_target.iter().map(|target| target.value.as_str()));
        let mut sum = 0_i64;
        for target in &spread.spread_target {
            checks.block("target", &target.value, |checks| {
                checks.refuse_if(!(0..=100).contains(&target.percent), "percent", "must be between 0 and 100");
            });
            sum = sum.saturating_add(target.percent);
        }
        if sum > 100 {
            checks.refuse_block(format!("the percentages of the targets sum to {sum}, which is more than 100"));
        }
    });
}

/// Reports blocks that a system job cannot have; it runs on every node.
fn not_for_system(checks: &mut Checks<'_>, name: &'static str, len: usize) -> bool {
    let refused = len > 0 && checks.kind == Some(JobType::System);
    if refused {
        checks.block(name, "", |checks| {
            checks.refuse_block(format!("a system job runs on every node: it has no {name}"))
        });
    }
    refused
}
