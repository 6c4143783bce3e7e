//! Files of `KEY=VALUE` lines, which become part of a task's environment.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

use crate::error::Fault;

/// Reads the lines; later ones win.
///
/// `export ` before a key is ignored, and so are empty lines and comments: lines that begin with `#`, and what follows
/// a `#` after white space. A value in single quotes is taken as it is; in double quotes `\n`, `\r`, `\t`, `\b`, `\f`,
/// `\"`, `\\`, `\/`, `\$` and `\uXXXX` mean what they do in JSON. Quotes inside a value that does not begin with one are
/// part of it.
pub(crate) fn parse(content: &[u8]) -> Result<BTreeMap<String, String>, Fault> {
    let text = std::str::from_utf8(content).map_err(|error| {
        let line = content[..error.valid_up_to()].split(|byte| *byte == b'\n').count();
        Fault::at(line, "the environment is not UTF-8 text")
    })?;
    let mut env = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        if let Some((key, value)) =
            parse_line(line).map_err(|cause| Fault::at(index + 1, format!("of the result: {cause}")))?
        {
            env.insert(key.to_owned(), value);
        }
    }
    Ok(env)
}

fn parse_line(line: &str) -> Result<Option<(&str, String)>, String> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let line = line.strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t'])).unwrap_or(line);
    let (key, value) = line.split_once('=').ok_or("there is no \"=\" after the name of a variable")?;
    let key = key.trim();
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if key.is_empty() || key.starts_with(|c: char| c.is_ascii_digit()) || !key.chars().all(is_name) {
        return Err(format!("{key:?} is not the name of a variable"));
    }
    let value = match value.trim_start().chars().next() {
        Some(quote @ ('\'' | '"')) => quoted(value.trim_start(), quote)?,
        Some(_) | None => unquoted(value).to_owned(),
    };
    if value.contains('\0') {
        return Err(format!("the value of {key} has a zero byte"));
    }
    Ok(Some((key, value)))
}

/// What stands before a comment, without white space around it.
fn unquoted(value: &str) -> &str {
    let mut after_space = false;
    for (at, c) in value.char_indices() {
        if c == '#' && after_space {
            return value[..at].trim();
        }
        after_space = c.is_whitespace();
    }
    value.trim()
}

fn quoted(value: &str, quote: char) -> Result<String, String> {
    let mut out = String::new();
    let mut chars = value[1..].chars().peekable();
    loop {
        match chars.next() {
            None => return Err(format!("the quote {quote} is not closed in the same line")),
            Some(c) if c == quote => break,
            Some('\\') if quote == '"' => out.push(escape(&mut chars)?),
            Some(c) => out.push(c),
        }
    }
    let rest: String = chars.collect();
    match rest.trim_start() {
        "" => Ok(out),
        comment if comment.starts_with('#') => Ok(out),
        other => Err(format!("{other:?} follows the closing quote")),
    }
}

fn escape(chars: &mut Peekable<Chars<'_>>) -> Result<char, String> {
    match chars.next() {
        Some('n') => Ok('\n'),
        Some('r') => Ok('\r'),
        Some('t') => Ok('\t'),
        Some('b') => Ok('\u{8}'),
        Some('f') => Ok('\u{c}'),
        Some(c @ ('"' | '\\' | '/' | '$' | '\'')) => Ok(c),
        Some('u') => {
            let high = code(chars)?;
            let is_pair = (0xd800..0xdc00).contains(&high) && chars.next_if_eq(&'\\').is_some();
            let point = if is_pair && chars.next() == Some('u') {
                let low = code(chars)?;
                0x1_0000 + ((high - 0xd800) << 10) + low.wrapping_sub(0xdc00).min(0x3ff)
            } else {
                high
            };
            char::from_u32(point).ok_or_else(|| format!("\\u{high:04x} is not a character"))
        }
        Some(other) => Err(format!("\\{other} is not an escape sequence")),
        None => Err("the quote \" is not closed in the same line".into()),
    }
}

fn code(chars: &mut Peekable<Chars<'_>>) -> Result<u32, String> {
    let digits: String = chars.by_ref().take(4).collect();
    u32::from_str_radix(&digits, 16)
        .ok()
        .filter(|_| digits.len() == 4)
        .ok_or_else(|| format!("\\u{digits} lacks digits"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_variables() {
        for (line, value) in [
            ("A=1", "1"),
            ("  A = 1  ", "1"),
            ("export A=1", "1"),
            ("A=", ""),
            ("A=a b  c", "a b  c"),
            ("A=a # comment", "a"),
            ("A=a#b", "a#b"),
            ("A= # comment", ""),
            ("A=#b", "#b"),
            ("A='a # b' # comment", "a # b"),
            (r"A='\n'", r"\n"),
            (r#"A="a\tb\n\"c\" \\ \/ \u00e9 \ud83d\ude00""#, "a\tb\n\"c\" \\ / \u{e9} \u{1f600}"),
            (r#"A={"a": "b"}"#, r#"{"a": "b"}"#),
            ("A=it's", "it's"),
            (r"A=C:\new", r"C:\new"),
            ("A=x=y", "x=y"),
            ("A=1\r", "1"),
        ] {
            let env = parse(line.as_bytes()).unwrap();
            assert_eq!(env.get("A").map(String::as_str), Some(value), "{line:?}");
        }
        let env = parse(b"# first\n\nA=1\nexport B='2'\n  # more\nA=3\n").unwrap();
        assert_eq!(env, BTreeMap::from([("A".into(), "3".into()), ("B".into(), "2".into())]));
    }

    #[test]
    fn a_bad_line_is_named() {
        for (text, line, cause) in [
            ("A=1\nB", 2, "no \"=\""),
            ("\n=x", 2, "\"\" is not the name"),
            ("1A=x", 1, "\"1A\" is not the name"),
            ("A B=x", 1, "\"A B\" is not the name"),
            ("A='x", 1, "not closed"),
            ("A=1\nB=\"x\\", 2, "not closed"),
            ("A=\"x\" y", 1, "\"y\" follows"),
            (r#"A="\x""#, 1, "\\x is not an escape"),
            (r#"A="\u12""#, 1, "lacks digits"),
            (r#"A="\ud800""#, 1, "not a character"),
            (r#"A="\u0000""#, 1, "zero byte"),
        ] {
            let fault = parse(text.as_bytes()).unwrap_err();
            assert_eq!(fault.line, Some(line), "{text:?}");
            assert!(fault.cause.contains(cause), "{text:?}: {}", fault.cause);
        }
        let fault = parse(b"A=1\nB=\xff").unwrap_err();
        assert_eq!((fault.line, fault.cause.as_str()), (Some(2), "the environment is not UTF-8 text"));
    }
}
