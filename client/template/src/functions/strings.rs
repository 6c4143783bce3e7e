//! consul-template's functions of texts.

use std::collections::HashSet;

use regex::Regex;

use super::{Table, exactly, int, text};
use crate::run::Run;
use crate::value::{Entries, Failure, Value};

pub(super) const TABLE: Table = &[
    ("toLower", |_, args| one(args, |s| s.to_lowercase())),
    ("toUpper", |_, args| one(args, |s| s.to_uppercase())),
    ("toTitle", |_, args| one(args, title)),
    ("trimSpace", |_, args| one(args, |s| s.trim().to_owned())),
    ("trim", |_, args| two(args, trim)),
    ("trimPrefix", |_, args| two(args, |prefix, s| s.strip_prefix(prefix).unwrap_or(s).to_owned())),
    ("trimSuffix", |_, args| two(args, |suffix, s| s.strip_suffix(suffix).unwrap_or(s).to_owned())),
    ("replaceAll", |run, args| {
        let [from, to, s] = exactly(args)?;
        replace(run, text(from)?, text(to)?, text(s)?)
    }),
    ("regexMatch", |run, args| {
        let [pattern, s] = exactly(args)?;
        Ok(Value::Bool(regex(run, text(pattern)?)?.is_match(text(s)?)))
    }),
    ("regexReplaceAll", |run, args| {
        let [pattern, replacement, s] = exactly(args)?;
        let pattern = regex(run, text(pattern)?)?;
        replace_matches(run, &pattern, text(replacement)?, text(s)?)
    }),
    ("split", |_, args| {
        let [separator, s] = exactly(args)?;
        match text(s)?.trim() {
            "" => Value::list(Vec::new()),
            s => Value::texts(pieces(s, text(separator)?)),
        }
    }),
    ("splitToMap", |_, args| {
        let [separator, between, s] = exactly(args)?;
        let (between, s) = (text(between)?, text(s)?.trim());
        let mut entries = Entries::new();
        for pair in pieces(s, text(separator)?).into_iter().filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once(between).unwrap_or((pair, ""));
            entries.insert(key.into(), Value::text(value));
        }
        Value::map(entries)
    }),
    ("join", |run, args| {
        let [separator, items] = exactly(args)?;
        let items = super::list(items)?.iter().map(text).collect::<Result<Vec<_>, _>>()?;
        join(run, &items, text(separator)?)
    }),
    ("indent", |run, args| {
        let [spaces, s] = exactly(args)?;
        let s = text(s)?;
        let spaces = usize::try_from(int(spaces)?).map_err(|_| Failure::from("the indentation is negative"))?;
        run.fits(s.len().saturating_add(spaces.saturating_mul(s.matches('\n').count() + 1)))?;
        let indented = |line: &str| {
            if line.trim_end_matches('\n').is_empty() { line.to_owned() } else { " ".repeat(spaces) + line }
        };
        Ok(Value::text(s.split_inclusive('\n').map(indented).collect::<String>()))
    }),
];

fn one(args: &[Value], change: impl Fn(&str) -> String) -> Result<Value, Failure> {
    let [s] = exactly(args)?;
    Ok(Value::text(change(text(s)?)))
}

pub(super) fn two(args: &[Value], change: impl Fn(&str, &str) -> String) -> Result<Value, Failure> {
    let [option, s] = exactly(args)?;
    Ok(Value::text(change(text(option)?, text(s)?)))
}

/// A text without the characters of `cutset` at its ends.
pub(super) fn trim(cutset: &str, s: &str) -> String {
    let cutset: HashSet<char> = cutset.chars().collect();
    s.trim_matches(|c| cutset.contains(&c)).to_owned()
}

/// Each word with a capital at its beginning.
pub(super) fn title(s: &str) -> String {
    let mut inside = false;
    let mut out = String::with_capacity(s.len());
    for c in s.chars() {
        if inside {
            out.push(c);
        } else {
            out.extend(c.to_uppercase());
        }
        inside = c.is_alphanumeric() || c == '_' || c == '\'';
    }
    out
}

/// The pieces between separators; an empty separator stands between all characters.
pub(super) fn pieces<'a>(s: &'a str, separator: &str) -> Vec<&'a str> {
    if separator.is_empty() {
        return s.split_inclusive(|_| true).collect();
    }
    s.split(separator).collect()
}

pub(super) fn replace(run: &mut Run<'_>, from: &str, to: &str, s: &str) -> Result<Value, Failure> {
    let places = s.matches(from).count();
    run.fits(s.len().saturating_add(places.saturating_mul(to.len())))?;
    Ok(Value::text(s.replace(from, to)))
}

pub(super) fn join(run: &mut Run<'_>, items: &[&str], separator: &str) -> Result<Value, Failure> {
    let separators = separator.len().saturating_mul(items.len());
    run.fits(items.iter().map(|item| item.len()).fold(separators, usize::saturating_add))?;
    Ok(Value::text(items.join(separator)))
}

/// Reads an expression; the clock is looked at, because large ones take long to prepare.
pub(super) fn regex(run: &Run<'_>, pattern: &str) -> Result<Regex, Failure> {
    run.look()?;
    Regex::new(pattern).map_err(|error| {
        let reason = error.to_string();
        let last = reason.lines().last().unwrap_or_default().trim_start_matches("error: ");
        Failure(format!("{pattern:?} is not a regular expression: {last}"))
    })
}

pub(super) fn replace_matches(run: &Run<'_>, pattern: &Regex, replacement: &str, s: &str) -> Result<Value, Failure> {
    let mut out = String::new();
    let mut end = 0;
    for found in pattern.captures_iter(s) {
        run.look()?;
        let Some(whole) = found.get(0) else { continue };
        out.push_str(&s[end..whole.start()]);
        found.expand(replacement, &mut out);
        end = whole.end();
        run.fits(out.len())?;
    }
    out.push_str(&s[end..]);
    run.fits(out.len())?;
    Ok(Value::text(out))
}
