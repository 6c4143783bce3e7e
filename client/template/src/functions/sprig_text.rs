//! Sprig's functions of texts.

use std::fmt::Write;

use super::strings::{join, pieces, regex, replace, replace_matches, title, trim, two};
use super::{Table, at_least, exactly, int, list, text};
use crate::run::Run;
use crate::show;
use crate::value::{Entries, Failure, Value};

pub(super) const TABLE: Table = &[
    ("sprig_trim", |_, args| change(args, |s| s.trim().to_owned())),
    ("sprig_upper", |_, args| change(args, |s| s.to_uppercase())),
    ("sprig_lower", |_, args| change(args, |s| s.to_lowercase())),
    ("sprig_title", |_, args| change(args, title)),
    ("sprig_untitle", |_, args| {
        change(args, |s| {
            let mut chars = s.chars();
            chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
        })
    }),
    ("sprig_nospace", |_, args| change(args, |s| s.chars().filter(|c| !c.is_whitespace()).collect())),
    ("sprig_trimAll", |_, args| two(args, trim)),
    ("sprig_trimPrefix", |_, args| two(args, |prefix, s| s.strip_prefix(prefix).unwrap_or(s).to_owned())),
    ("sprig_trimSuffix", |_, args| two(args, |suffix, s| s.strip_suffix(suffix).unwrap_or(s).to_owned())),
    ("sprig_contains", |_, args| holds(args, |part, s| s.contains(part))),
    ("sprig_hasPrefix", |_, args| holds(args, |part, s| s.starts_with(part))),
    ("sprig_hasSuffix", |_, args| holds(args, |part, s| s.ends_with(part))),
    ("sprig_repeat", |run, args| {
        let [count, s] = exactly(args)?;
        let (count, s) = (usize::try_from(int(count)?).unwrap_or(0), text(s)?);
        run.fits(s.len().saturating_mul(count))?;
        Ok(Value::text(s.repeat(count)))
    }),
    ("sprig_substr", |_, args| {
        let [from, to, s] = exactly(args)?;
        let (from, to, s) = (usize::try_from(int(from)?).unwrap_or(0), int(to)?, text(s)?);
        let to = usize::try_from(to).unwrap_or(s.len()).min(s.len());
        s.get(from..to).map(Value::text).ok_or_else(|| Failure(format!("there is no part from {from} to {to}")))
    }),
    ("sprig_trunc", |_, args| {
        let [count, s] = exactly(args)?;
        let (count, s) = (int(count)?, text(s)?);
        let length = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX).min(s.len());
        let part = if count < 0 { s.get(s.len() - length..) } else { s.get(..length) };
        part.map(Value::text).ok_or_else(|| Failure(format!("{count} cuts through a character")))
    }),
    ("sprig_quote", |run, args| {
        quoted(run, args, |s| {
            let mut out = String::new();
            out.push('"');
            for c in s.chars() {
                match c {
                    '"' => out.push_str("\\\""),
                    '\\' => out.push_str("\\\\"),
                    '\n' => out.push_str("\\n"),
                    '\r' => out.push_str("\\r"),
                    '\t' => out.push_str("\\t"),
                    c if c.is_control() => write!(out, "\\x{:02x}", u32::from(c)).unwrap_or_default(),
                    c => out.push(c),
                }
            }
            out + "\""
        })
    }),
    ("sprig_squote", |run, args| quoted(run, args, |s| format!("'{s}'"))),
    ("sprig_cat", |run, args| quoted(run, args, |s| s.to_owned())),
    ("sprig_indent", |run, args| indent(run, args, "")),
    ("sprig_nindent", |run, args| indent(run, args, "\n")),
    ("sprig_replace", |run, args| {
        let [from, to, s] = exactly(args)?;
        replace(run, text(from)?, text(to)?, text(s)?)
    }),
    ("sprig_plural", |_, args| {
        let [one, many, count] = exactly(args)?;
        Ok(if int(count)? == 1 { one.clone() } else { many.clone() })
    }),
    ("sprig_toString", |run, args| {
        let [value] = exactly(args)?;
        run.fits(value.weight())?;
        Ok(Value::text(show::text(value)))
    }),
    ("sprig_toStrings", |_, args| {
        let [items] = exactly(args)?;
        Value::texts(strings(items)?)
    }),
    ("sprig_sortAlpha", |_, args| {
        let [items] = exactly(args)?;
        let mut sorted = strings(items)?;
        sorted.sort();
        Value::texts(sorted)
    }),
    ("sprig_join", |run, args| {
        let [separator, items] = exactly(args)?;
        let items = strings(items)?;
        let items: Vec<&str> = items.iter().map(String::as_str).collect();
        join(run, &items, text(separator)?)
    }),
    ("sprig_splitList", |_, args| {
        let [separator, s] = exactly(args)?;
        Value::texts(pieces(text(s)?, text(separator)?))
    }),
    ("sprig_split", |_, args| {
        let [separator, s] = exactly(args)?;
        numbered(pieces(text(s)?, text(separator)?))
    }),
    ("sprig_splitn", |_, args| {
        let [separator, count, s] = exactly(args)?;
        let count = usize::try_from(int(count)?).unwrap_or(usize::MAX);
        numbered(text(s)?.splitn(count, text(separator)?).collect())
    }),
    ("sprig_snakecase", |_, args| change(args, |s| words(s).join("_").to_lowercase())),
    ("sprig_kebabcase", |_, args| change(args, |s| words(s).join("-").to_lowercase())),
    ("sprig_camelcase", |_, args| change(args, |s| words(s).iter().map(|word| title(&word.to_lowercase())).collect())),
    ("sprig_base", |_, args| {
        change(args, |s| {
            let last = s.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
            match (last, s.is_empty()) {
                ("", true) => ".".into(),
                ("", false) => "/".into(),
                (last, _) => last.into(),
            }
        })
    }),
    ("sprig_dir", |_, args| {
        change(args, |s| match s.rsplit_once('/') {
            None => ".".into(),
            Some((dir, _)) if dir.trim_end_matches('/').is_empty() => "/".into(),
            Some((dir, _)) => dir.trim_end_matches('/').into(),
        })
    }),
    ("sprig_ext", |_, args| {
        change(args, |s| {
            let last = s.rsplit('/').next().unwrap_or_default();
            last.rfind('.').map(|dot| last[dot..].to_owned()).unwrap_or_default()
        })
    }),
    ("sprig_regexMatch", |run, args| {
        let [pattern, s] = exactly(args)?;
        Ok(Value::Bool(regex(run, text(pattern)?)?.is_match(text(s)?)))
    }),
    ("sprig_regexFind", |run, args| {
        let [pattern, s] = exactly(args)?;
        let pattern = regex(run, text(pattern)?)?;
        Ok(Value::text(pattern.find(text(s)?).map(|found| found.as_str()).unwrap_or_default()))
    }),
    ("sprig_regexFindAll", |run, args| {
        let [pattern, s, count] = exactly(args)?;
        let pattern = regex(run, text(pattern)?)?;
        let count = usize::try_from(int(count)?).unwrap_or(usize::MAX);
        unhurried(run, pattern.find_iter(text(s)?).take(count).map(|found| found.as_str()))
    }),
    ("sprig_regexReplaceAll", |run, args| {
        let [pattern, s, replacement] = exactly(args)?;
        let pattern = regex(run, text(pattern)?)?;
        replace_matches(run, &pattern, text(replacement)?, text(s)?)
    }),
    ("sprig_regexReplaceAllLiteral", |run, args| {
        let [pattern, s, replacement] = exactly(args)?;
        let pattern = regex(run, text(pattern)?)?;
        replace_matches(run, &pattern, &text(replacement)?.replace('$', "$$"), text(s)?)
    }),
    ("sprig_regexSplit", |run, args| {
        let [pattern, s, count] = exactly(args)?;
        let pattern = regex(run, text(pattern)?)?;
        let count = usize::try_from(int(count)?).unwrap_or(usize::MAX);
        unhurried(run, pattern.splitn(text(s)?, count))
    }),
];

fn change(args: &[Value], change: impl Fn(&str) -> String) -> Result<Value, Failure> {
    let [s] = exactly(args)?;
    Ok(Value::text(change(text(s)?)))
}

fn holds(args: &[Value], holds: impl Fn(&str, &str) -> bool) -> Result<Value, Failure> {
    let [part, s] = exactly(args)?;
    Ok(Value::Bool(holds(text(part)?, text(s)?)))
}

fn quoted(run: &mut Run<'_>, args: &[Value], quote: impl Fn(&str) -> String) -> Result<Value, Failure> {
    run.fits(super::basics::weight(args))?;
    let shown = args.iter().filter(|value| !matches!(value, Value::Nil)).map(|value| quote(&show::text(value)));
    Ok(Value::text(shown.collect::<Vec<_>>().join(" ")))
}

/// The list of what takes long to find each time.
fn unhurried<'s>(run: &Run<'_>, texts: impl Iterator<Item = &'s str>) -> Result<Value, Failure> {
    let texts = texts.map(|text| run.look().map(|()| Value::text(text)));
    Value::list(texts.collect::<Result<_, _>>()?)
}

/// Unlike consul-template's, it indents empty lines as well.
fn indent(run: &mut Run<'_>, args: &[Value], before: &str) -> Result<Value, Failure> {
    let [spaces, s] = exactly(args)?;
    let s = text(s)?;
    let spaces = usize::try_from(int(spaces)?).map_err(|_| Failure::from("the indentation is negative"))?;
    run.fits(s.len().saturating_add(spaces.saturating_mul(s.matches('\n').count() + 1)))?;
    let padding = " ".repeat(spaces);
    Ok(Value::text(format!("{before}{padding}{}", s.replace('\n', &format!("\n{padding}")))))
}

/// The items of a list as they are printed, without nil.
fn strings(items: &Value) -> Result<Vec<String>, Failure> {
    Ok(list(items)?.iter().filter(|item| !matches!(item, Value::Nil)).map(show::text).collect())
}

fn numbered(pieces: Vec<&str>) -> Result<Value, Failure> {
    let entries = pieces.into_iter().enumerate().map(|(index, piece)| (format!("_{index}").into(), Value::text(piece)));
    Value::map(entries.collect::<Entries>())
}

/// The words of a name, however it shows where they begin.
fn words(s: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before_upper = false;
    for c in s.chars() {
        let starts = c.is_uppercase() && !before_upper;
        if (!c.is_alphanumeric() || starts) && words.last().is_some_and(|word| !word.is_empty()) {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut()
            && c.is_alphanumeric()
        {
            word.push(c);
        }
        before_upper = c.is_uppercase();
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The first argument and the others.
pub(super) fn first(args: &[Value]) -> Result<(&Value, &[Value]), Failure> {
    at_least(args, 1)?.split_first().ok_or_else(|| "takes at least one argument".into())
}
