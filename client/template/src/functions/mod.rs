//! What templates may call: the functions of Go's `text/template`, of consul-template and of Sprig.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use crate::run::Run;
use crate::value::{Entries, Failure, Value};

mod basics;
mod collections;
mod documents;
mod encoding;
mod environment;
pub(crate) mod fields;
mod nomad;
mod numbers;
mod refused;
mod sprig;
mod sprig_collections;
mod sprig_text;
mod strings;
pub(crate) mod time;

/// A function; a piped value is its last argument.
pub(crate) type Function = fn(&mut Run<'_>, &[Value]) -> Result<Value, Failure>;

/// Functions by name.
type Table = &'static [(&'static str, Function)];

/// What there is by a name.
pub(crate) enum Known {
    Here(Function),
    /// `and` or `or`, which evaluate no more of their arguments than they need.
    ShortCircuit,
    /// A function of the dialect that is not offered: the rest of a sentence that begins with its name.
    Refused(&'static str),
    Not,
}

/// The functions whose Go versions change their first argument: where that is a variable, it is given the result.
pub(crate) const CHANGING: &[&str] =
    &["sprig_set", "sprig_unset", "sprig_merge", "sprig_mergeOverwrite", "sprig_mustMerge", "sprig_mustMergeOverwrite"];

/// Functions of Sprig that have a second name with `must`, by which their Go versions fail instead of giving nothing;
/// here both fail.
const MUST: &[&str] = &[
    "Append",
    "Compact",
    "DateModify",
    "DeepCopy",
    "First",
    "FromJson",
    "Has",
    "Initial",
    "Last",
    "Merge",
    "MergeOverwrite",
    "Prepend",
    "Push",
    "RegexFind",
    "RegexFindAll",
    "RegexMatch",
    "RegexReplaceAll",
    "RegexReplaceAllLiteral",
    "RegexSplit",
    "Rest",
    "Reverse",
    "Slice",
    "ToJson",
    "ToPrettyJson",
    "ToRawJson",
    "Uniq",
    "Without",
];

static FUNCTIONS: LazyLock<HashMap<&'static str, Function>> = LazyLock::new(|| {
    let tables = [
        basics::TABLE,
        collections::TABLE,
        documents::TABLE,
        encoding::TABLE,
        environment::TABLE,
        nomad::TABLE,
        numbers::TABLE,
        strings::TABLE,
        time::TABLE,
        sprig::TABLE,
        sprig_collections::TABLE,
        sprig_text::TABLE,
    ];
    tables.into_iter().flatten().copied().collect()
});

/// Finds a function.
pub(crate) fn find(name: &str) -> Known {
    match (FUNCTIONS.get(name), name) {
        (Some(function), _) => Known::Here(*function),
        (None, "and" | "or") => Known::ShortCircuit,
        (None, name) => match name.strip_prefix("sprig_must").filter(|rest| MUST.contains(rest)) {
            Some(rest) => find(&format!("sprig_{}{}", rest[..1].to_lowercase(), &rest[1..])),
            None => refused::reason(name).map_or(Known::Not, Known::Refused),
        },
    }
}

/// The arguments, if they are as many as that.
fn exactly<const N: usize>(args: &[Value]) -> Result<&[Value; N], Failure> {
    args.try_into().map_err(|_| Failure(format!("takes {N} arguments, not {}", args.len())))
}

/// The arguments, if there are so many or more.
fn at_least(args: &[Value], count: usize) -> Result<&[Value], Failure> {
    if args.len() < count {
        return Err(Failure(format!("takes at least {count} arguments, not {}", args.len())));
    }
    Ok(args)
}

/// A value that has to be a text.
fn text(value: &Value) -> Result<&str, Failure> {
    value.as_text().map(|text| &**text).ok_or_else(|| Failure(format!("expected a string, not a {}", value.kind())))
}

/// A value that has to be a whole number.
fn int(value: &Value) -> Result<i64, Failure> {
    if let Value::Int(number) = value { Ok(*number) } else { Err(expected("a whole number", value)) }
}

/// A value that has to be a list; nil is an empty one.
fn list(value: &Value) -> Result<&[Value], Failure> {
    if let Value::Nil = value { Ok(&[]) } else { value.as_list().ok_or_else(|| expected("a list", value)) }
}

/// A value that has to be a map; nil is an empty one.
fn map(value: &Value) -> Result<&Entries, Failure> {
    static NONE: Entries = Entries::new();
    if let Value::Nil = value { Ok(&NONE) } else { value.as_map().ok_or_else(|| expected("a map", value)) }
}

fn expected(what: &str, value: &Value) -> Failure {
    Failure(format!("expected {what}, not a {}", value.kind()))
}

/// The key under which a map has what a value names.
fn key(value: &Value) -> Result<Arc<str>, Failure> {
    value.as_text().cloned().ok_or_else(|| expected("a string as key", value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_second_name_leads_to_a_function() {
        for name in MUST {
            assert!(matches!(find(&format!("sprig_must{name}")), Known::Here(_)), "{name}");
        }
        assert!(matches!(find("sprig_mustUpper"), Known::Not));
    }

    #[test]
    fn no_function_is_there_twice_or_both_offered_and_refused() {
        let tables = [basics::TABLE, collections::TABLE, documents::TABLE, encoding::TABLE, environment::TABLE];
        let more = [nomad::TABLE, numbers::TABLE, strings::TABLE, time::TABLE];
        let sprig = [sprig::TABLE, sprig_collections::TABLE, sprig_text::TABLE];
        let all = tables.into_iter().chain(more).chain(sprig).flatten().map(|(name, _)| *name);
        let all: Vec<&str> = all.collect();
        assert_eq!(all.len(), FUNCTIONS.len(), "a name stands in two tables");
        for name in all {
            assert!(refused::reason(name).is_none(), "{name}");
        }
    }
}
