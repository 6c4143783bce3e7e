//! What stands behind a dot: fields, and the methods that some values have.

use super::{at_least, exactly, key, map, text, time};
use crate::run::Run;
use crate::value::{Entries, Failure, Item, Owner, Value};

/// The field of a value: of a map its entry, of other values what Go has as a method without arguments.
pub(crate) fn get(value: &Value, name: &str, strict: bool) -> Result<Value, Failure> {
    let none = || if strict { Err(Failure(format!("there is no key {name:?}"))) } else { Ok(Value::Nil) };
    match value {
        Value::Nil => none(),
        Value::Map(map) => map.entries.get(name).cloned().map_or_else(none, Ok),
        Value::Variable(map, owner) => match map.entries.get(name) {
            Some(value) => Ok(value.clone()),
            None => of_variable(&map.entries, owner, name)?.map_or_else(none, Ok),
        },
        Value::Item(item) => match name {
            "Key" => Ok(Value::Text(item.key.clone())),
            "Value" => Ok(Value::Text(item.value.clone())),
            _ => Err(no_field(name, value)),
        },
        Value::Time(at) => time::field(at, name).ok_or_else(|| no_field(name, value)),
        Value::Bool(_)
        | Value::Int(_)
        | Value::Float(_)
        | Value::Text(_)
        | Value::Bytes(_)
        | Value::List(_)
        | Value::Scratch => Err(no_field(name, value)),
    }
}

fn no_field(name: &str, value: &Value) -> Failure {
    Failure(format!("a {} has no field {name:?}", value.kind()))
}

fn of_variable(entries: &Entries, owner: &Owner, name: &str) -> Result<Option<Value>, Failure> {
    let items =
        || entries.values().filter_map(|value| if let Value::Item(item) = value { Some(&**item) } else { None });
    let pair = |item: &Item| {
        Value::map(Entries::from([
            ("Key".into(), Value::Text(item.key.clone())),
            ("Value".into(), Value::Text(item.value.clone())),
        ]))
    };
    Ok(Some(match name {
        "Keys" => Value::texts(entries.keys().cloned())?,
        "Values" => Value::texts(items().map(|item| item.value.clone()))?,
        "Tuples" => Value::list(items().map(pair).collect::<Result<_, _>>()?)?,
        "Metadata" | "Parent" => path(owner)?,
        _ => return Ok(None),
    }))
}

/// A variable as a list of variables shows it.
pub(super) fn path(owner: &Owner) -> Result<Value, Failure> {
    Value::map(Entries::from([
        ("Path".into(), Value::text(owner.path.as_str())),
        ("Namespace".into(), Value::text(owner.namespace.as_str())),
    ]))
}

/// Calls a method with arguments.
pub(crate) fn call(run: &mut Run<'_>, value: &Value, method: &str, args: &[Value]) -> Result<Value, Failure> {
    match (value, method) {
        (Value::Scratch, _) => scratch(run, method, args),
        (Value::List(list), "Contains") => {
            let [wanted] = exactly(args)?;
            Ok(Value::Bool(list.items.contains(wanted)))
        }
        (Value::Time(at), "Format") => {
            let [layout] = exactly(args)?;
            Ok(Value::text(time::format(at, text(layout)?)))
        }
        (value, _) => Err(Failure(format!("a {} has no such method", value.kind()))),
    }
}

/// What a template notes while it is rendered.
fn scratch(run: &mut Run<'_>, method: &str, args: &[Value]) -> Result<Value, Failure> {
    let nothing = || Value::text("");
    match method {
        "Key" => {
            let [name] = exactly(args)?;
            Ok(Value::Bool(run.scratch.contains_key(text(name)?)))
        }
        "Get" => {
            let [name] = exactly(args)?;
            Ok(run.scratch.get(text(name)?).cloned().unwrap_or(Value::Nil))
        }
        "Set" | "SetX" => {
            let [name, value] = exactly(args)?;
            let name = key(name)?;
            run.take(name.len() + 64)?;
            if method == "Set" || !run.scratch.contains_key(&name) {
                run.scratch.insert(name, value.clone());
            }
            Ok(nothing())
        }
        "MapSet" | "MapSetX" => {
            let [name, inner, value] = exactly(args)?;
            let (name, inner) = (key(name)?, key(inner)?);
            let mut entries = match run.scratch.get(&name) {
                None => Entries::new(),
                Some(value) => map(value)?.clone(),
            };
            run.take(entries.len().saturating_mul(64))?;
            if method == "MapSet" || !entries.contains_key(&inner) {
                entries.insert(inner, value.clone());
            }
            run.scratch.insert(name, Value::map(entries)?);
            Ok(nothing())
        }
        "MapValues" => {
            let [name] = at_least(args, 1)? else { return Err("takes one argument".into()) };
            match run.scratch.get(text(name)?) {
                None => Ok(Value::Nil),
                Some(value) => Value::list(map(value)?.values().cloned().collect()),
            }
        }
        _ => Err("scratch has Key, Get, Set, SetX, MapSet, MapSetX and MapValues".into()),
    }
}
