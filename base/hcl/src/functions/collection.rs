//! Lists and maps.

use std::collections::{BTreeMap, BTreeSet};

use super::{Call, Function, MANY, Outcome, function};
use crate::number::Number;
use crate::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    function("chunklist", 2, 2, chunklist),
    function("coalesce", 1, MANY, coalesce),
    function("coalescelist", 1, MANY, coalescelist),
    function("compact", 1, 1, compact),
    function("concat", 1, MANY, concat),
    function("contains", 2, 2, contains),
    function("distinct", 1, 1, distinct),
    function("element", 2, 2, element),
    function("flatten", 1, 1, flatten),
    function("index", 2, 2, index),
    function("keys", 1, 1, |call| Ok(Value::List(call.map(0)?.into_keys().map(Value::String).collect()))),
    function("length", 1, 1, length),
    function("lookup", 2, 3, lookup),
    function("merge", 0, MANY, merge),
    function("range", 1, 3, range),
    function("slice", 3, 3, slice),
    function("sort", 1, 1, sort),
    function("values", 1, 1, |call| Ok(Value::List(call.map(0)?.into_values().collect()))),
    function("zipmap", 2, 2, zipmap),
];

/// How many numbers `range` may give.
const MAX_RANGE: usize = 1024;

fn chunklist(call: &mut Call<'_>) -> Outcome {
    let size = usize::try_from(call.int(1)?).map_err(|_| call.fault(1, "the size must not be negative"))?;
    let list = call.list(0)?;
    if list.is_empty() {
        return Ok(Value::List(Vec::new()));
    }
    let size = if size == 0 { list.len() } else { size };
    Ok(Value::List(list.chunks(size).map(|chunk| Value::List(chunk.to_vec())).collect()))
}

/// The first argument that is not null.
fn coalesce(call: &mut Call<'_>) -> Outcome {
    let found = call.take_rest(0).into_iter().find(|value| !value.is_null());
    found.ok_or_else(|| "all arguments are null".into())
}

/// The first list that is not empty.
fn coalescelist(call: &mut Call<'_>) -> Outcome {
    for index in 0..call.count() {
        if call.peek(index).is_null() {
            continue;
        }
        let list = call.list(index)?;
        if !list.is_empty() {
            return Ok(Value::List(list));
        }
    }
    Err("all lists are empty".into())
}

/// Without null and empty strings.
fn compact(call: &mut Call<'_>) -> Outcome {
    let kept = call.list(0)?.into_iter().filter(|value| !value.is_null() && value.as_str() != Some(""));
    Ok(Value::List(kept.collect()))
}

fn concat(call: &mut Call<'_>) -> Outcome {
    let mut all = Vec::new();
    for index in 0..call.count() {
        all.append(&mut call.list(index)?);
    }
    Ok(Value::List(all))
}

fn contains(call: &mut Call<'_>) -> Outcome {
    let wanted = call.take(1);
    Ok(Value::Bool(call.list(0)?.contains(&wanted)))
}

fn distinct(call: &mut Call<'_>) -> Outcome {
    let mut seen = BTreeSet::new();
    Ok(Value::List(call.list(0)?.into_iter().filter(|value| seen.insert(value.clone())).collect()))
}

/// An index past the end starts over.
fn element(call: &mut Call<'_>) -> Outcome {
    let position = usize::try_from(call.int(1)?).map_err(|_| call.fault(1, "the index must not be negative"))?;
    let mut list = call.list(0)?;
    if list.is_empty() {
        return Err(call.fault(0, "an empty list has no elements"));
    }
    let position = position % list.len();
    Ok(list.swap_remove(position))
}

fn flatten(call: &mut Call<'_>) -> Outcome {
    fn spread(elements: Vec<Value>, flat: &mut Vec<Value>) {
        for element in elements {
            match element {
                Value::List(inner) | Value::Set(inner) => spread(inner, flat),
                single => flat.push(single),
            }
        }
    }
    let mut flat = Vec::new();
    spread(call.list(0)?, &mut flat);
    Ok(Value::List(flat))
}

/// The element at a position or key: a look-up, not a search.
fn index(call: &mut Call<'_>) -> Outcome {
    match call.take(0) {
        Value::List(mut elements) => {
            let position = call.int(1)?;
            let found = usize::try_from(position).ok().filter(|position| *position < elements.len());
            match found {
                Some(position) => Ok(elements.swap_remove(position)),
                None => Err(call.fault(1, format!("there is no element {position}: the list has {}", elements.len()))),
            }
        }
        Value::Map(mut entries) => {
            let key = call.string(1)?;
            entries.remove(&key).ok_or_else(|| call.fault(1, format!("there is no key \"{key}\"")))
        }
        other => Err(call.wrong(0, "a list or a map", &other)),
    }
}

fn length(call: &mut Call<'_>) -> Outcome {
    match call.peek(0) {
        Value::List(elements) | Value::Set(elements) => Ok(Value::Number(elements.len().into())),
        Value::Map(entries) => Ok(Value::Number(entries.len().into())),
        Value::String(_) => Err(call.fault(0, "a string has no elements; use `strlen` to count its characters")),
        other => Err(call.wrong(0, "a list or a map", other)),
    }
}

fn lookup(call: &mut Call<'_>) -> Outcome {
    let has_default = call.count() == 3;
    let (mut entries, key, default) = (call.map(0)?, call.string(1)?, call.take(2));
    match entries.remove(&key) {
        Some(value) => Ok(value),
        None if has_default => Ok(default),
        None => Err(call.fault(1, format!("there is no key \"{key}\", and no default is given"))),
    }
}

/// Later maps win; null counts as empty.
fn merge(call: &mut Call<'_>) -> Outcome {
    let mut merged = BTreeMap::new();
    for index in 0..call.count() {
        if !call.peek(index).is_null() {
            merged.append(&mut call.map(index)?);
        }
    }
    Ok(Value::Map(merged))
}

/// `range(limit)`, `range(start, limit)` or `range(start, limit, step)`.
fn range(call: &mut Call<'_>) -> Outcome {
    let zero = Number::Int(0);
    let (start, limit) = match call.count() {
        1 => (zero, call.number(0)?),
        _ => (call.number(0)?, call.number(1)?),
    };
    let step = match call.count() {
        3 => call.number(2)?,
        _ if limit < start => Number::Int(-1),
        _ => Number::Int(1),
    };
    if step.is_zero() {
        return Err(call.fault(2, "the step must not be zero"));
    }
    let mut numbers = Vec::new();
    let mut current = start;
    while (step > zero && current < limit) || (step < zero && current > limit) {
        if numbers.len() == MAX_RANGE {
            return Err(format!("more than {MAX_RANGE} numbers; use a smaller range or a larger step").into());
        }
        numbers.push(Value::Number(current));
        current = current.checked_add(step)?;
    }
    Ok(Value::List(numbers))
}

fn slice(call: &mut Call<'_>) -> Outcome {
    let (start, end) = (call.int(1)?, call.int(2)?);
    let list = call.list(0)?;
    let (Ok(start), Ok(end)) = (usize::try_from(start), usize::try_from(end)) else {
        return Err(call.fault(1, "positions must not be negative"));
    };
    match list.get(start..end) {
        Some(part) => Ok(Value::List(part.to_vec())),
        None => Err(call.fault(2, format!("{start} to {end} is not within a list of {}", list.len()))),
    }
}

fn sort(call: &mut Call<'_>) -> Outcome {
    let mut texts = call.strings(0)?;
    texts.sort();
    Ok(Value::List(texts.into_iter().map(Value::String).collect()))
}

fn zipmap(call: &mut Call<'_>) -> Outcome {
    let (keys, values) = (call.strings(0)?, call.list(1)?);
    if keys.len() != values.len() {
        return Err(call.fault(1, format!("there are {} keys but {} values", keys.len(), values.len())));
    }
    Ok(Value::Map(keys.into_iter().zip(values).collect()))
}
