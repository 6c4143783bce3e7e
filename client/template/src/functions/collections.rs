//! consul-template's functions of lists and maps.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Table, at_least, exactly, expected, list, map, text};
use crate::run::Run;
use crate::value::{Entries, Failure, Value};

pub(super) const TABLE: Table = &[
    ("in", |_, args| {
        let [all, wanted] = exactly(args)?;
        has(all, wanted).map(Value::Bool)
    }),
    ("contains", |_, args| {
        let [wanted, all] = exactly(args)?;
        has(all, wanted).map(Value::Bool)
    }),
    ("containsAll", |run, args| some(run, args, |found, wanted| found == wanted)),
    ("containsAny", |run, args| some(run, args, |found, _| found > 0)),
    ("containsNone", |run, args| some(run, args, |found, _| found == 0)),
    ("containsNotAll", |run, args| some(run, args, |found, wanted| found < wanted)),
    ("loop", |run, args| {
        let (from, to) = match at_least(args, 1)? {
            [to] => (0, number(to)?),
            [from, to] => (number(from)?, number(to)?),
            _ => return Err("takes one or two numbers".into()),
        };
        count(run, from, to, 1)
    }),
    ("byKey", |_, args| {
        let [pairs] = exactly(args)?;
        let mut groups = BTreeMap::<Arc<str>, Entries>::new();
        for pair in list(pairs)? {
            let (key, entries) = (text(field(pair, "Key")?)?, map(pair)?);
            let Some((top, rest)) = key.split_once('/') else { continue };
            let mut entries = entries.clone();
            entries.insert("Key".into(), Value::text(rest));
            groups.entry(top.into()).or_default().insert(rest.into(), Value::map(entries)?);
        }
        let groups = groups.into_iter().map(|(top, entries)| Ok((top, Value::map(entries)?)));
        Value::map(groups.collect::<Result<_, Failure>>()?)
    }),
    ("byTag", |_, args| {
        let [services] = exactly(args)?;
        let mut tagged = BTreeMap::<Arc<str>, Vec<Value>>::new();
        for service in list(services)? {
            for tag in list(field(service, "Tags")?)? {
                tagged.entry(text(tag)?.into()).or_default().push(service.clone());
            }
        }
        let tagged = tagged.into_iter().map(|(tag, services)| Ok((tag, Value::list(services)?)));
        Value::map(tagged.collect::<Result<_, Failure>>()?)
    }),
    ("explode", |run, args| {
        let [pairs] = exactly(args)?;
        let pairs = list(pairs)?.iter().map(|pair| Ok((text(field(pair, "Key")?)?, field(pair, "Value")?)));
        explode(run, pairs.collect::<Result<Vec<_>, Failure>>()?)
    }),
    ("explodeMap", |run, args| {
        let [entries] = exactly(args)?;
        explode(run, map(entries)?.iter().map(|(key, value)| (&**key, value)).collect())
    }),
    ("merge", |run, args| merged(run, args, false)),
    ("mergeMap", |run, args| merged(run, args, false)),
    ("mergeMapWithOverride", |run, args| merged(run, args, true)),
];

fn field<'a>(value: &'a Value, name: &str) -> Result<&'a Value, Failure> {
    let entries = value.as_map().ok_or_else(|| expected("a map", value))?;
    entries.get(name).ok_or_else(|| Failure(format!("an item has no {name}")))
}

/// A number, or a text that is one.
fn number(value: &Value) -> Result<i64, Failure> {
    match (value, value.as_text()) {
        (Value::Int(number), _) => Ok(*number),
        (_, Some(text)) => text.parse().map_err(|_| Failure(format!("{text:?} is not a number"))),
        (value, None) => Err(expected("a number", value)),
    }
}

/// The numbers from one up or down to another, which is not among them.
pub(super) fn count(run: &mut Run<'_>, from: i64, to: i64, step: i64) -> Result<Value, Failure> {
    let turns = match step {
        0 => 0,
        step if step > 0 && to > from => to.abs_diff(from).div_ceil(step.unsigned_abs()),
        step if step < 0 && to < from => to.abs_diff(from).div_ceil(step.unsigned_abs()),
        _ => 0,
    };
    run.take(usize::try_from(turns).unwrap_or(usize::MAX).saturating_mul(size_of::<Value>()))?;
    let numbers = std::iter::successors(Some(from), |number| number.checked_add(step));
    Value::list(numbers.take(usize::try_from(turns).unwrap_or(0)).map(Value::Int).collect())
}

/// Whether a list, a map's values or a text has something in it.
pub(super) fn has(all: &Value, wanted: &Value) -> Result<bool, Failure> {
    if let (Some(all), Some(wanted)) = (all.as_text(), wanted.as_text()) {
        return Ok(all.contains(&**wanted));
    }
    if let Some(entries) = all.as_map() {
        return Ok(entries.values().any(|value| value == wanted));
    }
    Ok(list(all)?.contains(wanted))
}

fn some(run: &mut Run<'_>, args: &[Value], holds: fn(usize, usize) -> bool) -> Result<Value, Failure> {
    let [wanted, all] = exactly(args)?;
    let (wanted, all) = (list(wanted)?, list(all)?);
    let mut found = 0;
    for wanted in wanted {
        run.step()?;
        found += usize::from(all.contains(wanted));
    }
    Ok(Value::Bool(holds(found, wanted.len())))
}

/// A tree of what keys with slashes lead to.
#[derive(Default)]
struct Branch(BTreeMap<Arc<str>, Leaf>);

enum Leaf {
    Value(Value),
    Branch(Branch),
}

/// How many slashes a key may have.
const MAX_PARTS: usize = 100;

fn explode(run: &mut Run<'_>, pairs: Vec<(&str, &Value)>) -> Result<Value, Failure> {
    let mut root = Branch::default();
    for (key, value) in pairs {
        let parts: Vec<&str> = key.trim_matches('/').split('/').collect();
        if parts.len() > MAX_PARTS {
            return Err(Failure(format!("a key has more than {MAX_PARTS} parts")));
        }
        run.take(parts.len().saturating_mul(64).saturating_add(key.len()))?;
        let Some((name, path)) = parts.split_last() else { continue };
        let mut at = &mut root;
        for part in path {
            let leaf = at.0.entry((*part).into()).or_insert_with(|| Leaf::Branch(Branch::default()));
            at = match leaf {
                Leaf::Branch(branch) => branch,
                Leaf::Value(_) => return Err(Failure(format!("{key:?} is below a key that has a value"))),
            };
        }
        at.0.insert((*name).into(), Leaf::Value(value.clone()));
    }
    root.into_value()
}

impl Branch {
    fn into_value(self) -> Result<Value, Failure> {
        let entries = self.0.into_iter().map(|(key, leaf)| match leaf {
            Leaf::Value(value) => Ok((key, value)),
            Leaf::Branch(branch) => Ok((key, branch.into_value()?)),
        });
        Value::map(entries.collect::<Result<_, Failure>>()?)
    }
}

fn merged(run: &mut Run<'_>, args: &[Value], over: bool) -> Result<Value, Failure> {
    let [first, others @ ..] = at_least(args, 1)? else { return Ok(Value::Nil) };
    others.iter().try_fold(first.clone(), |into, from| merge(run, &into, from, over))
}

/// One map with what another has besides; where both have something, maps are merged and of others the first one's
/// stays unless it is empty, or the second one's comes `over` it.
pub(super) fn merge(run: &mut Run<'_>, into: &Value, from: &Value, over: bool) -> Result<Value, Failure> {
    let (mut entries, from) = (map(into)?.clone(), map(from)?);
    run.take(entries.len().saturating_add(from.len()).saturating_mul(64))?;
    for (key, theirs) in from {
        let value = match entries.get(key) {
            Some(own) if own.as_map().is_some() && theirs.as_map().is_some() => merge(run, own, theirs, over)?,
            Some(own) if own.is_true() && !(over && theirs.is_true()) => continue,
            Some(_) | None => theirs.clone(),
        };
        entries.insert(key.clone(), value);
    }
    Value::map(entries)
}
