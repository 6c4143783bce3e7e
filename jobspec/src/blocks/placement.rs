//! Constraints, affinities and spreads.

use orch_model::job::{Affinity, Constraint, Spread, SpreadTarget};

use super::Body;

/// Attributes that state operator and right side at once: `version = ">= 2"`.
const SHORTHANDS: [&str; 4] = ["version", "semver", "regexp", "set_contains"];

/// The same, which affinities translate and constraints do not.
const AFFINITY_SHORTHANDS: [&str; 2] = ["set_contains_all", "set_contains_any"];

pub(super) fn constraints(body: &mut Body<'_, '_>) -> Vec<Constraint> {
    body.blocks("constraint").into_iter().map(constraint).collect()
}

fn constraint(mut body: Body<'_, '_>) -> Constraint {
    let mut constraint = Constraint {
        l_target: body.text("attribute"),
        r_target: body.text("value"),
        operand: body.text_or("operator", "="),
    };
    let shorthand = shorthand(&mut body, &SHORTHANDS);
    if let Some((operator, right)) = shorthand {
        operator.clone_into(&mut constraint.operand);
        constraint.r_target = right;
    }
    if let Some(wanted) = body.opt_flag("distinct_hosts") {
        "distinct_hosts".clone_into(&mut constraint.operand);
        constraint.r_target = wanted.to_string();
    }
    if let Some(property) = body.opt_text("distinct_property") {
        "distinct_property".clone_into(&mut constraint.operand);
        constraint.l_target = property;
    }
    for key in ["is_set", "set_contains_all", "set_contains_any"] {
        if body.opt_text(key).is_some() {
            body.warn(key, &format!("`{key}` has no effect here: write operator = \"{key}\""));
        }
    }
    body.finish();
    constraint
}

/// The shorthand that is written, of which there may be one.
fn shorthand(body: &mut Body<'_, '_>, keys: &[&'static str]) -> Option<(&'static str, String)> {
    let mut found: Option<(&'static str, String)> = None;
    for key in keys.iter().copied() {
        let Some(right) = body.opt_text(key) else { continue };
        match &found {
            Some((first, _)) => body.refuse(key, &format!("`{first}` and `{key}` exclude each other")),
            None => found = Some((key, right)),
        }
    }
    found
}

pub(super) fn affinities(body: &mut Body<'_, '_>) -> Vec<Affinity> {
    body.blocks("affinity").into_iter().map(affinity).collect()
}

fn affinity(mut body: Body<'_, '_>) -> Affinity {
    let mut affinity = Affinity {
        l_target: body.text("attribute"),
        r_target: body.text("value"),
        operand: body.text_or("operator", "="),
        weight: body.opt_int("weight").unwrap_or(50),
    };
    let keys = [SHORTHANDS.as_slice(), &AFFINITY_SHORTHANDS].concat();
    if let Some((operator, right)) = shorthand(&mut body, &keys) {
        operator.clone_into(&mut affinity.operand);
        affinity.r_target = right;
    }
    body.finish();
    affinity
}

pub(super) fn spreads(body: &mut Body<'_, '_>) -> Vec<Spread> {
    body.blocks("spread").into_iter().map(spread).collect()
}

fn spread(mut body: Body<'_, '_>) -> Spread {
    let targets = body.labelled("target", "value").into_iter().map(|(value, mut body)| {
        let target = SpreadTarget { value, percent: body.int("percent") };
        body.finish();
        target
    });
    let spread = Spread {
        spread_target: targets.collect(),
        attribute: body.text("attribute"),
        weight: body.opt_int("weight").unwrap_or(50),
    };
    body.finish();
    spread
}
