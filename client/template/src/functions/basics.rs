//! The functions that Go's `text/template` has by itself, but `and` and `or`.

use std::cmp::Ordering;
use std::fmt::Write;
use std::sync::Arc;

use gotmpl::Value as Go;
use gotmpl::parse::{ActionNode, CommandNode, Expr, ListNode, Node, PipeNode, Pos, SmolStr};

use super::{Table, at_least, exactly, expected, int, text};
use crate::run::Run;
use crate::show;
use crate::value::{Failure, Value};

pub(super) const TABLE: Table = &[
    ("not", |_, args| {
        let [value] = exactly(args)?;
        Ok(Value::Bool(!value.is_true()))
    }),
    ("eq", |_, args| {
        let [first, others @ ..] = at_least(args, 2)? else { return Ok(Value::Nil) };
        for other in others {
            if equal(first, other)? {
                return Ok(Value::Bool(true));
            }
        }
        Ok(Value::Bool(false))
    }),
    ("ne", |_, args| {
        let [a, b] = exactly(args)?;
        Ok(Value::Bool(!equal(a, b)?))
    }),
    ("lt", |_, args| compare(args, |order| order == Ordering::Less)),
    ("le", |_, args| compare(args, |order| order != Ordering::Greater)),
    ("gt", |_, args| compare(args, |order| order == Ordering::Greater)),
    ("ge", |_, args| compare(args, |order| order != Ordering::Less)),
    ("len", |_, args| {
        let [value] = exactly(args)?;
        length(value).map(Value::int).ok_or_else(|| expected("something that has a length", value))
    }),
    ("index", |_, args| {
        let [value, keys @ ..] = at_least(args, 1)? else { return Ok(Value::Nil) };
        keys.iter().try_fold(value.clone(), |value, key| index(&value, key))
    }),
    ("slice", |_, args| slice(args)),
    ("call", |_, _| Err("there are no values that are functions".into())),
    ("print", |run, args| {
        run.fits(weight(args))?;
        let mut out = String::new();
        for (position, value) in args.iter().enumerate() {
            let between_texts = position > 0 && value.as_text().is_none() && args[position - 1].as_text().is_none();
            if between_texts {
                out.push(' ');
            }
            out.push_str(&show::text(value));
        }
        Ok(Value::text(out))
    }),
    ("println", |run, args| {
        run.fits(weight(args))?;
        let texts: Vec<_> = args.iter().map(show::text).collect();
        Ok(Value::text(texts.join(" ") + "\n"))
    }),
    ("printf", |run, args| printf(run, args)),
    ("html", |run, args| escaped(run, args, gotmpl::html_escape)),
    ("js", |run, args| escaped(run, args, gotmpl::js_escape)),
    ("urlquery", |run, args| escaped(run, args, gotmpl::url_encode)),
];

/// The bytes that values take when printed, at most.
pub(super) fn weight(values: &[Value]) -> usize {
    values.iter().map(Value::weight).fold(0, usize::saturating_add)
}

/// The length of a text in bytes, of a list or a map in entries.
pub(super) fn length(value: &Value) -> Option<usize> {
    match value {
        Value::Text(text) => Some(text.len()),
        Value::Item(item) => Some(item.value.len()),
        Value::Bytes(bytes) => Some(bytes.len()),
        Value::List(list) => Some(list.items.len()),
        Value::Map(map) | Value::Variable(map, _) => Some(map.entries.len()),
        Value::Nil | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Time(_) | Value::Scratch => None,
    }
}

fn incomparable(a: &Value, b: &Value) -> Failure {
    Failure(format!("cannot compare a {} with a {}", a.kind(), b.kind()))
}

fn equal(a: &Value, b: &Value) -> Result<bool, Failure> {
    match (a, b) {
        (Value::Nil, _) | (_, Value::Nil) => Ok(matches!((a, b), (Value::Nil, Value::Nil))),
        (Value::Bool(a), Value::Bool(b)) => Ok(a == b),
        (Value::Int(a), Value::Int(b)) => Ok(a == b),
        (Value::Float(a), Value::Float(b)) => Ok(a == b),
        (Value::Time(a), Value::Time(b)) => Ok(a == b),
        (a, b) => match (a.as_text(), b.as_text()) {
            (Some(a), Some(b)) => Ok(a == b),
            _ => Err(incomparable(a, b)),
        },
    }
}

fn compare(args: &[Value], holds: fn(Ordering) -> bool) -> Result<Value, Failure> {
    let [a, b] = exactly(args)?;
    let order = match (a, b) {
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b),
        (a, b) => a.as_text().zip(b.as_text()).map(|(a, b)| a.cmp(b)),
    };
    order.map(|order| Value::Bool(holds(order))).ok_or_else(|| incomparable(a, b))
}

/// The element of a list or the entry of a map; an entry that is not there is nil.
pub(super) fn index(value: &Value, key: &Value) -> Result<Value, Failure> {
    if let Value::Nil = value {
        return Err("index of nil".into());
    }
    if let Some(entries) = value.as_map() {
        return Ok(entries.get(text(key)?).cloned().unwrap_or(Value::Nil));
    }
    let out_of_range = || Failure(format!("index {} is out of range", show::text(key)));
    let position = usize::try_from(int(key)?).map_err(|_| out_of_range())?;
    if let Some(items) = value.as_list() {
        return items.get(position).cloned().ok_or_else(out_of_range);
    }
    if let Some(text) = value.as_text() {
        return text.as_bytes().get(position).map(|byte| Value::Int(i64::from(*byte))).ok_or_else(out_of_range);
    }
    Err(expected("a list, a map or a string", value))
}

fn slice(args: &[Value]) -> Result<Value, Failure> {
    let [value, bounds @ ..] = at_least(args, 1)? else { return Ok(Value::Nil) };
    let whole =
        length(value).filter(|_| value.as_map().is_none()).ok_or_else(|| expected("a list or a string", value))?;
    let bound = |position: usize, default: usize| match bounds.get(position) {
        None => Ok(default),
        Some(bound) => {
            let number = int(bound)?;
            usize::try_from(number)
                .ok()
                .filter(|number| *number <= whole)
                .ok_or_else(|| Failure(format!("index {number} is out of range")))
        }
    };
    let (from, to) = (bound(0, 0)?, bound(1, whole)?);
    let capacity = bound(2, whole)?;
    if bounds.len() > 3 || from > to || to > capacity {
        return Err(Failure(format!("there is no slice from {from} to {to}")));
    }
    match (value.as_list(), value.as_text()) {
        (Some(items), _) => Value::list(items[from..to].to_vec()),
        (None, Some(text)) => text
            .get(from..to)
            .map(Value::text)
            .ok_or_else(|| Failure(format!("{from} to {to} cuts through a character"))),
        (None, None) => Err(expected("a list or a string", value)),
    }
}

fn escaped(run: &mut Run<'_>, args: &[Value], escape: fn(&str) -> String) -> Result<Value, Failure> {
    let [value] = exactly(args)?;
    run.fits(value.weight())?;
    let plain = if let Value::Nil = value { "<no value>".to_owned() } else { show::text(value) };
    Ok(Value::text(escape(&plain)))
}

/// The widest that gotmpl pads anything.
const MAX_WIDTH: usize = 65_535;

fn printf(run: &mut Run<'_>, args: &[Value]) -> Result<Value, Failure> {
    let [format, values @ ..] = at_least(args, 1)? else { return Ok(Value::Nil) };
    let format = text(format)?;
    let widest = values.iter().map(Value::weight).max().unwrap_or(0);
    let verbs = format.matches('%').count();
    let padded = format.split(|c: char| !c.is_ascii_digit()).fold(0_usize, |sum, digits| {
        sum.saturating_add(digits.parse().unwrap_or(if digits.is_empty() { 0 } else { MAX_WIDTH }).min(MAX_WIDTH))
    });
    let starred = format.matches('*').count().saturating_mul(MAX_WIDTH);
    run.fits(verbs.saturating_mul(widest).saturating_add(padded).saturating_add(starred).saturating_add(format.len()))?;
    formatted(format, &shown_for_v(format, values))
}

/// The values, with those that `%v` formats as this crate prints them: gotmpl prints large numbers unlike Go. Formats
/// that choose their arguments by number, or their width by an argument, stay with gotmpl.
fn shown_for_v(format: &str, values: &[Value]) -> Vec<Value> {
    let mut values = values.to_vec();
    let mut slots = values.iter_mut();
    let mut rest = format;
    while let Some((_, directive)) = rest.split_once('%') {
        let directive = directive.trim_start_matches(|c: char| c.is_ascii_digit() || "+-# .".contains(c));
        let Some(verb) = directive.chars().next() else { break };
        rest = &directive[verb.len_utf8()..];
        match verb {
            '%' => {}
            '[' | '*' => break,
            'v' => {
                if let Some(slot @ (Value::Float(_) | Value::List(_) | Value::Map(_) | Value::Variable(..))) =
                    slots.next()
                {
                    *slot = Value::text(show::text(slot));
                }
            }
            _ => drop(slots.next()),
        }
    }
    values
}

/// Has gotmpl format the values: by a template that consists of nothing else.
fn formatted(format: &str, values: &[Value]) -> Result<Value, Failure> {
    let at = Pos::new(0, 1);
    let mut exprs = vec![Expr::Identifier(at, SmolStr::new_static("printf")), Expr::String(at, Arc::from(format))];
    let mut data = std::collections::BTreeMap::<Arc<str>, Go>::new();
    for (position, value) in values.iter().enumerate() {
        let mut name = String::from("v");
        write!(name, "{position}").unwrap_or_default();
        exprs.push(Expr::Field(at, vec![SmolStr::from(name.as_str())]));
        data.insert(Arc::from(name), to_go(value));
    }
    let commands = vec![CommandNode { pos: at, args: exprs }];
    let pipe = PipeNode { pos: at, decl: Vec::new(), commands, is_assign: false };
    let tree = ListNode { pos: at, nodes: vec![Node::Action(ActionNode { pos: at, pipe })] };
    let template = gotmpl::Template::new("printf").add_parse_tree("printf", tree);
    let result = template.execute_template_to_string("printf", &Go::Map(Arc::new(data)));
    result.map(Value::text).map_err(|error| Failure(error.to_string()))
}

fn to_go(value: &Value) -> Go {
    match value {
        Value::Nil => Go::Nil,
        Value::Bool(value) => Go::Bool(*value),
        Value::Int(number) => Go::Int(*number),
        Value::Float(number) => Go::Float(*number),
        Value::Text(text) => Go::String(text.clone()),
        Value::Item(item) => Go::String(item.value.clone()),
        Value::List(list) => Go::List(list.items.iter().map(to_go).collect()),
        Value::Map(map) | Value::Variable(map, _) => {
            Go::Map(Arc::new(map.entries.iter().map(|(key, value)| (key.clone(), to_go(value))).collect()))
        }
        Value::Bytes(_) | Value::Time(_) | Value::Scratch => Go::String(show::text(value).into()),
    }
}
