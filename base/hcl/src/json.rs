//! The JSON spelling of HCL: a parser that keeps the place of every value.

use crate::diagnostics::Diagnostic;
use crate::number::Number;
use crate::source::{Source, Span};

/// How deep a document may nest.
const MAX_DEPTH: usize = 64;

/// A JSON value with its place.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) span: Span,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    Array(Vec<Node>),
    Object(Vec<Property>),
}

/// One entry of an object; a name may come several times.
#[derive(Debug, Clone)]
pub(crate) struct Property {
    pub(crate) name: String,
    pub(crate) name_span: Span,
    pub(crate) value: Node,
}

impl Node {
    /// What it is, with article, for messages.
    pub(crate) fn kind_name(&self) -> &'static str {
        match self.kind {
            Kind::Null => "null",
            Kind::Bool(_) => "a bool",
            Kind::Number(_) => "a number",
            Kind::String(_) => "a string",
            Kind::Array(_) => "a list",
            Kind::Object(_) => "an object",
        }
    }
}

/// Parses a whole document, whose top must be an object.
pub(crate) fn parse(source: &Source) -> Result<Node, Box<Diagnostic>> {
    let mut parser = Parser { source, text: source.text(), at: 0 };
    parser.skip_space();
    let node = parser.value(0)?;
    parser.skip_space();
    if parser.at < parser.text.len() {
        return Err(parser.error("nothing may follow the end of the JSON document"));
    }
    if !matches!(node.kind, Kind::Object(_)) {
        return Err(Box::new(Diagnostic::error(source, node.span, "a JSON document must be an object")));
    }
    Ok(node)
}

struct Parser<'s> {
    source: &'s Source,
    text: &'s str,
    at: usize,
}

impl Parser<'_> {
    fn error(&self, message: &str) -> Box<Diagnostic> {
        Box::new(Diagnostic::error(self.source, Span::new(self.at, self.at + 1), format!("invalid JSON: {message}")))
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Result<Node, Box<Diagnostic>> {
        if depth > MAX_DEPTH {
            return Err(self.error(&format!("nested deeper than {MAX_DEPTH} levels")));
        }
        let start = self.at;
        let kind = match self.peek() {
            Some(b'{') => Kind::Object(self.object(depth)?),
            Some(b'[') => Kind::Array(self.array(depth)?),
            Some(b'"') => Kind::String(self.string()?),
            Some(b'-' | b'0'..=b'9') => Kind::Number(self.number()?),
            Some(_) => self.word()?,
            None => return Err(self.error("the document ends where a value is expected")),
        };
        Ok(Node { span: Span::new(start, self.at), kind })
    }

    fn object(&mut self, depth: usize) -> Result<Vec<Property>, Box<Diagnostic>> {
        let mut properties = Vec::new();
        self.at += 1;
        self.skip_space();
        if self.accept(b'}') {
            return Ok(properties);
        }
        loop {
            let start = self.at;
            if self.peek() != Some(b'"') {
                return Err(self.error("a name in double quotes is expected here"));
            }
            let name = self.string()?;
            let name_span = Span::new(start, self.at);
            self.skip_space();
            if !self.accept(b':') {
                return Err(self.error("`:` is expected here"));
            }
            self.skip_space();
            properties.push(Property { name, name_span, value: self.value(depth + 1)? });
            self.skip_space();
            if self.accept(b'}') {
                return Ok(properties);
            }
            if !self.accept(b',') {
                return Err(self.error("`,` or `}` is expected here"));
            }
            self.skip_space();
        }
    }

    fn array(&mut self, depth: usize) -> Result<Vec<Node>, Box<Diagnostic>> {
        let mut elements = Vec::new();
        self.at += 1;
        self.skip_space();
        if self.accept(b']') {
            return Ok(elements);
        }
        loop {
            elements.push(self.value(depth + 1)?);
            self.skip_space();
            if self.accept(b']') {
                return Ok(elements);
            }
            if !self.accept(b',') {
                return Err(self.error("`,` or `]` is expected here"));
            }
            self.skip_space();
        }
    }

    fn accept(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn string(&mut self) -> Result<String, Box<Diagnostic>> {
        let start = self.at;
        self.at += 1;
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => self.at += 2,
                Some(_) => self.at += 1,
                None => {
                    self.at = start;
                    return Err(self.error("this string is never closed"));
                }
            }
        }
        self.at += 1;
        let quoted = self.text.get(start..self.at).unwrap_or_default();
        serde_json::from_str(quoted).map_err(|_| {
            self.at = start;
            self.error("this string has an invalid escape or a control character")
        })
    }

    fn number(&mut self) -> Result<Number, Box<Diagnostic>> {
        let start = self.at;
        while matches!(self.peek(), Some(b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9')) {
            self.at += 1;
        }
        Number::parse(self.text.get(start..self.at).unwrap_or_default()).ok_or_else(|| {
            self.at = start;
            self.error("this is not a number that can be represented")
        })
    }

    fn word(&mut self) -> Result<Kind, Box<Diagnostic>> {
        for (word, kind) in [("null", Kind::Null), ("true", Kind::Bool(true)), ("false", Kind::Bool(false))] {
            if self.text.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
                self.at += word.len();
                return Ok(kind);
            }
        }
        Err(self.error("a value is expected here"))
    }
}
