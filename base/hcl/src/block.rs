//! Blocks as a reader hands them out: labels, place, and what they hold.

use std::collections::BTreeMap;

use hcl_edit::structure::{Body, Structure};

use crate::decode::BodyReader;
use crate::diagnostics::Diagnostics;
use crate::dynamic;
use crate::eval::{EvalResult, Evaluator, Fault};
use crate::expr::{self, Expr};
use crate::json::{Kind, Node};
use crate::scope::Scope;
use crate::source::{Source, Span};
use crate::syntax::BodyRef;
use crate::value::Value;

/// A label with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The label without quotes.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

/// Where a block gets everything from, shared by all blocks of a document.
#[derive(Debug, Clone)]
pub(crate) struct Context<'d> {
    pub(crate) source: &'d Source,
    pub(crate) diagnostics: &'d Diagnostics,
    pub(crate) scope: Scope,
    /// Whether `dynamic` blocks are expanded here.
    pub(crate) dynamic: bool,
}

/// One occurrence of a block, written out or made by `dynamic`.
#[derive(Debug, Clone)]
pub struct Block<'d> {
    pub(crate) context: Context<'d>,
    pub(crate) kind: String,
    pub(crate) labels: Vec<Label>,
    pub(crate) span: Span,
    pub(crate) body: BodyRef<'d>,
}

impl<'d> Block<'d> {
    /// The type of the block: `group` for `group "web" {}`.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// All labels.
    pub fn labels(&self) -> &[Label] {
        &self.labels
    }

    /// The text of a label; empty if there is none at that index.
    pub fn label(&self, index: usize) -> &str {
        self.labels.get(index).map(|label| label.text.as_str()).unwrap_or_default()
    }

    /// Where its type and labels stand.
    pub fn span(&self) -> Span {
        self.span
    }

    /// Names that its contents see.
    pub fn scope(&self) -> &Scope {
        &self.context.scope
    }

    /// The source it stands in.
    pub fn source(&self) -> &'d Source {
        self.context.source
    }

    /// How messages name it: `` `group "web"` ``.
    pub fn title(&self) -> String {
        let labels: String = self.labels.iter().map(|label| format!(" \"{}\"", label.text)).collect();
        format!("`{}{labels}`", self.kind)
    }

    /// Records an error at its type and labels.
    pub fn error(&self, message: impl Into<String>) {
        self.context.diagnostics.error(self.context.source, self.span, message);
    }

    /// Reads what it holds.
    pub fn reader(&self) -> BodyReader<'d> {
        BodyReader::in_context(self.context.clone(), self.body.clone(), self.span, self.title())
    }

    /// Reads what it holds with further names in scope.
    pub fn reader_in(&self, scope: Scope) -> BodyReader<'d> {
        let context = Context { scope, ..self.context.clone() };
        BodyReader::in_context(context, self.body.clone(), self.span, self.title())
    }

    /// What it holds as plain values, without a schema: how a task's `config` is read.
    ///
    /// Blocks become a list with one map for each occurrence; their labels become maps around that, outermost first, each
    /// in a list of its own. A map given as attribute is put into a list too, so that `x {}` and `x = {}` give the same. A
    /// value that fails to evaluate is recorded and left out.
    pub fn to_free_form(&self) -> BTreeMap<String, Value> {
        match free_form(&self.context, &self.body) {
            Ok(entries) => entries,
            Err(fault) => {
                self.context.diagnostics.push(*expr::diagnostic(self.context.source, *fault));
                BTreeMap::new()
            }
        }
    }

    /// Every attribute of a block that holds nothing else, with the place of its key: how `meta {}` is read.
    pub fn attributes(&self) -> Vec<(String, Span, Expr<'d>)> {
        let mut found = Vec::new();
        match &self.body {
            BodyRef::Native(body) => {
                for structure in body.iter() {
                    match structure {
                        Structure::Attribute(attribute) => {
                            let span = span_of(&attribute.key);
                            let value = Expr::native(self.context.source, &attribute.value);
                            found.push((attribute.key.as_str().to_owned(), span, value));
                        }
                        Structure::Block(block) => {
                            let message = format!("{} holds names with values, not blocks", self.title());
                            self.context.diagnostics.error(self.context.source, span_of(&block.ident), message);
                        }
                    }
                }
            }
            BodyRef::Json(nodes) => {
                for property in json_properties(nodes) {
                    let value = Expr::json(self.context.source, &property.value);
                    found.push((property.name.clone(), property.name_span, value));
                }
            }
        }
        found
    }
}

pub(crate) fn span_of<T: hcl_edit::Span>(spanned: &T) -> Span {
    spanned.span().map(Span::from).unwrap_or_default()
}

/// The properties of the objects that make up a JSON body; `//` is a comment.
pub(crate) fn json_properties<'d>(nodes: &[&'d Node]) -> Vec<&'d crate::json::Property> {
    let objects = nodes.iter().filter_map(|node| match &node.kind {
        Kind::Object(properties) => Some(properties),
        Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::String(_) | Kind::Array(_) => None,
    });
    objects.flatten().filter(|property| property.name != "//").collect()
}

fn free_form(context: &Context<'_>, body: &BodyRef<'_>) -> EvalResult<BTreeMap<String, Value>> {
    match body {
        BodyRef::Native(body) => free_form_body(context, body),
        BodyRef::Json(nodes) => {
            let mut entries = BTreeMap::new();
            for property in json_properties(nodes) {
                let value = Expr::json(context.source, &property.value).eval(&context.scope)?;
                if !value.is_null() {
                    entries.insert(property.name.clone(), wrap(value));
                }
            }
            Ok(entries)
        }
    }
}

fn wrap(value: Value) -> Value {
    match value {
        Value::Map(_) => Value::List(vec![value]),
        other => other,
    }
}

fn free_form_body(context: &Context<'_>, body: &Body) -> EvalResult<BTreeMap<String, Value>> {
    let evaluator = Evaluator::of_source(context.source.text());
    let mut entries: BTreeMap<String, Value> = BTreeMap::new();
    for structure in body.iter() {
        match structure {
            Structure::Attribute(attribute) => match evaluator.evaluate(&attribute.value, &context.scope) {
                Ok(Value::Null) => {}
                Ok(value) => {
                    entries.insert(attribute.key.as_str().to_owned(), wrap(value));
                }
                Err(fault) => context.diagnostics.push(*expr::diagnostic(context.source, *fault)),
            },
            Structure::Block(block) => {
                for expanded in dynamic::occurrences(context, block) {
                    let inner = expanded.to_free_form();
                    let key_span = expanded.span;
                    let mut value = Value::Map(inner);
                    for label in expanded.labels.iter().rev() {
                        value =
                            Value::List(vec![Value::Map(BTreeMap::from([(label.text.clone(), value_list(value))]))]);
                    }
                    append(&mut entries, &expanded.kind, value, key_span)?;
                }
            }
        }
    }
    Ok(entries)
}

fn value_list(value: Value) -> Value {
    match value {
        list @ Value::List(_) => list,
        other => Value::List(vec![other]),
    }
}

fn append(entries: &mut BTreeMap<String, Value>, key: &str, value: Value, span: Span) -> EvalResult<()> {
    let Value::List(mut addition) = value_list(value) else { return Ok(()) };
    match entries.entry(key.to_owned()).or_insert_with(|| Value::List(Vec::new())) {
        Value::List(existing) => existing.append(&mut addition),
        _ => return Err(Fault::new(span, format!("`{key}` is both an attribute and a block"))),
    }
    Ok(())
}
