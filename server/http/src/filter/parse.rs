//! The grammar of filter expressions.

use regex::{Regex, RegexBuilder};
use winnow::ascii::{multispace0, multispace1};
use winnow::combinator::{alt, cut_err, delimited, not, opt, peek, preceded, repeat, terminated};
use winnow::error::{ContextError, ErrMode, StrContext, StrContextValue};
use winnow::prelude::*;
use winnow::stream::Stateful;
use winnow::token::{any, take_while};

use super::{Expression, Names, Quantifier, Selector, Test};
use crate::limits;

/// The text that is left and how deep it has nested so far.
type Input<'a> = Stateful<&'a str, usize>;

type Out<T> = Result<T, ErrMode<ContextError>>;

pub(super) fn parse(text: &str) -> Result<Expression, String> {
    if text.len() > limits::FILTER_BYTES {
        return Err(format!("{} bytes are more than {}", text.len(), limits::FILTER_BYTES));
    }
    let input = Input { input: text, state: 0 };
    delimited(multispace0, expression, multispace0).parse(input).map_err(|error| {
        let at = text.get(error.offset()..).unwrap_or("");
        let near: String = at.chars().take(20).collect();
        let place = if near.is_empty() { "at the end".to_owned() } else { format!("near {near:?}") };
        match error.into_inner().to_string().replace('\n', ", ").as_str() {
            "" => format!("{place}: expected an operator, \"and\", \"or\" or the end"),
            why => format!("{place}: {why}"),
        }
    })
}

fn expected(what: &'static str) -> StrContext {
    StrContext::Expected(StrContextValue::Description(what))
}

/// Terms joined by `or`, each of which is terms joined by `and`.
fn expression(input: &mut Input<'_>) -> Out<Expression> {
    if input.state >= limits::FILTER_DEPTH {
        let mut error = ContextError::new();
        error.push(StrContext::Expected(StrContextValue::Description("an expression that nests less deeply")));
        return Err(ErrMode::Cut(error));
    }
    input.state += 1;
    let parsed = joined(input, "or", |input| joined(input, "and", term, Expression::And), Expression::Or);
    input.state -= 1;
    parsed
}

fn joined(
    input: &mut Input<'_>,
    word: &'static str,
    mut part: impl FnMut(&mut Input<'_>) -> Out<Expression>,
    join: fn(Box<Expression>, Box<Expression>) -> Expression,
) -> Out<Expression> {
    let mut all = vec![part(input)?];
    while opt(delimited(multispace1, keyword(word), multispace1)).parse_next(input)?.is_some() {
        all.push(cut_err(&mut part).parse_next(input)?);
    }
    // A balanced tree, so that a long chain is not a deep one.
    Ok(balanced(all, join))
}

fn balanced(mut parts: Vec<Expression>, join: fn(Box<Expression>, Box<Expression>) -> Expression) -> Expression {
    let right = parts.split_off(parts.len().div_ceil(2));
    match (parts.len(), right.is_empty()) {
        (1, true) => parts.swap_remove(0),
        _ => join(Box::new(balanced(parts, join)), Box::new(balanced(right, join))),
    }
}

fn term(input: &mut Input<'_>) -> Out<Expression> {
    alt((
        preceded((keyword("not"), multispace1), nested_term).map(|inner| Expression::Not(Box::new(inner))),
        delimited(('(', multispace0), cut_err(expression), cut_err((multispace0, ')'.context(expected("\")\""))))),
        each,
        value_in_selector,
        selector_test,
    ))
    .context(expected("a comparison such as Name == \"value\""))
    .parse_next(input)
}

/// What `not` applies to; nesting counts.
fn nested_term(input: &mut Input<'_>) -> Out<Expression> {
    if input.state >= limits::FILTER_DEPTH {
        let mut error = ContextError::new();
        error.push(expected("an expression that nests less deeply"));
        return Err(ErrMode::Cut(error));
    }
    input.state += 1;
    let parsed = cut_err(term).parse_next(input);
    input.state -= 1;
    parsed
}

/// `any Sel as x { … }`, `all Sel as k, v { … }`.
fn each(input: &mut Input<'_>) -> Out<Expression> {
    let quantifier =
        alt((keyword("any").value(Quantifier::Any), keyword("all").value(Quantifier::All))).parse_next(input)?;
    let selector = preceded(multispace1, selector).parse_next(input)?;
    (multispace1, keyword("as"), multispace1).parse_next(input)?;
    let names = cut_err(names).parse_next(input)?;
    cut_err((multispace0, '{'.context(expected("\"{\"")), multispace0)).parse_next(input)?;
    let body = cut_err(expression).parse_next(input)?;
    cut_err((multispace0, '}'.context(expected("\"}\"")))).parse_next(input)?;
    Ok(Expression::Each { quantifier, selector, names, body: Box::new(body) })
}

fn names(input: &mut Input<'_>) -> Out<Names> {
    let first = identifier.parse_next(input)?;
    let second = opt(preceded((multispace0, ',', multispace0), identifier)).parse_next(input)?;
    let named = |name: String| Some(name).filter(|name| name != "_");
    Ok(match second {
        None => Names::One(first),
        Some(second) => Names::Two(named(first), named(second)),
    })
}

/// `"v" in Sel`, `"v" not in Sel`.
fn value_in_selector(input: &mut Input<'_>) -> Out<Expression> {
    let value = value.parse_next(input)?;
    multispace1.parse_next(input)?;
    let negated = opt((keyword("not"), multispace1)).parse_next(input)?.is_some();
    (keyword("in"), multispace1).parse_next(input)?;
    let selector = cut_err(selector).parse_next(input)?;
    let test = if negated { Test::ContainsNot(value) } else { Test::Contains(value) };
    Ok(Expression::Match { selector, test })
}

/// `Sel == "v"`, `Sel is empty`, `Sel contains "v"`, `Sel matches "re"` and their opposites.
fn selector_test(input: &mut Input<'_>) -> Out<Expression> {
    let selector = selector.parse_next(input)?;
    let test = alt((
        preceded((multispace0, "==", multispace0), cut_err(value)).map(Test::Equal),
        preceded((multispace0, "!=", multispace0), cut_err(value)).map(Test::NotEqual),
        preceded(multispace1, word_test),
    ))
    .context(expected("an operator: ==, !=, is empty, in, contains or matches"))
    .parse_next(input)?;
    Ok(Expression::Match { selector, test })
}

fn word_test(input: &mut Input<'_>) -> Out<Test> {
    let words = |first: &'static str, second: &'static str| (keyword(first), multispace1, keyword(second));
    alt((
        (keyword("is"), multispace1, words("not", "empty")).value(()).map(|()| Test::NotEmpty),
        words("is", "empty").map(|_| Test::Empty),
        preceded((words("not", "contains"), multispace1), cut_err(value)).map(Test::ContainsNot),
        preceded((keyword("contains"), multispace1), cut_err(value)).map(Test::Contains),
        preceded((words("not", "matches"), multispace1), cut_err(pattern)).map(Test::MatchesNot),
        preceded((keyword("matches"), multispace1), cut_err(pattern)).map(Test::Matches),
    ))
    .parse_next(input)
}

/// A regular expression of bounded size.
fn pattern(input: &mut Input<'_>) -> Out<Regex> {
    value
        .verify_map(|text| RegexBuilder::new(&text).size_limit(limits::FILTER_REGEX_BYTES).build().ok())
        .context(expected("a regular expression"))
        .parse_next(input)
}

/// A value: quoted, raw in backticks, or a bare number or word.
fn value(input: &mut Input<'_>) -> Out<String> {
    alt((quoted, raw, bare)).context(expected("a value such as \"text\" or 5")).parse_next(input)
}

fn raw(input: &mut Input<'_>) -> Out<String> {
    delimited('`', take_while(0.., |c| c != '`'), '`').map(str::to_owned).parse_next(input)
}

fn quoted(input: &mut Input<'_>) -> Out<String> {
    let escaped = preceded(
        '\\',
        any.verify_map(|c| match c {
            'n' => Some('\n'),
            't' => Some('\t'),
            'r' => Some('\r'),
            '"' | '\\' | '/' => Some(c),
            _ => None,
        }),
    );
    let character = alt((escaped, any.verify(|c| *c != '"' && *c != '\\')));
    delimited('"', repeat(0.., character), '"').parse_next(input)
}

/// A bare word or number; it ends at a blank or a bracket.
fn bare(input: &mut Input<'_>) -> Out<String> {
    take_while(1.., |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '+' | '/' | ':'))
        .map(str::to_owned)
        .parse_next(input)
}

fn selector(input: &mut Input<'_>) -> Out<Selector> {
    alt((pointer, dotted)).context(expected("a field such as Name or Meta[\"key\"]")).parse_next(input)
}

/// `"/A/key"`, with `~1` for a slash and `~0` for a tilde inside a name.
fn pointer(input: &mut Input<'_>) -> Out<Selector> {
    quoted
        .verify_map(|text| {
            let path = text.strip_prefix('/')?;
            Some(Selector(path.split('/').map(|part| part.replace("~1", "/").replace("~0", "~")).collect()))
        })
        .parse_next(input)
}

/// `A.B`, `A["key"]`, `A.0`.
fn dotted(input: &mut Input<'_>) -> Out<Selector> {
    let first = identifier.parse_next(input)?;
    let index = delimited('[', alt((quoted, raw)), ']');
    let part = preceded('.', take_while(1.., is_name).map(str::to_owned));
    let rest: Vec<String> = repeat(0.., alt((index, part))).parse_next(input)?;
    Ok(Selector(std::iter::once(first).chain(rest).collect()))
}

fn identifier(input: &mut Input<'_>) -> Out<String> {
    (any.verify(|c: &char| c.is_alphabetic() || *c == '_'), take_while(0.., is_name))
        .take()
        .map(str::to_owned)
        .parse_next(input)
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '-'
}

/// A word that is not the beginning of a longer one.
fn keyword<'a>(word: &'static str) -> impl Parser<Input<'a>, &'a str, ErrMode<ContextError>> {
    terminated(word, peek(not(any.verify(|c| is_name(*c)))))
}
