//! Sprig's functions of lists and maps.
//!
//! Values do not change, so `set` and its like give a new map; see [`CHANGING`](super::CHANGING).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::collections::{count, has, merge};
use super::sprig_text::first;
use super::{Table, exactly, int, key, list, map, text};
use crate::run::Run;
use crate::value::{Entries, Failure, Value};

pub(super) const TABLE: Table = &[
    ("sprig_list", |_, args| Value::list(args.to_vec())),
    ("sprig_tuple", |_, args| Value::list(args.to_vec())),
    ("sprig_first", |_, args| one(args, |items| Ok(items.first().cloned().unwrap_or(Value::Nil)))),
    ("sprig_last", |_, args| one(args, |items| Ok(items.last().cloned().unwrap_or(Value::Nil)))),
    ("sprig_rest", |_, args| one(args, |items| Value::list(items.iter().skip(1).cloned().collect()))),
    ("sprig_initial", |_, args| one(args, |items| Value::list(items[..items.len().saturating_sub(1)].to_vec()))),
    ("sprig_reverse", |_, args| one(args, |items| Value::list(items.iter().rev().cloned().collect()))),
    ("sprig_compact", |_, args| {
        one(args, |items| Value::list(items.iter().filter(|item| item.is_true()).cloned().collect()))
    }),
    ("sprig_uniq", |run, args| {
        let [items] = exactly(args)?;
        let mut kept: Vec<Value> = Vec::new();
        for item in list(items)? {
            run.step()?;
            if !kept.contains(item) {
                kept.push(item.clone());
            }
        }
        Value::list(kept)
    }),
    ("sprig_append", |_, args| appended(args)),
    ("sprig_push", |_, args| appended(args)),
    ("sprig_prepend", |_, args| {
        let [items, item] = exactly(args)?;
        Value::list(std::iter::once(item).chain(list(items)?).cloned().collect())
    }),
    ("sprig_concat", |_, args| {
        let lists = args.iter().map(list).collect::<Result<Vec<_>, _>>()?;
        Value::list(lists.concat())
    }),
    ("sprig_without", |run, args| {
        let (items, unwanted) = first(args)?;
        let mut kept = Vec::new();
        for item in list(items)? {
            run.step()?;
            if !unwanted.contains(item) {
                kept.push(item.clone());
            }
        }
        Value::list(kept)
    }),
    ("sprig_has", |_, args| {
        let [item, items] = exactly(args)?;
        has(items, item).map(Value::Bool)
    }),
    ("sprig_slice", |_, args| {
        let (items, bounds) = first(args)?;
        let items = list(items)?;
        let bound = |index: usize, default| match bounds.get(index) {
            None => Ok(default),
            Some(bound) => int(bound).map(|bound| usize::try_from(bound).unwrap_or(usize::MAX)),
        };
        let (from, to) = (bound(0, 0)?, bound(1, items.len())?);
        let part = items.get(from..to).ok_or_else(|| Failure(format!("there is no slice from {from} to {to}")))?;
        Value::list(part.to_vec())
    }),
    ("sprig_until", |run, args| {
        let [to] = exactly(args)?;
        let to = int(to)?;
        count(run, 0, to, to.signum())
    }),
    ("sprig_untilStep", |run, args| {
        let [from, to, step] = exactly(args)?;
        count(run, int(from)?, int(to)?, int(step)?)
    }),
    ("sprig_seq", |run, args| {
        let (from, to, step) = match args {
            [to] => (1, int(to)?, None),
            [from, to] => (int(from)?, int(to)?, None),
            [from, step, to] => (int(from)?, int(to)?, Some(int(step)?)),
            _ => return Err("takes one to three numbers".into()),
        };
        let step = step.unwrap_or(if to < from { -1 } else { 1 });
        let numbers = count(run, from, to.saturating_add(step.signum()), step)?;
        let shown: Vec<String> = list(&numbers)?.iter().map(crate::show::text).collect();
        Ok(Value::text(shown.join(" ")))
    }),
    ("sprig_dict", |_, args| {
        let entries = args.chunks(2).map(|pair| match pair {
            [name, value] => Ok((key(name)?, value.clone())),
            [name] => Ok((key(name)?, Value::text(""))),
            _ => Err("takes keys and values in turn".into()),
        });
        Value::map(entries.collect::<Result<_, Failure>>()?)
    }),
    ("sprig_get", |_, args| {
        let [entries, name] = exactly(args)?;
        Ok(map(entries)?.get(text(name)?).cloned().unwrap_or_else(|| Value::text("")))
    }),
    ("sprig_hasKey", |_, args| {
        let [entries, name] = exactly(args)?;
        Ok(Value::Bool(map(entries)?.contains_key(text(name)?)))
    }),
    ("sprig_set", |_, args| {
        let [entries, name, value] = exactly(args)?;
        let mut entries = map(entries)?.clone();
        entries.insert(key(name)?, value.clone());
        Value::map(entries)
    }),
    ("sprig_unset", |_, args| {
        let [entries, name] = exactly(args)?;
        let mut entries = map(entries)?.clone();
        entries.remove(text(name)?);
        Value::map(entries)
    }),
    ("sprig_keys", |_, args| {
        let maps = args.iter().map(map).collect::<Result<Vec<_>, _>>()?;
        Value::texts(maps.into_iter().flat_map(|entries| entries.keys().cloned()))
    }),
    ("sprig_values", |_, args| {
        let [entries] = exactly(args)?;
        Value::list(map(entries)?.values().cloned().collect())
    }),
    ("sprig_pluck", |_, args| {
        let (name, maps) = first(args)?;
        let name = text(name)?;
        let found =
            maps.iter().filter_map(|entries| map(entries).map(|entries| entries.get(name).cloned()).transpose());
        Value::list(found.collect::<Result<_, _>>()?)
    }),
    ("sprig_pick", |_, args| filtered(args, true)),
    ("sprig_omit", |_, args| filtered(args, false)),
    ("sprig_merge", |run, args| merged(run, args, false)),
    ("sprig_mergeOverwrite", |run, args| merged(run, args, true)),
    ("sprig_deepCopy", |_, args| exactly(args).map(|[value]| value.clone())),
    ("sprig_dig", |_, args| {
        let [path @ .., default, entries] = args else { return Err("takes keys, a default and a map".into()) };
        let mut at = entries.clone();
        for name in path {
            let found = map(&at)?.get(text(name)?).cloned();
            let Some(found) = found else { return Ok(default.clone()) };
            at = found;
        }
        Ok(at)
    }),
];

fn one(args: &[Value], change: impl Fn(&[Value]) -> Result<Value, Failure>) -> Result<Value, Failure> {
    let [items] = exactly(args)?;
    change(list(items)?)
}

fn appended(args: &[Value]) -> Result<Value, Failure> {
    let [items, item] = exactly(args)?;
    Value::list(list(items)?.iter().chain([item]).cloned().collect())
}

/// The entries whose keys are given, or all but those.
fn filtered(args: &[Value], wanted: bool) -> Result<Value, Failure> {
    let (entries, names) = first(args)?;
    let names = names.iter().map(key).collect::<Result<BTreeSet<Arc<str>>, _>>()?;
    let kept = map(entries)?.iter().filter(|(name, _)| names.contains(&**name) == wanted);
    Value::map(kept.map(|(name, value)| (name.clone(), value.clone())).collect::<Entries>())
}

fn merged(run: &mut Run<'_>, args: &[Value], over: bool) -> Result<Value, Failure> {
    let (into, others) = first(args)?;
    others.iter().try_fold(into.clone(), |into, from| merge(run, &into, from, over))
}
