//! A lexical pass over HCL that finds what was opened and never closed, to explain a syntax error.

use crate::source::Span;

/// A structural defect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Defect {
    pub(crate) span: Span,
    pub(crate) message: String,
    pub(crate) help: Option<&'static str>,
}

/// The first defect of a text, if its brackets, strings, heredocs or comments do not match up.
pub(crate) fn first_defect(text: &str) -> Option<Defect> {
    let mut scanner = Scanner { text, bytes: text.as_bytes(), at: 0, open: Vec::new() };
    scanner.run()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Opener {
    Brace,
    Bracket,
    Parenthesis,
    /// `${` or `%{` inside a quoted string that began at this offset.
    Interpolation {
        string: usize,
    },
}

struct Scanner<'t> {
    text: &'t str,
    bytes: &'t [u8],
    at: usize,
    open: Vec<(Opener, usize)>,
}

impl Scanner<'_> {
    fn run(&mut self) -> Option<Defect> {
        while let Some(byte) = self.bytes.get(self.at).copied() {
            let start = self.at;
            self.at += 1;
            let defect = match byte {
                b'#' => self.line_comment(),
                b'/' if self.next_is(b'/') => self.line_comment(),
                b'/' if self.next_is(b'*') => self.block_comment(start),
                b'"' => self.string(start),
                b'<' if self.next_is(b'<') => self.heredoc(start),
                b'{' => self.push(Opener::Brace, start),
                b'[' => self.push(Opener::Bracket, start),
                b'(' => self.push(Opener::Parenthesis, start),
                b'}' | b']' | b')' => self.close(byte, start),
                _ => None,
            };
            if defect.is_some() {
                return defect;
            }
        }
        self.open.pop().map(|(opener, start)| never_closed(opener, start))
    }

    fn next_is(&self, byte: u8) -> bool {
        self.bytes.get(self.at) == Some(&byte)
    }

    fn push(&mut self, opener: Opener, start: usize) -> Option<Defect> {
        self.open.push((opener, start));
        None
    }

    fn line_comment(&mut self) -> Option<Defect> {
        while self.bytes.get(self.at).is_some_and(|b| *b != b'\n') {
            self.at += 1;
        }
        None
    }

    fn block_comment(&mut self, start: usize) -> Option<Defect> {
        match self.text.get(self.at + 1..).and_then(|rest| rest.find("*/")) {
            Some(length) => {
                self.at += length + 3;
                None
            }
            None => Some(Defect {
                span: Span::new(start, start + 2),
                message: "this comment is never closed".to_owned(),
                help: Some("end it with `*/`"),
            }),
        }
    }

    /// Goes on inside a quoted string until it ends or an interpolation begins.
    fn string(&mut self, start: usize) -> Option<Defect> {
        while let Some(byte) = self.bytes.get(self.at).copied() {
            match byte {
                b'"' => {
                    self.at += 1;
                    return None;
                }
                b'\\' => self.at += 2,
                b'\n' => return Some(unterminated(start)),
                b'$' | b'%' => {
                    let rest = &self.bytes[self.at..];
                    if rest.len() > 2 && rest[1] == byte && rest[2] == b'{' {
                        self.at += 3;
                    } else if rest.get(1) == Some(&b'{') {
                        self.open.push((Opener::Interpolation { string: start }, self.at));
                        self.at += 2;
                        return None;
                    } else {
                        self.at += 1;
                    }
                }
                _ => self.at += 1,
            }
        }
        Some(unterminated(start))
    }

    fn close(&mut self, byte: u8, start: usize) -> Option<Defect> {
        let span = Span::new(start, start + 1);
        let Some((opener, opened)) = self.open.pop() else {
            let message = format!("this `{}` closes nothing", char::from(byte));
            return Some(Defect { span, message, help: Some("remove it, or look for a missing opening one above") });
        };
        let expected = match opener {
            Opener::Brace | Opener::Interpolation { .. } => b'}',
            Opener::Bracket => b']',
            Opener::Parenthesis => b')',
        };
        if byte != expected && self.bytes[opened..start].contains(&b'\n') {
            return Some(never_closed(opener, opened));
        }
        if byte != expected {
            let message = format!("`{}` is expected here, not `{}`", char::from(expected), char::from(byte));
            return Some(Defect { span, message, help: None });
        }
        match opener {
            Opener::Interpolation { string } => self.string(string),
            Opener::Brace | Opener::Bracket | Opener::Parenthesis => None,
        }
    }

    /// `<<EOF` up to the line that holds nothing but the delimiter; interpolations in it are not looked into.
    fn heredoc(&mut self, start: usize) -> Option<Defect> {
        let rest = self.text.get(self.at + 1..).unwrap_or_default();
        let rest = rest.strip_prefix('-').unwrap_or(rest);
        let line = rest.split('\n').next().unwrap_or_default().trim_end();
        if line.is_empty() || !line.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-') {
            return None;
        }
        let begin = self.text.len() - rest.len();
        let mut offset = begin;
        for (number, candidate) in rest.split_inclusive('\n').enumerate() {
            if number > 0 && candidate.trim() == line {
                self.at = offset + candidate.trim_end().len();
                return None;
            }
            offset += candidate.len();
        }
        let message = format!("this heredoc is never closed: no line holds only `{line}`");
        Some(Defect { span: Span::new(start, begin + line.len()), message, help: None })
    }
}

fn never_closed(opener: Opener, start: usize) -> Defect {
    let (message, help) = match opener {
        Opener::Interpolation { string } => return unterminated(string),
        Opener::Brace => ("this `{` is never closed", "add the missing `}`"),
        Opener::Bracket => ("this `[` is never closed", "add the missing `]`"),
        Opener::Parenthesis => ("this `(` is never closed", "add the missing `)`"),
    };
    Defect { span: Span::new(start, start + 1), message: message.to_owned(), help: Some(help) }
}

fn unterminated(start: usize) -> Defect {
    Defect {
        span: Span::new(start, start + 1),
        message: "this string is never closed".to_owned(),
        help: Some("end it with `\"` on the same line, or use a heredoc (`<<EOF`) for several lines"),
    }
}
