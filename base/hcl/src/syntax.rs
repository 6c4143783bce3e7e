//! From text to a document: parsing, and saying better what is wrong where the parser says it badly.

use std::sync::Arc;

use hcl_edit::expr::Expression;
use hcl_edit::parser;
use hcl_edit::structure::Body;

use crate::decode::BodyReader;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::eval::Evaluator;
use crate::expr::Expr;
use crate::json;
use crate::scan;
use crate::scope::Scope;
use crate::source::{Source, Span};
use crate::types::Type;
use crate::value::Value;

/// How many syntax errors of one text are looked for.
const MAX_SYNTAX_ERRORS: usize = 5;

/// A parsed document, in either spelling of HCL; nothing of it is evaluated yet.
#[derive(Debug, Clone)]
pub struct Document {
    source: Arc<Source>,
    root: Root,
}

#[derive(Debug, Clone)]
enum Root {
    Native(Box<Body>),
    Json(json::Node),
}

/// What a reader reads: a body of native syntax, or one or several JSON objects that count as one body.
#[derive(Debug, Clone)]
pub(crate) enum BodyRef<'d> {
    Native(&'d Body),
    Json(Vec<&'d json::Node>),
}

impl Document {
    /// The text it was parsed from.
    pub fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// Reads the top level of the document; names are looked up in `scope`, findings go to `diagnostics`.
    pub fn reader<'d>(&'d self, scope: &Scope, diagnostics: &'d Diagnostics) -> BodyReader<'d> {
        let body = match &self.root {
            Root::Native(body) => BodyRef::Native(body),
            Root::Json(node) => BodyRef::Json(vec![node]),
        };
        BodyReader::new(&self.source, diagnostics, body, scope.clone(), Span::default(), "the document".to_owned())
    }
}

/// Parses a document; the JSON spelling is recognised by a leading `{`.
///
/// # Errors
///
/// Syntax errors with their places: several if they are independent of each other.
pub fn parse(source: Source) -> Result<Document, Diagnostics> {
    let source = Arc::new(source);
    if let Some(at) = source.text().find('\0') {
        return Err(Diagnostic::error(&source, Span::new(at, at + 1), "the text contains a NUL byte").into());
    }
    if source.text().trim_start().starts_with('{') {
        let node = json::parse(&source).map_err(|diagnostic| Diagnostics::from(*diagnostic))?;
        return Ok(Document { source, root: Root::Json(node) });
    }
    match parser::parse_body(source.text()) {
        Ok(body) => Ok(Document { source, root: Root::Native(Box::new(body)) }),
        Err(error) => Err(syntax_errors(&source, &error)),
    }
}

/// An expression that stands alone, such as the value of a `-var` flag.
#[derive(Debug, Clone)]
pub struct ParsedExpression {
    source: Source,
    expression: Expression,
}

/// Parses a text that is one expression.
///
/// # Errors
///
/// The syntax error with its place.
pub fn parse_expression(source: Source) -> Result<ParsedExpression, Diagnostics> {
    match parser::parse_expr(source.text().trim_end()) {
        Ok(expression) => Ok(ParsedExpression { source, expression }),
        Err(error) => {
            let defect = scan::first_defect(source.text()).filter(|defect| explains(&source, defect, &error));
            Err(match defect {
                Some(defect) => defect_diagnostic(&source, defect).into(),
                None => explain(&source, &error).into(),
            })
        }
    }
}

impl ParsedExpression {
    /// Evaluates it.
    ///
    /// # Errors
    ///
    /// What failed, with its place.
    pub fn evaluate(&self, scope: &Scope) -> Result<Value, Box<Diagnostic>> {
        Expr::native(&self.source, &self.expression).evaluate(scope)
    }

    /// Reads it as a type expression such as `list(string)`.
    ///
    /// # Errors
    ///
    /// What is no type, with its place.
    pub fn as_type(&self) -> Result<Type, Box<Diagnostic>> {
        Type::from_expression(&Evaluator::of_source(self.source.text()), &self.expression)
            .map_err(|fault| crate::expr::diagnostic(&self.source, *fault))
    }
}

/// All syntax errors that can be told apart: after each the offending line is blanked, if it is complete by itself, and
/// the rest is parsed again.
fn syntax_errors(source: &Source, first: &parser::Error) -> Diagnostics {
    let diagnostics = Diagnostics::new();
    if let Some(defect) = scan::first_defect(source.text())
        && explains(source, &defect, first)
    {
        diagnostics.push(defect_diagnostic(source, defect));
        return diagnostics;
    }
    let mut text = source.text().to_owned();
    let mut error = first.clone();
    let mut last_line = 0;
    for _ in 0..MAX_SYNTAX_ERRORS {
        let diagnostic = explain(source, &error);
        let line = diagnostic.line;
        if line <= last_line {
            break;
        }
        last_line = line;
        diagnostics.push(diagnostic);
        // Without its header, a block makes no sense.
        if error.message() == "expected `{`" || !blank_line(&mut text, error.location().offset()) {
            break;
        }
        match parser::parse_body(&text) {
            Ok(_) => break,
            Err(next) => error = next,
        }
    }
    diagnostics
}

/// Whether a defect is what the parser stumbled over.
///
/// The parser reports it where the text ends, or, having backtracked, at the start of the statement without a reason.
fn explains(source: &Source, defect: &scan::Defect, error: &parser::Error) -> bool {
    let offset = error.location().offset();
    let rest = source.text().get(offset..).unwrap_or_default();
    defect.span.start <= offset
        || rest.trim().is_empty()
        || error.message() == "unexpected token"
        || source.position(defect.span.start).line == source.position(offset).line
}

fn defect_diagnostic(source: &Source, defect: scan::Defect) -> Diagnostic {
    let mut diagnostic = Diagnostic::error(source, defect.span, defect.message);
    diagnostic.help = defect.help.map(str::to_owned);
    diagnostic
}

/// Replaces a line by spaces; false if it opens or closes something that other lines need.
fn blank_line(text: &mut String, offset: usize) -> bool {
    let offset = (0..=offset.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let start = text[..offset].rfind('\n').map_or(0, |at| at + 1);
    let end = text[start..].find('\n').map_or(text.len(), |at| start + at);
    let line = &text[start..end];
    if line.trim().is_empty() || scan::first_defect(line).is_some() {
        return false;
    }
    text.replace_range(start..end, &" ".repeat(end - start));
    true
}

/// A parser error in our words.
fn explain(source: &Source, error: &parser::Error) -> Diagnostic {
    let mut at = error.location().offset();
    // The parser points at the line break where it wanted more; people look at what stands before it.
    let text = source.text();
    if at >= text.len() && !text.is_empty() {
        at = text.len() - 1;
    }
    if error.message().contains("escape sequence") {
        at = text[..at].rfind('\\').unwrap_or(at);
    }
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let rest = &text[at..];
    let line_start = text[..at].rfind('\n').map_or(0, |i| i + 1);
    let line = text[line_start..].split('\n').next().unwrap_or_default().trim();
    let width = rest.chars().next().map_or(1, char::len_utf8);
    let span = Span::new(at, at + width);
    if let Some(key) = quoted_key(line) {
        let start = line_start + text[line_start..].find('"').unwrap_or(0);
        let key_span = Span::new(start, start + key.len() + 2);
        return Diagnostic::error(source, key_span, "a quoted key cannot stand in a block")
            .with_help(format!("use a map instead: `meta = {{ \"{key}\" = \"x\" }}`"));
    }
    let diagnostic = Diagnostic::error(source, span, reworded(error.message(), rest));
    match advice(error.message(), line, &text[line_start..at], rest) {
        Some(help) => diagnostic.with_help(help),
        None => diagnostic,
    }
}

/// The parser's reason as a sentence about what stands there.
fn reworded(message: &str, rest: &str) -> String {
    let found = match rest.chars().next() {
        None | Some('\n' | '\r') => "the end of the line".to_owned(),
        Some(c) => format!("`{c}`"),
    };
    if message.contains("nesting depth") {
        return "this is nested deeper than 64 levels".to_owned();
    }
    if message.contains("chained binary operators") {
        return "more than 128 operators are chained here".to_owned();
    }
    if message.contains("redefined attribute") {
        let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || "_-".contains(*c)).collect();
        return format!("`{name}` is set twice in this block");
    }
    if message.contains("escape sequence") {
        return format!("`{}` is not an escape sequence", rest.chars().take(2).collect::<String>());
    }
    if message.starts_with("invalid expression") {
        return format!("a value is expected here, not {found}");
    }
    if message.starts_with("invalid structure") {
        return format!("a name must be followed by `=` and a value, or by `{{`, not by {found}");
    }
    if message == "expected newline or eof" {
        return format!("the line should end here, but {found} follows");
    }
    if message.starts_with("invalid block body") {
        return format!("`}}` is expected here, not {found}");
    }
    if message == "unexpected token" {
        return format!("an attribute or a block is expected here; what begins with {found} is neither");
    }
    match message.rsplit_once("expected ") {
        Some((_, expected)) => format!("{expected} is expected here, not {found}"),
        None => format!("{message} at {found}"),
    }
}

/// The key of a line such as `"a.b" = "x"`.
fn quoted_key(line: &str) -> Option<&str> {
    let (key, rest) = line.strip_prefix('"')?.split_once('"')?;
    let rest = rest.trim_start();
    (rest.starts_with('=') && !rest.starts_with("==")).then_some(key)
}

/// What to do about a syntax error, where its usual cause can be seen.
fn advice(message: &str, line: &str, before: &str, rest: &str) -> Option<&'static str> {
    let next = rest.chars().next()?;
    if message == "unexpected token" && line.contains("%{") {
        return Some("each `%{ if }` needs its `%{ endif }`, and each `%{ for }` its `%{ endfor }`");
    }
    if message.contains("object item") {
        return Some("put a comma between the entries of a map");
    }
    if message.contains("escape sequence") {
        return Some("write `\\\\` for a backslash, and `$${` for a literal `${`");
    }
    if message == "expected newline or eof" && next.is_alphabetic() && before.ends_with(|c: char| c.is_ascii_digit()) {
        return Some("put a value with a unit into quotes: \"30s\"");
    }
    if message == "expected `{`" && matches!(next, '\n' | '\r') {
        return Some("the `{` of a block stands on the line of its name");
    }
    match next {
        '\'' => return Some("strings are written in double quotes"),
        ';' => return Some("statements end with the line; remove the `;`"),
        ':' => return Some("attributes are written with `=`"),
        ',' if line.contains('=') && !before.contains('[') => {
            return Some("write each attribute on a line of its own, without a comma");
        }
        _ => {}
    }
    let one_line_block = line.ends_with('}') && line.contains('{');
    if one_line_block && line.matches('{').count() > 1 {
        return Some("a block on one line cannot hold another block; write each on lines of its own");
    }
    if one_line_block && line.matches('=').count() > 1 {
        return Some("a block on one line holds one attribute at most; write each on a line of its own");
    }
    None
}
